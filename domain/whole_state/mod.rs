//! Every event carries the whole state of its stream: a property that every aggregate must hold.
//!
//! Histories of commands are made at random; each aggregate's own file says how (`mod histories`). After each event three things must be true:
//!
//! - The newest event alone, stored as JSON and loaded, gives the same state as all events. Otherwise `apply` looks at
//!   what was there before, and a stream that is loaded by its newest event has another state.
//! - The event set and cleared only those fields of the state that [`Checked::CHANGES`] names. Otherwise the event
//!   forgot a field, and `apply` resets it: both ways of loading then come to the same wrong state.
//! - An event that is a stream of its own is the only event of its stream.
//!
//! Over all histories every type of event must occur, and every change that is named must be made, so that the property
//! is never empty and the table never allows too much.

mod changes;
mod columns;

pub(crate) use changes::Changes;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    future::Future,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use cqrs_es::{DomainEvent, event_sink::EventSink};
use proptest::{
    prelude::*,
    test_runner::{TestCaseResult, TestRunner},
};
use serde_json::Value;

use crate::{
    aggregates::*,
    event::{Described, EventTypes},
    quarter::Quarter,
    whole_state::changes::{changed, covers},
};

const HISTORIES: u32 = 256;
const MOST_COMMANDS: usize = 60;
/// More rounds of histories are made if a rare change did not occur in the first, so that no test fails by chance.
const MOST_ROUNDS: u32 = 8;

pub(crate) trait Checked:
    Described<Services = (), Command: Debug, Event: EventTypes> + Clone + PartialEq + Debug + 'static
{
    /// A line for each type of event.
    const CHANGES: &'static [Changes];
    /// The types of events that are streams of their own.
    const ALONE: &'static [&'static str] = &[];

    /// Commands with few different ids, times and values, so that many commands of a history are about the same thing.
    fn commands() -> BoxedStrategy<Self::Command>;

    /// The fields of the state, as JSON.
    fn fields(&self) -> Value {
        serde_json::to_value(self).expect("a state can be written as JSON")
    }
}

/// Makes one test for each aggregate.
macro_rules! whole_state {
    ($($test:ident: $aggregate:ident),+ $(,)?) => {
        $(
            /// **Feature: event-log, Property 1: the newest event of a stream is its whole state**
            #[test]
            fn $test() {
                check::<$aggregate>(stringify!($aggregate));
            }
        )+
    };
}

aggregates!(whole_state);

