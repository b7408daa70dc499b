//! Erasure: what of a person goes, and the fence around who is gone. The fence is not rebuildable; it holds a random id and a time.

use chrono::{DateTime, Utc};
use context::SubjectId;
use db::Query;

/// Removes everything in the database that leads to a person, keys first: what refers to them goes with them. The log stays.
pub fn subject_erase(subject: SubjectId, now: DateTime<Utc>) -> Vec<Query> {
    let fence = Query::new("-- subject_fence\nINSERT INTO vault.erased (subject_id, erased_at) VALUES ($1, $2)");
    let gone = [
        "-- subject_erase\nDELETE FROM vault.subjects WHERE subject_id = $1",
        "-- accounts_erase\nDELETE FROM read.accounts WHERE subject_id = $1",
        "-- consents_erase\nDELETE FROM read.consents WHERE subject_id = $1",
        "-- deletions_erase\nDELETE FROM read.deletions WHERE subject_id = $1",
        "-- exports_erase\nDELETE FROM read.exports WHERE subject_id = $1",
        "-- retention_erase\nDELETE FROM read.retention WHERE subject_id = $1",
    ];
    let gone = gone.map(|sql| Query::new(sql).bind(subject.0));
    [fence.bind(subject.0).bind(now)].into_iter().chain(gone).collect()
}

/// Whether a person is erased.
pub fn subject_erased(subject: SubjectId) -> Query {
    Query::new("-- subject_erased\nSELECT erased_at FROM vault.erased WHERE subject_id = $1").bind(subject.0)
}
