//! What is planned for a quarter: its tables, its revision, and what they may spend of the privacy budget.
//!
//! All tables and all revisions of a quarter together spend at most [`BUDGET`] on any person, because each person is in
//! one cell of each table. The plan is fixed before the quarter begins, so that it cannot depend on what people
//! submitted.

use std::ops::RangeInclusive;

use chrono::{Days, NaiveDate};
use cqrs_es::{Aggregate, event_sink::EventSink};
use noise::{Bounds, Budget, Delta, Epsilon, Mechanism};
use serde::{Deserialize, Serialize};

use crate::{
    choice::choice,
    event::{About, Described, event_types},
    quarter::Quarter,
    refusal::{Refused, Rule},
    statistics::table::Table,
};

/// The most that all releases of one quarter may spend on one person.
pub const BUDGET: Budget = Budget { epsilon: Epsilon::from_micros(1_000_000), delta: Delta::from_picos(1_000_000) };
/// The smallest number of people in a published cell.
pub const K_MIN: u32 = 10;
/// Days between the end of a quarter and its first release. Late days are taken into account until then.
pub const GRACE_DAYS: u32 = 14;
/// Days after the first release on which a revision may be planned.
pub const REVISION_DAYS: RangeInclusive<u32> = 30..=730;
/// The part of the budget that a revision may take, in percent.
pub const REVISION_PERCENT: RangeInclusive<u32> = 10..=50;
/// How many quarters ahead a policy can be set, because nobody knows what will be right after that.
pub const PLANNED_AHEAD: usize = 8;
/// For so many days after it was due, a release is still made by itself, so that a server that stood still for a year
/// makes up for it.
const OVERDUE_DAYS: u32 = 366;
/// The bounds within which a person's mean overtime counts, in minutes a day.
pub const OVERTIME_BOUNDS: Bounds = Bounds { low: -60, high: 180 };
/// The bounds within which a person's mean planned work counts, in minutes a day.
pub const PLANNED_BOUNDS: Bounds = Bounds { low: 240, high: 720 };

choice! {
    /// Which tables are published for a quarter.
    Plan { Full = "full", Small = "small" }
}

impl Plan {
    /// The tables that are drawn. Each person is in one cell of each table. Coarser tables are added up from these,
    /// without another draw.
    pub fn tables(self) -> &'static [Table] {
        match self {
            Self::Full => &[Table::StateSpecialty, Table::HospitalRole],
            Self::Small => &[Table::StateRole],
        }
    }

    /// What a release of a table spends if it may take `percent` percent of the budget.
    pub fn mechanism(self, table: Table, percent: u32) -> Mechanism {
        // ε is in millionths: for the count, overtime and planned work. δ is in parts of 10¹²: for the decision on a
        // cell, and for the decision on the roll-up that the cell is in.
        let (users, overtime, planned, delta, sum_delta) = match table {
            Table::StateSpecialty => (250_000, 300_000, 100_000, 475_000, 50_000),
            Table::HospitalRole => (150_000, 150_000, 50_000, 475_000, 0),
            Table::StateRole => (400_000, 450_000, 150_000, 1_000_000, 0),
        };
        let part = |micros| Epsilon::from_micros(micros).percent(percent);
        let chance = |picos| Delta::from_picos(picos).percent(percent);
        Mechanism {
            users: part(users),
            overtime: part(overtime),
            planned: part(planned),
            delta: chance(delta),
            sum_delta: chance(sum_delta),
            k_min: K_MIN,
            overtime_bounds: OVERTIME_BOUNDS,
            planned_bounds: PLANNED_BOUNDS,
        }
    }
}

/// One later release of a quarter, with late days and corrections. A part of the budget is kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The part of the budget, in percent.
    pub percent: u32,
    /// Days between the first release and the revision.
    pub after_days: u32,
}

/// The plan for a quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub plan: Plan,
    /// Absent if the quarter is not revised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

impl Policy {
    /// The policy of quarters for which nothing was planned.
    pub const DEFAULT: Self = Self { plan: Plan::Full, revision: None };

