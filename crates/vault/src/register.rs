//! The vault's statements: a person's wrapped keys, and the register of living records.

use context::{RecordId, SubjectId};
use db::{FromRow, Query, rows, sql};
use uuid::Uuid;

use crate::{WrappedSubject, record_entry::RecordEntry};

/// Adds a person's keys.
pub fn subject_insert(subject: SubjectId, wrapped: &WrappedSubject) -> Query {
    Query::new(
        "-- subject_insert
        INSERT INTO vault.subjects (subject_id, ring_version, wrapping_version, index_key, trail_key, wrapping_key)
        VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(subject.0)
    .bind(wrapped.ring_version)
    .bind(wrapped.wrapping_version)
    .bind(wrapped.index.clone())
    .bind(wrapped.trail.clone())
    .bind(wrapped.wrapping.clone())
}

/// A person's keys.
pub fn subject_get(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- subject_get
        SELECT ",
        WrappedSubject::COLUMNS,
        " FROM vault.subjects WHERE subject_id = $1"
    ))
    .bind(subject.0)
}

/// Replaces a person's wrapped keys. Fails if there are none.
pub fn subject_rewrap(subject: SubjectId, wrapped: &WrappedSubject) -> Query {
    Query::new(
        "-- subject_rewrap
        UPDATE vault.subjects
        SET ring_version = $2, wrapping_version = $3, index_key = $4, trail_key = $5, wrapping_key = $6
        WHERE subject_id = $1",
    )
    .exactly(1)
    .bind(subject.0)
    .bind(wrapped.ring_version)
    .bind(wrapped.wrapping_version)
    .bind(wrapped.index.clone())
    .bind(wrapped.trail.clone())
    .bind(wrapped.wrapping.clone())
}

/// All entries of a person in the register.
pub fn record_register(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- record_register
        SELECT ",
        RecordEntry::COLUMNS,
        " FROM vault.records WHERE subject_id = $1"
    ))
    .bind(subject.0)
}

/// Enters records of persons into the register.
pub fn record_insert(entries: Vec<(SubjectId, RecordEntry)>) -> Query {
    let (mut subjects, mut ids, mut kinds): (Vec<Uuid>, Vec<Uuid>, Vec<String>) = Default::default();
    let (mut hashes, mut keys): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
    let mut buckets: Vec<Option<Vec<u8>>> = Vec::new();
    for (subject, entry) in entries {
        subjects.push(subject.0);
        ids.push(entry.record.0);
        kinds.push(entry.kind);
        hashes.push(entry.key_hash);
        buckets.push(entry.bucket);
        keys.push(entry.wrapped_key);
    }
    Query::rows(rows!(
        "-- record_insert
        INSERT INTO vault.records (subject_id, record_id, kind, key_hash, bucket, wrapped_key)
        SELECT * FROM ",
        ["$1::uuid", "$2::uuid", "$3::text", "$4::bytea", "$5::bytea", "$6::bytea"],
        " AS r (subject_id, record_id, kind, key_hash, bucket, wrapped_key)",
    ))
    .list(subjects)
    .list(ids)
    .list(kinds)
    .list(hashes)
    .list(buckets)
    .list(keys)
}

/// Removes records from the register, and with them their keys, hashes and, by reference, read models. All of them must
/// be in the register.
pub fn record_delete(subject: SubjectId, records: Vec<RecordId>) -> Query {
    let ids: Vec<Uuid> = records.into_iter().map(|record| record.0).collect();
    Query::new(
        "-- record_delete
        DELETE FROM vault.records WHERE subject_id = $1 AND record_id = ANY ($2)",
    )
    .exactly(ids.len())
    .bind(subject.0)
    .bind(ids)
}

/// Replaces the wrapped keys of records. All of them must be there, because a record that kept its old wrapping could
/// not be opened any more.
pub fn record_rewrap(subject: SubjectId, entries: Vec<RecordEntry>) -> Query {
    let (ids, keys): (Vec<Uuid>, Vec<Vec<u8>>) =
        entries.into_iter().map(|entry| (entry.record.0, entry.wrapped_key)).unzip();
    Query::new(
        "-- record_rewrap
        UPDATE vault.records r SET wrapped_key = n.wrapped_key
        FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS n (subject_id, record_id, wrapped_key)
        WHERE r.subject_id = n.subject_id AND r.record_id = n.record_id",
    )
    .exactly(ids.len())
    .list(vec![subject.0; ids.len()])
    .list(ids)
    .list(keys)
}
