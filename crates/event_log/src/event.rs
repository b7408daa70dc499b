//! An event as it is stored, and the places of its sealed parts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use context::{Client, Ctx, EventId, Personal, SubjectId};
use db::FromRow;
use serde::{Deserialize, Serialize};
use vault::{Place, RecordKey, Sealed, SubjectKeys, Unreadable};

/// An event as it stands in `log.events`; payload and metadata are the exact text.
#[derive(Clone, Debug, Serialize, Deserialize, FromRow)]
pub struct Event {
    /// Type of the stream, such as `account` or `record`.
    pub aggregate_type: String,
    pub aggregate_id: String,
    /// Number of the event in its stream, from 1.
    pub sequence: i64,
    /// What happened, in the past tense and with a dot: `record.submitted`.
    pub event_type: String,
    /// Version of the payload's shape.
    pub event_version: String,
    /// A JSON object; `{"sealed": "…"}` if it describes a person.
    #[row(sql = "payload::text")]
    pub payload: String,
    /// A JSON object of strings: who acted, in which request, and the sealed trail.
    #[row(sql = "metadata::text")]
    pub metadata: String,
    /// The event's own id.
    #[row(with = EventId)]
    pub event_id: EventId,
    /// The person whom the event is about; nil for the system.
    #[row(with = SubjectId)]
    pub subject_id: SubjectId,
    /// The record's kind, or the aggregate's type.
    pub kind: String,
    /// When the event was recorded, to the microsecond.
    pub recorded_at: DateTime<Utc>,
}

/// Who acted, as far as the log says it in clear.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// The role in which somebody acted, such as `subject`, `compliance` or `system`.
    pub role: String,
    pub request: String,
    /// The id of the session; absent without a sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// Where a request came from and what it touched. It is sealed under the actor's trail key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Trail {
    pub address: Personal<String>,
    pub agent: Personal<String>,
    /// What a read asked for, or a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Personal<String>>,
}

#[derive(Serialize, Deserialize)]
struct SealedJson {
    sealed: String,
}

/// A payload or a stored value in its sealed form: `{"sealed": "…"}`.
pub fn stored_json(sealed: &Sealed) -> String {
    serde_json::to_string(&SealedJson { sealed: sealed.to_base64() }).expect("a string can be written as JSON")
}

fn text_of(trail: &Trail) -> Vec<u8> {
    serde_json::to_vec(trail).expect("a trail can be written as JSON")
}

impl Event {
    /// The place of a sealed payload: subject, stream, sequence, type and version.
    pub fn place(&self) -> Place {
        self.place_of("event")
    }

    fn place_of(&self, what: &str) -> Place {
        Place::of(what)
            .and(self.subject_id.0.as_bytes())
            .and(self.aggregate_type.as_bytes())
            .and(self.aggregate_id.as_bytes())
            .and(&self.sequence.to_be_bytes())
            .and(self.event_type.as_bytes())
            .and(self.event_version.as_bytes())
    }

    /// Opens the payload of a sealed event.
    pub fn open(&self, key: &RecordKey) -> Result<Personal<Vec<u8>>, Unreadable> {
        let stored: SealedJson = serde_json::from_str(&self.payload).map_err(|_| Unreadable)?;
        let body = key.open(&self.place(), &Sealed::from_base64(&stored.sealed)?)?;
        Ok(Personal::new(body.to_vec()))
    }

    /// Writes the metadata: who acted, in clear, and the trail, sealed.
    pub fn set_metadata(&mut self, actor: &Actor, trail: Option<(&SubjectKeys, &Trail)>) {
        self.write_metadata(
            actor,
            trail.map(|(keys, trail)| keys.seal_trail(&self.place_of("trail"), &text_of(trail))),
        );
    }

    /// Writes the metadata: who acted, and instead of a trail as many random bytes as `as_long_as` would have when
    /// sealed, so that only the owner of the event can tell that there is no trail.
    pub fn set_metadata_without_trail(&mut self, actor: &Actor, as_long_as: &Trail) {
        self.write_metadata(actor, Some(Sealed::decoy(text_of(as_long_as).len())));
    }

    fn write_metadata(&mut self, actor: &Actor, trail: Option<Sealed>) {
        let actor = serde_json::to_value(actor).expect("an actor can be written as JSON");
        let mut metadata: BTreeMap<String, String> = serde_json::from_value(actor).expect("an actor is strings");
        if let Some(sealed) = trail {
            metadata.insert("trail".to_owned(), sealed.to_base64());
        }
        self.metadata = serde_json::to_string(&metadata).expect("strings can be written as JSON");
    }

    /// `None` if the metadata cannot be read.
    pub fn actor(&self) -> Option<Actor> {
        serde_json::from_str(&self.metadata).ok()
    }

    /// Opens the trail; `None` if the event has none.
    pub fn open_trail(&self, keys: &SubjectKeys) -> Result<Option<Trail>, Unreadable> {
        let metadata: BTreeMap<String, String> = serde_json::from_str(&self.metadata).map_err(|_| Unreadable)?;
        let Some(trail) = metadata.get("trail") else { return Ok(None) };
        let text = keys.open_trail(&self.place_of("trail"), &Sealed::from_base64(trail)?)?;
        serde_json::from_slice(&text).map(Some).map_err(|_| Unreadable)
    }
}

impl Actor {
    pub fn of(ctx: &Ctx) -> Self {
        Self {
            role: ctx.role.as_str().to_owned(),
            request: ctx.request.to_string(),
            session: ctx.session.map(|session| session.to_string()),
        }
    }
}

impl Trail {
    pub fn of(client: &Client) -> Self {
        Self { address: client.address.clone(), agent: client.agent.clone(), details: None }
    }
}