    /// The part of the budget for a release, in percent; `None` if there is no such release. The first release has
    /// number 0.
    pub fn percent(&self, revision: u32) -> Option<u32> {
        match (revision, self.revision) {
            (0, None) => Some(100),
            (0, Some(later)) => Some(100 - later.percent),
            (1, Some(later)) => Some(later.percent),
            _ => None,
        }
    }

    /// The first day on which a release may be made.
    pub fn due_on(&self, period: Quarter, revision: u32) -> NaiveDate {
        period.last_day() + Days::new(u64::from(self.days_after_quarter(revision)))
    }

    /// The number of days from the last day of a quarter to the first day on which a release may be made.
    pub fn days_after_quarter(&self, revision: u32) -> u32 {
        let later = self.revision.filter(|_| revision > 0).map_or(0, |later| later.after_days);
        GRACE_DAYS + 1 + later
    }

    /// Whether a release of a quarter may still be due, whatever is planned for the quarter. The nightly job looks no
    /// further back.
    pub fn may_be_due(period: Quarter, today: NaiveDate) -> bool {
        let latest = GRACE_DAYS + 1 + REVISION_DAYS.end() + OVERDUE_DAYS;
        today <= period.last_day() + Days::new(u64::from(latest))
    }

    /// What a release spends on a person who is in every table; `None` if there is no such release.
    pub fn price(&self, revision: u32) -> Option<(Epsilon, Delta)> {
        let percent = self.percent(revision)?;
        let mechanisms = self.plan.tables().iter().map(|table| self.plan.mechanism(*table, percent));
        Some(mechanisms.fold(Default::default(), |(epsilon, delta), mechanism| {
            (epsilon + mechanism.epsilon(), delta + mechanism.all_delta())
        }))
    }
}

/// The policies that are planned, each from a quarter on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plans {
    planned: Vec<Planned>,
}

/// A policy that counts from a quarter on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The first quarter, such as `2025-Q1`.
    pub from: String,
    pub policy: Policy,
}

impl Plans {
    /// All planned policies, the earliest first. [`Policy::DEFAULT`] counts before the first of them.
    pub fn planned(&self) -> &[Planned] {
        &self.planned
    }

    pub fn policy(&self, period: Quarter) -> Policy {
        let covers = |planned: &&Planned| planned.from.parse().is_ok_and(|from: Quarter| from <= period);
        self.planned.iter().rfind(covers).map_or(Policy::DEFAULT, |planned| planned.policy)
    }
}

/// Sets the policy for a quarter and the quarters after it.
#[derive(Clone, Debug)]
pub struct PlanCommand {
    pub from: Quarter,
    pub policy: Policy,
    /// The present day, in UTC.
    pub today: NaiveDate,
    /// Whether nobody has registered yet, so that the choice cannot depend on anybody's data.
    pub is_first: bool,
}

/// Each event carries all plans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlanEvent {
    Planned(Vec<Planned>),
}

event_types! {
    PlanEvent "1.0" {
        Planned = "stats.planned",
    }
}

impl Described for Plans {
    const ABOUT: About = About::Nobody;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The quarter has begun, so the choice could depend on what people submitted in it.
    #[error("{0} has begun; a policy is fixed before the quarter it is for")]
    Begun(Quarter),
    #[error("{0} is too far away; a policy is set for a quarter that begins within {ahead} quarters", ahead = PLANNED_AHEAD)]
    Far(Quarter),
    /// The part or the time of a revision is out of bounds.
    #[error("a revision takes {} to {} percent of the budget, {} to {} days after the first release",
            REVISION_PERCENT.start(), REVISION_PERCENT.end(), REVISION_DAYS.start(), REVISION_DAYS.end())]
    Revision,
}

impl Rule for PlanError {
    fn refused(&self) -> Refused {
        Refused::invalid(if *self == Self::Revision { "revision" } else { "from" }, self.to_string())
    }
}

