//! The parameter sheet of the published statistics: what a release costs, when it is made, and what that guarantees.
//! Called by anyone, without a sign-in, through `analytics`. It is made from the code that uses the values, and from
//! what is planned.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use domain::{
    Choice, RoleLevel, Specialty,
    statistics::{
        hospital::{Fixed, HospitalLists},
        plan::{BUDGET, GRACE_DAYS, K_MIN, OVERTIME_BOUNDS, PLANNED_BOUNDS, Plan, Planned, Policy},
        table::{ROLE_GROUPS, RoleGroup, Table},
    },
};
use poem_openapi::Object;

use crate::http::types::OneOf;

/// What a table costs and when a cell of it is published.
#[derive(Object)]
pub struct TableParameters {
    /// The plan that draws the table.
    plan: OneOf<Plan>,
    /// The name of the table.
    table: OneOf<Table>,
    /// ε spent on the count of people.
    epsilon_users: f64,
    /// ε spent on overtime.
    epsilon_overtime: f64,
    /// ε spent on planned hours.
    epsilon_planned: f64,
    /// δ spent on the decision to publish a cell.
    delta: f64,
    /// τ: a cell is published only if its noisy count is at least this.
    threshold: i64,
    /// δ spent on the decision to publish a roll-up, which is the sum of a cell with others; 0 if the table has none.
    roll_up_delta: f64,
    /// A roll-up is published only if none of its cells is suppressed, or if the suppressed cells together have at
    /// least k_min people and a noisy count of at least this. The first value is for one suppressed cell, the second
    /// for two, and so on. Empty if the table has no roll-ups.
    roll_up_thresholds: Vec<i64>,
}

/// A planned release of each quarter: what it costs each person, and when it is made.
#[derive(Object)]
pub struct PlannedRelease {
    /// 0 for the first release, 1 for the revision.
    revision: u32,
    /// The release's part of the budget, in percent.
    percent: u32,
    /// The release is made so many days after the quarter's last day, or later.
    days_after_quarter: u32,
    /// What the release costs each person at most, ε.
    epsilon: f64,
    /// What the release costs each person at most, δ.
    delta: f64,
    /// The tables that the release draws.
    tables: Vec<TableParameters>,
}

/// What is planned for the quarters from one quarter on.
#[derive(Object)]
pub struct PlannedQuarters {
    /// The first quarter. The plan counts until the quarter in which the next plan begins. Absent for the quarters
    /// before the first plan.
    #[oai(skip_serializing_if_is_none)]
    from: Option<String>,
    /// Which tables are drawn: `full` or `small`.
    plan: OneOf<Plan>,
    /// The releases of each quarter.
    releases: Vec<PlannedRelease>,
}

/// A list of hospitals, which was fixed before the first quarter for which it counts.
#[derive(Object)]
pub struct HospitalListParameters {
    /// The first quarter. The list counts until the quarter in which the next list begins.
    from: String,
    /// How many hospitals the list has.
    count: u32,
    /// SHA-256 over the ids in order, each followed by a line feed, in hexadecimal.
    sha256: String,
}

/// The group that a role level belongs to.
#[derive(Object)]
pub struct RoleGroupParameters {
    /// The role level.
    role_level: OneOf<RoleLevel>,
    /// The group of roles.
    role_group: OneOf<RoleGroup>,
}

/// The public parameter sheet.
#[derive(Object)]
pub struct Parameters {
    /// The unit that is protected.
    unit_of_privacy: String,
    /// The most ε that a quarter spends on a person, over all tables and revisions.
    epsilon: f64,
    /// The most δ that a quarter spends on a person, over all tables and revisions.
    delta: f64,
    /// K: the least number of people in a published cell.
    k_min: u32,
    /// How many days after its end a quarter is released.
    grace_days: u32,
    /// The lower and the upper bound of a person's mean overtime, in minutes per day.
    overtime_minutes: Vec<i64>,
    /// The lower and the upper bound of a person's mean planned work, in minutes per day.
    planned_minutes: Vec<i64>,
    /// The tables by plan, at the whole budget, as it counts for a quarter that is not revised.
    tables: Vec<TableParameters>,
    /// What is planned, earliest first, with what each release of a quarter costs and when it is made.
    planned: Vec<PlannedQuarters>,
    /// The lists of hospitals that give the table by hospital its cells, earliest first.
    hospital_lists: Vec<HospitalListParameters>,
    /// The group of each role level.
    role_groups: Vec<RoleGroupParameters>,
    /// How the noise is drawn.
    sampler: String,
    /// What the intervals mean.
    intervals: String,
    /// What is guaranteed.
    guaranteed: Vec<String>,
    /// What is not guaranteed.
    not_guaranteed: Vec<String>,
}

impl TableParameters {
    /// The tables of a plan, at so many percent of the budget.
    fn of(plan: Plan, percent: u32) -> Vec<Self> {
        plan.tables().iter().map(|table| Self::new(plan, *table, percent)).collect()
    }

