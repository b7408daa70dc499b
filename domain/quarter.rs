//! Quarters: the periods of statistics, and the buckets in which records with dates are filed.

use std::{fmt, str::FromStr};

use chrono::{Datelike, NaiveDate};

/// A quarter of a year; prints as `2025-Q1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quarter {
    year: i32,
    number: u32,
}

impl Quarter {
    pub fn of(date: NaiveDate) -> Self {
        Self { year: date.year(), number: date.month0() / 3 + 1 }
    }

    pub fn next(self) -> Self {
        if self.number == 4 {
            Self { year: self.year + 1, number: 1 }
        } else {
            Self { number: self.number + 1, ..self }
        }
    }

    pub fn previous(self) -> Self {
        if self.number == 1 {
            Self { year: self.year - 1, number: 4 }
        } else {
            Self { number: self.number - 1, ..self }
        }
    }

    pub fn first_day(self) -> NaiveDate {
        NaiveDate::from_ymd_opt(self.year, self.number * 3 - 2, 1).expect("a quarter begins on a date")
    }

    pub fn last_day(self) -> NaiveDate {
        self.next().first_day().pred_opt().expect("a day comes before every quarter but the first of all time")
    }

    /// The newest quarter that is over on a day. A quarter is not over on its last day.
    pub fn last_closed_before(today: NaiveDate) -> Self {
        let before = Self::of(today).first_day().pred_opt();
        Self::of(before.expect("a day comes before every quarter but the first of all time"))
    }

    /// All quarters that touch the days from `from` to `to`, both included.
    pub fn between(from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = Self> {
        let last = Self::of(to);
        std::iter::successors(Some(Self::of(from)), |quarter| Some(quarter.next()))
            .take_while(move |quarter| *quarter <= last)
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-Q{}", self.year, self.number)
    }
}

impl FromStr for Quarter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "must be a quarter such as 2025-Q1";
        let (year, number) = text.split_once("-Q").ok_or(SHAPE)?;
        let plain = year.len() == 4 && year.bytes().all(|digit| digit.is_ascii_digit());
        let month = match number {
            "1" => 1,
            "2" => 4,
            "3" => 7,
            "4" => 10,
            _ => return Err(SHAPE),
        };
        let first = year.parse().ok().and_then(|year| NaiveDate::from_ymd_opt(year, month, 1));
        first.filter(|_| plain).map(Self::of).ok_or(SHAPE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_read_as_they_print() {
        for text in ["2025-Q1", "1999-Q4"] {
            assert_eq!(text.parse::<Quarter>().expect("a quarter").to_string(), text);
        }
        for text in ["2025-Q5", "2025-Q0", "25-Q1", "2025Q1", "2025-Q1x", "+025-Q1", "", "-Q1"] {
            assert!(text.parse::<Quarter>().is_err(), "{text}");
        }
    }

    #[test]
    fn quarters_of_a_range() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a date");
        let names: Vec<String> =
            Quarter::between(day(2025, 12, 31), day(2026, 4, 1)).map(|quarter| quarter.to_string()).collect();
        assert_eq!(names, ["2025-Q4", "2026-Q1", "2026-Q2"]);
        assert_eq!(Quarter::of(day(2026, 6, 30)).first_day(), day(2026, 4, 1));
        assert_eq!(Quarter::of(day(2024, 2, 29)).last_day(), day(2024, 3, 31));
        assert_eq!(Quarter::last_closed_before(day(2025, 3, 31)).to_string(), "2024-Q4");
        assert_eq!(Quarter::last_closed_before(day(2025, 4, 1)).to_string(), "2025-Q1");
        assert_eq!(Quarter::between(day(2026, 2, 1), day(2025, 2, 1)).count(), 0);
        let first = Quarter::of(day(2026, 1, 1));
        assert_eq!((first.previous().to_string().as_str(), first.previous().next()), ("2025-Q4", first));
    }
}