impl Aggregate for Plans {
    const TYPE: &'static str = "plan";
    type Command = PlanCommand;
    type Event = PlanEvent;
    type Error = PlanError;
    type Services = ();

    async fn handle(&mut self, command: PlanCommand, _: &(), sink: &EventSink<Self>) -> Result<(), PlanError> {
        let PlanCommand { from, policy, today, is_first } = command;
        let sound =
            |later: Revision| REVISION_PERCENT.contains(&later.percent) && REVISION_DAYS.contains(&later.after_days);
        if !policy.revision.is_none_or(sound) {
            return Err(PlanError::Revision);
        }
        if Quarter::between(today, from.first_day()).nth(PLANNED_AHEAD + 1).is_some() {
            return Err(PlanError::Far(from));
        }
        let earlier = |planned: &&Planned| planned.from.parse().is_ok_and(|begins: Quarter| begins < from);
        let mut planned: Vec<Planned> = self.planned.iter().filter(earlier).cloned().collect();
        planned.push(Planned { from: from.to_string(), policy });
        if planned == self.planned {
            return Ok(());
        }
        if from.first_day() <= today && !is_first {
            return Err(PlanError::Begun(from));
        }
        sink.write(PlanEvent::Planned(planned), self).await;
        Ok(())
    }

    fn apply(&mut self, event: PlanEvent) {
        let PlanEvent::Planned(planned) = event;
        self.planned = planned;
    }
}

#[cfg(test)]
pub(crate) mod histories {
    use proptest::{option, prelude::*, sample::select};

    use super::*;
    use crate::whole_state::{Changes, Checked, day, quarter};

    impl Checked for Plans {
        const CHANGES: &[Changes] = &[Changes { event: "stats.planned", sets: &["planned"], clears: &[] }];

        fn commands() -> BoxedStrategy<PlanCommand> {
            (quarter(), policy(), day(), any::<bool>())
                .prop_map(|(from, policy, today, is_first)| PlanCommand { from, policy, today, is_first })
                .boxed()
        }
    }

