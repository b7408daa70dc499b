//! Stored answers: what a request with an `Idempotency-Key` was answered, sealed, for 24 hours. Not rebuildable; personal,
//! sealed under the trail key; goes with the person.

use chrono::{DateTime, TimeDelta, Utc};
use context::SubjectId;
use db::{Query, Row};

const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// A stored answer.
pub struct AnswerRow {
    /// The keyed hash of the request's body.
    pub fingerprint: Vec<u8>,
    /// The sealed answer, in base64.
    pub sealed: String,
}

impl AnswerRow {
    /// Reads a row of [`answer_get`].
    pub fn from_row(row: &Row) -> Self {
        Self { fingerprint: row.get(0), sealed: row.get(1) }
    }
}

/// The answer to an earlier request with the same key.
pub fn answer_get(subject: SubjectId, key_hash: Option<[u8; 32]>, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- answer_get
        SELECT fingerprint, sealed FROM read.answers WHERE subject_id = $1 AND key_hash = $2 AND expires_at > $3",
    )
    .bind(subject.0)
    .bind(key_hash.map(|hash| hash.to_vec()))
    .bind(now)
}

/// Stores an answer for 24 hours, in place of one that has run out.
pub fn answer_store(
    subject: SubjectId,
    key_hash: [u8; 32],
    fingerprint: [u8; 32],
    sealed: String,
    now: DateTime<Utc>,
) -> Query {
    let until = now + LIFETIME;
    Query::new(
        "-- answer_store
        INSERT INTO read.answers AS a (subject_id, key_hash, fingerprint, sealed, expires_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (subject_id, key_hash) DO UPDATE
        SET fingerprint = excluded.fingerprint, sealed = excluded.sealed, expires_at = excluded.expires_at
        WHERE a.expires_at <= $6",
    )
    .bind(subject.0)
    .bind(key_hash.to_vec())
    .bind(fingerprint.to_vec())
    .bind(sealed)
    .bind(until)
    .bind(now)
}
