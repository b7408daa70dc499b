//! All aggregates and all types of events. A new aggregate is a line in [`AGGREGATES`] and one in `whole_state/mod.rs`; tests
//! refuse a missing one.

use cqrs_es::Aggregate;

use crate::{
    desk::{alert::Alert, breach::Breach, drill::Drill, extension::Extension},
    event::EventTypes,
    identity::{account::Account, suspension::Suspension},
    log::{access, origin::LogOrigin},
    operation::key_ring::KeyRing,
    records::record::Record,
    rights::{
        consent::Consent, deletion::Deletion, export::Export, hold::Hold, restriction::Restriction,
        retention::Retention,
    },
    statistics::{
        hospital::HospitalLists,
        release::{Plans, Release},
    },
};

/// An aggregate, as the log sees it.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The name of its Rust type.
    pub name: &'static str,
    /// The type of its streams. Two aggregates may share one, if their streams have different ids.
    pub stream: &'static str,
    /// The types of its events.
    pub events: &'static [&'static str],
}

impl Description {
    const fn of<A: Aggregate<Event: EventTypes>>(name: &'static str) -> Self {
        Self { name, stream: A::TYPE, events: A::Event::ALL }
    }
}

/// All aggregates.
pub const AGGREGATES: &[Description] = &[
    Description::of::<Account>("Account"),
    Description::of::<Suspension>("Suspension"),
    Description::of::<Record>("Record"),
    Description::of::<Consent>("Consent"),
    Description::of::<Export>("Export"),
    Description::of::<Deletion>("Deletion"),
    Description::of::<Restriction>("Restriction"),
    Description::of::<Hold>("Hold"),
    Description::of::<Retention>("Retention"),
    Description::of::<Plans>("Plans"),
    Description::of::<HospitalLists>("HospitalLists"),
    Description::of::<Release>("Release"),
    Description::of::<LogOrigin>("LogOrigin"),
    Description::of::<Alert>("Alert"),
    Description::of::<Breach>("Breach"),
    Description::of::<Extension>("Extension"),
    Description::of::<Drill>("Drill"),
    Description::of::<KeyRing>("KeyRing"),
];

/// Every type of event that the log may hold: those of the aggregates, then the entries about reads, which have no aggregate.
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

/// The event types of an aggregate by its place in [`AGGREGATES`]; behind the last one those of reads.
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
