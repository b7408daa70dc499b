//! Filters: which of a person's records an export or a deletion is about. Exports and deletions use the same filters.
//!
//! Days are days of the calendar in a time zone. A moment is turned into its local day before it is compared. Every
//! moment has exactly one local day, so days of 23 or 25 hours and days that begin at one o'clock need no rule of their
//! own.

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::{
    Body, Choice, Fault, Kind, TestType,
    kinds::{KINDS, kind},
    quarter::Quarter,
    rights::deletion::Scope,
};

/// A range of so many years or more lies in too many quarters to name each of them.
const MOST_YEARS: i32 = 10;

/// Days from the first to the last, both included, in the calendar of a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    pub first: NaiveDate,
    pub last: NaiveDate,
    /// The time zone of the calendar.
    pub zone: Tz,
}

impl Days {
    /// Whether a record lies in these days. A record of a kind without days always does.
    pub fn contain(&self, kind: &Kind, body: &Body) -> bool {
        kind.day(body, self.zone).is_none_or(|day| self.first <= day && day <= self.last)
    }

    /// The first and the last day in UTC on which records of these days may lie. Records are filed by their day in UTC,
    /// so one day is added before the first and after the last: no time zone was ever a whole day apart from UTC.
    fn filed(&self) -> (NaiveDate, NaiveDate) {
        (self.first.pred_opt().unwrap_or(self.first), self.last.succ_opt().unwrap_or(self.last))
    }

    /// The quarters in which records of these days are filed; `None` if there are so many that one better asks in which
    /// quarters there are records.
    pub fn few_quarters(&self) -> Option<Vec<Quarter>> {
        let (first, last) = self.filed();
        (last.year() - first.year() < MOST_YEARS).then(|| Quarter::between(first, last).collect())
    }

    /// Whether records of these days may be filed in this quarter.
    pub fn may_touch(&self, quarter: Quarter) -> bool {
        let (first, last) = self.filed();
        first <= quarter.last_day() && quarter.first_day() <= last
    }
}

/// Which records are meant. An absent field narrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The first day, included. If it is set, kinds without days are not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NaiveDate>,
    /// The last day, included. If it is set, kinds without days are not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NaiveDate>,
    /// The names of kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// The type of a test. If it is set, only kinds that are sessions of a test are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_type: Option<String>,
    /// The time zone of the days, by its IANA name; UTC if absent. It is stored with the request, so that the request
    /// does not change when the person moves to another time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

impl Filter {
    /// The filter of `sessions_only`: all kinds that are sessions, on any day.
    pub fn sessions() -> Self {
        let names = KINDS.iter().filter(|kind| kind.is_session()).map(|kind| kind.name().to_owned());
        Self { kinds: Some(names.collect()), ..Self::default() }
    }

    /// Combines the filter with the scope of a request, or returns what is wrong with the two.
    pub fn settled(self, scope: Scope) -> Result<Self, Vec<Fault>> {
        let mut faults: Vec<Fault> = self.faults().into_iter().map(|fault| fault.within("filters")).collect();
        match scope {
            Scope::Full if !self.is_empty() => faults.push(Fault::new("filters", "cannot narrow `full`")),
            Scope::Partial if self.is_empty() => faults.push(Fault::new("filters", "is required for `partial`")),
            Scope::SessionsOnly if self.kinds.is_some() => {
                faults.push(Fault::new("filters.kinds", "is settled by `sessions_only`"));
            }
            _ => {}
        }
        match scope {
            _ if !faults.is_empty() => Err(faults),
            Scope::SessionsOnly => Ok(Self { kinds: Self::sessions().kinds, ..self }),
            Scope::Full | Scope::Partial => Ok(self),
        }
    }

    /// The same filter with its days in this time zone. A filter without days keeps no time zone.
    pub fn in_zone(self, zone: Tz) -> Self {
        let dated = self.from.is_some() || self.to.is_some();
        Self { time_zone: dated.then(|| zone.name().to_owned()), ..self }
    }

    /// Whether the filter narrows nothing. A time zone alone narrows nothing.
    pub fn is_empty(&self) -> bool {
        self.from.is_none() && self.to.is_none() && self.kinds.is_none() && self.test_type.is_none()
    }

    /// UTC if the filter names no time zone, or an unknown one.
    pub fn zone(&self) -> Tz {
        self.time_zone.as_deref().and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
    }

