//! Retention: how long records of a kind are kept after their last change. The kind has a rule, and a person may set
//! another rule for themselves (requirement 252, R11.3). There is one stream for each person and kind.
//!
//! A rule that keeps records longer counts at once. A rule that keeps them for a shorter time deletes data, so it waits
//! for a grace. During the grace the rule before it counts and can be set again, so that a thief who has somebody's
//! session for a moment cannot delete data.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    event::{About, Described, event_types},
    refusal::{Refused, Rule},
};

/// The longest time that can be set, in days: a hundred years.
pub const MOST_DAYS: u32 = 36_500;

/// A person's own rule for a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    days: Option<u32>,
    waits: Option<Waits>,
}

/// The rule that counts until a shorter rule takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// The rule before, in days. `None`: the kind's own rule.
    pub before: Option<u32>,
    /// When the new rule takes effect.
    pub until: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct RetentionCommand {
    pub kind: String,
    /// Days after the last change. `None`: the kind's own rule again.
    pub days: Option<u32>,
    /// The kind's own rule, in days. `None`: as long as the account exists.
    pub kind_days: Option<u32>,
    /// How long a shorter rule waits.
    pub grace: TimeDelta,
    pub now: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionEvent {
    /// A rule was set, or taken back.
    Set {
        kind: String,
        /// Days after the last change. `None`: the kind's own rule again.
        days: Option<u32>,
        /// The rule that counts during the grace; absent if the new rule is not shorter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits: Option<Waits>,
    },
}

event_types! {
    RetentionEvent "1.0" {
        Set = "retention.set",
    }
}

impl Described for Retention {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &["retention"];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    #[error("days must be 1 to {MOST_DAYS}")]
    OutOfRange,
}

impl Rule for RetentionError {
    fn refused(&self) -> Refused {
        Refused::invalid("data_retention_days", self.to_string())
    }
}

impl Aggregate for Retention {
    const TYPE: &'static str = "retention";
    type Command = RetentionCommand;
    type Event = RetentionEvent;
    type Error = RetentionError;
    type Services = ();

    async fn handle(
        &mut self,
        command: RetentionCommand,
        _: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), RetentionError> {
        if command.days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
            return Err(RetentionError::OutOfRange);
        }
        let RetentionCommand { kind, days, kind_days, grace, now } = command;
        if days == self.days {
            return Ok(());
        }
        let before = in_force(self.days, self.waits, now);
        let shorter = is_shorter(days.or(kind_days), before.or(kind_days));
        let waits = shorter.then(|| Waits { before, until: now + grace });
        sink.write(RetentionEvent::Set { kind, days, waits }, self).await;
        Ok(())
    }

    fn apply(&mut self, event: RetentionEvent) {
        let RetentionEvent::Set { days, waits, .. } = event;
        *self = Self { days, waits };
    }
}

/// The person's own rule that counts at a time: the newest rule, or the one before it while the newest waits. `None`:
/// the kind's own rule.
pub fn in_force(days: Option<u32>, waits: Option<Waits>, now: DateTime<Utc>) -> Option<u32> {
    match waits {
        Some(Waits { before, until }) if now < until => before,
        _ => days,
    }
}

