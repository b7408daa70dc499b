//! cqrs-es's [`EventStore`] over one transaction: loading takes what the first flight has read, and committing only
//! queues.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use context::{EventId, SubjectId};
use cqrs_es::{
    Aggregate, AggregateContext, AggregateError, CqrsFramework, EventEnvelope, EventStore,
    persist::{EventStoreAggregateContext, EventUpcaster, PersistenceError, SerializedEvent},
};
use vault::RecordKey;

use crate::{Event, Unit, stored_json};

/// Whether a stream's payloads describe a person.
#[derive(Clone, Copy)]
pub enum Sealing<'k> {
    /// The payloads describe nobody: purposes, versions, states and times.
    Clear,
    /// Every payload is sealed with the record's key.
    Record(&'k RecordKey),
}

/// One stream, and what is known of it before a command.
#[derive(Clone, Copy)]
pub struct Stream<'k> {
    /// The person whom the stream is about.
    pub subject: SubjectId,
    /// The column `kind` of the stream's events.
    pub kind: &'static str,
    pub sealing: Sealing<'k>,
    /// The newest event of the stream; `None` if the stream begins. Every event carries the whole state, so no older
    /// event is loaded.
    pub newest: Option<&'k Event>,
}

/// A store for one command on one stream.
pub struct Store<'u> {
    unit: &'u Unit,
    stream: Stream<'u>,
    upcasters: &'u [Box<dyn EventUpcaster>],
    now: DateTime<Utc>,
}

impl<'u> Store<'u> {
    /// A store that adds the events of a command on `stream` to `unit`, recorded at `now`.
    pub fn new(
        unit: &'u Unit,
        stream: Stream<'u>,
        upcasters: &'u [Box<dyn EventUpcaster>],
        now: DateTime<Utc>,
    ) -> Self {
        Self { unit, stream, upcasters, now }
    }

    fn open<A: Aggregate>(&self, event: &Event) -> Result<EventEnvelope<A>, PersistenceError> {
        let unreadable =
            |error: Box<dyn std::error::Error + Send + Sync>| PersistenceError::DeserializationError(error);
        let payload = match self.stream.sealing {
            Sealing::Clear => serde_json::from_str(&event.payload),
            Sealing::Record(key) => serde_json::from_slice(event.open(key).map_err(|e| unreadable(e.into()))?.reveal()),
        };
        let mut serialized = SerializedEvent::new(
            event.aggregate_id.clone(),
            usize::try_from(event.sequence).map_err(|e| unreadable(e.into()))?,
            event.aggregate_type.clone(),
            event.event_type.clone(),
            event.event_version.clone(),
            payload.map_err(|e| unreadable(e.into()))?,
            serde_json::from_str(&event.metadata).map_err(|e| unreadable(e.into()))?,
        );
        for upcaster in self.upcasters {
            if upcaster.can_upcast(&serialized.event_type, &serialized.event_version) {
                serialized = upcaster.upcast(serialized);
            }
        }
        serialized.try_into()
    }

    fn seal<A: Aggregate>(&self, envelope: &EventEnvelope<A>) -> Result<Event, PersistenceError> {
        let serialized = SerializedEvent::try_from(envelope)?;
        let mut event = Event {
            aggregate_type: serialized.aggregate_type,
            aggregate_id: serialized.aggregate_id,
            sequence: i64::try_from(serialized.sequence).expect("a stream is shorter than 2^63"),
            event_type: serialized.event_type,
            event_version: serialized.event_version,
            payload: String::new(),
            metadata: String::new(),
            event_id: EventId::random(),
            subject_id: self.stream.subject,
            kind: self.stream.kind.to_owned(),
            recorded_at: self.now,
        };
        let body = serialized.payload.to_string();
        event.payload = match self.stream.sealing {
            Sealing::Clear => body,
            Sealing::Record(key) => stored_json(&key.seal(&event.place(), body.as_bytes())),
        };
        event.set_metadata(&self.unit.actor, self.unit.keys.as_deref().map(|keys| (keys, &self.unit.trail)));
        Ok(event)
    }
}

impl<A: Aggregate> EventStore<A> for Store<'_> {
    type AC = EventStoreAggregateContext<A>;

    async fn load_events(&self, _: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        self.stream.newest.iter().map(|event| self.open(event).map_err(AggregateError::from)).collect()
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<Self::AC, AggregateError<A::Error>> {
        let mut context = EventStoreAggregateContext {
            aggregate_id: aggregate_id.to_owned(),
            aggregate: A::default(),
            current_sequence: 0,
            current_snapshot: None,
        };
        for event in EventStore::<A>::load_events(self, aggregate_id).await? {
            context.current_sequence = event.sequence;
            context.aggregate().apply(event.payload);
        }
        Ok(context)
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Self::AC,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let envelopes: Vec<EventEnvelope<A>> = events
            .into_iter()
            .zip(context.current_sequence + 1..)
            .map(|(payload, sequence)| EventEnvelope {
                aggregate_id: context.aggregate_id.clone(),
                sequence,
                payload,
                metadata: metadata.clone(),
            })
            .collect();
        let sealed = envelopes.iter().map(|envelope| self.seal(envelope)).collect::<Result<Vec<_>, _>>()?;
        self.unit.add(sealed);
        Ok(envelopes)
    }
}

/// Runs one command: loads, decides and queues. Nothing is stored before the last flight of the transaction.
pub async fn execute<A>(
    store: Store<'_>,
    id: &str,
    command: A::Command,
    services: A::Services,
) -> Result<(), AggregateError<A::Error>>
where
    A: Aggregate,
{
    CqrsFramework::<A, _>::new(store, Vec::new(), services).execute(id, command).await
}
