//! Filters of a request to export or to delete: which records are meant.

use chrono::NaiveDate;
use chrono_tz::Tz;
use domain::filter::Filter;
use poem_openapi::{Object, types::Example};

use crate::http::request::input::{Fields, Input};

/// Which records are meant. An absent field does not narrow the choice.
#[derive(Object, Default)]
#[oai(rename = "RecordFilter", example)]
pub struct FilterInput {
    /// The first day, included. If a day is given, only kinds with days are meant. Days are those of the time zone that
    /// the caller's work profile has when the request is made.
    #[oai(skip_serializing_if_is_none)]
    pub from: Option<NaiveDate>,
    /// The last day, included. If a day is given, only kinds with days are meant.
    #[oai(skip_serializing_if_is_none)]
    pub to: Option<NaiveDate>,
    /// The names of the kinds that are meant, at least one; absent: all kinds.
    #[oai(skip_serializing_if_is_none)]
    pub kinds: Option<Vec<String>>,
    /// The type of test that is meant. If it is given, only kinds with tests are meant.
    #[oai(skip_serializing_if_is_none)]
    pub test_type: Option<String>,
}

impl Example for FilterInput {
    fn example() -> Self {
        let (from, to) = (NaiveDate::from_ymd_opt(2025, 1, 1), NaiveDate::from_ymd_opt(2025, 3, 31));
        Self { from, to, kinds: Some(vec!["work_day".to_owned()]), test_type: None }
    }
}

impl FilterInput {
    /// The filter, with days in the caller's time zone.
    pub fn filter(self, zone: Tz) -> Filter {
        let Self { from, to, kinds, test_type } = self;
        Filter { from, to, kinds, test_type, time_zone: None }.in_zone(zone)
    }
}

impl From<Filter> for FilterInput {
    fn from(filter: Filter) -> Self {
        Self { from: filter.from, to: filter.to, kinds: filter.kinds, test_type: filter.test_type }
    }
}

impl Input for FilterInput {
    fn read(fields: &mut Fields) -> Option<Self> {
        read(fields)
    }
}

/// Reads a filter, either as a field of another object or by itself.
pub fn read(fields: &mut Fields) -> Option<FilterInput> {
    Some(FilterInput {
        from: fields.date_or_none("from"),
        to: fields.date_or_none("to"),
        kinds: fields.texts_or_none("kinds"),
        test_type: fields.text_or_none("test_type"),
    })
}
