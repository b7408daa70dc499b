//! Alerts: something in the log looks wrong. Each pattern of each actor is a stream, in which an alert is raised once in a while
//! however often the pattern is found. About random ids, never about what data says.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::event_types;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody should look at it.
    Warning,
    /// Somebody must look at it now.
    Critical,
}

/// What was noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// The rule that found it.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// Who did it: the id of a session or of a person inside the log, a login of the database, or `server`.
    pub actor: String,
    /// How often.
    pub count: u64,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when the actor is suspended, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_until: Option<DateTime<Utc>>,
}

/// One pattern of one actor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    raised_at: Option<DateTime<Utc>>,
    pattern: Option<Pattern>,
    open: bool,
}

/// What may be done.
#[derive(Clone, Debug)]
pub enum AlertCommand {
    /// Raise an alert, unless one was raised so short a time ago.
    Raise {
        /// What was noticed.
        pattern: Pattern,
        /// The present time.
        now: DateTime<Utc>,
        /// How long no second alert is raised.
        quiet: TimeDelta,
    },
    /// Say that somebody looks after it.
    Acknowledge {
        /// The present time.
        now: DateTime<Utc>,
    },
}

/// What happened. Each event carries the whole state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertEvent {
    /// An alert was raised.
    Raised {
        /// When.
        raised_at: DateTime<Utc>,
        /// What was noticed.
        #[serde(flatten)]
        pattern: Pattern,
    },
    /// Somebody looks after it.
    Acknowledged {
        /// When it was raised.
        raised_at: DateTime<Utc>,
        /// What was noticed.
        #[serde(flatten)]
        pattern: Pattern,
        /// When it was acknowledged.
        acknowledged_at: DateTime<Utc>,
    },
}

event_types! {
    AlertEvent "1.0" {
        Raised = "alert.raised",
        Acknowledged = "alert.acknowledged",
    }
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// There is none, or it is acknowledged.
    #[error("there is no open alert")]
    NotOpen,
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
