//! Alerts about suspicious patterns in the log. Each pattern of each actor is a stream. However often the pattern is
//! found, an alert is raised only once in a quiet period. An alert names random ids and never the content of data.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    choice::choice,
    event::{About, Described, event_types},
    refusal::{ProblemType, Refused, Rule},
};

choice! {
    /// How bad an alert is.
    Severity {
        /// Somebody should look at it.
        Warning = "warning",
        /// Somebody must look at it now.
        Critical = "critical",
    }
}

/// A suspicious pattern that a rule found in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// The name of the rule that found the pattern.
    pub rule: String,
    pub severity: Severity,
    /// The id of a session or of a person inside the log, a login of the database, or `server`.
    pub actor: String,
    /// How often the actor did what the rule counts.
    pub count: u64,
    /// When the actor did it for the first time, within the time that the rule looks back.
    pub since: DateTime<Utc>,
    /// When the suspension of the actor ends; `None` if the actor is not suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_until: Option<DateTime<Utc>>,
}

/// The newest alert about one pattern of one actor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    raised_at: Option<DateTime<Utc>>,
    pattern: Option<Pattern>,
    open: bool,
}

#[derive(Clone, Debug)]
pub enum AlertCommand {
    /// Raises an alert, unless the last one was raised less than `quiet` ago.
    Raise {
        pattern: Pattern,
        now: DateTime<Utc>,
        /// How long no second alert is raised.
        quiet: TimeDelta,
    },
    /// Notes that somebody takes care of the open alert.
    Acknowledge {
        /// The time of the acknowledgement.
        now: DateTime<Utc>,
    },
}

/// Each event carries the whole state of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertEvent {
    Raised {
        raised_at: DateTime<Utc>,
        #[serde(flatten)]
        pattern: Pattern,
    },
    Acknowledged {
        raised_at: DateTime<Utc>,
        #[serde(flatten)]
        pattern: Pattern,
        acknowledged_at: DateTime<Utc>,
    },
}

event_types! {
    AlertEvent "1.0" {
        Raised = "alert.raised",
        Acknowledged = "alert.acknowledged",
    }
}

const NOT_OPEN: ProblemType = ProblemType {
    name: "alert-not-open",
    title: "The alert is not open",
    advice: "Somebody looks after the alert already, or it was never raised. List the open alerts again.",
};

impl Described for Alert {
    const ABOUT: About = About::Nobody;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
    const CONFLICTS: &'static [ProblemType] = &[NOT_OPEN];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// No alert was raised, or the newest one is acknowledged already.
    #[error("there is no open alert")]
    NotOpen,
}

impl Rule for AlertError {
    fn refused(&self) -> Refused {
        Refused::explained(NOT_OPEN, format!("{self}."))
    }
}

impl Aggregate for Alert {
    const TYPE: &'static str = "alert";
    type Command = AlertCommand;
    type Event = AlertEvent;
    type Error = AlertError;
    type Services = ();

    async fn handle(&mut self, command: AlertCommand, _: &(), sink: &EventSink<Self>) -> Result<(), AlertError> {
        let event = match (command, self.raised_at, self.pattern.clone()) {
            (AlertCommand::Raise { now, quiet, .. }, Some(before), _) if now < before + quiet => return Ok(()),
            (AlertCommand::Raise { pattern, now, .. }, ..) => AlertEvent::Raised { raised_at: now, pattern },
            (AlertCommand::Acknowledge { now }, Some(raised_at), Some(pattern)) if self.open => {
                AlertEvent::Acknowledged { raised_at, pattern, acknowledged_at: now }
            }
            (AlertCommand::Acknowledge { .. }, ..) => return Err(AlertError::NotOpen),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: AlertEvent) {
        self.open = matches!(event, AlertEvent::Raised { .. });
        let (AlertEvent::Raised { raised_at, pattern } | AlertEvent::Acknowledged { raised_at, pattern, .. }) = event;
        (self.raised_at, self.pattern) = (Some(raised_at), Some(pattern));
    }
}

#[cfg(test)]
mod histories {
    use chrono::TimeDelta;

    use proptest::{option, prelude::*, sample::select};

    use super::*;
    use crate::whole_state::{Changes, Checked, time, word};

    impl Checked for Alert {
        const CHANGES: &[Changes] = &[
            Changes {
                event: "alert.raised",
                sets: &["raised_at", "pattern", "open"],
                clears: &["pattern.suspended_until"],
            },
            Changes { event: "alert.acknowledged", sets: &[], clears: &["open"] },
        ];

        fn commands() -> BoxedStrategy<AlertCommand> {
            let severity = select(vec![Severity::Warning, Severity::Critical]);
            let pattern = (word(), severity, word(), 1..9_u64, time(), option::of(time())).prop_map(
                |(rule, severity, actor, count, since, suspended_until)| Pattern {
                    rule,
                    severity,
                    actor,
                    count,
                    since,
                    suspended_until,
                },
            );
            let quiet = (0..48_i64).prop_map(TimeDelta::hours);
            prop_oneof![
                (pattern, time(), quiet).prop_map(|(pattern, now, quiet)| AlertCommand::Raise { pattern, now, quiet }),
                time().prop_map(|now| AlertCommand::Acknowledge { now }),
            ]
            .boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn pattern() -> Pattern {
        Pattern {
            rule: "foreign_ids".to_owned(),
            severity: Severity::Warning,
            actor: "7".to_owned(),
            count: 30,
            since: DateTime::UNIX_EPOCH,
            suspended_until: None,
        }
    }

    #[test]
    fn a_pattern_raises_one_alert_in_a_while_and_is_acknowledged_once() {
        let given = |events: Vec<AlertEvent>| TestFramework::<Alert>::with(()).given(events);
        let (at, quiet) = (DateTime::UNIX_EPOCH, TimeDelta::minutes(5));
        let raise = |now| AlertCommand::Raise { pattern: pattern(), now, quiet };
        let raised = |raised_at| AlertEvent::Raised { raised_at, pattern: pattern() };
        given(vec![]).when(raise(at)).then_expect_events(vec![raised(at)]);
        given(vec![raised(at)]).when(raise(at + quiet - TimeDelta::seconds(1))).then_expect_events(vec![]);
        given(vec![raised(at)]).when(raise(at + quiet)).then_expect_events(vec![raised(at + quiet)]);
        let acknowledged = AlertEvent::Acknowledged { raised_at: at, pattern: pattern(), acknowledged_at: at };
        given(vec![raised(at)])
            .when(AlertCommand::Acknowledge { now: at })
            .then_expect_events(vec![acknowledged.clone()]);
        given(vec![acknowledged]).when(AlertCommand::Acknowledge { now: at }).then_expect_error(AlertError::NotOpen);
        given(vec![]).when(AlertCommand::Acknowledge { now: at }).then_expect_error(AlertError::NotOpen);
        let stored = r#"{"Raised":{"raised_at":"1970-01-01T00:00:00Z","rule":"foreign_ids","severity":"warning","actor":"7","count":30,"since":"1970-01-01T00:00:00Z"}}"#;
        assert_eq!(serde_json::to_string(&raised(at)).expect("stores"), stored);
    }
}
