//! Counts of what is held about a person.

use chrono::{DateTime, Utc};
use context::SubjectId;
use db::{FromRow, Query, sql};

/// How much is held of what has no list of its own in the overview.
#[derive(FromRow)]
pub struct CountsRow {
    /// Sessions that are alive.
    #[row(sql = "(SELECT count(*) FROM auth.sessions WHERE subject_id = $1 AND ended_at IS NULL AND expires_at > $2)")]
    pub sessions: i64,
    /// Entries of the log.
    #[row(sql = "(SELECT count(*) FROM log.events WHERE subject_id = $1)")]
    pub entries: i64,
    /// Requests to export that wait or run, or have a file that can be downloaded.
    #[row(sql = "(SELECT count(*) FROM read.exports
          WHERE subject_id = $1 AND (state IN ('pending', 'processing') OR state = 'completed' AND expires_at > $2))")]
    pub exports: i64,
    /// Devices on which a sign-in is not held up by what strangers try.
    #[row(sql = "(SELECT count(*) FROM auth.devices WHERE subject_id = $1 AND expires_at > $2)")]
    pub devices: i64,
}

/// Counts, in one row.
pub fn overview_get(subject: SubjectId, now: DateTime<Utc>) -> Query {
    Query::new(sql!("-- overview_get\nSELECT ", CountsRow::COLUMNS)).bind(subject.0).bind(now)
}
