//! The breach desk (GDPR Art. 33 and 34): from the moment in which the controller becomes aware, 72 hours to notify the authority.
//! Each breach is a stream. It holds no free text, since that would say things about people in clear: what is known beyond these
//! fields stands in the controller's own file, whose reference it names.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{Fault, event::event_types};

/// How long the controller has to notify the authority (Art. 33(1)).
pub const NOTIFY_WITHIN: TimeDelta = TimeDelta::hours(72);

/// What of the data was breached (Art. 4(12)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// Somebody saw it who must not.
    Confidentiality,
    /// Somebody changed it who must not.
    Integrity,
    /// It is lost, or can't be reached.
    Availability,
}

/// What it may mean for people (Art. 33(1), 34(1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// It is not known yet; the clock runs.
    Unknown,
    /// Unlikely: the authority need not be told, the breach is documented all the same (Art. 33(5)).
    Unlikely,
    /// There is a risk: the authority must be told.
    Risk,
    /// There is a high risk: people must be told as well (Art. 34).
    High,
}

/// All that is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The controller's own file, such as `INC-2026-17`.
    pub reference: String,
    /// What was breached.
    pub nature: Vec<Nature>,
    /// Kinds of data that are concerned.
    pub kinds: Vec<String>,
    /// From when on.
    pub began_at: DateTime<Utc>,
    /// Until when, where it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// What it may mean.
    pub risk: Risk,
    /// How many people, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affected: Option<u64>,
}

impl Facts {
    /// What is wrong with them.
    pub fn faults(&self, kinds: &[&str]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if self.reference.is_empty() || self.reference.len() > 40 || !self.reference.bytes().all(plain) {
            faults.push(Fault::new("reference", "must be 1 to 40 letters, digits, or one of - _ . /"));
        }
        if self.nature.is_empty() {
            faults.push(Fault::new("nature", "must name at least one"));
        }
        if let Some(unknown) = self.kinds.iter().find(|kind| !kinds.contains(&kind.as_str())) {
            let shown: String = unknown.chars().take(40).filter(|c| !c.is_control()).collect();
            faults.push(Fault::new("kinds", format!("`{shown}` is no kind of data; known are {}", kinds.join(", "))));
        }
        if self.ended_at.is_some_and(|ended| ended < self.began_at) {
            faults.push(Fault::new("ended_at", "must not lie before `began_at`"));
        }
        faults
    }
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When the controller became aware; the clock runs from here.
    pub aware_at: DateTime<Utc>,
    /// When the authority was notified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_at: Option<DateTime<Utc>>,
    /// When people were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people_at: Option<DateTime<Utc>>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    /// All that is known.
    #[serde(flatten)]
    pub facts: Facts,
}

impl Progress {
    /// Until when the authority must be notified; none where it was, or need not be.
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        let open = self.authority_at.is_none() && self.closed_at.is_none() && self.facts.risk != Risk::Unlikely;
        open.then(|| self.aware_at + NOTIFY_WITHIN)
    }
}

/// A breach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    progress: Option<Progress>,
}

/// What may be done.
#[derive(Clone, Debug)]
pub enum BreachCommand {
    /// Open one.
    Open {
        /// When the controller became aware.
        aware_at: DateTime<Utc>,
        /// What is known.
        facts: Facts,
    },
    /// Put on record what is known now.
    Assess(Facts),
    /// The authority was notified.
    NotifyAuthority(DateTime<Utc>),
    /// People were told.
    NotifyPeople(DateTime<Utc>),
    /// Nothing is left to do.
    Close(DateTime<Utc>),
}

/// What happened. Each event carries the whole state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BreachEvent {
    /// A breach was put on record.
    Opened(Progress),
    /// More is known.
    Assessed(Progress),
    /// The authority, or people, were told.
    Notified(Progress),
    /// Nothing is left to do.
    Closed(Progress),
}

impl BreachEvent {
    /// How far it had come then.
    pub fn progress(&self) -> &Progress {
        let (Self::Opened(progress) | Self::Assessed(progress) | Self::Notified(progress) | Self::Closed(progress)) =
            self;
        progress
    }
}

