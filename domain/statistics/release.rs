//! Releases of published statistics. The unit of privacy is one account's presence in one closed quarter. What was
//! drawn is never drawn again.

use chrono::NaiveDate;
use cqrs_es::{Aggregate, event_sink::EventSink};
use noise::{Delta, Epsilon};
use serde::{Deserialize, Serialize};

use crate::{
    event::{About, Described, event_types},
    quarter::Quarter,
    refusal::{Refused, Rule},
    statistics::{
        hospital::Listing,
        plan::{BUDGET, Policy},
    },
};

/// The releases of one quarter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// How many releases the quarter had, including a lost one.
    releases: u32,
    epsilon_micros: u32,
    delta_picos: u64,
    is_lost: bool,
}

#[derive(Clone, Debug)]
pub enum ReleaseCommand {
    /// Publishes the quarter, or revises it.
    Publish(Draw),
    /// Notes that a release was made that a restored database does not hold. The whole budget of the quarter counts as
    /// spent then.
    Lose {
        period: Quarter,
        /// 0 for the first release, 1 for the revision.
        revision: u32,
    },
}

/// A draw of a quarter.
#[derive(Clone, Debug)]
pub struct Draw {
    /// The list of hospitals that had cells.
    pub hospitals: Listing,
    pub period: Quarter,
    /// 0 for the first release, 1 for the revision.
    pub revision: u32,
    pub policy: Policy,
    /// How many cells were drawn.
    pub drawn: u32,
    /// How many of them are published.
    pub published: u32,
    /// SHA-256 of what is published, hexadecimal.
    pub sha256: String,
    /// The present day, in UTC.
    pub today: NaiveDate,
}

/// Each event carries what the quarter has cost so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseEvent {
    Released {
        /// The quarter, such as `2025-Q1`.
        period: String,
        /// 0 for the first release, 1 for the revision.
        revision: u32,
        policy: Policy,
        /// ε spent on the quarter so far, including this release, in millionths.
        epsilon_micros: u32,
        /// δ spent on the quarter so far, including this release, in parts of 10¹².
        delta_picos: u64,
        /// How many cells were drawn.
        drawn: u32,
        /// How many of them are published.
        published: u32,
        /// SHA-256 of what is published, hexadecimal.
        sha256: String,
        /// The list of hospitals that had cells; absent in releases from before lists were fixed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hospitals: Option<Listing>,
    },
    /// A release was lost with a database. The quarter is never drawn again.
    Lost {
        /// The quarter, such as `2025-Q1`.
        period: String,
        /// 0 for the first release, 1 for the revision.
        revision: u32,
    },
}

event_types! {
    ReleaseEvent "1.0" {
        Released = "stats.released",
        Lost = "stats.lost",
    }
}

impl Described for Release {
    const ABOUT: About = About::Nobody;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &["released"];
    const REBUILT_IN: &'static [&'static str] = &[];
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The quarter has not ended, or late days are still taken into account.
    #[error("{period} is open: it is released from {from} on")]
    Open {
        period: Quarter,
        /// The first day on which the quarter may be released.
        from: NaiveDate,
    },
    #[error("{0} is released, and what is released is never drawn again")]
    Released(Quarter),
    /// The quarter was released, and the result was lost with a database. A second draw would spend the budget twice.
    #[error("{0} was released, and that release is lost with an earlier database; it is never drawn again")]
    Lost(Quarter),
    #[error("no such revision of {0} was scheduled before it began")]
    NotScheduled(Quarter),
    #[error(transparent)]
    Overspent(#[from] noise::Overspent),
}

impl Release {
    /// What a release costs, or why it is refused.
    pub fn check(
        &self,
        period: Quarter,
        revision: u32,
        policy: &Policy,
        today: NaiveDate,
    ) -> Result<(Epsilon, Delta), ReleaseError> {
        let (epsilon, delta) = policy.price(revision).ok_or(ReleaseError::NotScheduled(period))?;
        if self.is_lost {
            return Err(ReleaseError::Lost(period));
        }
        if revision < self.releases {
            return Err(ReleaseError::Released(period));
        }
        if revision > self.releases {
            return Err(ReleaseError::NotScheduled(period));
        }
        let from = policy.due_on(period, revision);
        if today < from {
            return Err(ReleaseError::Open { period, from });
        }
        BUDGET
            .spend(Epsilon::from_micros(self.epsilon_micros), Delta::from_picos(self.delta_picos))?
            .spend(epsilon, delta)?;
        Ok((epsilon, delta))
    }

    /// How many releases the quarter had, including a lost one.
    pub fn releases(&self) -> u32 {
        self.releases
    }
}

