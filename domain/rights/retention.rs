//! Retention: for how long records of a kind are kept after their last change. The kind has a rule; a person may set another
//! for themselves (requirement 252, R11.3). One stream a person and kind.
//!
//! A rule that keeps longer counts at once. One that keeps shorter leads to a loss of data, so it waits for a grace, in which the
//! rule before it counts and can be set again: whoever has somebody's session for a moment deletes nothing by it.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::event_types;

/// The longest time that can be set: a hundred years.
pub const MOST_DAYS: u32 = 36_500;

/// A person's own rule for a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    days: Option<u32>,
    waits: Option<Waits>,
}

/// What counts until a shorter rule takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// The rule before it, in days; none: the kind's own.
    pub before: Option<u32>,
    /// When the new rule takes effect.
    pub until: DateTime<Utc>,
}

/// What may be done.
#[derive(Clone, Debug)]
pub struct RetentionCommand {
    /// The kind's name.
    pub kind: String,
    /// Days after the last change; none: the kind's own rule again.
    pub days: Option<u32>,
    /// The kind's own rule, in days; none: as long as the account.
    pub kind_days: Option<u32>,
    /// How long a shorter rule waits.
    pub grace: TimeDelta,
    /// The present time.
    pub now: DateTime<Utc>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionEvent {
    /// A rule was set, or taken back.
    Set {
        /// The kind's name.
        kind: String,
        /// Days after the last change; none: the kind's own rule again.
        days: Option<u32>,
        /// What counts meanwhile, where the rule is shorter than the one before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits: Option<Waits>,
    },
}

event_types! {
    RetentionEvent "1.0" {
        Set = "retention.set",
    }
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// The number of days cannot be kept.
    #[error("days must be 1 to {MOST_DAYS}")]
    OutOfRange,
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

/// The person's own rule that counts at a time: the newest one, or the one before it while that waits. None: the kind's own.
pub fn in_force(days: Option<u32>, waits: Option<Waits>, now: DateTime<Utc>) -> Option<u32> {
    match waits {
        Some(Waits { before, until }) if now < until => before,
        _ => days,
    }
}

/// Whether a rule keeps for a shorter time than another; none keeps as long as the account.
fn is_shorter(days: Option<u32>, than: Option<u32>) -> bool {
    match (days, than) {
        (Some(days), Some(than)) => days < than,
        (Some(_), None) => true,
        (None, _) => false,
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

    /// Sets a rule for a kind that is kept as long as the account, or by a rule of its own.
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
        // Back to a kind's own rule, which is the shorter one.
        let back = waits(None, Some(400), 48);
        given(vec![done(Some(400))]).when(set(None, Some(365), 0)).then_expect_events(vec![back]);
    }

    #[test]
    fn while_a_rule_waits_the_one_before_it_counts_whatever_is_set_meanwhile() {
        let waiting = || vec![waits(Some(30), Some(400), 48)];
        // Shortened again and again: each waits anew, behind the rule that counted all the time.
        given(waiting()).when(set(Some(1), None, 47)).then_expect_events(vec![waits(Some(1), Some(400), 95)]);
        given(waiting()).when(set(Some(60), None, 47)).then_expect_events(vec![waits(Some(60), Some(400), 95)]);
        given(waiting()).when(set(Some(400), None, 47)).then_expect_events(vec![done(Some(400))]);
        given(waiting()).when(set(None, None, 47)).then_expect_events(vec![done(None)]);
        // Once it has taken effect it is the rule that counts.
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