    /// `None` if records of all days are meant.
    pub fn days(&self) -> Option<Days> {
        let (first, last) = (self.from.unwrap_or(NaiveDate::MIN), self.to.unwrap_or(NaiveDate::MAX));
        (self.from.is_some() || self.to.is_some()).then(|| Days { first, last, zone: self.zone() })
    }

    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            faults.push(Fault::new("from", "must not lie after `to`"));
        }
        for (number, name) in self.kinds.iter().flatten().enumerate() {
            if kind(name).is_none() {
                faults.push(Fault::new(format!("kinds[{number}]"), "is not a kind of record"));
            }
        }
        if self.kinds.as_ref().is_some_and(Vec::is_empty) {
            faults.push(Fault::new("kinds", "must name at least one kind"));
        }
        if self.test_type.as_deref().is_some_and(|name| TestType::parse(name).is_none()) {
            faults.push(Fault::new("test_type", format!("must be one of {}", TestType::NAMES.join(", "))));
        }
        faults
    }

    /// Whether the filter can match records of this kind at all: a filter by day or by test only matches kinds that have
    /// days or tests.
    pub fn may_match(&self, kind: &Kind) -> bool {
        let named = self.kinds.as_ref().is_none_or(|names| names.iter().any(|name| name == kind.name()));
        let dated = self.from.is_none() && self.to.is_none() || kind.is_dated();
        named && dated && (self.test_type.is_none() || kind.is_session())
    }

    pub fn matches(&self, kind: &Kind, body: &Body) -> bool {
        let inside = self.days().is_none_or(|days| days.contain(kind, body));
        let tested = self.test_type.is_none() || self.test_type == kind.test_type(body);
        self.may_match(kind) && inside && tested
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Source,
        kinds::{CONTACT, Contact, SCREENING, Screening, Shape, UtcTime, WORK_DAY, WorkDay},
    };

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn day(text: &str) -> Body {
        WorkDay { date: date(text), planned_minutes: 480, actual_minutes: 500, source: Source::Manual }.to_body()
    }

    #[test]
    fn a_filter_matches_what_every_part_of_it_matches() {
        let march = Filter { from: Some(date("2026-03-01")), to: Some(date("2026-03-31")), ..Filter::default() };
        assert!(march.matches(WORK_DAY, &day("2026-03-01")) && march.matches(WORK_DAY, &day("2026-03-31")));
        assert!(!march.matches(WORK_DAY, &day("2026-02-28")) && !march.matches(WORK_DAY, &day("2026-04-01")));
        let contact = Contact { email: "anna@klinik.example".to_owned() }.to_body();
        assert!(!march.matches(CONTACT, &contact), "what has no day lies in no range");
        assert!(Filter::default().matches(CONTACT, &contact));
        let days = Filter { kinds: Some(vec!["work_day".to_owned()]), ..Filter::default() };
        assert!(days.matches(WORK_DAY, &day("2020-01-01")) && !days.matches(CONTACT, &contact));
        let tests = Filter { test_type: Some("pure_tone".to_owned()), ..Filter::default() };
        assert!(!tests.matches(WORK_DAY, &day("2026-03-01")), "what is no test is not of a type");
    }

    fn screening(taken_at: &str) -> Body {
        Screening { taken_at: UtcTime::parse(taken_at).expect("a time"), ..Screening::example() }.to_body()
    }

    /// Whether a filter from `first` to `last` in a time zone matches a screening at each of these times.
    fn held(zone: &str, first: &str, last: &str, taken_at: &[&str]) -> Vec<bool> {
        let filter = Filter { from: Some(date(first)), to: Some(date(last)), ..Filter::default() };
        let filter = filter.in_zone(zone.parse().expect("a zone"));
        let loaded: Filter = serde_json::from_value(serde_json::to_value(&filter).expect("JSON")).expect("a filter");
        assert_eq!(loaded, filter, "the zone is kept with the request");
        let days = filter.days().expect("days");
        let quarters = days.few_quarters().expect("few");
        let holds = |time: &&str| {
            let (body, means) = (screening(time), loaded.matches(SCREENING, &screening(time)));
            let filed = Quarter::of(SCREENING.date(&body).expect("a date"));
            assert!(!means || quarters.contains(&filed) && days.may_touch(filed), "{time} is filed in {filed}");
            means
        };
        taken_at.iter().map(holds).collect()
    }

    #[test]
    fn a_day_is_a_day_where_the_person_is() {
        let eight_o_clock =
            ["2026-03-01T19:00:00Z", "2026-03-01T10:59:59Z", "2026-03-02T10:59:59Z", "2026-03-02T11:00:00Z"];
        let auckland = held("Pacific/Auckland", "2026-03-02", "2026-03-02", &eight_o_clock);
        assert_eq!(auckland, [true, false, true, false], "a day of UTC+13");
        assert_eq!(held("UTC", "2026-03-02", "2026-03-02", &eight_o_clock), [false, false, true, true]);
        // The first hours of a quarter there lie in the quarter before in UTC, and the other way round.
        assert_eq!(held("Pacific/Kiritimati", "2026-04-01", "2026-04-01", &["2026-03-31T10:00:00Z"]), [true]);
        assert_eq!(held("Pacific/Pago_Pago", "2026-03-31", "2026-03-31", &["2026-04-01T10:59:59Z"]), [true]);
    }

    #[test]
    fn days_of_23_and_25_hours_are_whole() {
        // Auckland goes back by an hour on 5 April 2026, and forward on 27 September.
        let long = ["2026-04-04T10:59:59Z", "2026-04-04T11:00:00Z", "2026-04-05T11:59:59Z", "2026-04-05T12:00:00Z"];
        assert_eq!(held("Pacific/Auckland", "2026-04-05", "2026-04-05", &long), [false, true, true, false]);
        let short = ["2026-09-26T11:59:59Z", "2026-09-26T12:00:00Z", "2026-09-27T10:59:59Z", "2026-09-27T11:00:00Z"];
        assert_eq!(held("Pacific/Auckland", "2026-09-27", "2026-09-27", &short), [false, true, true, false]);
        // These days had no midnight: the clocks went from 24:00 to 1:00.
        let sao_paulo =
            ["2017-10-15T02:59:59Z", "2017-10-15T03:00:00Z", "2017-10-16T01:59:59Z", "2017-10-16T02:00:00Z"];
        assert_eq!(held("America/Sao_Paulo", "2017-10-15", "2017-10-15", &sao_paulo), [false, true, true, false]);
        let cairo = ["2026-04-23T21:59:59Z", "2026-04-23T22:00:00Z", "2026-04-24T20:59:59Z", "2026-04-24T21:00:00Z"];
        assert_eq!(held("Africa/Cairo", "2026-04-24", "2026-04-24", &cairo), [false, true, true, false]);
        // Apia had no 30 December 2011 at all.
        let apia = ["2011-12-30T09:59:59Z", "2011-12-30T10:00:00Z"];
        assert_eq!(held("Pacific/Apia", "2011-12-30", "2011-12-30", &apia), [false, false]);
        assert_eq!(held("Pacific/Apia", "2011-12-29", "2011-12-29", &apia), [true, false]);
    }

    #[test]
    fn a_long_range_names_no_quarters() {
        let days = |first: &str, last: &str| Days { first: date(first), last: date(last), zone: Tz::UTC };
        assert_eq!(days("2026-01-01", "2026-03-31").few_quarters().map(|quarters| quarters.len()), Some(3));
        assert_eq!(days("2010-01-02", "2020-01-01").few_quarters(), None);
        let all = Days { first: NaiveDate::MIN, last: NaiveDate::MAX, zone: Tz::UTC };
        assert!(all.few_quarters().is_none() && all.may_touch(Quarter::of(date("2026-02-03"))));
        assert!(!days("2026-04-02", "2026-05-01").may_touch(Quarter::of(date("2026-02-03"))));
        assert!(days("2026-04-01", "2026-05-01").may_touch(Quarter::of(date("2026-02-03"))), "west of Greenwich");
    }

    #[test]
    fn a_filter_from_before_zones_means_days_in_utc() {
        let filter: Filter = serde_json::from_str(r#"{"from":"2026-03-02"}"#).expect("a filter");
        assert_eq!((filter.zone(), filter.is_empty()), (Tz::UTC, false));
        let kinds = Filter { kinds: Some(vec!["work_day".to_owned()]), ..Filter::default() };
        assert_eq!(kinds.clone().in_zone(Tz::Europe__Berlin), kinds, "without days there is no zone");
        let none = Filter { time_zone: Some("UTC".to_owned()), ..Filter::default() };
        assert!(none.is_empty(), "a zone narrows nothing");
    }

    #[test]
    fn faults_name_the_part() {
        let filter = Filter {
            from: Some(date("2026-03-02")),
            to: Some(date("2026-03-01")),
            kinds: Some(vec!["work_day".to_owned(), "moods".to_owned()]),
            test_type: Some("moods".to_owned()),
            time_zone: None,
        };
        let fields: Vec<String> = filter.faults().into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["from", "kinds[1]", "test_type"]);
        assert_eq!(Filter { kinds: Some(Vec::new()), ..Filter::default() }.faults().len(), 1);
    }
}