impl Rule for ReleaseError {
    fn refused(&self) -> Refused {
        Refused::invalid("period", self.to_string())
    }
}

impl Aggregate for Release {
    const TYPE: &'static str = "release";
    type Command = ReleaseCommand;
    type Event = ReleaseEvent;
    type Error = ReleaseError;
    type Services = ();

    async fn handle(&mut self, command: ReleaseCommand, _: &(), sink: &EventSink<Self>) -> Result<(), ReleaseError> {
        let Draw { hospitals, period, revision, policy, drawn, published, sha256, today } = match command {
            ReleaseCommand::Publish(draw) => draw,
            ReleaseCommand::Lose { period, revision } => {
                if revision >= self.releases && !self.is_lost {
                    sink.write(ReleaseEvent::Lost { period: period.to_string(), revision }, self).await;
                }
                return Ok(());
            }
        };
        let (epsilon, delta) = self.check(period, revision, &policy, today)?;
        let event = ReleaseEvent::Released {
            period: period.to_string(),
            revision,
            policy,
            epsilon_micros: self.epsilon_micros + epsilon.micros(),
            delta_picos: self.delta_picos + delta.picos(),
            drawn,
            published,
            sha256,
            hospitals: Some(hospitals),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: ReleaseEvent) {
        *self = match event {
            ReleaseEvent::Released { revision, epsilon_micros, delta_picos, .. } => {
                Self { releases: revision + 1, epsilon_micros, delta_picos, is_lost: false }
            }
            ReleaseEvent::Lost { revision, .. } => {
                let (epsilon_micros, delta_picos) = (BUDGET.epsilon.micros(), BUDGET.delta.picos());
                Self { releases: revision + 1, epsilon_micros, delta_picos, is_lost: true }
            }
        };
    }
}

#[cfg(test)]
mod histories {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        statistics::{hospital::histories::listing, plan::histories::policy},
        whole_state::{Changes, Checked, day, word},
    };

    impl Checked for Release {
        const CHANGES: &[Changes] = &[
            Changes { event: "stats.released", sets: &["releases", "epsilon_micros", "delta_picos"], clears: &[] },
            Changes {
                event: "stats.lost",
                sets: &["releases", "epsilon_micros", "delta_picos", "is_lost"],
                clears: &[],
            },
        ];

