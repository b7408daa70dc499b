//! Records: one thing that a person gave us. A second submission amends the record. Each event carries the whole body,
//! or says that the record was removed.

use chrono::NaiveDate;
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    Body, Fault, Kind,
    event::{About, Described, event_types},
    refusal::{Refused, Rule},
};

/// A record after its newest event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    #[default]
    Absent,
    Living(Body),
    Removed,
}

#[derive(Clone)]
pub enum RecordCommand {
    /// Submits the record, or amends it if it exists.
    Submit {
        /// The kind whose rules the body must follow.
        kind: &'static Kind,
        body: Body,
        /// The date where the person is.
        today: NaiveDate,
    },
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordEvent {
    Submitted {
        /// The whole body.
        body: Body,
    },
    Amended {
        /// The whole new body.
        body: Body,
    },
    Removed {},
}

event_types! {
    RecordEvent "1.0" {
        Submitted = "record.submitted",
        Amended = "record.amended",
        Removed = "record.removed",
    }
}

impl Described for Record {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = true;
    const LEDGER: &'static [&'static str] = &["removed"];
    const REBUILT_IN: &'static [&'static str] = &["records"];
}

impl RecordEvent {
    /// The body after this event; `None` if the record was removed.
    pub fn body(self) -> Option<Body> {
        match self {
            Self::Submitted { body } | Self::Amended { body } => Some(body),
            Self::Removed {} => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The body breaks rules of its kind.
    #[error("{} faults in the body", .0.len())]
    Invalid(Vec<Fault>),
    /// The record was never submitted, or it was removed.
    #[error("there is no such record")]
    Missing,
}

impl Rule for RecordError {
    fn refused(&self) -> Refused {
        match self {
            Self::Invalid(faults) => Refused::Invalid(faults.clone()),
            Self::Missing => Refused::NotFound("record"),
        }
    }
}

impl Aggregate for Record {
    const TYPE: &'static str = "record";
    type Command = RecordCommand;
    type Event = RecordEvent;
    type Error = RecordError;
    type Services = ();

    async fn handle(&mut self, command: RecordCommand, _: &(), sink: &EventSink<Self>) -> Result<(), RecordError> {
        match command {
            RecordCommand::Submit { kind, body, today } => {
                let faults = kind.faults(&body, today);
                if !faults.is_empty() {
                    return Err(RecordError::Invalid(faults));
                }
                match self {
                    Self::Absent => sink.write(RecordEvent::Submitted { body }, self).await,
                    Self::Living(present) if *present == body => {}
                    Self::Living(_) => sink.write(RecordEvent::Amended { body }, self).await,
                    Self::Removed => return Err(RecordError::Missing),
                }
            }
            RecordCommand::Remove => match self {
                Self::Living(_) => sink.write(RecordEvent::Removed {}, self).await,
                Self::Absent | Self::Removed => return Err(RecordError::Missing),
            },
        }
        Ok(())
    }

    fn apply(&mut self, event: RecordEvent) {
        *self = event.body().map_or(Self::Removed, Self::Living);
    }
}

#[cfg(test)]
mod histories {
    use std::fmt;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        kinds::{KINDS, Shape, WORK_DAY, WorkDay},
        whole_state::{Changes, Checked},
    };

    impl fmt::Debug for RecordCommand {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Submit { kind, .. } => write!(f, "Submit({})", kind.name()),
                Self::Remove => f.write_str("Remove"),
            }
        }
    }

    impl Checked for Record {
        const CHANGES: &[Changes] = &[
            Changes { event: "record.submitted", sets: &[], clears: &[] },
            Changes { event: "record.amended", sets: &["body"], clears: &["body"] },
            Changes { event: "record.removed", sets: &["state"], clears: &["body"] },
        ];

        /// A record has one kind, and examples of a kind are alike. So most commands submit the same work day with
        /// different minutes, and the examples of all kinds show that each body can be stored and loaded again.
        fn commands() -> BoxedStrategy<RecordCommand> {
            let today = "2026-03-02".parse().expect("a date");
            let day = (0..3_u16).prop_map(move |minutes| {
                let day = WorkDay { date: today, actual_minutes: 500 + minutes, ..WorkDay::example() };
                RecordCommand::Submit { kind: WORK_DAY, body: day.to_body(), today }
            });
            let example = (0..KINDS.len()).prop_map(move |kind| RecordCommand::Submit {
                kind: KINDS[kind],
                body: KINDS[kind].example(),
                today,
            });
            prop_oneof![8 => day, 4 => example, 1 => Just(RecordCommand::Remove)].boxed()
        }

        fn fields(&self) -> Value {
            match self {
                Self::Absent => json!({ "state": "absent" }),
                Self::Living(body) => json!({ "state": "living", "body": body.reveal() }),
                Self::Removed => json!({ "state": "removed" }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::{AggregateTestExecutor, TestFramework};

    use super::*;
    use crate::{
        Source,
        kinds::{Shape, WORK_DAY, WorkDay},
    };

    fn day(minutes: u16) -> Body {
        let date = "2026-03-02".parse().expect("a date");
        WorkDay { date, planned_minutes: 480, actual_minutes: minutes, source: Source::Geofence }.to_body()
    }

    fn submit(minutes: u16) -> RecordCommand {
        RecordCommand::Submit { kind: WORK_DAY, body: day(minutes), today: "2026-03-02".parse().expect("a date") }
    }

    fn given(events: Vec<RecordEvent>) -> AggregateTestExecutor<Record> {
        TestFramework::<Record>::with(()).given(events)
    }

    #[test]
    fn a_record_is_submitted_amended_and_removed() {
        given(vec![]).when(submit(500)).then_expect_events(vec![RecordEvent::Submitted { body: day(500) }]);
        given(vec![RecordEvent::Submitted { body: day(500) }])
            .when(submit(510))
            .then_expect_events(vec![RecordEvent::Amended { body: day(510) }]);
        given(vec![RecordEvent::Submitted { body: day(500) }])
            .when(RecordCommand::Remove)
            .then_expect_events(vec![RecordEvent::Removed {}]);
    }

    #[test]
    fn the_same_body_again_adds_no_event() {
        given(vec![RecordEvent::Amended { body: day(500) }]).when(submit(500)).then_expect_events(vec![]);
    }

    #[test]
    fn faults_and_removed_records_are_refused() {
        given(vec![]).when(submit(1441)).then_expect_error(RecordError::Invalid(vec![Fault::new(
            "actual_minutes",
            "must be at most 1440, the minutes of a day",
        )]));
        given(vec![RecordEvent::Removed {}]).when(submit(500)).then_expect_error(RecordError::Missing);
        given(vec![]).when(RecordCommand::Remove).then_expect_error(RecordError::Missing);
    }

    #[test]
    fn debug_output_of_an_event_shows_nothing_of_its_body() {
        let shown = format!("{:?}", RecordEvent::Submitted { body: day(503) });
        assert!(!shown.contains("503"), "{shown}");
    }

    #[test]
    fn stored_events_of_every_version_load() {
        let stored = r#"{"Submitted":{"body":{"actual_minutes":500,"date":"2026-03-02","planned_minutes":480,"source":"geofence"}}}"#;
        assert_eq!(
            serde_json::from_str::<RecordEvent>(stored).expect("loads"),
            RecordEvent::Submitted { body: day(500) }
        );
        assert_eq!(serde_json::to_string(&RecordEvent::Submitted { body: day(500) }).expect("stores"), stored);
        assert_eq!(serde_json::to_string(&RecordEvent::Removed {}).expect("stores"), r#"{"Removed":{}}"#);
    }
}
