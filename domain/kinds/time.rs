//! Times in bodies: RFC 3339 with any offset is read; UTC to the second is kept and written.
//!
//! A leap second (`23:59:60`) is refused, because neither POSIX clocks nor PostgreSQL have one: another second would be
//! stored.

use chrono::{DateTime, Datelike, SecondsFormat, SubsecRound, Timelike, Utc};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected},
};

/// The text by which `form.rs` recognises that a time was expected.
pub(super) const EXPECTED: &str = "a time";

/// Reads a moment in the form of RFC 3339, section 5.6; `None` if the text has another form. The letters `T` and `Z`
/// may be in lower case, an offset must be below 24 hours, and nine digits of a fraction count.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    // The parser would also take a blank instead of the T.
    let parted = text.as_bytes().get(10).is_some_and(|letter| letter.eq_ignore_ascii_case(&b'T'));
    let time = DateTime::parse_from_rfc3339(text).ok().filter(|_| parted)?.to_utc();
    // The parser turns a leap second into a fraction of more than a second.
    (time.nanosecond() < 1_000_000_000).then_some(time)
}

/// A time to the second, such as `2026-03-02T10:15:00Z`; in the years 1900 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcTime(DateTime<Utc>);

impl UtcTime {
    /// `None` if the text is no time, or if the year is not from 1900 to 9999. Fractions of a second are cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let time = instant(text)?.trunc_subsecs(0);
        (1900..=9999).contains(&time.year()).then_some(Self(time))
    }

    pub fn get(self) -> DateTime<Utc> {
        self.0
    }
}

impl std::fmt::Display for UtcTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The error must not repeat the text.
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Other("text"), &EXPECTED))
    }
}

#[cfg(test)]
mod tests {
    use super::UtcTime;

    #[test]
    fn times_are_kept_in_utc_to_the_second() {
        let shown = |text: &str| UtcTime::parse(text).map(|time| time.to_string());
        for same in [
            "2026-03-02T10:15:00Z",
            "2026-03-02T10:15:00.999Z",
            "2026-03-02T11:15:00+01:00",
            "2026-03-02t10:15:00z",
            "2026-03-02T10:15:00-00:00",
            "2026-03-02T10:15:00.1234567890123456789Z",
            "2026-03-03T10:14:00+23:59",
            "2026-03-01T10:16:00-23:59",
        ] {
            assert_eq!(shown(same).as_deref(), Some("2026-03-02T10:15:00Z"));
        }
        for wrong in [
            "",
            "10:15",
            "2026-03-02",
            "2026-03-02T10:15:00",
            "2026-03-02T10:15Z",
            "2026-03-02 10:15:00Z",
            "2026-03-02T10:15:00 Z",
            "2026-03-02T10:15:00.Z",
            "2026-03-02T10:15:00,5Z",
            "2026-03-02T10:15:00+24:00",
            "2026-03-02T10:15:00+01:60",
            "2026-03-02T10:15:00+0100",
            "2026-03-02T10:15:00+01",
            "2026-03-02T24:00:00Z",
            "2026-03-02T10:60:00Z",
            "2026-02-30T10:15:00Z",
            "1899-12-31T23:59:59Z",
            "-2026-03-02T10:15:00Z",
            "+12026-03-02T10:15:00Z",
            "26-03-02T10:15:00Z",
            // A leap second that no calendar had, and one that did exist.
            "2026-03-02T10:15:60Z",
            "2016-12-31T23:59:60Z",
            "2017-01-01T00:59:60.5+01:00",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
        assert_eq!(shown("9999-12-31T23:59:59-01:00"), None, "it lies in the year 10000");
    }
}
