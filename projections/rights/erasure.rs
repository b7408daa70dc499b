//! Erasure: what an erasure removes of a person, and the fence for erased people. The fence is not rebuildable; it
//! holds a random id and a time.

use chrono::{DateTime, Utc};
use context::SubjectId;
use db::{FromRow, Query, sql};

/// Removes everything in the database that leads to a person, except the log. The keys are removed first, and rows that
/// refer to the keys are removed with them. The transaction fails if there were no keys, or if anything is left.
pub fn subject_erase(subject: SubjectId, now: DateTime<Utc>) -> Vec<Query> {
    let fence = Query::new("-- subject_fence\nINSERT INTO vault.erased (subject_id, erased_at) VALUES ($1, $2)");
    let keys = Query::new("-- subject_erase\nDELETE FROM vault.subjects WHERE subject_id = $1").exactly(1);
    let gone = [
        "-- accounts_erase\nDELETE FROM read.accounts WHERE subject_id = $1",
        "-- consents_erase\nDELETE FROM read.consents WHERE subject_id = $1",
        "-- deletions_erase\nDELETE FROM read.deletions WHERE subject_id = $1",
        "-- exports_erase\nDELETE FROM read.exports WHERE subject_id = $1",
        "-- retention_erase\nDELETE FROM read.retention WHERE subject_id = $1",
    ];
    let gone = gone.map(|sql| Query::new(sql).bind(subject.0));
    let rest = [subject_left(subject).exactly(0)];
    [fence.bind(subject.0).bind(now), keys.bind(subject.0)].into_iter().chain(gone).chain(rest).collect()
}

/// The tables that still hold a row of a person. A test compares the list with the catalogue. Rows that refer to the keys are removed with the keys.
pub fn subject_left(subject: SubjectId) -> Query {
    Query::new(
        "-- subject_left
        SELECT 'vault.subjects' FROM vault.subjects WHERE subject_id = $1
        UNION ALL SELECT 'vault.records' FROM vault.records WHERE subject_id = $1
        UNION ALL SELECT 'auth.users' FROM auth.users WHERE subject_id = $1
        UNION ALL SELECT 'auth.addresses' FROM auth.addresses WHERE subject_id = $1
        UNION ALL SELECT 'auth.staff_roles' FROM auth.staff_roles WHERE subject_id = $1
        UNION ALL SELECT 'auth.sessions' FROM auth.sessions WHERE subject_id = $1
        UNION ALL SELECT 'auth.refresh_tokens' FROM auth.refresh_tokens WHERE subject_id = $1
        UNION ALL SELECT 'auth.devices' FROM auth.devices WHERE subject_id = $1
        UNION ALL SELECT 'auth.standings' FROM auth.standings WHERE subject_id = $1
        UNION ALL SELECT 'auth.suspensions' FROM auth.suspensions WHERE subject_id = $1
        UNION ALL SELECT 'read.records' FROM read.records WHERE subject_id = $1
        UNION ALL SELECT 'read.answers' FROM read.answers WHERE subject_id = $1
        UNION ALL SELECT 'read.accounts' FROM read.accounts WHERE subject_id = $1
        UNION ALL SELECT 'read.consents' FROM read.consents WHERE subject_id = $1
        UNION ALL SELECT 'read.deletions' FROM read.deletions WHERE subject_id = $1
        UNION ALL SELECT 'read.exports' FROM read.exports WHERE subject_id = $1
        UNION ALL SELECT 'read.retention' FROM read.retention WHERE subject_id = $1",
    )
    .bind(subject.0)
}

/// When a person was erased.
#[derive(FromRow)]
pub struct ErasedRow {
    pub erased_at: DateTime<Utc>,
}

/// When a person was erased; no row if they were not.
pub fn subject_erased(subject: SubjectId) -> Query {
    Query::new(sql!("-- subject_erased\nSELECT ", ErasedRow::COLUMNS, " FROM vault.erased WHERE subject_id = $1"))
        .bind(subject.0)
}
