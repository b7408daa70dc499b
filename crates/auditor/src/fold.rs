//! Folding: counts events and notes what does not fit. Pure. Memory grows by one entry for each stream of the type at
//! hand, and by one for each printed line.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clap::ValueEnum;
use serde::Serialize;

use crate::stream::AnyEvent;

/// How many findings of one sort are listed. The rest is only counted.
const TOLD: usize = 10;

/// What events are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The event's type
    Type,
    /// The random id of the person it is about; nil for the system
    Subject,
    /// The day it was recorded on, in UTC
    Day,
}

/// The events of one type that the repository gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub events: u64,
    /// How many of these events have a sealed payload.
    pub sealed: u64,
}

/// The replay of all streams of one aggregate type.
pub struct Replay {
    aggregate_type: &'static str,
    seen: HashMap<String, usize>,
    /// Counts by event type.
    pub tallies: BTreeMap<String, Tally>,
    findings: Findings,
}

impl Replay {
    pub fn new(aggregate_type: &'static str) -> Self {
        Self { aggregate_type, seen: HashMap::new(), tallies: BTreeMap::new(), findings: Findings::default() }
    }

    /// Takes the next event. The events of a stream must come in the order of their sequence.
    pub fn take(&mut self, stream: &str, sequence: usize, event: &AnyEvent) {
        let last = match self.seen.get_mut(stream) {
            Some(last) => last,
            None => self.seen.entry(stream.to_owned()).or_default(),
        };
        let follows = *last + 1;
        *last = sequence;
        // Reads are numbered within a batch, and a batch that could not be stored whole leaves holes.
        if sequence != follows && self.aggregate_type != "access" {
            let kind = self.aggregate_type;
            self.findings
                .tell("sequence", || format!("{kind} {stream}: event {sequence} stands where {follows} belongs"));
        }
        let sealed = event.is_sealed();
        if !sealed && self.aggregate_type == "record" {
            self.findings.tell("clear", || format!("record {stream}: event {sequence} is not sealed"));
        }
        if !self.tallies.contains_key(&event.event_type) {
            self.tallies.insert(event.event_type.clone(), Tally::default());
        }
        let tally = self.tallies.get_mut(&event.event_type).expect("it was just put there");
        tally.events += 1;
        tally.sealed += u64::from(sealed);
    }

    /// Takes an event that could not be loaded.
    pub fn unreadable(&mut self, error: &dyn std::error::Error) {
        let kind = self.aggregate_type;
        self.findings.tell("unreadable", || format!("{kind}: an event does not load: {error}"));
    }

    pub fn streams(&self) -> usize {
        self.seen.len()
    }

    pub fn findings(&self) -> Vec<String> {
        self.findings.list()
    }
}

