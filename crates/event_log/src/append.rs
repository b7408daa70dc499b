//! Appending: what one transaction adds to the log, and the read models that follow from it.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use context::{Ctx, Personal, SubjectId};
use db::{Query, Tx, rows};
use uuid::Uuid;
use vault::{RecordEntry, SubjectKeys, record_insert};

use crate::{Actor, Event, Trail};

/// A read model that is written in the transaction of the command. It matches on the type of the stored event and moves
/// sealed bytes.
pub trait Inline: Sync {
    /// Queues the statements that follow from events, one statement for each table.
    fn project(&self, events: &[Event], tx: &Tx);
}

/// The events that one transaction adds to the log, in the order in which commands made them, and the keys of new records.
pub struct Unit {
    pub(crate) actor: Actor,
    pub(crate) trail: Trail,
    pub(crate) keys: Option<Arc<SubjectKeys>>,
    added: Mutex<Added>,
}

/// What a transaction adds.
#[derive(Default)]
pub struct Added {
    pub events: Vec<Event>,
    pub entries: Vec<(SubjectId, RecordEntry)>,
}

impl Unit {
    /// A unit for a context. With keys, the address and agent of the client are kept, sealed; without keys they are
    /// not.
    pub fn new(ctx: &Ctx, keys: Option<Arc<SubjectKeys>>) -> Self {
        Self { actor: Actor::of(ctx), trail: Trail::of(&ctx.client), keys, added: Mutex::default() }
    }

    /// Adds details, such as a reason, to the sealed trail of the events. Without keys they are not kept.
    pub fn with_details(mut self, details: String) -> Self {
        self.trail.details = Some(Personal::new(details));
        self
    }

    fn added(&self) -> MutexGuard<'_, Added> {
        self.added.lock().expect("no one panics while adding")
    }

    pub(crate) fn add(&self, events: impl IntoIterator<Item = Event>) {
        self.added().events.extend(events);
    }

    /// Enters a person's new record into the register.
    pub fn enter(&self, subject: SubjectId, entry: RecordEntry) {
        self.added().entries.push((subject, entry));
    }

    pub fn len(&self) -> usize {
        self.added().events.len()
    }

    /// The event that was added last.
    pub fn newest(&self) -> Option<Event> {
        self.added().events.last().cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what was added since the last call. What is dropped is not stored.
    pub fn take(&self) -> Added {
        mem::take(&mut *self.added())
    }

    /// Queues what was added since the last call, and the statements of all inline read models, for the last flight of the
    /// transaction.
    pub fn flush(&self, tx: &Tx, projections: &[&dyn Inline]) {
        let Added { events, entries } = self.take();
        if !entries.is_empty() {
            tx.queue(record_insert(entries));
        }
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
                   event_id, kind, recorded_at)",
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
