//! The log's streams in the form that `cqrs-es` needs: aggregates that decide nothing, with an event that takes any
//! JSON object.
//!
//! A replayed envelope does not say the type of its event, so [`Label`], an upcaster, writes the type beside the
//! payload first.

use std::convert::Infallible;

use cqrs_es::{
    Aggregate, DomainEvent,
    event_sink::EventSink,
    persist::{EventUpcaster, SerializedEvent},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The aggregate types of the log.
pub const TYPES: [&str; 18] = [
    "account",
    "consent",
    "record",
    "access",
    "deletion",
    "export",
    "hold",
    "key_ring",
    "restriction",
    "retention",
    "plan",
    "release",
    "log",
    "alert",
    "suspension",
    "breach",
    "extension",
    "drill",
];

/// All streams of `TYPES[N]`.
#[derive(Default, Serialize, Deserialize)]
pub struct Stream<const N: usize>;

/// Any event: its type, its version, and its payload as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnyEvent {
    pub event_type: String,
    /// Version of the payload's shape.
    pub event_version: String,
    pub payload: Map<String, Value>,
}

impl AnyEvent {
    /// Whether the payload is one sealed value and nothing else.
    pub fn is_sealed(&self) -> bool {
        self.payload.len() == 1 && self.payload.get("sealed").is_some_and(Value::is_string)
    }
}

impl DomainEvent for AnyEvent {
    fn event_type(&self) -> String {
        self.event_type.clone()
    }
    fn event_version(&self) -> String {
        self.event_version.clone()
    }
}

impl<const N: usize> Aggregate for Stream<N> {
    const TYPE: &'static str = TYPES[N];
    type Command = Infallible;
    type Event = AnyEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, command: Infallible, _: &(), _: &EventSink<Self>) -> Result<(), Infallible> {
        match command {}
    }

    fn apply(&mut self, _: AnyEvent) {}
}

/// Writes an event's type and version beside its payload.
pub struct Label;

impl EventUpcaster for Label {
    fn can_upcast(&self, _: &str, _: &str) -> bool {
        true
    }

    fn upcast(&self, event: SerializedEvent) -> SerializedEvent {
        let SerializedEvent { event_type, event_version, payload, .. } = &event;
        let payload = json!({ "event_type": event_type, "event_version": event_version, "payload": payload });
        SerializedEvent { payload, ..event }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::{EventEnvelope, persist::PersistenceError};

    use super::*;

    fn envelope(payload: Value) -> Result<EventEnvelope<Stream<2>>, PersistenceError> {
        let text = |text: &str| text.to_owned();
        let (kind, version) = (text("record.submitted"), text("1.0"));
        let event =
            SerializedEvent::new(text("a"), 1, text("record"), kind, version, payload, json!({ "role": "subject" }));
        Label.upcast(event).try_into()
    }

    #[test]
    fn any_object_loads_and_keeps_its_type() {
        let sealed = envelope(json!({ "sealed": "AQID" })).expect("loads").payload;
        assert_eq!((sealed.event_type.as_str(), sealed.is_sealed()), ("record.submitted", true));
        assert!(!envelope(json!({ "sealed": "AQID", "date": "2026-03-02" })).expect("loads").payload.is_sealed());
        assert!(!envelope(json!({})).expect("loads").payload.is_sealed());
        assert!(envelope(json!(["no object"])).is_err());
    }
}