    fn new(plan: Plan, table: Table, percent: u32) -> Self {
        let mechanism = plan.mechanism(table, percent);
        Self {
            plan: OneOf(plan),
            table: OneOf(table),
            epsilon_users: mechanism.users.value(),
            epsilon_overtime: mechanism.overtime.value(),
            epsilon_planned: mechanism.planned.value(),
            delta: mechanism.delta.value(),
            threshold: mechanism.threshold(),
            roll_up_delta: mechanism.sum_delta.value(),
            roll_up_thresholds: roll_up_thresholds(plan, table, percent),
        }
    }
}

/// Thresholds of roll-ups, by plan, table and percent of the budget.
type RollUpThresholds = BTreeMap<(&'static str, &'static str, u32), Vec<i64>>;

/// The thresholds that were computed so far. They are kept, because each takes a convolution and never changes.
static ROLL_UP_THRESHOLDS: Mutex<RollUpThresholds> = Mutex::new(BTreeMap::new());

/// The least noisy count with which suppressed cells pass together: for one cell, for two, and so on to one for each
/// specialty.
fn roll_up_thresholds(plan: Plan, table: Table, percent: u32) -> Vec<i64> {
    let mut known = ROLL_UP_THRESHOLDS.lock().unwrap_or_else(PoisonError::into_inner);
    let thresholds = known.entry((plan.as_str(), table.as_str(), percent)).or_insert_with(|| {
        let mechanism = plan.mechanism(table, percent);
        let cells = u32::try_from(Specialty::NAMES.len()).unwrap_or(u32::MAX);
        (1..=cells).filter_map(|cells| mechanism.threshold_of_sum(cells)).collect()
    });
    thresholds.clone()
}

impl PlannedQuarters {
    fn new(from: Option<String>, policy: Policy) -> Self {
        let release = |revision: u32| {
            let (percent, (epsilon, delta)) = policy.percent(revision).zip(policy.price(revision))?;
            Some(PlannedRelease {
                revision,
                percent,
                days_after_quarter: policy.days_after_quarter(revision),
                epsilon: epsilon.value(),
                delta: delta.value(),
                tables: TableParameters::of(policy.plan, percent),
            })
        };
        Self { from, plan: OneOf(policy.plan), releases: (0..).map_while(release).collect() }
    }
}

impl Parameters {
    /// The sheet, with what is planned and which hospitals are listed.
    pub fn new(plans: &[Planned], hospitals: &HospitalLists) -> Self {
        let planned = plans.iter().map(|planned| PlannedQuarters::new(Some(planned.from.clone()), planned.policy));
        let list = |fixed: &Fixed| HospitalListParameters {
            from: fixed.from.clone(),
            count: fixed.listing.count,
            sha256: fixed.listing.sha256.clone(),
        };
        Self {
            planned: std::iter::once(PlannedQuarters::new(None, Policy::DEFAULT)).chain(planned).collect(),
            hospital_lists: hospitals.fixed().iter().map(list).collect(),
            ..general()
        }
    }
}

/// The part of the sheet that does not depend on plans and lists.
fn general() -> Parameters {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Parameters {
        unit_of_privacy: "one account's presence in one closed quarter, over all tables and revisions".to_owned(),
        epsilon: BUDGET.epsilon.value(),
        delta: BUDGET.delta.value(),
        k_min: K_MIN,
        grace_days: GRACE_DAYS,
        overtime_minutes: vec![OVERTIME_BOUNDS.low, OVERTIME_BOUNDS.high],
        planned_minutes: vec![PLANNED_BOUNDS.low, PLANNED_BOUNDS.high],
        tables: [Plan::Full, Plan::Small].into_iter().flat_map(|plan| TableParameters::of(plan, 100)).collect(),
        planned: Vec::new(),
        hospital_lists: Vec::new(),
        role_groups: ROLE_GROUPS
            .into_iter()
            .map(|(level, group)| RoleGroupParameters { role_level: OneOf(level), role_group: OneOf(group) })
            .collect(),
        sampler:
            "exact discrete Laplace (Canonne, Kamath, Steinke 2020) on integers, from the operating system's generator"
                .to_owned(),
        intervals: "95 % over the noise, not over a sample of people; rounded outwards to hundredths of an hour"
            .to_owned(),
        guaranteed: texts(&[
            "(ε, δ)-differential privacy of one account's presence in a quarter, whatever else is known",
            "no published cell has fewer than k_min people",
            "no published sum less the published cells in it leaves fewer than k_min people, or a noisy count below its threshold",
            "an answer is of one release of a quarter, the newest, and names it",
            "the hospitals that there are cells for are fixed before the quarter begins",
            "the log holds one entry for every account of each release, and tells nobody but its owner whether it was counted",
            "what is published is drawn once, and never again but for a revision that was scheduled before the quarter",
            "a later erasure, correction or late day changes nothing that is published",
        ]),
        not_guaranteed: texts(&[
            "one person with several accounts counts as several",
            "over several quarters a person's losses add up: four quarters spend four times the budget",
            "a mean beyond the bounds counts as the bound, so that means of extreme cells are drawn towards the middle",
            "people without a state, or at a hospital that is not on the public list, are in no cell of that table",
            "who takes part is not a random sample; intervals do not speak for those who do not",
        ]),
    }
}
