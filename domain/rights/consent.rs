//! Consents: one stream for each person and purpose. Purpose, version and hash of the notice, and the decision stand in
//! clear, because they are evidence.
//!
//! GDPR Art. 7: consent is given per purpose, on a text that can be shown later, and is withdrawn as easily as it was
//! given. After a newer notice the person is asked again: a consent to an older text stops counting at the moment in
//! which the newer notice begins to count. An event says that the consent lapsed, once the person was told. An
//! objection (Art. 21) belongs to the same stream: while it stands, no consent can be given, and after it consent must
//! be asked for anew.

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    Choice,
    event::{About, Described, event_types},
    refusal::{ProblemType, Refused, Rule},
};

/// A purpose for which data may be used. Each purpose has a notice of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Keeping a person's work days for that person.
    WorkHours,
    /// Counting a person's work days in published statistics.
    Statistics,
    /// Keeping a person's hearing screenings for that person.
    Hearing,
    /// Keeping what a person says about themselves.
    Demographics,
    /// Keeping the words that a person learns, and how the person wants to learn.
    Wordbook,
}

impl Purpose {
    pub const ALL: [Self; 5] = [Self::WorkHours, Self::Statistics, Self::Hearing, Self::Demographics, Self::Wordbook];

    /// Whether the purpose is about data concerning health, for which consent has to be explicit (GDPR Art. 9).
    pub fn is_about_health(self) -> bool {
        self == Self::Hearing
    }
}

impl Choice for Purpose {
    const NAME: &'static str = "Purpose";
    const NAMES: &'static [&'static str] = &["work_hours", "statistics", "hearing", "demographics", "wordbook"];
    fn as_str(self) -> &'static str {
        match self {
            Self::WorkHours => "work_hours",
            Self::Statistics => "statistics",
            Self::Hearing => "hearing",
            Self::Demographics => "demographics",
            Self::Wordbook => "wordbook",
        }
    }
    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// A text that a person consents to.
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    pub purpose: Purpose,
    /// The version. The last notice of a purpose in [`NOTICES`] is the current one.
    pub version: &'static str,
    /// The text, in Markdown.
    pub text: &'static str,
}

/// All notices, older versions first.
pub const NOTICES: &[Notice] = &[
    Notice { purpose: Purpose::WorkHours, version: "1", text: include_str!("../notices/work_hours.1.md") },
    Notice { purpose: Purpose::Statistics, version: "1", text: include_str!("../notices/statistics.1.md") },
    Notice { purpose: Purpose::Statistics, version: "2", text: include_str!("../notices/statistics.2.md") },
    Notice { purpose: Purpose::Hearing, version: "1", text: include_str!("../notices/hearing.1.md") },
    Notice { purpose: Purpose::Demographics, version: "1", text: include_str!("../notices/demographics.1.md") },
    Notice { purpose: Purpose::Wordbook, version: "1", text: include_str!("../notices/wordbook.1.md") },
];

impl Notice {
    /// How many days after its last change a record is deleted, as the text promises; `None` if it promises nothing.
    pub fn retention_days(&self) -> Option<u32> {
        let (before, _) = self.text.split_once(" days after its last change")?;
        before.rsplit_once("is deleted ")?.1.parse().ok()
    }

    /// The notice on which consent is given today.
    pub fn current(purpose: Purpose) -> &'static Self {
        NOTICES.iter().rfind(|notice| notice.purpose == purpose).expect("every purpose has a notice")
    }
}

/// A person's decision on one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    decision: Option<Decision>,
    objected: bool,
}

/// A purpose, and the notice on which a person decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub purpose: Purpose,
    pub notice_version: String,
    /// SHA-256 of the notice's text, hexadecimal.
    pub notice_hash: String,
}

