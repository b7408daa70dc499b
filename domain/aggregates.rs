//! Lists all aggregates and all types of events. A new aggregate needs a line in `aggregates!`; a test fails if it is
//! missing.

pub(crate) use crate::{
    desk::{alert::Alert, breach::Breach, drill::Drill, extension::Extension},
    identity::{account::Account, suspension::Suspension},
    log::origin::LogOrigin,
    operation::key_ring::KeyRing,
    records::record::Record,
    rights::{
        consent::Consent, deletion::Deletion, export::Export, hold::Hold, restriction::Restriction,
        retention::Retention,
    },
    statistics::{hospital::HospitalLists, plan::Plans, release::Release},
};

use crate::{
    ProblemType,
    event::{About, Described, EventTypes},
    log::access,
};

/// An aggregate as the log sees it: the type of its streams, the types of its events, and what follows from them.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The name of the aggregate's Rust type.
    pub name: &'static str,
    /// The type of the aggregate's streams. Two aggregates may share a type if the ids of their streams differ.
    pub stream: &'static str,
    pub events: &'static [&'static str],
    pub about: About,
    pub is_sealed: bool,
    pub ledger: &'static [&'static str],
    pub rebuilt_in: &'static [&'static str],
    pub conflicts: &'static [ProblemType],
}

impl Description {
    const fn of<A: Described>(name: &'static str) -> Self {
        Self {
            name,
            stream: A::TYPE,
            events: A::Event::ALL,
            about: A::ABOUT,
            is_sealed: A::IS_SEALED,
            ledger: A::LEDGER,
            rebuilt_in: A::REBUILT_IN,
            conflicts: A::CONFLICTS,
        }
    }
}

/// Calls a macro with all aggregates, each with the name of its test.
macro_rules! aggregates {
    ($macro:ident) => {
        $macro! {
            account: Account,
            suspension: Suspension,
            record: Record,
            consent: Consent,
            export: Export,
            deletion: Deletion,
            restriction: Restriction,
            hold: Hold,
            retention: Retention,
            plans: Plans,
            hospital_lists: HospitalLists,
            release: Release,
            log_origin: LogOrigin,
            alert: Alert,
            breach: Breach,
            extension: Extension,
            drill: Drill,
            key_ring: KeyRing,
        }
    };
}

macro_rules! describe {
    ($($test:ident: $aggregate:ident),+ $(,)?) => {
        pub const AGGREGATES: &[Description] = &[$(Description::of::<$aggregate>(stringify!($aggregate))),+];
    };
}

aggregates!(describe);

#[cfg(test)]
pub(crate) use aggregates;

/// Every type of event that the log may hold: the types of all aggregates, then the types of entries about reads,
/// because reads have no aggregate.
pub const EVENT_TYPES: &[&str] = &ALL;

const ALL: [&str; COUNT] = {
    let mut all = [""; COUNT];
    let mut filled = 0;
    let mut list = 0;
    while list <= AGGREGATES.len() {
        let types = list_of_types(list);
        let mut next = 0;
        while next < types.len() {
            all[filled] = types[next];
            filled += 1;
            next += 1;
        }
        list += 1;
    }
    all
};

const COUNT: usize = {
    let mut count = 0;
    let mut list = 0;
    while list <= AGGREGATES.len() {
        count += list_of_types(list).len();
        list += 1;
    }
    count
};

/// The event types of the aggregate with this index in [`AGGREGATES`]. The index after the last aggregate stands for
/// the entries about reads.
const fn list_of_types(place: usize) -> &'static [&'static str] {
    if place < AGGREGATES.len() { AGGREGATES[place].events } else { access::EVENT_TYPES }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_event_type_belongs_to_one_aggregate() {
        let distinct: BTreeSet<&str> = EVENT_TYPES.iter().copied().collect();
        assert_eq!(distinct.len(), EVENT_TYPES.len(), "{EVENT_TYPES:?}");
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        for name in EVENT_TYPES {
            assert!(name.split_once('.').is_some_and(|(family, rest)| is_name(family) && is_name(rest)), "`{name}`");
        }
    }
}
