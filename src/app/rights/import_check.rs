//! What is found in a document before anything of it is written: how many records there are, and all their faults.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use chrono::NaiveDate;
use domain::{
    Body, Fault, Kind,
    fault::FAULTS,
    kinds::{kind, normalise_address},
    rights::consent::Purpose,
};

use crate::export::{Metadata, Page, VERSION};

/// How many natural keys of a kind are remembered, to find one that is repeated: about 20 MiB. Our own documents repeat
/// none, unless the rule of a kind has changed since. Behind so many, what is repeated on a later page amends the record
/// before, and what is repeated on the same page ends the import there.
const KEYS: usize = 1_000_000;

/// The check of one document, page by page.
pub struct Check {
    today: NaiveDate,
    counts: BTreeMap<&'static str, usize>,
    faults: Vec<Fault>,
    /// The hashes of the natural keys of the kind that is being read.
    keys: HashSet<u64>,
    hashing: RandomState,
}

impl Check {
    /// `today` is the date where the person is.
    pub fn new(today: NaiveDate) -> Self {
        Self { today, counts: BTreeMap::new(), faults: Vec::new(), keys: HashSet::new(), hashing: RandomState::new() }
    }

    /// Checks that a document was made for the person with the address `email`, and that its records can be read. Returns
    /// false if not, so that nobody need read them.
    pub fn metadata(&mut self, metadata: &Metadata, email: &str) -> bool {
        if metadata.export_version != VERSION {
            self.faults.push(Fault::new("exportMetadata.exportVersion", format!("must be {VERSION}")));
        }
        // Both addresses are normalised by the present rule, because the file may be older than the rule.
        let normal = |address: &str| normalise_address(address).ok();
        if normal(email).is_none() || normal(&metadata.user_id) != normal(email) {
            self.faults.push(Fault::new("exportMetadata.userId", "is the address of another account"));
        }
        self.faults.is_empty()
    }

    /// Checks a page. The pages of a kind must follow one another.
    pub fn page(&mut self, page: Page) {
        match kind(&page.kind) {
            // The contact is not imported, because a sign-in compares the address with it.
            Some(kind) if !kind.open_to_clients() => {}
            Some(kind) => self.records(kind, page),
            None if page.bodies.is_empty() || page.first > 0 => {}
            None => {
                self.faults.push(Fault::new(format!("records.{}", page.kind), "is not a kind of record any more"));
            }
        }
    }

    /// Whether so many faults were found that no more are looked for.
    pub fn is_full(&self) -> bool {
        self.faults.len() >= FAULTS
    }

    /// All faults that were found, at most [`FAULTS`].
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.iter().take(FAULTS).cloned().collect()
    }

    /// How many records of each kind would be submitted.
    pub fn counts(&self) -> &BTreeMap<&'static str, usize> {
        &self.counts
    }

    /// The purposes that the records need a consent to.
    pub fn purposes(&self) -> HashSet<Purpose> {
        let there = self.counts.iter().filter(|(_, count)| **count > 0);
        there.filter_map(|(name, _)| kind(name)?.purpose()).collect()
    }

    fn records(&mut self, kind: &'static Kind, page: Page) {
        if page.first == 0 {
            self.keys.clear();
        }
        *self.counts.entry(kind.name()).or_default() += page.bodies.len();
        for (number, body) in (page.first..).zip(page.bodies) {
            let place = format!("records.{}[{number}]", kind.name());
            match body {
                Some(body) => self.body(kind, &place, &kind.normal(body)),
                None => self.faults.push(Fault::new(place, "must be a record with its body")),
            }
            if self.is_full() {
                break;
            }
        }
    }

    fn body(&mut self, kind: &Kind, place: &str, body: &Body) {
        let found = kind.faults(body, self.today);
        if found.is_empty() && self.is_repeated(&kind.natural_key(body)) {
            let field = Some(kind.key_field()).filter(|field| !field.is_empty());
            let field = field.map_or_else(|| place.to_owned(), |field| format!("{place}.{field}"));
            self.faults.push(Fault::new(field, "is repeated in this file"));
        }
        self.faults.extend(found.into_iter().map(|fault| fault.within(place)));
    }

    /// Two different keys have the same hash in one of millions of documents; the hashes of the next try are others.
    fn is_repeated(&mut self, key: &str) -> bool {
        let hash = self.hashing.hash_one(key);
        if self.keys.len() == KEYS { self.keys.contains(&hash) } else { !self.keys.insert(hash) }
    }
}

#[cfg(test)]
mod tests {
    use domain::kinds::{WORK_DAY, WORK_PROFILE};

    use super::*;

    fn check(pages: Vec<Page>) -> Vec<String> {
        let mut check = Check::new("2026-03-02".parse().expect("a date"));
        pages.into_iter().for_each(|page| check.page(page));
        check.faults().into_iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect()
    }

    fn page(kind: &str, first: usize, bodies: Vec<Option<Body>>) -> Page {
        Page { kind: kind.to_owned(), first, bodies }
    }

    #[test]
    fn a_key_that_is_repeated_is_a_fault_also_on_another_page_and_not_of_another_kind() {
        let day = || Some(WORK_DAY.example());
        assert_eq!(check(vec![page("work_day", 0, vec![day()])]), Vec::<String>::new());
        assert_eq!(
            check(vec![page("work_day", 0, vec![day()]), page("work_day", 1, vec![day()])]),
            ["records.work_day[1].date is repeated in this file"]
        );
        let profile = || Some(WORK_PROFILE.example());
        assert_eq!(
            check(vec![page("work_day", 0, vec![day()]), page("work_profile", 0, vec![profile(), profile()])]),
            ["records.work_profile[1] is repeated in this file"]
        );
    }

    #[test]
    fn unknown_kinds_are_a_fault_only_where_they_have_records() {
        let any = || Some(WORK_DAY.example());
        assert_eq!(check(vec![page("mood", 0, Vec::new())]), Vec::<String>::new());
        assert_eq!(
            check(vec![page("mood", 0, vec![any()]), page("mood", 1, vec![any()])]),
            ["records.mood is not a kind of record any more"]
        );
        assert_eq!(check(vec![page("contact", 0, vec![any()])]), Vec::<String>::new(), "it is not imported");
        assert_eq!(
            check(vec![page("work_day", 7, vec![None])]),
            ["records.work_day[7] must be a record with its body"]
        );
    }

    #[test]
    fn only_so_many_faults_are_looked_for() {
        let bodies = (0..2 * FAULTS).map(|_| None).collect();
        assert_eq!(check(vec![page("work_day", 0, bodies)]).len(), FAULTS);
    }
}