/// Whether a rule keeps records for a shorter time than another rule. `None` keeps them as long as the account exists.
fn is_shorter(days: Option<u32>, than: Option<u32>) -> bool {
    match (days, than) {
        (Some(days), Some(than)) => days < than,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod histories {
    use chrono::TimeDelta;

    use proptest::{option, prelude::*};

    use super::*;
    use crate::whole_state::{Changes, Checked, time};

    impl Checked for Retention {
        const CHANGES: &[Changes] =
            &[Changes { event: "retention.set", sets: &["days", "waits"], clears: &["days", "waits"] }];

        fn commands() -> BoxedStrategy<RetentionCommand> {
            (option::of(0..9_u32), option::of(1..9_u32), 0..48_i64, time())
                .prop_map(|(days, kind_days, hours, now)| RetentionCommand {
                    kind: "work_day".to_owned(),
                    days,
                    kind_days,
                    grace: TimeDelta::hours(hours),
                    now,
                })
                .boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::{AggregateTestExecutor, TestFramework};

    use super::*;

    const GRACE: TimeDelta = TimeDelta::hours(48);

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn given(events: Vec<RetentionEvent>) -> AggregateTestExecutor<Retention> {
        TestFramework::<Retention>::with(()).given(events)
    }

    /// Sets a rule. `kind_days` is the kind's own rule; `None`: as long as the account exists.
    fn set(days: Option<u32>, kind_days: Option<u32>, hours: i64) -> RetentionCommand {
        RetentionCommand { kind: "work_day".to_owned(), days, kind_days, grace: GRACE, now: at(hours) }
    }

    fn done(days: Option<u32>) -> RetentionEvent {
        RetentionEvent::Set { kind: "work_day".to_owned(), days, waits: None }
    }

    fn waits(days: Option<u32>, before: Option<u32>, hours: i64) -> RetentionEvent {
        let waits = Some(Waits { before, until: at(hours) });
        RetentionEvent::Set { kind: "work_day".to_owned(), days, waits }
    }

    #[test]
    fn a_rule_is_set_within_bounds_and_once() {
        given(vec![]).when(set(None, None, 0)).then_expect_events(vec![]);
        given(vec![done(Some(30))]).when(set(Some(30), None, 0)).then_expect_events(vec![]);
        given(vec![waits(Some(30), None, 48)]).when(set(Some(30), None, 40)).then_expect_events(vec![]);
        given(vec![]).when(set(Some(0), None, 0)).then_expect_error(RetentionError::OutOfRange);
        given(vec![]).when(set(Some(MOST_DAYS + 1), None, 0)).then_expect_error(RetentionError::OutOfRange);
    }

    #[test]
    fn what_keeps_longer_counts_at_once_and_what_keeps_shorter_waits() {
        given(vec![]).when(set(Some(30), None, 0)).then_expect_events(vec![waits(Some(30), None, 48)]);
        given(vec![]).when(set(Some(30), Some(365), 0)).then_expect_events(vec![waits(Some(30), None, 48)]);
        given(vec![]).when(set(Some(400), Some(365), 0)).then_expect_events(vec![done(Some(400))]);
        given(vec![done(Some(30))]).when(set(Some(31), None, 0)).then_expect_events(vec![done(Some(31))]);
        given(vec![done(Some(30))]).when(set(None, None, 0)).then_expect_events(vec![done(None)]);
        given(vec![done(Some(365))]).when(set(None, Some(365), 0)).then_expect_events(vec![done(None)]);
        // Back to the kind's own rule, which is the shorter one.
        let back = waits(None, Some(400), 48);
        given(vec![done(Some(400))]).when(set(None, Some(365), 0)).then_expect_events(vec![back]);
    }

    #[test]
    fn while_a_rule_waits_the_one_before_it_counts_whatever_is_set_meanwhile() {
        let waiting = || vec![waits(Some(30), Some(400), 48)];
        // Shortened again and again: each new rule waits for a whole grace, and the rule that counted before goes on
        // counting.
        given(waiting()).when(set(Some(1), None, 47)).then_expect_events(vec![waits(Some(1), Some(400), 95)]);
        given(waiting()).when(set(Some(60), None, 47)).then_expect_events(vec![waits(Some(60), Some(400), 95)]);
        given(waiting()).when(set(Some(400), None, 47)).then_expect_events(vec![done(Some(400))]);
        given(waiting()).when(set(None, None, 47)).then_expect_events(vec![done(None)]);
        // Once the new rule has taken effect, it is the rule that counts.
        given(waiting()).when(set(Some(60), None, 48)).then_expect_events(vec![done(Some(60))]);
        given(waiting()).when(set(Some(1), None, 48)).then_expect_events(vec![waits(Some(1), Some(30), 96)]);
    }

    #[test]
    fn stored_events_of_every_version_load() {
        for (event, stored) in [
            (done(None), r#"{"Set":{"kind":"work_day","days":null}}"#),
            (
                waits(Some(1), Some(30), 48),
                r#"{"Set":{"kind":"work_day","days":1,"waits":{"before":30,"until":"1970-01-03T00:00:00Z"}}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&event).expect("stores"), stored);
            assert_eq!(serde_json::from_str::<RetentionEvent>(stored).expect("loads"), event);
        }
    }
}
