//! The floor: the version of the key-encryption key below which nothing is written any more; and how a rotation brings what was
//! written before under the new version.

use context::SubjectId;
use db::{FromRow, Query, sql};
use uuid::Uuid;

/// How many people's keys are under a version of the key-encryption key.
#[derive(FromRow)]
pub struct VersionRow {
    pub ring_version: i32,
    #[row(sql = "count(*)")]
    pub people: i64,
}

/// Counts people's keys by version.
pub fn keys_count() -> Query {
    Query::new(sql!("-- keys_count\nSELECT ", VersionRow::COLUMNS, " FROM vault.subjects GROUP BY 1"))
}

/// The floor, as `version`.
pub fn ring_floor() -> Query {
    Query::new("-- ring_floor\nSELECT version FROM vault.ring_floor")
}

/// Raises the floor; never lowers it.
pub fn floor_raise(version: i32) -> Query {
    Query::new("-- floor_raise\nUPDATE vault.ring_floor SET version = $1 WHERE version < $1").bind(version)
}

/// The number of the transaction that raised the floor, as `txid`.
pub fn floor_raised() -> Query {
    Query::new("-- floor_raised\nSELECT pg_current_xact_id()::text AS txid")
}

/// Whether, as `is_settled`, every transaction up to that number has ended.
pub fn floor_settled(txid: String) -> Query {
    Query::new("-- floor_settled\nSELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8 AS is_settled")
        .bind(txid)
}

/// A person whose keys are under an older version.
#[derive(FromRow)]
pub struct OlderRow {
    pub subject_id: Uuid,
}

/// The people whose keys are under a version older than `version`, in the order of their ids, after `after`.
pub fn keys_under_older(after: SubjectId, version: i32, most: i64) -> Query {
    Query::new(sql!(
        "-- keys_under_older
        SELECT ",
        OlderRow::COLUMNS,
        " FROM vault.subjects WHERE subject_id > $1 AND ring_version < $2
        ORDER BY subject_id LIMIT $3"
    ))
    .bind(after.0)
    .bind(version)
    .bind(most)
}