        fn commands() -> BoxedStrategy<ReleaseCommand> {
            let period: Quarter = "2025-Q1".parse().expect("a quarter");
            let draw = (0..2_u32, policy(), 0..9_u32, word(), listing(), day()).prop_map(
                move |(revision, policy, drawn, sha256, hospitals, today)| {
                    ReleaseCommand::Publish(Draw {
                        hospitals,
                        period,
                        revision,
                        policy,
                        drawn,
                        published: drawn / 2,
                        sha256,
                        today,
                    })
                },
            );
            let lose = (0..4_u32).prop_map(move |revision| ReleaseCommand::Lose { period, revision });
            prop_oneof![16 => draw, 1 => lose].boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Days;
    use cqrs_es::test::TestFramework;
    use proptest::prelude::*;

    use super::*;
    use crate::statistics::plan::{
        Plan, Revision,
        tests::{REVISED, date, quarter},
    };

    fn command(revision: u32, policy: Policy, today: &str) -> ReleaseCommand {
        let sha256 = "00".to_owned();
        ReleaseCommand::Publish(Draw {
            period: quarter("2025-Q1"),
            revision,
            policy,
            drawn: 3,
            published: 1,
            sha256,
            hospitals: listing(),
            today: date(today),
        })
    }

    fn released(revision: u32, policy: Policy, epsilon_micros: u32, delta_picos: u64) -> ReleaseEvent {
        let (period, sha256) = ("2025-Q1".to_owned(), "00".to_owned());
        let hospitals = Some(listing());
        ReleaseEvent::Released {
            period,
            revision,
            policy,
            epsilon_micros,
            delta_picos,
            drawn: 3,
            published: 1,
            sha256,
            hospitals,
        }
    }

    fn listing() -> Listing {
        Listing { count: 2, sha256: "11".to_owned() }
    }

    fn given(events: Vec<ReleaseEvent>) -> cqrs_es::test::AggregateTestExecutor<Release> {
        TestFramework::<Release>::with(()).given(events)
    }

    #[test]
    fn a_quarter_is_released_once_after_its_grace() {
        let open = ReleaseError::Open { period: quarter("2025-Q1"), from: date("2025-04-15") };
        given(vec![]).when(command(0, Policy::DEFAULT, "2025-04-14")).then_expect_error(open);
        given(vec![]).when(command(0, Policy::DEFAULT, "2025-04-15")).then_expect_events(vec![released(
            0,
            Policy::DEFAULT,
            1_000_000,
            1_000_000,
        )]);
        let first = || vec![released(0, Policy::DEFAULT, 1_000_000, 1_000_000)];
        let again = ReleaseError::Released(quarter("2025-Q1"));
        given(first()).when(command(0, Policy::DEFAULT, "2025-04-15")).then_expect_error(again);
        let no_revision = ReleaseError::NotScheduled(quarter("2025-Q1"));
        given(first()).when(command(1, Policy::DEFAULT, "2026-04-15")).then_expect_error(no_revision);
    }

    #[test]
    fn a_revision_spends_what_was_kept_for_it() {
        let first = || vec![released(0, REVISED, 700_000, 700_000)];
        given(vec![]).when(command(0, REVISED, "2025-04-15")).then_expect_events(first());
        let early = ReleaseError::Open { period: quarter("2025-Q1"), from: date("2025-07-14") };
        given(first()).when(command(1, REVISED, "2025-07-13")).then_expect_error(early);
        given(first())
            .when(command(1, REVISED, "2025-07-14"))
            .then_expect_events(vec![released(1, REVISED, 1_000_000, 1_000_000)]);
        // Whatever the policy says, nothing of the budget is left.
        given(vec![released(0, Policy::DEFAULT, 1_000_000, 1_000_000)])
            .when(command(1, REVISED, "2026-01-01"))
            .then_expect_error_message("the budget does not suffice: ε = 0 is left, and 0.3 was asked for");
    }

    #[test]
    fn a_lost_release_is_never_drawn_again() {
        let lose = |revision| ReleaseCommand::Lose { period: quarter("2025-Q1"), revision };
        let lost = |revision| ReleaseEvent::Lost { period: "2025-Q1".to_owned(), revision };
        given(vec![]).when(lose(0)).then_expect_events(vec![lost(0)]);
        given(vec![lost(0)]).when(lose(0)).then_expect_events(vec![]);
        let known = || vec![released(0, REVISED, 700_000, 700_000)];
        given(known()).when(lose(0)).then_expect_events(vec![]);
        given(known()).when(lose(1)).then_expect_events(vec![lost(1)]);
        let refused = || ReleaseError::Lost(quarter("2025-Q1"));
        given(vec![lost(0)]).when(command(0, REVISED, "2026-01-01")).then_expect_error(refused());
        given([known(), vec![lost(1)]].concat()).when(command(1, REVISED, "2026-01-01")).then_expect_error(refused());
    }

    proptest! {
        /// **Feature: published-statistics, Property 1: no order of releases spends more than the budget of a quarter**
        #[test]
        fn no_order_of_releases_spends_more_than_the_budget(tries in prop::collection::vec((0..3_u32, 0..4_usize, 0..400_u64), 1..12)) {
            let policies = [
                Policy::DEFAULT,
                Policy { plan: Plan::Small, revision: None },
                REVISED,
                Policy { plan: Plan::Small, revision: Some(Revision { percent: 50, after_days: 30 }) },
            ];
            let mut state = Release::default();
            for (revision, policy, days) in tries {
                let (policy, today) = (policies[policy], date("2025-04-01") + Days::new(days));
                if let Ok((epsilon, delta)) = state.check(quarter("2025-Q1"), revision, &policy, today) {
                    let spent = (state.epsilon_micros + epsilon.micros(), state.delta_picos + delta.picos());
                    state.apply(released(revision, policy, spent.0, spent.1));
                }
                prop_assert!(state.epsilon_micros <= BUDGET.epsilon.micros() && state.delta_picos <= BUDGET.delta.picos());
                prop_assert!(state.releases <= 2);
            }
        }
    }

    #[test]
    fn stored_events_of_every_version_load() {
        let stored = r#"{"Released":{"period":"2025-Q1","revision":0,"policy":{"plan":"full"},"epsilon_micros":1000000,"delta_picos":1000000,"drawn":3,"published":1,"sha256":"00"}}"#;
        let mut event = released(0, Policy::DEFAULT, 1_000_000, 1_000_000);
        let newest = stored.replace(r#""00"}"#, r#""00","hospitals":{"count":2,"sha256":"11"}}"#);
        assert_eq!(serde_json::to_string(&event).expect("stores"), newest);
        assert_eq!(serde_json::from_str::<ReleaseEvent>(&newest).expect("loads"), event);
        if let ReleaseEvent::Released { hospitals, .. } = &mut event {
            *hospitals = None;
        }
        assert_eq!(serde_json::from_str::<ReleaseEvent>(stored).expect("loads"), event, "from before lists were fixed");
    }
}
