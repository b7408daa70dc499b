//! Storing a new record by one statement, which is a transaction of its own (`sql/V21`).

use context::Ctx;
use db::{Query, Rows};
use domain::records::record::Record;
use event_log::{Added, Event, cqrs_es::Aggregate};
use vault::RecordEntry;

use crate::{answer::NewAnswer, records::record::listed_at};

/// A new record, and what is taken to be so without having been read: that the person's standing has this version, that the
/// context's session is alive, that no answer is stored under the new answer's hash, and that there is no such record.
pub struct NewRecord {
    pub version: i64,
    pub event: Event,
    pub entry: RecordEntry,
    pub answer: Option<NewAnswer>,
}

/// The event and the entry of the only record that a transaction adds, if it is new and nothing else is added.
pub fn only_new(added: Added) -> Option<(Event, RecordEntry)> {
    let ([event], [(subject, entry)]) =
        (<[Event; 1]>::try_from(added.events).ok()?, <[_; 1]>::try_from(added.entries).ok()?);
    let is_first = (event.aggregate_type.as_str(), event.event_type.as_str(), event.sequence)
        == (Record::TYPE, "record.submitted", 1);
    let is_its = event.subject_id == subject && event.aggregate_id == entry.record.to_string();
    (is_first && is_its).then_some((event, entry))
}

/// Stores a new record of the context's subject.
pub fn record_store(ctx: &Ctx, new: NewRecord) -> Query {
    let NewRecord { version, event, entry, answer } = new;
    let listed_at = listed_at(&event);
    let (mut hash, mut ring_key, mut fingerprint, mut sealed, mut expires_at) = (None, None, None, None, None);
    if let Some(answer) = answer {
        (hash, ring_key) = (Some(answer.key_hash.to_vec()), Some(answer.ring_key));
        (fingerprint, sealed) = (Some(answer.fingerprint.to_vec()), Some(answer.sealed));
        expires_at = Some(answer.expires_at);
    }
    Query::rows(Rows {
        many: "-- record_store
        SELECT lethe.store_records($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                                   $21, $22) AS stored",
        one: "-- record_store
        SELECT CASE WHEN lethe.store_record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                                            $20, $21, $22) THEN ARRAY[$4::uuid] ELSE '{}' END AS stored",
    })
    .list(vec![ctx.subject.0])
    .list(vec![version])
    .list(vec![ctx.session.map(|session| session.0)])
    .list(vec![entry.kind])
    .list(vec![entry.key_hash])
    .list(vec![entry.record.0])
    .list(vec![entry.bucket])
    .list(vec![entry.wrapped_key])
    .list(vec![event.event_id.0])
    .list(vec![event.event_version])
    .list(vec![event.payload])
    .list(vec![event.metadata])
    .list(vec![event.recorded_at])
    .list(vec![listed_at])
    .list(vec![hash])
    .list(vec![ring_key])
    .list(vec![fingerprint])
    .list(vec![sealed])
    .list(vec![expires_at])
}