event_types! {
    BreachEvent "1.0" {
        Opened = "breach.opened",
        Assessed = "breach.assessed",
        Notified = "breach.notified",
        Closed = "breach.closed",
    }
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BreachError {
    /// There is no such breach.
    #[error("there is no such breach")]
    Missing,
    /// It is closed.
    #[error("the breach is closed")]
    Closed,
    /// What must be told was not told.
    #[error("the authority, or people, must be told first, or the risk assessed as unlikely")]
    NotTold,
}

impl Aggregate for Breach {
    const TYPE: &'static str = "breach";
    type Command = BreachCommand;
    type Event = BreachEvent;
    type Error = BreachError;
    type Services = ();

    async fn handle(&mut self, command: BreachCommand, _: &(), sink: &EventSink<Self>) -> Result<(), BreachError> {
        if let BreachCommand::Open { aware_at, facts } = command {
            if self.progress.is_none() {
                let progress = Progress { aware_at, authority_at: None, people_at: None, closed_at: None, facts };
                sink.write(BreachEvent::Opened(progress), self).await;
            }
            return Ok(());
        }
        let progress = self.progress.clone().ok_or(BreachError::Missing)?;
        if progress.closed_at.is_some() {
            return Err(BreachError::Closed);
        }
        let event = match command {
            BreachCommand::Assess(facts) => BreachEvent::Assessed(Progress { facts, ..progress }),
            BreachCommand::NotifyAuthority(at) => {
                BreachEvent::Notified(Progress { authority_at: Some(at), ..progress })
            }
            BreachCommand::NotifyPeople(at) => BreachEvent::Notified(Progress { people_at: Some(at), ..progress }),
            BreachCommand::Close(at) | BreachCommand::Open { aware_at: at, .. } => {
                let told = match progress.facts.risk {
                    Risk::Unknown => false,
                    Risk::Unlikely => true,
                    Risk::Risk => progress.authority_at.is_some(),
                    Risk::High => progress.authority_at.is_some() && progress.people_at.is_some(),
                };
                if !told {
                    return Err(BreachError::NotTold);
                }
                BreachEvent::Closed(Progress { closed_at: Some(at), ..progress })
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: BreachEvent) {
        self.progress = Some(event.progress().clone());
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn facts(risk: Risk) -> Facts {
        Facts {
            reference: "INC-7".to_owned(),
            nature: vec![Nature::Confidentiality],
            kinds: vec!["work_day".to_owned()],
            began_at: DateTime::UNIX_EPOCH,
            ended_at: None,
            risk,
            affected: None,
        }
    }

    fn progress(risk: Risk) -> Progress {
        let aware_at = DateTime::UNIX_EPOCH;
        Progress { aware_at, authority_at: None, people_at: None, closed_at: None, facts: facts(risk) }
    }

    #[test]
    fn the_clock_runs_until_the_authority_is_told_or_need_not_be() {
        let at = DateTime::UNIX_EPOCH;
        assert_eq!(progress(Risk::Unknown).due_at(), Some(at + TimeDelta::hours(72)));
        assert_eq!(progress(Risk::Unlikely).due_at(), None);
        assert_eq!(Progress { authority_at: Some(at), ..progress(Risk::High) }.due_at(), None);
    }

    #[test]
    fn a_breach_is_closed_once_whoever_must_be_told_was_told() {
        let at = DateTime::UNIX_EPOCH;
        let given = |events: Vec<BreachEvent>| TestFramework::<Breach>::with(()).given(events);
        let open = BreachCommand::Open { aware_at: at, facts: facts(Risk::Unknown) };
        let opened = BreachEvent::Opened(progress(Risk::Unknown));
        given(vec![]).when(open.clone()).then_expect_events(vec![opened.clone()]);
        given(vec![opened.clone()]).when(open).then_expect_events(vec![]);
        given(vec![]).when(BreachCommand::Close(at)).then_expect_error(BreachError::Missing);
        given(vec![opened.clone()]).when(BreachCommand::Close(at)).then_expect_error(BreachError::NotTold);
        let assessed = BreachEvent::Assessed(progress(Risk::High));
        given(vec![opened]).when(BreachCommand::Assess(facts(Risk::High))).then_expect_events(vec![assessed.clone()]);
        let authority = BreachEvent::Notified(Progress { authority_at: Some(at), ..progress(Risk::High) });
        given(vec![assessed]).when(BreachCommand::NotifyAuthority(at)).then_expect_events(vec![authority.clone()]);
        given(vec![authority.clone()]).when(BreachCommand::Close(at)).then_expect_error(BreachError::NotTold);
        let told = Progress { authority_at: Some(at), people_at: Some(at), ..progress(Risk::High) };
        given(vec![authority])
            .when(BreachCommand::NotifyPeople(at))
            .then_expect_events(vec![BreachEvent::Notified(told.clone())]);
        let closed = BreachEvent::Closed(Progress { closed_at: Some(at), ..told.clone() });
        given(vec![BreachEvent::Notified(told)])
            .when(BreachCommand::Close(at))
            .then_expect_events(vec![closed.clone()]);
        given(vec![closed]).when(BreachCommand::Close(at)).then_expect_error(BreachError::Closed);
    }

    #[test]
    fn no_free_text_gets_into_the_log() {
        let wrong = Facts {
            reference: "Anna, anna@klinik.example".to_owned(),
            kinds: vec!["x".to_owned()],
            ..facts(Risk::Risk)
        };
        let fields: Vec<String> =
            wrong.faults(&["work_day"]).into_iter().map(|fault| fault.field.to_string()).collect();
        assert_eq!(fields, ["reference", "kinds"]);
        assert!(facts(Risk::Risk).faults(&["work_day"]).is_empty());
    }
}
