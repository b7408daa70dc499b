//! Personal data breaches (GDPR Art. 33 and 34). The controller has 72 hours to notify the authority, from the moment
//! in which the controller becomes aware of the breach. Each breach is a stream. A breach holds no free text, because
//! free text would say things about people in clear. Everything else that is known stands in the controller's own file;
//! `reference` names that file.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    Fault,
    choice::choice,
    event::{About, Described, event_types},
    refusal::{ProblemType, Refused, Rule},
};

/// How long the controller has to notify the authority (Art. 33(1)).
pub const NOTIFY_WITHIN: TimeDelta = TimeDelta::hours(72);

choice! {
    /// The property of the data that was breached (Art. 4(12)).
    Nature {
        /// Somebody saw data without the right to see it.
        Confidentiality = "confidentiality",
        /// Somebody changed data without the right to change it.
        Integrity = "integrity",
        /// Data is lost or cannot be reached.
        Availability = "availability",
    }
}

choice! {
    /// The risk that a breach means for people (Art. 33(1), 34(1)).
    Risk {
        /// Not assessed yet. The 72 hours run all the same.
        Unknown = "unknown",
        /// The authority need not be told, but the breach is documented (Art. 33(5)).
        Unlikely = "unlikely",
        /// The authority must be told.
        Risk = "risk",
        /// The authority must be told, and the people concerned as well (Art. 34).
        High = "high",
    }
}

/// The longest reference, in characters.
pub const REFERENCE: usize = 40;

/// Refuses a text that cannot be the name of the controller's own file.
pub fn check_reference(text: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let sound = (1..=REFERENCE).contains(&text.len()) && text.bytes().all(plain);
    if sound { Ok(()) } else { Err("must be 1 to 40 letters, digits, or one of - _ . /") }
}

/// The facts of a breach. A new assessment replaces all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The name of the controller's own file, such as `INC-2026-17`; 1 to 40 characters.
    pub reference: String,
    pub nature: Vec<Nature>,
    /// The kinds of data that the breach concerns.
    pub kinds: Vec<String>,
    pub began_at: DateTime<Utc>,
    /// `None` if the breach has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    pub risk: Risk,
    /// How many people are affected; `None` if the number is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affected: Option<u64>,
}

impl Facts {
    /// What is wrong with the facts. `kinds` are the kinds of data that a breach may name.
    pub fn faults(&self, kinds: &[&str]) -> Vec<Fault> {
        let mut faults = Vec::new();
        faults.extend(check_reference(&self.reference).err().map(|fault| Fault::new("reference", fault)));
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

/// A breach after its newest event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When the controller became aware of the breach. The 72 hours run from here.
    pub aware_at: DateTime<Utc>,
    /// `None` until the authority is notified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_at: Option<DateTime<Utc>>,
    /// `None` until the people concerned are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people_at: Option<DateTime<Utc>>,
    /// `None` as long as the breach is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    #[serde(flatten)]
    pub facts: Facts,
}

impl Progress {
    /// Until when the authority must be notified. `None` if the authority was notified, the breach is closed, or the
    /// risk is unlikely.
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        let open = self.authority_at.is_none() && self.closed_at.is_none() && self.facts.risk != Risk::Unlikely;
        open.then(|| self.aware_at + NOTIFY_WITHIN)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    progress: Option<Progress>,
}

#[derive(Clone, Debug)]
pub enum BreachCommand {
    /// Opens a breach. Opening it a second time changes nothing.
    Open {
        aware_at: DateTime<Utc>,
        facts: Facts,
    },
    /// Replaces the facts by what is known now.
    Assess(Facts),
    NotifyAuthority(DateTime<Utc>),
    NotifyPeople(DateTime<Utc>),
    /// Closes the breach. Refused with `NotTold` as long as the risk requires a notification that was not made.
    Close(DateTime<Utc>),
}

/// Each event carries the whole state of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BreachEvent {
    Opened(Progress),
    Assessed(Progress),
    /// The authority or the people concerned were told.
    Notified(Progress),
    Closed(Progress),
}

impl BreachEvent {
    /// The state of the breach after this event.
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

const BREACH: ProblemType = ProblemType {
    name: "breach",
    title: "The breach can't go on as asked",
    advice: "The breach is closed, or people or the authority have to be told first; `detail` says which. A closed breach is not opened again: open another.",
};

impl Described for Breach {
    const ABOUT: About = About::Nobody;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
    const CONFLICTS: &'static [ProblemType] = &[BREACH];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BreachError {
    #[error("there is no such breach")]
    Missing,
    #[error("the breach is closed")]
    Closed,
    /// The risk requires a notification that was not made, or the risk is not assessed yet.
    #[error("the authority, or people, must be told first, or the risk assessed as unlikely")]
    NotTold,
}

impl Rule for BreachError {
    fn refused(&self) -> Refused {
        match self {
            Self::Missing => Refused::NotFound("breach"),
            Self::Closed | Self::NotTold => Refused::explained(BREACH, format!("{self}.")),
        }
    }
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
mod histories {
    use proptest::{option, prelude::*, sample::select};

    use super::*;
    use crate::whole_state::{Changes, Checked, time, word};

    impl Checked for Breach {
        const CHANGES: &[Changes] = &[
            Changes { event: "breach.opened", sets: &[], clears: &[] },
            Changes {
                event: "breach.assessed",
                sets: &[
                    "progress.reference",
                    "progress.nature",
                    "progress.kinds",
                    "progress.began_at",
                    "progress.ended_at",
                    "progress.risk",
                    "progress.affected",
                ],
                clears: &["progress.kinds", "progress.ended_at", "progress.affected"],
            },
            Changes { event: "breach.notified", sets: &["progress.authority_at", "progress.people_at"], clears: &[] },
            Changes { event: "breach.closed", sets: &["progress.closed_at"], clears: &[] },
        ];

        fn commands() -> BoxedStrategy<BreachCommand> {
            prop_oneof![
                3 => (time(), facts()).prop_map(|(aware_at, facts)| BreachCommand::Open { aware_at, facts }),
                3 => facts().prop_map(BreachCommand::Assess),
                3 => time().prop_map(BreachCommand::NotifyAuthority),
                3 => time().prop_map(BreachCommand::NotifyPeople),
                1 => time().prop_map(BreachCommand::Close),
            ]
            .boxed()
        }
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let nature =
            prop::collection::vec(select(vec![Nature::Confidentiality, Nature::Integrity, Nature::Availability]), 1..3);
        let risk = select(vec![Risk::Unknown, Risk::Unlikely, Risk::Risk, Risk::High]);
        let kinds = prop::collection::vec(word(), 0..2);
        (word(), nature, kinds, time(), option::of(time()), risk, option::of(0..9_u64)).prop_map(
            |(reference, nature, kinds, began_at, ended_at, risk, affected)| Facts {
                reference,
                nature,
                kinds,
                began_at,
                ended_at,
                risk,
                affected,
            },
        )
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
