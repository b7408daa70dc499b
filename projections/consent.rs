//! Consents: the newest decision of each purpose. Rebuildable from the log; no personal value beside the random id; the events
//! outlive an erasure as evidence, this row goes with it.

use chrono::{DateTime, Utc};
use context::SubjectId;
use db::{Query, Row, Tx};
use domain::consent::{Consent, ConsentEvent, Decision, Purpose};
use event_log::{Event, Inline, cqrs_es::Aggregate};

/// Keeps `read.consents`.
pub struct Consents;

impl Inline for Consents {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events.iter().filter(|event| event.aggregate_type == Consent::TYPE) {
            let Ok(decided) = serde_json::from_str::<ConsentEvent>(&event.payload) else { continue };
            let granted = matches!(decided, ConsentEvent::Granted(_));
            let (ConsentEvent::Granted(decision) | ConsentEvent::Withdrawn(decision)) = decided;
            tx.queue(upsert(event, granted, decision));
        }
    }
}

fn upsert(event: &Event, granted: bool, decision: Decision) -> Query {
    Query::new(
        "-- consent_decided
        INSERT INTO read.consents AS c (subject_id, purpose, granted, notice_version, notice_hash, sequence, changed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (subject_id, purpose) DO UPDATE
        SET granted = excluded.granted, notice_version = excluded.notice_version, notice_hash = excluded.notice_hash,
            sequence = excluded.sequence, changed_at = excluded.changed_at
        WHERE c.sequence < excluded.sequence",
    )
    .bind(event.subject_id.0)
    .bind(domain::Choice::as_str(decision.purpose))
    .bind(granted)
    .bind(decision.notice_version)
    .bind(decision.notice_hash)
    .bind(event.sequence)
    .bind(event.recorded_at)
}

/// The stream of a person's decisions on a purpose.
pub fn stream_id(subject: SubjectId, purpose: Purpose) -> String {
    format!("{subject}/{}", domain::Choice::as_str(purpose))
}

/// All decisions of a person that stand.
pub fn consent_list(subject: SubjectId) -> Query {
    Query::new(
        "-- consent_list
        SELECT purpose, granted, notice_version, changed_at FROM read.consents WHERE subject_id = $1",
    )
    .bind(subject.0)
}

/// One decision that stands.
pub struct ConsentRow {
    /// The purpose's name.
    pub purpose: String,
    /// Whether consent is given.
    pub granted: bool,
    /// The version of the notice it was decided on.
    pub notice_version: String,
    /// When.
    pub changed_at: DateTime<Utc>,
}

impl ConsentRow {
    /// Reads a row of [`consent_list`].
    pub fn from_row(row: &Row) -> Self {
        Self { purpose: row.get(0), granted: row.get(1), notice_version: row.get(2), changed_at: row.get(3) }
    }
}

/// Every decision of a person on a purpose, newest first.
pub fn consent_history(subject: SubjectId, purpose: Purpose) -> Query {
    const SQL: &str = "-- consent_history
        SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text, metadata::text, event_id,
               subject_id, kind, recorded_at
        FROM log.events WHERE subject_id = $1 AND aggregate_type = 'consent' AND aggregate_id = $2
        ORDER BY sequence DESC";
    Query::new(SQL).bind(subject.0).bind(stream_id(subject, purpose))
}