/// Findings by sort. The first few of each sort are kept as text, the rest is counted.
#[derive(Default)]
struct Findings(BTreeMap<&'static str, (Vec<String>, usize)>);

impl Findings {
    fn tell(&mut self, sort: &'static str, words: impl FnOnce() -> String) {
        let (told, more) = self.0.entry(sort).or_default();
        if told.len() < TOLD { told.push(words()) } else { *more += 1 }
    }

    fn list(&self) -> Vec<String> {
        let line = |(sort, (told, more)): (&&str, &(Vec<String>, usize))| {
            let rest = (*more > 0).then(|| format!("… and {more} more of this sort ({sort})"));
            told.iter().cloned().chain(rest).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(line).collect()
    }
}

/// One row of the plain query: how many events of one type, person and day the table holds.
#[derive(Clone, Debug)]
pub struct Cell {
    pub aggregate_type: String,
    pub event_type: String,
    pub subject: String,
    /// The day, in UTC.
    pub day: String,
    pub events: u64,
}

/// What the table holds, counted with plain SQL.
pub struct Census {
    by: BTreeSet<Dimension>,
    /// Counts by aggregate type and event type, to compare with the replay's.
    pub types: BTreeMap<(String, String), u64>,
    /// Counts by the wanted dimensions, in the order of [`Dimension`].
    pub groups: BTreeMap<Vec<String>, u64>,
}

impl Census {
    pub fn new(by: &[Dimension]) -> Self {
        Self { by: by.iter().copied().collect(), types: BTreeMap::new(), groups: BTreeMap::new() }
    }

    pub fn by(&self) -> Vec<Dimension> {
        self.by.iter().copied().collect()
    }

    pub fn take(&mut self, cell: Cell) {
        let value = |dimension: &Dimension| match dimension {
            Dimension::Type => cell.event_type.clone(),
            Dimension::Subject => cell.subject.clone(),
            Dimension::Day => cell.day.clone(),
        };
        *self.groups.entry(self.by.iter().map(value).collect()).or_default() += cell.events;
        *self.types.entry((cell.aggregate_type, cell.event_type)).or_default() += cell.events;
    }

    /// Where the replay and the table differ.
    pub fn compare(&self, replays: &[Replay]) -> Vec<String> {
        let mut replayed: BTreeMap<(String, String), u64> = BTreeMap::new();
        for replay in replays {
            for (event_type, tally) in &replay.tallies {
                replayed.insert((replay.aggregate_type.to_owned(), event_type.clone()), tally.events);
            }
        }
        let keys: BTreeSet<_> = self.types.keys().chain(replayed.keys()).collect();
        let difference = |key: &(String, String)| {
            let of = |counts: &BTreeMap<_, _>| counts.get(key).copied().unwrap_or(0);
            let (table, stream) = (of(&self.types), of(&replayed));
            let (kind, event) = key;
            (table != stream).then(|| format!("{kind}: {event}: the table holds {table}, the replay gave {stream}"))
        };
        keys.into_iter().filter_map(difference).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(event_type: &str, sealed: bool) -> AnyEvent {
        let payload = if sealed { json!({ "sealed": "AQID" }) } else { json!({ "purpose": "work_hours" }) };
        let payload = payload.as_object().expect("an object").clone();
        AnyEvent { event_type: event_type.to_owned(), event_version: "1.0".to_owned(), payload }
    }

    fn cell(event_type: &str, subject: &str, day: &str, events: u64) -> Cell {
        let text = |text: &str| text.to_owned();
        Cell {
            aggregate_type: text("record"),
            event_type: text(event_type),
            subject: text(subject),
            day: text(day),
            events,
        }
    }

    #[test]
    fn streams_that_are_whole_and_sealed_give_counts_and_no_finding() {
        let mut replay = Replay::new("record");
        replay.take("a", 1, &event("record.submitted", true));
        replay.take("b", 1, &event("record.submitted", true));
        replay.take("a", 2, &event("record.removed", true));
        assert_eq!((replay.streams(), replay.findings()), (2, vec![]));
        assert_eq!(replay.tallies["record.submitted"], Tally { events: 2, sealed: 2 });
    }

    #[test]
    fn holes_repeats_and_clear_records_are_findings() {
        let mut replay = Replay::new("record");
        replay.take("a", 1, &event("record.submitted", true));
        replay.take("a", 3, &event("record.amended", true));
        replay.take("b", 2, &event("record.submitted", true));
        replay.take("c", 1, &event("record.submitted", false));
        replay.take("c", 1, &event("record.submitted", true));
        let expected = [
            "record c: event 1 is not sealed",
            "record a: event 3 stands where 2 belongs",
            "record b: event 2 stands where 1 belongs",
            "record c: event 1 stands where 2 belongs",
        ];
        assert_eq!(replay.findings(), expected);
    }

    #[test]
    fn consents_may_stand_in_clear_and_batches_of_reads_may_have_holes() {
        let mut consents = Replay::new("consent");
        consents.take("a", 1, &event("consent.granted", false));
        assert!(consents.findings().is_empty());
        let mut reads = Replay::new("access");
        reads.take("a", 3, &event("data.accessed", false));
        assert!(reads.findings().is_empty());
    }

    #[test]
    fn many_findings_of_a_sort_are_told_as_a_number() {
        let mut replay = Replay::new("record");
        for number in 0..25 {
            replay.take(&number.to_string(), 2, &event("record.submitted", true));
        }
        let findings = replay.findings();
        assert_eq!((findings.len(), findings[10].as_str()), (11, "… and 15 more of this sort (sequence)"));
    }

    #[test]
    fn cells_fold_into_what_is_asked_for() {
        let fold = |by: &[Dimension]| {
            let mut census = Census::new(by);
            census.take(cell("record.submitted", "s1", "2026-01-02", 2));
            census.take(cell("record.submitted", "s2", "2026-01-02", 3));
            census.take(cell("record.removed", "s1", "2026-01-03", 1));
            census.groups.into_iter().map(|(key, events)| format!("{} {events}", key.join(" "))).collect::<Vec<_>>()
        };
        assert_eq!(fold(&[Dimension::Type]), ["record.removed 1", "record.submitted 5"]);
        assert_eq!(fold(&[Dimension::Day]), ["2026-01-02 5", "2026-01-03 1"]);
        assert_eq!(
            fold(&[Dimension::Day, Dimension::Subject]),
            ["s1 2026-01-02 2", "s1 2026-01-03 1", "s2 2026-01-02 3"]
        );
    }

    #[test]
    fn a_replay_that_ends_early_and_a_type_of_later_versions_are_findings() {
        let mut replay = Replay::new("record");
        replay.take("a", 1, &event("record.submitted", true));
        let mut census = Census::new(&[]);
        census.take(cell("record.submitted", "s1", "2026-01-02", 2));
        census.take(Cell { aggregate_type: "mood".to_owned(), ..cell("mood.noted", "s1", "2026-01-02", 1) });
        let expected = [
            "mood: mood.noted: the table holds 1, the replay gave 0",
            "record: record.submitted: the table holds 2, the replay gave 1",
        ];
        assert_eq!(census.compare(&[replay]), expected);
    }
}
