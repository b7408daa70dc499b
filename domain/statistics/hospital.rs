//! The public list of hospitals that have cells in the table by hospital, and the quarter from which on the list
//! counts.
//!
//! A list is fixed before its quarter begins, so that nobody can choose cells after seeing who submitted data: a
//! hospital that is added counts from the next quarter on. The log holds the hash of each list, and a release with
//! another list is refused.

use chrono::NaiveDate;
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    event::{About, Described, event_types},
    quarter::Quarter,
    refusal::{Refused, Rule},
};

/// A list, as the log holds it: its length and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub count: u32,
    /// SHA-256 over their ids in order, each followed by a line feed; hexadecimal.
    pub sha256: String,
}

/// A list that counts from a quarter on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixed {
    /// The first quarter, such as `2025-Q1`.
    pub from: String,
    #[serde(flatten)]
    pub listing: Listing,
}

/// All lists that were fixed, the earliest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HospitalLists {
    fixed: Vec<Fixed>,
}

impl HospitalLists {
    /// The quarter from which on a hospital that is added today counts: the next quarter. As long as nobody has
    /// registered, it counts for any quarter.
    pub fn counts_from(today: NaiveDate, is_first: bool) -> Quarter {
        if is_first { Quarter::of(NaiveDate::default()) } else { Quarter::of(today).next() }
    }

    /// The list of a quarter; `None` if the log holds none.
    pub fn of(&self, period: Quarter) -> Option<&Listing> {
        let covers = |fixed: &&Fixed| fixed.from.parse().is_ok_and(|from: Quarter| from <= period);
        self.fixed.iter().rfind(covers).map(|fixed| &fixed.listing)
    }

    pub fn fixed(&self) -> &[Fixed] {
        &self.fixed
    }
}

/// Fixes the list that counts from a quarter on.
#[derive(Clone, Debug)]
pub struct FixList {
    pub from: Quarter,
    /// The whole list, including the hospitals that were on it before.
    pub listing: Listing,
    /// The present day, in UTC.
    pub today: NaiveDate,
    /// Whether nobody has registered yet, so that the choice cannot depend on anybody's data.
    pub is_first: bool,
}

/// Each event carries all lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListEvent {
    Listed(Vec<Fixed>),
}

event_types! {
    ListEvent "1.0" {
        Listed = "stats.hospitals_listed",
    }
}

impl Described for HospitalLists {
    const ABOUT: About = About::Nobody;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("{0} has begun; the hospitals are fixed before the quarter they count for")]
    Begun(Quarter),
}

impl Rule for ListError {
    fn refused(&self) -> Refused {
        Refused::invalid("from", self.to_string())
    }
}

impl Aggregate for HospitalLists {
    const TYPE: &'static str = "plan";
    type Command = FixList;
    type Event = ListEvent;
    type Error = ListError;
    type Services = ();

    async fn handle(&mut self, command: FixList, _: &(), sink: &EventSink<Self>) -> Result<(), ListError> {
        let FixList { from, listing, today, is_first } = command;
        let earlier = |fixed: &&Fixed| fixed.from.parse().is_ok_and(|begins: Quarter| begins < from);
        let mut fixed: Vec<Fixed> = self.fixed.iter().filter(earlier).cloned().collect();
        fixed.push(Fixed { from: from.to_string(), listing });
        if fixed == self.fixed {
            return Ok(());
        }
        if from.first_day() <= today && !is_first {
            return Err(ListError::Begun(from));
        }
        sink.write(ListEvent::Listed(fixed), self).await;
        Ok(())
    }

    fn apply(&mut self, event: ListEvent) {
        let ListEvent::Listed(fixed) = event;
        self.fixed = fixed;
    }
}

#[cfg(test)]
pub(crate) mod histories {
    use proptest::prelude::*;

    use super::*;
    use crate::whole_state::{Changes, Checked, day, quarter, word};

    impl Checked for HospitalLists {
        const CHANGES: &[Changes] = &[Changes { event: "stats.hospitals_listed", sets: &["fixed"], clears: &[] }];

        fn commands() -> BoxedStrategy<FixList> {
            (quarter(), listing(), day(), any::<bool>())
                .prop_map(|(from, listing, today, is_first)| FixList { from, listing, today, is_first })
                .boxed()
        }
    }

    pub(crate) fn listing() -> impl Strategy<Value = Listing> {
        (0..4_u32, word()).prop_map(|(count, sha256)| Listing { count, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn listing(count: u32) -> Listing {
        Listing { count, sha256: format!("{count:02}") }
    }

    fn fix(from: &str, count: u32, today: &str, is_first: bool) -> FixList {
        FixList { from: from.parse().expect("a quarter"), listing: listing(count), today: date(today), is_first }
    }

    fn listed(all: &[(&str, u32)]) -> ListEvent {
        ListEvent::Listed(
            all.iter().map(|(from, count)| Fixed { from: (*from).to_owned(), listing: listing(*count) }).collect(),
        )
    }

    fn given(events: Vec<ListEvent>) -> cqrs_es::test::AggregateTestExecutor<HospitalLists> {
        TestFramework::<HospitalLists>::with(()).given(events)
    }

    #[test]
    fn a_list_is_fixed_before_its_quarter() {
        let known = || vec![listed(&[("1970-Q1", 3)])];
        given(known())
            .when(fix("2026-Q1", 4, "2025-12-31", false))
            .then_expect_events(vec![listed(&[("1970-Q1", 3), ("2026-Q1", 4)])]);
        let begun = ListError::Begun("2026-Q1".parse().expect("a quarter"));
        given(known()).when(fix("2026-Q1", 4, "2026-01-01", false)).then_expect_error(begun);
        given(known()).when(fix("1970-Q1", 3, "2026-01-01", false)).then_expect_events(vec![]);
        // Allowed before anybody registered, and later until the quarter begins.
        given(vec![]).when(fix("1970-Q1", 3, "2026-01-01", true)).then_expect_events(known());
        given(vec![listed(&[("1970-Q1", 3), ("2026-Q1", 4)])])
            .when(fix("2026-Q1", 5, "2025-12-31", false))
            .then_expect_events(vec![listed(&[("1970-Q1", 3), ("2026-Q1", 5)])]);
    }

    #[test]
    fn a_quarter_has_the_list_that_was_fixed_before_it() {
        let mut lists = HospitalLists::default();
        lists.apply(listed(&[("2025-Q3", 3), ("2026-Q1", 4)]));
        for (period, count) in [("2025-Q2", None), ("2025-Q3", Some(3)), ("2025-Q4", Some(3)), ("2027-Q1", Some(4))] {
            let found = lists.of(period.parse().expect("a quarter")).map(|listing| listing.count);
            assert_eq!(found, count, "{period}");
        }
        assert_eq!(HospitalLists::counts_from(date("2025-12-31"), false).to_string(), "2026-Q1");
        assert_eq!(HospitalLists::counts_from(date("2025-12-31"), true).to_string(), "1970-Q1");
    }

    #[test]
    fn stored_events_of_every_version_load() {
        let stored = r#"{"Listed":[{"from":"2026-Q1","count":4,"sha256":"04"}]}"#;
        let event = listed(&[("2026-Q1", 4)]);
        assert_eq!(serde_json::to_string(&event).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<ListEvent>(stored).expect("loads"), event);
    }
}
