//! Roll-ups: sums over cells of a drawn table, from noisy numbers alone. Decides which roll-ups are published, and
//! which cells must be kept back for them.
//!
//! Anybody can subtract the published cells from a published sum, and so learns the rest. Therefore a sum is published
//! only if no cells are left, or if the cells that are left together pass the two thresholds that a single cell passes:
//! at least K people in truth, and a noisy count that few people reach seldom enough (secondary suppression). A
//! revision treats cells that an earlier release of the quarter published as known, and publishes no new cell of a sum
//! that is published already.
//!
//! Beyond the noise, only the decision on one sum depends on a person: the sum that their own cell is in. This decision
//! adds [`Mechanism::sum_delta`] to what the cells spend. (The decision depends on a single person only if the cells
//! that are left have exactly K people in truth. Then these are the cells of fewer than K people, and at most one cell
//! of exactly K: one set, whose noise nobody has selected.)

use std::collections::{BTreeMap, HashSet};

use noise::{Mechanism, Noisy};

use crate::statistics::table::Table;

/// A drawn cell. Its true number of people never leaves memory and is stored nowhere.
pub struct Cell {
    pub name: String,
    /// The true number of people.
    pub people: i64,
    pub noisy: Noisy,
    pub published: bool,
}

/// What earlier releases of the same quarter published of a table and of its roll-ups.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// The names of published cells.
    pub cells: HashSet<String>,
    /// The names of published roll-ups.
    pub roll_ups: HashSet<String>,
}

/// A published sum of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollUp {
    /// The name of the sum in the coarser table.
    pub name: String,
    /// The noisy numbers, added up.
    pub noisy: Noisy,
    /// How many cells were added up.
    pub cells: u32,
}

/// Keeps back each new cell of a roll-up that an earlier release published, because subtracting this cell from the
/// roll-up would uncover the other cells.
pub fn withhold(table: Table, cells: &mut [Cell], earlier: &Earlier) {
    for cell in cells.iter_mut().filter(|cell| !earlier.cells.contains(&cell.name)) {
        let stands = table.rolled_up(&cell.name).is_some_and(|name| earlier.roll_ups.contains(&name));
        cell.published &= !stands;
    }
}

/// A sum of cells, and the numbers of those cells in it that stay hidden.
#[derive(Default)]
struct Sum {
    noisy: Noisy,
    cells: u32,
    /// How many of the cells this release does not publish.
    hidden: u32,
    /// How many of the hidden cells no earlier release published either. `people` is their true number of people,
    /// `users` the noisy number.
    unknown: u32,
    people: i64,
    users: i64,
}

impl Sum {
    fn add(&mut self, cell: &Cell, is_known: bool) {
        self.noisy = self.noisy + cell.noisy;
        self.cells += 1;
        self.hidden += u32::from(!cell.published);
        if !cell.published && !is_known {
            self.unknown += 1;
            self.people += cell.people;
            self.users += cell.noisy.users;
        }
    }

    fn is_published(&self, mechanism: &Mechanism) -> bool {
        self.hidden == 0 || mechanism.decides_sum(self.people, self.users, self.unknown)
    }
}

