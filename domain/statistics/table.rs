//! The tables that are published: which cells they have, and in which cell a person counts, with what.

use std::collections::BTreeMap;

use crate::{
    Choice, RoleLevel, Specialty, StateCode,
    choice::choice,
    kinds::{WorkDay, WorkProfile},
};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Shape;

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
}
