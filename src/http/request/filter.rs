//! Filters of a request to export or to delete: which records are meant.

use chrono::NaiveDate;
use chrono_tz::Tz;
use domain::{Choice, TestType, filter::Filter};
use poem_openapi::Object;

use crate::http::types::{OneOf, name};

/// Which records are meant. An absent field does not narrow the choice.
#[derive(Object, Default)]
#[oai(rename = "RecordFilter")]
pub struct FilterInput {
    /// The first day, included. If a day is given, only kinds with days are meant. Days are those of the time zone that
    /// the caller's work profile has when the request is made.
    #[oai(skip_serializing_if_is_none)]
    pub from: Option<NaiveDate>,
    /// The last day, included. If a day is given, only kinds with days are meant.
    #[oai(skip_serializing_if_is_none)]
    pub to: Option<NaiveDate>,
    /// The names of the kinds that are meant, at least one; absent: all kinds.
    #[oai(skip_serializing_if_is_none, validator(min_items = 1))]
    pub kinds: Option<Vec<String>>,
    /// The type of test that is meant. If it is given, only kinds with tests are meant.
    #[oai(skip_serializing_if_is_none)]
    pub test_type: Option<OneOf<TestType>>,
}

impl FilterInput {
    /// The filter, with days in the caller's time zone.
    pub fn filter(self, zone: Tz) -> Filter {
        let Self { from, to, kinds, test_type } = self;
        Filter { from, to, kinds, test_type: test_type.map(name), time_zone: None }.in_zone(zone)
    }
}

impl From<Filter> for FilterInput {
    fn from(filter: Filter) -> Self {
        let test_type = filter.test_type.as_deref().and_then(TestType::parse).map(OneOf);
        Self { from: filter.from, to: filter.to, kinds: filter.kinds, test_type }
    }
}
