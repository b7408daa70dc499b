//! Pages of lists.
//!
//! A page begins behind the place of a row in the order of its list, and never behind a number of rows. So a row that is
//! added meanwhile neither repeats nor hides another one. A row that changes meanwhile moves to the front of a list that
//! has the newest change first, and whoever is past the front sees it with the next look. The last page costs no more
//! than the first, but for lists that have to be read whole ([`Page::choose`]).

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The part of a list that is asked for. `P` is the place of a row in the order of the list.
#[derive(Clone, Copy, Debug)]
pub struct Page<P> {
    /// The place behind which the page begins; `None`: the beginning of the list.
    pub after: Option<P>,
    /// The most rows of the page; `None`: all.
    pub limit: Option<usize>,
}

/// A time as a part of a place, in microseconds since 1970. Refuses a time that no list of ours has, because the
/// database would not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Moment(pub DateTime<Utc>);

/// The place of a row in the order of time; rows of one moment stand in the order of their ids.
pub type TimedPlace = (Moment, Uuid);

impl<P> Page<P> {
    /// The whole list.
    pub fn all() -> Self {
        Self { after: None, limit: None }
    }

    /// How many rows to read at most: one more than the page has, because it tells whether another page follows.
    pub(crate) fn rows(&self) -> Option<i64> {
        self.limit.map(|limit| i64::try_from(limit + 1).unwrap_or(i64::MAX))
    }

    /// Cuts the rows that were read down to the page. Returns the place of its last row too, if another page follows.
    pub fn cut<T>(&self, mut rows: Vec<T>, place: impl Fn(&T) -> P) -> (Vec<T>, Option<P>) {
        let more = self.limit.is_some_and(|limit| rows.len() > limit);
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        let last = rows.last().filter(|_| more).map(place);
        (rows, last)
    }
}

impl Page<TimedPlace> {
    /// The time and the id before which the page of a list begins that has the newest first.
    pub(crate) fn before(&self) -> (DateTime<Utc>, Uuid) {
        self.after.map_or((DateTime::<Utc>::MAX_UTC, Uuid::max()), |(Moment(at), id)| (at, id))
    }
}

impl<P: Ord> Page<P> {
    /// The page of a list that has to be read as a whole, because its order stands in sealed values or all of it is
    /// counted.
    pub fn choose<T>(&self, mut rows: Vec<T>, place: impl Fn(&T) -> P) -> (Vec<T>, Option<P>) {
        rows.retain(|row| self.after.as_ref().is_none_or(|after| place(row) > *after));
        rows.sort_by_cached_key(&place);
        self.cut(rows, place)
    }
}

impl From<Moment> for i64 {
    fn from(Moment(time): Moment) -> Self {
        time.timestamp_micros()
    }
}

impl TryFrom<i64> for Moment {
    type Error = &'static str;

    fn try_from(micros: i64) -> Result<Self, Self::Error> {
        let time = DateTime::from_timestamp_micros(micros).filter(|time| (1970..=9999).contains(&time.year()));
        time.map(Self).ok_or("is no time that a list of ours has")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(page: Page<u32>, rows: &[u32]) -> (Vec<u32>, Option<u32>) {
        page.choose(rows.to_vec(), |row| *row)
    }

    #[test]
    fn a_page_says_where_the_next_one_begins_if_there_is_one() {
        let page = |after, limit| Page { after, limit: Some(limit) };
        assert_eq!(numbers(page(None, 2), &[3, 1, 2]), (vec![1, 2], Some(2)));
        assert_eq!(numbers(page(Some(2), 2), &[3, 1, 2]), (vec![3], None));
        assert_eq!(numbers(page(Some(1), 2), &[3, 1, 2]), (vec![2, 3], None));
        assert_eq!(numbers(page(None, 2), &[]), (vec![], None));
        assert_eq!(numbers(Page::all(), &[3, 1, 2]), (vec![1, 2, 3], None));
        assert_eq!((page(None, 2).rows(), Page::<u32>::all().rows()), (Some(3), None));
    }

    #[test]
    fn a_moment_is_one_that_the_database_holds() {
        let moment: Moment = serde_json::from_str("1767225600123456").expect("a moment");
        assert_eq!(moment.0.to_rfc3339(), "2026-01-01T00:00:00.123456+00:00");
        assert_eq!(serde_json::to_string(&moment).expect("JSON"), "1767225600123456");
        for wrong in ["-1", "9223372036854775807", "253402300800000000", "\"2026-01-01T00:00:00Z\""] {
            assert!(serde_json::from_str::<Moment>(wrong).is_err(), "{wrong}");
        }
    }
}
