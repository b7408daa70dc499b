//! Appending: what one transaction adds to the log, and the read models that follow from it.

use std::sync::{Arc, Mutex};

use context::{Ctx, Personal};
use db::{Query, Tx, rows};
use uuid::Uuid;
use vault::SubjectKeys;

use crate::{Actor, Event, Trail};

/// A read model that is written in the transaction of the command. It matches on the type of the stored event and moves
/// sealed bytes.
pub trait Inline: Sync {
    /// Queues the statements that follow from events, one statement for each table.
    fn project(&self, events: &[Event], tx: &Tx);
}

/// The events that one transaction adds to the log, in the order in which commands made them.
pub struct Unit {
    pub(crate) actor: Actor,
    pub(crate) trail: Trail,
    pub(crate) keys: Option<Arc<SubjectKeys>>,
    events: Mutex<Vec<Event>>,
}

impl Unit {
    /// A unit for a context. With keys, the address and agent of the client are kept, sealed; without keys they are
    /// not.
    pub fn new(ctx: &Ctx, keys: Option<Arc<SubjectKeys>>) -> Self {
        Self { actor: Actor::of(ctx), trail: Trail::of(&ctx.client), keys, events: Mutex::default() }
    }

    /// Adds details, such as a reason, to the sealed trail of the events. Without keys they are not kept.
    pub fn with_details(mut self, details: String) -> Self {
        self.trail.details = Some(Personal::new(details));
        self
    }

    pub(crate) fn add(&self, events: impl IntoIterator<Item = Event>) {
        self.events.lock().expect("no one panics while adding events").extend(events);
    }

    pub fn len(&self) -> usize {
        self.events.lock().expect("no one panics while adding events").len()
    }

    /// The event that was added last.
    pub fn newest(&self) -> Option<Event> {
        self.events.lock().expect("no one panics while adding events").last().cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all events that were added and not flushed yet.
    pub fn clear(&self) {
        self.events.lock().expect("no one panics while adding events").clear();
    }

    /// Queues the events since the last call, and the statements of all inline read models, for the last flight of the
    /// transaction.
    pub fn flush(&self, tx: &Tx, projections: &[&dyn Inline]) {
        let events = std::mem::take(&mut *self.events.lock().expect("no one panics while adding events"));
        if events.is_empty() {
            return;
        }
        for projection in projections {
            projection.project(&events, tx);
        }
        tx.queue(event_append(events));
    }
}

/// Adds events in one statement.
pub fn event_append(events: Vec<Event>) -> Query {
    let count = events.len();
    let (mut types, mut ids, mut sequences) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut names, mut versions) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut payloads, mut metadata) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut event_ids, mut subjects): (Vec<Uuid>, Vec<Uuid>) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut kinds, mut times) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for event in events {
        types.push(event.aggregate_type);
        ids.push(event.aggregate_id);
        sequences.push(event.sequence);
        names.push(event.event_type);
        versions.push(event.event_version);
        payloads.push(event.payload);
        metadata.push(event.metadata);
        event_ids.push(event.event_id.0);
        subjects.push(event.subject_id.0);
        kinds.push(event.kind);
        times.push(event.recorded_at);
    }
    Query::rows(rows!(
        "-- event_append
        INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                                event_id, subject_id, kind, recorded_at)
        SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload::json, metadata::json,
               event_id, subject_id, kind, recorded_at
        FROM ",
        [
            "$1::uuid",
            "$2::text",
            "$3::text",
            "$4::bigint",
            "$5::text",
            "$6::text",
            "$7::text",
            "$8::text",
            "$9::uuid",
            "$10::text",
            "$11::timestamptz",
        ],
        " AS e (subject_id, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                   event_id, kind, recorded_at)
        WHERE subject_id <> ALL ((SELECT lethe.left_out())::uuid[])",
    ))
    .list(subjects)
    .list(types)
    .list(ids)
    .list(sequences)
    .list(names)
    .list(versions)
    .list(payloads)
    .list(metadata)
    .list(event_ids)
    .list(kinds)
    .list(times)
}
