//! Published statistics: what is planned for a quarter, what its releases may spend, and in which cell a person counts.
//!
//! The unit of privacy is one account's presence in one closed quarter. All tables and all revisions of a quarter
//! together spend at most [`BUDGET`] on any person, because each person is in one cell of each table. What was drawn is
//! never drawn again. The plan is fixed before the quarter begins, so that it cannot depend on what people submitted.

use std::{collections::BTreeMap, ops::RangeInclusive};

use chrono::{Days, NaiveDate};
use cqrs_es::{Aggregate, event_sink::EventSink};
use noise::{Bounds, Budget, Delta, Epsilon, Mechanism};
use serde::{Deserialize, Serialize};

use crate::{
    Choice, RoleLevel, Specialty, StateCode,
    choice::choice,
    event::{About, Described, event_types},
    kinds::{WorkDay, WorkProfile},
    quarter::Quarter,
    refusal::{Refused, Rule},
    statistics::hospital::Listing,
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

choice! {
    Table { StateSpecialty = "stats_by_state_specialty", HospitalRole = "stats_by_hospital_role", StateRole = "stats_by_state_role" }
}

choice! {
    /// The groups of role levels in the table by hospital.
    RoleGroup { Doctor = "doctor", Nurse = "nurse", Other = "other" }
}

/// The group in which each role level counts.
pub const ROLE_GROUPS: [(RoleLevel, RoleGroup); 6] = [
    (RoleLevel::Assistant, RoleGroup::Doctor),
    (RoleLevel::Specialist, RoleGroup::Doctor),
    (RoleLevel::Senior, RoleGroup::Doctor),
    (RoleLevel::Chief, RoleGroup::Doctor),
    (RoleLevel::Nurse, RoleGroup::Nurse),
    (RoleLevel::Other, RoleGroup::Other),
];

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

impl Table {
    /// The cell of a work profile. `None` if the table has no cell for it: no state, another country, or a hospital
    /// that is not on the public list.
    pub fn cell(self, work: &WorkProfile, is_listed: impl Fn(&str) -> bool) -> Option<String> {
        let state =
            || work.state_code.filter(|_| work.country_code == WorkProfile::DEFAULT_COUNTRY).map(Choice::as_str);
        let role = work.role_level.as_str();
        match self {
            Self::StateSpecialty => Some(format!("{}/{}/{role}", state()?, work.specialty.as_str())),
            Self::StateRole => Some(format!("{}/{role}", state()?)),
            Self::HospitalRole => is_listed(&work.hospital_id)
                .then(|| format!("{}/{}", work.hospital_id, group_of(work.role_level).as_str())),
        }
    }

    /// The cell of the coarser table to which a cell is added: state and role, over all specialties. `None` if no
    /// coarser table exists.
    pub fn rolled_up(self, cell: &str) -> Option<String> {
        match self {
            Self::StateSpecialty => {
                let mut parts = cell.split('/');
                Some(format!("{}/{}", parts.next()?, parts.nth(1)?))
            }
            Self::StateRole | Self::HospitalRole => None,
        }
    }

    /// All cells that the table can have, in order. They are public, because no cell depends on a person.
    pub fn cells(self, hospitals: &[String]) -> Vec<String> {
        let (states, roles) = (StateCode::NAMES, RoleLevel::NAMES);
        let mut cells: Vec<String> = match self {
            Self::StateSpecialty => product(states, Specialty::NAMES)
                .flat_map(|cell| roles.iter().map(move |role| format!("{cell}/{role}")))
                .collect(),
            Self::StateRole => product(states, roles).collect(),
            Self::HospitalRole => product(hospitals, RoleGroup::NAMES).collect(),
        };
        cells.sort_unstable();
        cells
    }
}

fn product<'a, A: AsRef<str>>(some: &'a [A], others: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    some.iter().flat_map(move |one| others.iter().map(move |other| format!("{}/{other}", one.as_ref())))
}

pub fn group_of(role: RoleLevel) -> RoleGroup {
    ROLE_GROUPS.into_iter().find(|(level, _)| *level == role).map_or(RoleGroup::Other, |(_, group)| group)
}

/// The sums over some of a person's submitted days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaySums {
    pub days: i64,
    /// Overtime in minutes: actual work less planned work.
    pub overtime: i64,
    /// Planned work in minutes.
    pub planned: i64,
}

impl DaySums {
    pub fn of(day: &WorkDay) -> Self {
        let (planned, actual) = (i64::from(day.planned_minutes), i64::from(day.actual_minutes));
        Self { days: 1, overtime: actual - planned, planned }
    }
}

impl std::ops::AddAssign for DaySums {
    fn add_assign(&mut self, other: Self) {
        self.days += other.days;
        self.overtime += other.overtime;
        self.planned += other.planned;
    }
}

