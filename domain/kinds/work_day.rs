//! The work day kind: one confirmed day, with planned and actual time in whole minutes. A person has one record for
//! each date.

use chrono::{Months, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::{
    Fault, Source,
    kinds::{Shape, kind::Kind},
    rights::consent::Purpose,
};

pub const WORK_DAY: &Kind = &Kind::of_shape::<WorkDay>();

/// The minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;
const OLDEST_YEARS: u32 = 10;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkDay {
    pub date: NaiveDate,
    /// Planned work, 0 to 1440 minutes.
    pub planned_minutes: u16,
    /// Actual work, 0 to 1440 minutes.
    pub actual_minutes: u16,
    pub source: Source,
}

impl Shape for WorkDay {
    const NAME: &'static str = "work_day";
    const TITLE: &'static str = "Your confirmed work days";
    const KEY_FIELD: &'static str = "date";
    const PURPOSE: Option<Purpose> = Some(Purpose::WorkHours);
    const IS_DATED: bool = true;

    fn example() -> Self {
        let date = NaiveDate::from_ymd_opt(2025, 12, 8).expect("a date");
        Self { date, planned_minutes: 510, actual_minutes: 552, source: Source::Geofence }
    }

    fn faults(&self, today: NaiveDate) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.date > today {
            faults.push(Fault::new("date", "must not lie in the future, where you are"));
        }
        if today.checked_sub_months(Months::new(12 * OLDEST_YEARS)).is_some_and(|oldest| self.date < oldest) {
            faults.push(Fault::new("date", "must not lie more than ten years back"));
        }
        for (field, minutes) in [("planned_minutes", self.planned_minutes), ("actual_minutes", self.actual_minutes)] {
            if minutes > DAY_MINUTES {
                faults.push(Fault::new(field, "must be at most 1440, the minutes of a day"));
            }
        }
        faults
    }

    fn natural_key(&self) -> String {
        self.date.to_string()
    }

    fn date(&self) -> Option<NaiveDate> {
        Some(self.date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn fields(work_day: &WorkDay) -> Vec<String> {
        work_day.faults(day("2026-03-02")).into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn a_day_lies_between_ten_years_ago_and_today() {
        let good =
            WorkDay { date: day("2026-03-02"), planned_minutes: 0, actual_minutes: 1440, source: Source::Manual };
        assert!(fields(&good).is_empty());
        assert_eq!(fields(&WorkDay { date: day("2026-03-03"), ..good.clone() }), ["date"]);
        assert_eq!(fields(&WorkDay { date: day("2016-03-01"), ..good.clone() }), ["date"]);
        assert_eq!(fields(&WorkDay { planned_minutes: 1441, ..good }), ["planned_minutes"]);
    }
}