#[derive(Clone, Debug)]
pub enum ConsentCommand {
    Grant {
        /// The decision, on the notice that counts today.
        decision: Decision,
        /// The version that the person was shown, if the client says so. It is compared with the version that counts
        /// today and never stored.
        shown: Option<String>,
    },
    Withdraw {
        /// The notice that counts today.
        decision: Decision,
    },
    Object {
        /// The notice that counts today.
        decision: Decision,
    },
    /// Takes the objection back. The consent from before the objection does not come back.
    LiftObjection {
        /// The notice that counts today.
        decision: Decision,
    },
    /// Notes that a consent no longer counts, because the notice has changed.
    Lapse {
        /// The notice that counts today.
        decision: Decision,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsentEvent {
    Granted(Decision),
    Withdrawn(Decision),
    Objected(Decision),
    ObjectionLifted(Decision),
    /// The notice on which consent had been given no longer counts, and the person was told.
    Lapsed(Decision),
}

impl ConsentEvent {
    /// The purpose and the notice that the event is about.
    pub fn decision(&self) -> &Decision {
        let (Self::Granted(decision)
        | Self::Withdrawn(decision)
        | Self::Objected(decision)
        | Self::ObjectionLifted(decision)
        | Self::Lapsed(decision)) = self;
        decision
    }
}

event_types! {
    ConsentEvent "1.0" {
        Granted = "consent.granted",
        Withdrawn = "consent.withdrawn",
        Objected = "objection.raised",
        ObjectionLifted = "objection.lifted",
        Lapsed = "consent.lapsed",
    }
}

const NOTICE_OUTDATED: ProblemType = ProblemType {
    name: "notice-outdated",
    title: "The notice is not the one that counts",
    advice: "The consent names a version of the notice that was replaced. Show the person the present notice and ask again.",
};
const OBJECTION_STANDS: ProblemType = ProblemType {
    name: "objection-stands",
    title: "You objected to the purpose",
    advice: "A consent does not lift an objection (GDPR Art. 21). Lift the objection first.",
};

impl Described for Consent {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &["withdrawn"];
    const REBUILT_IN: &'static [&'static str] = &["consents"];
    const CONFLICTS: &'static [ProblemType] = &[NOTICE_OUTDATED, OBJECTION_STANDS];
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// The person was shown a notice that does not count today.
    #[error("the notice that counts is version {current}")]
    NoticeOutdated {
        /// The version of the notice that counts today.
        current: String,
    },
    #[error("an objection to the purpose stands")]
    ObjectionStands,
}

impl Rule for ConsentError {
    fn refused(&self) -> Refused {
        match self {
            Self::NoticeOutdated { current } => {
                Refused::explained(NOTICE_OUTDATED, format!("The notice that counts is version {current}."))
            }
            Self::ObjectionStands => Refused::explained(OBJECTION_STANDS, "Lift the objection first."),
        }
    }
}

impl Aggregate for Consent {
    const TYPE: &'static str = "consent";
    type Command = ConsentCommand;
    type Event = ConsentEvent;
    type Error = ConsentError;
    type Services = ();

