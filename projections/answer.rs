//! Stored answers: the sealed answer to a request with an `Idempotency-Key`, kept for 24 hours. Not rebuildable.
//! Personal, sealed under the trail key of who asked; an erasure removes the row.

use chrono::{DateTime, TimeDelta, Utc};
use context::SubjectId;
use db::{FromRow, Query, rows, sql};

const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// A stored answer.
#[derive(FromRow)]
pub struct AnswerRow {
    #[row(with = SubjectId)]
    pub subject_id: SubjectId,
    /// The transit key under which the fingerprint was made.
    pub ring_key: i64,
    /// The keyed hash of the request's body.
    pub fingerprint: Vec<u8>,
    /// The sealed answer, in base64.
    pub sealed: String,
    /// When the answer expires.
    pub expires_at: DateTime<Utc>,
}

impl AnswerRow {
    /// When the answer was given.
    pub fn given_at(&self) -> DateTime<Utc> {
        self.expires_at - LIFETIME
    }
}

/// The answer to an earlier request with the same key, also if it has expired.
pub fn answer_get(subject: SubjectId, key_hash: [u8; 32]) -> Query {
    Query::new(sql!(
        "-- answer_get
        SELECT ",
        AnswerRow::COLUMNS,
        " FROM unnest($1::uuid[], $2::bytea[]) AS asked (asker_id, asked_hash)
        CROSS JOIN LATERAL (SELECT * FROM read.answers
                            WHERE subject_id = asked.asker_id AND key_hash = asked.asked_hash OFFSET 0) a"
    ))
    .list(vec![subject.0])
    .list(vec![key_hash.to_vec()])
}

/// Removes an expired answer, so that its key can be used again.
pub fn answer_forget(subject: SubjectId, key_hash: [u8; 32], now: DateTime<Utc>) -> Query {
    Query::new(
        "-- answer_forget
        DELETE FROM read.answers a USING unnest($1::uuid[], $2::bytea[], $3::timestamptz[]) AS asked (subject_id, key_hash, now)
        WHERE a.subject_id = asked.subject_id AND a.key_hash = asked.key_hash AND a.expires_at <= asked.now",
    )
    .list(vec![subject.0])
    .list(vec![key_hash.to_vec()])
    .list(vec![now])
}

/// An answer that is to be stored.
pub struct NewAnswer {
    pub key_hash: [u8; 32],
    pub ring_key: i64,
    pub fingerprint: [u8; 32],
    pub sealed: String,
    pub expires_at: DateTime<Utc>,
}

impl NewAnswer {
    /// An answer that is given now.
    pub fn new(key_hash: [u8; 32], ring_key: i64, fingerprint: [u8; 32], sealed: String, now: DateTime<Utc>) -> Self {
        Self { key_hash, ring_key, fingerprint, sealed, expires_at: now + LIFETIME }
    }
}

/// Stores an answer for 24 hours.
pub fn answer_store(subject: SubjectId, answer: NewAnswer) -> Query {
    Query::rows(rows!(
        "-- answer_store
        INSERT INTO read.answers (subject_id, key_hash, ring_key, fingerprint, sealed, expires_at)
        SELECT * FROM ",
        ["$1::uuid", "$2::bytea", "$3::bigint", "$4::bytea", "$5::text", "$6::timestamptz"],
        " AS a (subject_id, key_hash, ring_key, fingerprint, sealed, expires_at)",
    ))
    .list(vec![subject.0])
    .list(vec![answer.key_hash.to_vec()])
    .list(vec![answer.ring_key])
    .list(vec![answer.fingerprint.to_vec()])
    .list(vec![answer.sealed])
    .list(vec![answer.expires_at])
}