/// What events did, by their type: the entries of `sets` and of `clears` that occurred.
type Seen = BTreeMap<String, [BTreeSet<&'static str>; 2]>;

fn check<A: Checked>(name: &str) {
    let listed: BTreeSet<&str> = A::CHANGES.iter().map(|line| line.event).collect();
    assert_eq!(listed, A::Event::ALL.iter().copied().collect(), "CHANGES of {name} has a line for each type of event");
    let described = AGGREGATES.iter().find(|known| known.name == name).map(|known| (known.stream, known.events));
    assert_eq!(described, Some((A::TYPE, A::Event::ALL)), "{name} in AGGREGATES");

    let commands = prop::collection::vec(A::commands(), 1..=MOST_COMMANDS);
    let entries = |fields: &[&'static str]| fields.iter().copied().collect();
    let named: Seen =
        A::CHANGES.iter().map(|line| (line.event.to_owned(), [entries(line.sets), entries(line.clears)])).collect();
    let seen = RefCell::new(Seen::new());
    for _ in 0..MOST_ROUNDS {
        let outcome = TestRunner::new(ProptestConfig::with_cases(HISTORIES))
            .run(&commands, |commands| history::<A>(commands, &mut seen.borrow_mut()));
        if let Err(fault) = outcome {
            panic!("{name}: {fault}");
        }
        if *seen.borrow() == named {
            return;
        }
    }
    assert_eq!(
        *seen.borrow(),
        named,
        "{name}: left the events that occurred and what they set and cleared; right CHANGES"
    );
}

/// Runs commands one after the other. A command that is refused is skipped.
fn history<A: Checked>(commands: Vec<A::Command>, seen: &mut Seen) -> TestCaseResult {
    let (mut events, mut state): (Vec<A::Event>, A) = Default::default();
    for command in commands {
        for event in decide(&state, command) {
            let (name, before) = (event.event_type(), state.clone());
            state.apply(event.clone());
            events.push(event);
            prop_assert_eq!(
                &newest_alone::<A>(&events),
                &state,
                "left: the newest event alone; right: all of {:#?}",
                events
            );

            if !A::IS_SEALED {
                let stored = serde_json::to_value(events.last()).expect("an event can be stored");
                columns::argue_for(&name, &stored);
            }
            let made = seen.entry(name.clone()).or_default();
            let line = A::CHANGES.iter().find(|line| line.event == name).expect("a line for each type of event");
            // The first event may set everything.
            let changes = if before == A::default() { Vec::new() } else { changed(&before.fields(), &state.fields()) };
            for (field, is_cleared) in changes {
                let (verb, named) = if is_cleared { ("cleared", line.clears) } else { ("set", line.sets) };
                let Some(entry) = named.iter().copied().find(|entry| covers(entry, &field)) else {
                    let fault = format!("`{name}` {verb} `{field}`, from {before:?} to {state:?}: {events:#?}");
                    return Err(TestCaseError::fail(fault));
                };
                made[usize::from(is_cleared)].insert(entry);
            }
            let has_own_stream = events.iter().any(|event| A::ALONE.contains(&event.event_type().as_str()));
            prop_assert!(!has_own_stream || events.len() == 1, "an event is a stream of its own: {:#?}", events);
        }
    }
    Ok(())
}

fn decide<A: Checked>(state: &A, command: A::Command) -> Vec<A::Event> {
    let (mut state, sink) = (state.clone(), EventSink::default());
    let outcome = at_once(state.handle(command, &(), &sink));
    if outcome.is_ok() { at_once(sink.collect()) } else { Vec::new() }
}

/// The result of a future that never has to wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the rules of the domain wait for nothing"),
    }
}

/// The state that a server loads: the newest event, as it is stored, applied to an empty state.
fn newest_alone<A: Checked>(events: &[A::Event]) -> A {
    let mut state = A::default();
    if let Some(newest) = events.last() {
        let stored = serde_json::to_string(newest).expect("an event can be stored");
        state.apply(serde_json::from_str(&stored).expect("a stored event loads"));
    }
    state
}

/// A time within the days that the histories are about.
pub(crate) fn time() -> impl Strategy<Value = DateTime<Utc>> {
    (0..240_i64).prop_map(|hours| DateTime::UNIX_EPOCH + TimeDelta::hours(hours))
}

/// A day of the two years that the histories of statistics are about.
pub(crate) fn day() -> impl Strategy<Value = NaiveDate> {
    let first: NaiveDate = "2025-01-01".parse().expect("a date");
    (0..730_u64).prop_map(move |days| first + Days::new(days))
}

pub(crate) fn quarter() -> impl Strategy<Value = Quarter> {
    day().prop_map(Quarter::of)
}

/// One of a few words, for filters, hashes and names whose text does not matter.
pub(crate) fn word() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned)
}

#[test]
fn every_aggregate_is_listed() {
    let mut written = BTreeSet::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), &mut written);
    let described: BTreeSet<String> = AGGREGATES.iter().map(|known| known.name.to_owned()).collect();
    assert_eq!(
        written, described,
        "left: `impl Aggregate for` in domain/; right: `aggregates!` in domain/aggregates.rs"
    );
}

/// Finds the names of all types in a folder's files that implement `Aggregate`.
fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("the sources can be read");
            let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("impl Aggregate for "));
            found.extend(names.map(|rest| rest.trim_end_matches(" {").to_owned()));
        }
    }
}
