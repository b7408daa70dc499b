//! Retention: for how long records of a kind are kept after their last change. The kind has a rule; a person may set another
//! for themselves (requirement 252, R11.3). One stream a person and kind.

use cqrs_es::{Aggregate, DomainEvent, event_sink::EventSink};
use serde::{Deserialize, Serialize};

/// The longest time that can be set: a hundred years.
pub const MOST_DAYS: u32 = 36_500;

/// A person's own rule for a kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Retention {
    days: Option<u32>,
}

/// What may be done.
#[derive(Clone, Debug)]
pub struct RetentionCommand {
    /// The kind's name.
    pub kind: String,
    /// Days after the last change; none: the kind's own rule again.
    pub days: Option<u32>,
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
    },
}

impl DomainEvent for RetentionEvent {
    fn event_type(&self) -> String {
        "retention.set".to_owned()
    }
    fn event_version(&self) -> String {
        "1.0".to_owned()
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
        if command.days != self.days {
            sink.write(RetentionEvent::Set { kind: command.kind, days: command.days }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: RetentionEvent) {
        let RetentionEvent::Set { days, .. } = event;
        self.days = days;
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    #[test]
    fn a_rule_is_set_within_bounds_and_once() {
        let given = |events: Vec<RetentionEvent>| TestFramework::<Retention>::with(()).given(events);
        let set = |days| RetentionCommand { kind: "work_day".to_owned(), days };
        let done = |days| RetentionEvent::Set { kind: "work_day".to_owned(), days };
        given(vec![]).when(set(Some(30))).then_expect_events(vec![done(Some(30))]);
        given(vec![]).when(set(None)).then_expect_events(vec![]);
        given(vec![done(Some(30))]).when(set(Some(30))).then_expect_events(vec![]);
        given(vec![done(Some(30))]).when(set(None)).then_expect_events(vec![done(None)]);
        given(vec![]).when(set(Some(0))).then_expect_error(RetentionError::OutOfRange);
        given(vec![]).when(set(Some(MOST_DAYS + 1))).then_expect_error(RetentionError::OutOfRange);
        let stored = r#"{"Set":{"kind":"work_day","days":null}}"#;
        assert_eq!(serde_json::to_string(&done(None)).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<RetentionEvent>(stored).expect("loads"), done(None));
    }
}