/// The roll-ups of a table that are published, in order of their names.
pub fn roll_ups(table: Table, mechanism: &Mechanism, cells: &[Cell], earlier: &Earlier) -> Vec<RollUp> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for cell in cells {
        if let Some(name) = table.rolled_up(&cell.name) {
            sums.entry(name).or_default().add(cell, earlier.cells.contains(&cell.name));
        }
    }
    sums.retain(|_, sum| sum.is_published(mechanism));
    sums.into_iter().map(|(name, Sum { noisy, cells, .. })| RollUp { name, noisy, cells }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::TestRunner};

    use super::*;
    use crate::statistics::plan::Plan;

    const TABLE: Table = Table::StateSpecialty;
    const K: i64 = crate::statistics::plan::K_MIN as i64;

    fn mechanism() -> Mechanism {
        Plan::Full.mechanism(TABLE, 100)
    }

    /// The cells of two roles in one state, from true numbers of people and noise.
    fn cells(numbers: &[(i64, i64)]) -> Vec<Cell> {
        let roles = ["nurse", "senior"];
        let cell = |(at, (people, noise)): (usize, &(i64, i64))| {
            let users = people + noise;
            let published = *people >= K && users >= mechanism().threshold();
            let noisy = Noisy { users, ..Noisy::default() };
            Cell { name: format!("BY/s{}/{}", at / 2, roles[at % 2]), people: *people, noisy, published }
        };
        numbers.iter().enumerate().map(cell).collect()
    }

    fn names(found: &[RollUp]) -> Vec<&str> {
        found.iter().map(|found| found.name.as_str()).collect()
    }

    #[test]
    fn a_single_suppressed_cell_keeps_its_roll_up_back() {
        let of = |numbers: &[(i64, i64)]| roll_ups(TABLE, &mechanism(), &cells(numbers), &Earlier::default());
        let least = mechanism().threshold_of_sum(2).expect("kept for it");
        // Nurses: 100, 100 and 12 people; the sum would uncover the 12. Senior physicians: all three cells are
        // published.
        let found = of(&[(100, 0), (90, 0), (100, 0), (90, 0), (12, 0), (90, 0)]);
        assert_eq!(names(&found), ["BY/senior"]);
        assert_eq!((found[0].noisy.users, found[0].cells), (270, 3));
        // Two suppressed cells with many people together: their noisy count is just enough, then one too few.
        let two = |short: i64| of(&[(100, 0), (90, 0), (60, 0), (90, 0), (60, least - 120 - short), (90, 0)]);
        assert_eq!(names(&two(0)), ["BY/nurse", "BY/senior"]);
        assert_eq!(names(&two(1)), ["BY/senior"]);
        // A high noisy count of too few people in truth, and a roll-up without people.
        assert_eq!(names(&of(&[(100, 0), (90, 0), (5, 50), (90, 0), (4, 60), (90, 0)])), ["BY/senior"]);
        assert_eq!(names(&of(&[(0, 0), (0, 0), (0, 0), (0, 0)])), [""; 0]);
    }

    #[test]
    fn a_revision_uncovers_nothing_of_the_release_before() {
        // Two cells were suppressed below a published sum; one of them passes the thresholds now.
        let earlier = Earlier {
            cells: HashSet::from(["BY/s0/nurse".to_owned()]),
            roll_ups: HashSet::from(["BY/nurse".to_owned()]),
        };
        let mut now = cells(&[(100, 0), (90, 0), (100, 0), (90, 0), (12, 0), (90, 0)]);
        withhold(TABLE, &mut now, &earlier);
        let shown: Vec<&str> = now.iter().filter(|cell| cell.published).map(|cell| cell.name.as_str()).collect();
        assert_eq!(shown, ["BY/s0/nurse", "BY/s0/senior", "BY/s1/senior", "BY/s2/senior"]);
        // A cell that was published before is known, although it is suppressed now. Without it only one cell would be
        // left.
        let earlier = Earlier { cells: HashSet::from(["BY/s1/nurse".to_owned()]), ..Earlier::default() };
        let now = cells(&[(100, 0), (90, 0), (60, 0), (90, 0), (60, 150), (90, 0)]);
        assert_eq!(names(&roll_ups(TABLE, &mechanism(), &now, &earlier)), ["BY/senior"]);
    }

    /// Whether subtracting everything that was ever published of a sum leaves no cell, or leaves cells that pass the
    /// thresholds.
    fn isolates_nobody(cells: &[Cell], ever: &HashSet<String>, sum: &str) -> bool {
        let of = |cell: &&Cell| TABLE.rolled_up(&cell.name).as_deref() == Some(sum);
        let left: Vec<&Cell> = cells.iter().filter(of).filter(|cell| !cell.published).collect();
        let unknown: Vec<&&Cell> = left.iter().filter(|cell| !ever.contains(&cell.name)).collect();
        let people: i64 = unknown.iter().map(|cell| cell.people).sum();
        let noisy: i64 = unknown.iter().map(|cell| cell.noisy.users).sum();
        let least = mechanism().threshold_of_sum(u32::try_from(unknown.len()).expect("few")).unwrap_or(i64::MAX);
        left.is_empty() || (people >= K && noisy >= least)
    }

    /// **Feature: published-statistics, Property 3: no published roll-up less published cells, of whichever release of the
    /// quarter, leaves a set of people below the gates**
    #[test]
    fn no_roll_up_less_what_is_published_isolates_a_set_below_the_gates() {
        let people = || prop_oneof![2 => 0..12_i64, 2 => 40..80_i64, 3 => 100..300_i64];
        let number = || (people(), -40..40_i64);
        let releases = prop::collection::vec((number(), number()), 8);
        let config = ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
        let (kept_back, shown) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let outcome = TestRunner::new(config).run(&releases, |numbers| {
            let (first, second): (Vec<_>, Vec<_>) = numbers.into_iter().unzip();
            let first = cells(&first);
            let sums = roll_ups(TABLE, &mechanism(), &first, &Earlier::default());
            let published = |cells: &[Cell]| -> HashSet<String> {
                cells.iter().filter(|cell| cell.published).map(|cell| cell.name.clone()).collect()
            };
            let earlier =
                Earlier { cells: published(&first), roll_ups: sums.iter().map(|sum| sum.name.clone()).collect() };
            let mut second = cells(&second);
            withhold(TABLE, &mut second, &earlier);
            let later = roll_ups(TABLE, &mechanism(), &second, &earlier);
            let ever = &earlier.cells | &published(&second);
            for (cells, sums) in [(&first, &sums), (&second, &later)] {
                for sum in sums {
                    prop_assert!(isolates_nobody(cells, &ever, &sum.name), "{}", sum.name);
                }
                shown.set(shown.get() + sums.len());
                kept_back.set(kept_back.get() + 2 - sums.len());
            }
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
        assert!(shown.get() > 500 && kept_back.get() > 500, "{} shown, {} kept back", shown.get(), kept_back.get());
    }
}