    async fn handle(&mut self, command: ConsentCommand, _: &(), sink: &EventSink<Self>) -> Result<(), ConsentError> {
        match command {
            ConsentCommand::Grant { decision, shown } => {
                if shown.is_some_and(|shown| shown != decision.notice_version) {
                    return Err(ConsentError::NoticeOutdated { current: decision.notice_version });
                }
                if self.objected {
                    return Err(ConsentError::ObjectionStands);
                }
                if self.decision.as_ref() != Some(&decision) {
                    sink.write(ConsentEvent::Granted(decision), self).await;
                }
            }
            ConsentCommand::Withdraw { decision } => {
                if self.decision.is_some() {
                    sink.write(ConsentEvent::Withdrawn(decision), self).await;
                }
            }
            ConsentCommand::Object { decision } => {
                if !self.objected {
                    sink.write(ConsentEvent::Objected(decision), self).await;
                }
            }
            ConsentCommand::LiftObjection { decision } => {
                if self.objected {
                    sink.write(ConsentEvent::ObjectionLifted(decision), self).await;
                }
            }
            ConsentCommand::Lapse { decision } => {
                if let Some(outdated) = self.decision.clone().filter(|given| *given != decision) {
                    sink.write(ConsentEvent::Lapsed(outdated), self).await;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: ConsentEvent) {
        *self = match event {
            ConsentEvent::Granted(decision) => Self { decision: Some(decision), objected: false },
            ConsentEvent::Objected(_) => Self { decision: None, objected: true },
            ConsentEvent::Withdrawn(_) | ConsentEvent::ObjectionLifted(_) | ConsentEvent::Lapsed(_) => Self::default(),
        };
    }
}

#[cfg(test)]
mod histories {
    use proptest::{option, prelude::*};

    use super::*;
    use crate::whole_state::{Changes, Checked, word};

    impl Checked for Consent {
        const CHANGES: &[Changes] = &[
            Changes { event: "consent.granted", sets: &["decision"], clears: &[] },
            Changes { event: "consent.withdrawn", sets: &[], clears: &["decision"] },
            Changes { event: "objection.raised", sets: &["objected"], clears: &["decision"] },
            Changes { event: "objection.lifted", sets: &[], clears: &["objected"] },
            Changes { event: "consent.lapsed", sets: &[], clears: &["decision"] },
        ];

        fn commands() -> BoxedStrategy<ConsentCommand> {
            let decision = || {
                (word(), word()).prop_map(|(notice_version, notice_hash)| Decision {
                    purpose: Purpose::WorkHours,
                    notice_version,
                    notice_hash,
                })
            };
            prop_oneof![
            3 => (decision(), option::of(word())).prop_map(|(decision, shown)| ConsentCommand::Grant { decision, shown }),
            1 => decision().prop_map(|decision| ConsentCommand::Withdraw { decision }),
            1 => decision().prop_map(|decision| ConsentCommand::Object { decision }),
            1 => decision().prop_map(|decision| ConsentCommand::LiftObjection { decision }),
            1 => decision().prop_map(|decision| ConsentCommand::Lapse { decision }),
        ]
        .boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn decision(version: &str) -> Decision {
        Decision { purpose: Purpose::WorkHours, notice_version: version.to_owned(), notice_hash: "00".to_owned() }
    }

    fn given(events: Vec<ConsentEvent>) -> cqrs_es::test::AggregateTestExecutor<Consent> {
        TestFramework::<Consent>::with(()).given(events)
    }

    #[test]
    fn consent_is_given_on_the_current_notice() {
        given(vec![])
            .when(ConsentCommand::Grant { decision: decision("2"), shown: Some("2".to_owned()) })
            .then_expect_events(vec![ConsentEvent::Granted(decision("2"))]);
        given(vec![])
            .when(ConsentCommand::Grant { decision: decision("2"), shown: Some("1".to_owned()) })
            .then_expect_error(ConsentError::NoticeOutdated { current: "2".to_owned() });
    }

    #[test]
    fn giving_it_twice_adds_nothing_and_a_newer_notice_asks_again() {
        given(vec![ConsentEvent::Granted(decision("1"))])
            .when(ConsentCommand::Grant { decision: decision("1"), shown: None })
            .then_expect_events(vec![]);
        given(vec![ConsentEvent::Granted(decision("1"))])
            .when(ConsentCommand::Grant { decision: decision("2"), shown: Some("2".to_owned()) })
            .then_expect_events(vec![ConsentEvent::Granted(decision("2"))]);
    }

    #[test]
    fn it_is_withdrawn_once() {
        given(vec![ConsentEvent::Granted(decision("1"))])
            .when(ConsentCommand::Withdraw { decision: decision("1") })
            .then_expect_events(vec![ConsentEvent::Withdrawn(decision("1"))]);
        given(vec![]).when(ConsentCommand::Withdraw { decision: decision("1") }).then_expect_events(vec![]);
    }

    #[test]
    fn an_objection_ends_the_consent_and_bars_a_new_one() {
        given(vec![ConsentEvent::Granted(decision("1"))])
            .when(ConsentCommand::Object { decision: decision("1") })
            .then_expect_events(vec![ConsentEvent::Objected(decision("1"))]);
        let grant = || ConsentCommand::Grant { decision: decision("1"), shown: None };
        given(vec![ConsentEvent::Objected(decision("1"))])
            .when(grant())
            .then_expect_error(ConsentError::ObjectionStands);
        given(vec![ConsentEvent::Objected(decision("1"))])
            .when(ConsentCommand::LiftObjection { decision: decision("1") })
            .then_expect_events(vec![ConsentEvent::ObjectionLifted(decision("1"))]);
        given(vec![ConsentEvent::ObjectionLifted(decision("1"))])
            .when(grant())
            .then_expect_events(vec![ConsentEvent::Granted(decision("1"))]);
        given(vec![]).when(ConsentCommand::LiftObjection { decision: decision("1") }).then_expect_events(vec![]);
    }

    #[test]
    fn a_consent_on_an_older_notice_lapses_once() {
        let lapse = || ConsentCommand::Lapse { decision: decision("2") };
        let (older, newer) = (ConsentEvent::Granted(decision("1")), ConsentEvent::Granted(decision("2")));
        given(vec![older.clone()]).when(lapse()).then_expect_events(vec![ConsentEvent::Lapsed(decision("1"))]);
        given(vec![older.clone(), ConsentEvent::Lapsed(decision("1"))]).when(lapse()).then_expect_events(vec![]);
        given(vec![older, newer]).when(lapse()).then_expect_events(vec![]);
        given(vec![]).when(lapse()).then_expect_events(vec![]);
    }

    #[test]
    fn stored_events_of_every_version_load() {
        let stored = r#"{"Granted":{"purpose":"work_hours","notice_version":"1","notice_hash":"00"}}"#;
        assert_eq!(serde_json::from_str::<ConsentEvent>(stored).expect("loads"), ConsentEvent::Granted(decision("1")));
        assert_eq!(serde_json::to_string(&ConsentEvent::Granted(decision("1"))).expect("stores"), stored);
        for (name, event) in [
            ("Withdrawn", ConsentEvent::Withdrawn(decision("1"))),
            ("Objected", ConsentEvent::Objected(decision("1"))),
            ("ObjectionLifted", ConsentEvent::ObjectionLifted(decision("1"))),
            ("Lapsed", ConsentEvent::Lapsed(decision("1"))),
        ] {
            let stored = stored.replace("Granted", name);
            assert_eq!(serde_json::from_str::<ConsentEvent>(&stored).expect("loads"), event);
            assert_eq!(serde_json::to_string(&event).expect("stores"), stored);
        }
    }

    #[test]
    fn every_purpose_has_a_notice_and_a_name() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
            assert!(Notice::current(purpose).text.len() > 100);
        }
        assert_eq!(Purpose::NAMES.len(), Purpose::ALL.len());
    }
}