    pub(crate) fn policy() -> impl Strategy<Value = Policy> {
        let revision = (select(vec![10_u32, 50]), select(vec![30_u32, 90]))
            .prop_map(|(percent, after_days)| Revision { percent, after_days });
        (select(vec![Plan::Full, Plan::Small]), option::of(revision))
            .prop_map(|(plan, revision)| Policy { plan, revision })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;
    use crate::rights::consent::{Notice, Purpose};

    pub(crate) fn quarter(text: &str) -> Quarter {
        text.parse().expect("a quarter")
    }

    pub(crate) fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    pub(crate) const REVISED: Policy =
        Policy { plan: Plan::Full, revision: Some(Revision { percent: 30, after_days: 90 }) };

    #[test]
    fn the_notice_promises_the_budget_and_the_smallest_group() {
        let notice = Notice::current(Purpose::Statistics).text.replace('\n', " ");
        assert_eq!((K_MIN, BUDGET.epsilon.micros(), BUDGET.delta.picos()), (10, 1_000_000, 1_000_000));
        for promise in ["at least ten people", "ε = 1 and δ = 0.000001 for all tables"] {
            assert!(notice.contains(promise), "{promise}: {notice}");
        }
    }

    #[test]
    fn every_policy_spends_the_budget_and_no_more() {
        for plan in [Plan::Full, Plan::Small] {
            for revision in [None, Some(Revision { percent: 30, after_days: 90 })] {
                let policy = Policy { plan, revision };
                let all = (0..=1).filter_map(|number| policy.price(number));
                let (epsilon, delta) =
                    all.fold((Epsilon::default(), Delta::default()), |sum, price| (sum.0 + price.0, sum.1 + price.1));
                assert_eq!((epsilon, delta), (BUDGET.epsilon, BUDGET.delta), "{policy:?}");
            }
        }
        assert_eq!(Plan::Full.mechanism(Table::StateSpecialty, 100).threshold(), 66);
        assert_eq!(Plan::Full.mechanism(Table::HospitalRole, 100).threshold(), 103);
    }

    #[test]
    fn a_policy_is_fixed_before_its_quarter() {
        let planning = |from: &str, policy, today: &str, is_first| {
            let (from, today) = (quarter(from), date(today));
            PlanCommand { from, policy, today, is_first }
        };
        let plan = |from: &str, policy, today: &str| planning(from, policy, today, false);
        let small = Policy { plan: Plan::Small, revision: None };
        let planned = |from: &str, policy| Planned { from: from.to_owned(), policy };
        let plans = || TestFramework::<Plans>::with(());
        plans()
            .given(vec![])
            .when(plan("2026-Q1", small, "2025-12-31"))
            .then_expect_events(vec![PlanEvent::Planned(vec![planned("2026-Q1", small)])]);
        plans()
            .given(vec![])
            .when(plan("2026-Q1", small, "2026-01-01"))
            .then_expect_error(PlanError::Begun(quarter("2026-Q1")));
        plans()
            .given(vec![])
            .when(planning("2025-Q4", small, "2026-01-01", true))
            .then_expect_events(vec![PlanEvent::Planned(vec![planned("2025-Q4", small)])]);
        let known = vec![PlanEvent::Planned(vec![planned("2026-Q1", small)])];
        plans().given(known).when(plan("2026-Q1", small, "2026-01-01")).then_expect_events(vec![]);
        let odd = Policy { revision: Some(Revision { percent: 60, after_days: 90 }), ..small };
        plans().given(vec![]).when(plan("2026-Q1", odd, "2025-12-31")).then_expect_error(PlanError::Revision);
        let days = |after_days| Policy { revision: Some(Revision { percent: 30, after_days }), ..small };
        for (policy, is_sound) in [(days(29), false), (days(30), true), (days(730), true), (days(731), false)] {
            let planned = plans().given(vec![]).when(plan("2026-Q1", policy, "2025-12-31")).inspect_result();
            assert_eq!(planned.is_ok(), is_sound, "{policy:?}");
        }
        plans()
            .given(vec![])
            .when(plan("2028-Q1", small, "2025-12-31"))
            .then_expect_error(PlanError::Far(quarter("2028-Q1")));
        let far = plans().given(vec![]).when(plan("2027-Q4", small, "2025-12-31")).inspect_result();
        assert!(far.is_ok(), "eight quarters ahead");
        let mut known = Plans::default();
        known.apply(PlanEvent::Planned(vec![planned("2026-Q1", small), planned("2026-Q3", REVISED)]));
        for (period, policy) in [("2025-Q4", Policy::DEFAULT), ("2026-Q2", small), ("2027-Q1", REVISED)] {
            assert_eq!(known.policy(quarter(period)), policy, "{period}");
        }
    }

    /// The nightly job makes every release that can be planned, from the day on which it is due until a year later.
    #[test]
    fn no_release_is_due_too_late_to_be_made() {
        let period = quarter("2025-Q1");
        for after_days in [30, 350, 351, 400, 730] {
            let policy = Policy { plan: Plan::Full, revision: Some(Revision { percent: 30, after_days }) };
            let due = policy.due_on(period, 1);
            assert_eq!((due - policy.due_on(period, 0)).num_days(), i64::from(after_days));
            assert!(
                Policy::may_be_due(period, due) && Policy::may_be_due(period, due + Days::new(366)),
                "{after_days}"
            );
        }
        assert!(!Policy::may_be_due(period, date("2030-01-01")));
    }

    #[test]
    fn stored_events_load() {
        let stored =
            r#"{"Planned":[{"from":"2026-Q1","policy":{"plan":"full","revision":{"percent":30,"after_days":90}}}]}"#;
        let event = PlanEvent::Planned(vec![Planned { from: "2026-Q1".to_owned(), policy: REVISED }]);
        assert_eq!(serde_json::to_string(&event).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<PlanEvent>(stored).expect("loads"), event);
    }
}
