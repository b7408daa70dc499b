//! Forms of the API that are on their way out. `docs/versions.md` says how long one lives.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use poem::http::{HeaderMap, HeaderValue, header};

/// A form that clients should leave, and the days from which it is deprecated and gone.
pub struct Deprecated {
    since: NaiveDate,
    until: NaiveDate,
}

/// The paths without `/v1`, which answer with a redirect.
pub const BARE_PATHS: Deprecated = Deprecated { since: day(2026, 12, 1), until: day(2027, 12, 1) };

const fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a day")
}

impl Deprecated {
    /// Adds the header fields `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and a link to what comes instead.
    pub fn tell(&self, successor: &str, headers: &mut HeaderMap) {
        let midnight = |day: NaiveDate| -> DateTime<Utc> { day.and_time(NaiveTime::MIN).and_utc() };
        // A target may hold letters beyond ASCII, which a header field takes as they are.
        let text = |text: String| HeaderValue::try_from(text).expect("a date and a target have no control characters");
        headers.insert("deprecation", text(format!("@{}", midnight(self.since).timestamp())));
        headers.insert("sunset", text(midnight(self.until).format("%a, %d %b %Y %T GMT").to_string()));
        headers.insert(header::LINK, text(format!("<{successor}>; rel=\"successor-version\"")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_forms_of_their_fields() {
        let mut headers = HeaderMap::new();
        BARE_PATHS.tell("/v1/auth/me", &mut headers);
        assert_eq!(headers["deprecation"], "@1796083200");
        assert_eq!(headers["sunset"], "Wed, 01 Dec 2027 00:00:00 GMT");
        assert_eq!(headers["link"], "</v1/auth/me>; rel=\"successor-version\"");
        BARE_PATHS.tell("/v1/auth/é", &mut headers);
        assert_eq!(headers["link"].as_bytes(), "</v1/auth/é>; rel=\"successor-version\"".as_bytes());
        let (page, days) =
            (include_str!("../../docs/versions.md"), format!("{} | {}", BARE_PATHS.since, BARE_PATHS.until));
        assert!(page.contains(&days), "docs/versions.md says other days than {days}");
    }
}