/// What a person adds to a table: one cell, and the means of a day in whole minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    pub cell: String,
    pub overtime: i64,
    pub planned: i64,
}

/// The cell in which most of a person's days lie, with the means of these days. Of cells with equally many days, the
/// first by name is taken. `None` if no day lies in a cell.
pub fn contribution(days: impl IntoIterator<Item = (Option<String>, DaySums)>) -> Option<Contribution> {
    let mut cells: BTreeMap<String, DaySums> = BTreeMap::new();
    for (cell, sums) in days {
        if let Some(cell) = cell {
            *cells.entry(cell).or_default() += sums;
        }
    }
    let (cell, sums) = cells.into_iter().rev().max_by_key(|(_, sums)| sums.days).filter(|(_, sums)| sums.days > 0)?;
    let mean = |sum: i64| (2 * sum + sums.days).div_euclid(2 * sums.days);
    Some(Contribution { cell, overtime: mean(sums.overtime), planned: mean(sums.planned) })
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
    use proptest::{option, prelude::*, sample::select};

    use super::*;
    use crate::{
        statistics::hospital::histories::listing,
        whole_state::{Changes, Checked, day, quarter, word},
    };

    impl Checked for Plans {
        const CHANGES: &[Changes] = &[Changes { event: "stats.planned", sets: &["planned"], clears: &[] }];

        fn commands() -> BoxedStrategy<PlanCommand> {
            (quarter(), policy(), day(), any::<bool>())
                .prop_map(|(from, policy, today, is_first)| PlanCommand { from, policy, today, is_first })
                .boxed()
        }
    }

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

    fn policy() -> impl Strategy<Value = Policy> {
        let revision = (select(vec![10_u32, 50]), select(vec![30_u32, 90]))
            .prop_map(|(percent, after_days)| Revision { percent, after_days });
        (select(vec![Plan::Full, Plan::Small]), option::of(revision))
            .prop_map(|(plan, revision)| Policy { plan, revision })
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use proptest::prelude::*;

    use super::*;
    use crate::rights::consent::{Notice, Purpose};

    #[test]
    fn the_notice_promises_the_budget_and_the_smallest_group() {
        let notice = Notice::current(Purpose::Statistics).text.replace('\n', " ");
        assert_eq!((K_MIN, BUDGET.epsilon.micros(), BUDGET.delta.picos()), (10, 1_000_000, 1_000_000));
        for promise in ["at least ten people", "ε = 1 and δ = 0.000001 for all tables"] {
            assert!(notice.contains(promise), "{promise}: {notice}");
        }
    }
    use crate::kinds::Shape;

    fn quarter(text: &str) -> Quarter {
        text.parse().expect("a quarter")
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    const REVISED: Policy = Policy { plan: Plan::Full, revision: Some(Revision { percent: 30, after_days: 90 }) };

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
    fn a_person_counts_where_most_of_their_days_are() {
        let sums = |days, overtime, planned| DaySums { days, overtime, planned };
        let cell = |name: &str| Some(name.to_owned());
        let found = contribution([
            (cell("b"), sums(3, 100, 1440)),
            (cell("a"), sums(2, 10, 960)),
            (cell("a"), sums(1, -45, 300)),
        ]);
        assert_eq!(
            found,
            Some(Contribution { cell: "a".to_owned(), overtime: -12, planned: 420 }),
            "the first by name"
        );
        assert_eq!(contribution([(None, sums(9, 0, 0)), (cell("a"), sums(1, 2, 3))]).expect("one").cell, "a");
        assert_eq!(contribution([(cell("a"), sums(0, 0, 0))]), None);
        assert_eq!(contribution([]), None);
    }

    #[test]
    fn cells_are_public_and_every_profile_has_one_of_them() {
        let mut work = WorkProfile::example();
        let hospitals = ["klinikum-am-see".to_owned()];
        for table in [Table::StateSpecialty, Table::HospitalRole, Table::StateRole] {
            let cell = table.cell(&work, |id| hospitals.iter().any(|listed| listed == id)).expect("a cell");
            let cells = table.cells(&hospitals);
            assert!(cells.contains(&cell) && cells.is_sorted(), "{cell}");
        }
        assert_eq!(Table::HospitalRole.cell(&work, |_| false), None);
        work.state_code = None;
        assert_eq!(Table::StateRole.cell(&work, |_| true), None);
        assert_eq!(Table::StateSpecialty.cells(&[]).len(), 16 * 21 * 6);
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
        let stored =
            r#"{"Planned":[{"from":"2026-Q1","policy":{"plan":"full","revision":{"percent":30,"after_days":90}}}]}"#;
        let event = PlanEvent::Planned(vec![Planned { from: "2026-Q1".to_owned(), policy: REVISED }]);
        assert_eq!(serde_json::to_string(&event).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<PlanEvent>(stored).expect("loads"), event);
    }
}
