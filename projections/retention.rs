//! Retention: a person's own rules a kind. Rebuildable from the log; kinds and numbers of days
//! beside the random id; an erasure removes the rows.

use chrono::{DateTime, TimeDelta, Utc};
use context::SubjectId;
use db::{Query, Row, Tx};
use domain::retention::{Retention, RetentionEvent};
use event_log::{Event, Inline, cqrs_es::Aggregate};

use crate::rebuild::Rebuild;

/// Keeps `read.retention`.
pub struct Retentions;

impl Inline for Retentions {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events.iter().filter(|event| event.aggregate_type == Retention::TYPE) {
            match serde_json::from_str::<RetentionEvent>(&event.payload) {
                Ok(RetentionEvent::Set { kind, days: Some(days) }) => tx.queue(set(event, kind, days)),
                Ok(RetentionEvent::Set { kind, days: None }) => tx.queue(unset(event, kind)),
                Err(_) => {}
            }
        }
    }
}

fn set(event: &Event, kind: String, days: u32) -> Query {
    Query::new(
        "-- retention_set
        INSERT INTO read.retention AS r (subject_id, kind, days, sequence, changed_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (subject_id, kind) DO UPDATE
        SET days = excluded.days, sequence = excluded.sequence, changed_at = excluded.changed_at
        WHERE r.sequence < excluded.sequence",
    )
    .bind(event.subject_id.0)
    .bind(kind)
    .bind(i32::try_from(days).unwrap_or(i32::MAX))
    .bind(event.sequence)
    .bind(event.recorded_at)
}

fn unset(event: &Event, kind: String) -> Query {
    Query::new(
        "-- retention_unset
        DELETE FROM read.retention WHERE subject_id = $1 AND kind = $2 AND sequence < $3",
    )
    .bind(event.subject_id.0)
    .bind(kind)
    .bind(event.sequence)
}

/// Makes a person's own rules what the log says.
pub const REBUILD: Rebuild = Rebuild { name: "retention", statement: rebuild };

fn rebuild(subject: SubjectId) -> Query {
    Query::new(
        "-- retention_rebuild
        WITH truth AS MATERIALIZED (
            SELECT kind, days, sequence, changed_at FROM (
                SELECT DISTINCT ON (aggregate_id) payload#>>'{Set,kind}' AS kind, (payload#>>'{Set,days}')::int AS days,
                       sequence, recorded_at AS changed_at
                FROM log.events WHERE subject_id = $1 AND aggregate_type = 'retention'
                  AND EXISTS (SELECT FROM vault.subjects s WHERE s.subject_id = $1)
                ORDER BY aggregate_id, sequence DESC) newest
            WHERE days IS NOT NULL),
        removed AS (
            DELETE FROM read.retention r WHERE r.subject_id = $1
            AND NOT EXISTS (SELECT FROM truth t WHERE t.kind = r.kind) RETURNING 1),
        corrected AS (
            UPDATE read.retention r SET days = t.days, sequence = t.sequence, changed_at = t.changed_at FROM truth t
            WHERE r.subject_id = $1 AND r.kind = t.kind
              AND (r.days, r.sequence, r.changed_at) IS DISTINCT FROM (t.days, t.sequence, t.changed_at)
            RETURNING 1),
        added AS (
            INSERT INTO read.retention (subject_id, kind, days, sequence, changed_at)
            SELECT $1, t.* FROM truth t
            WHERE NOT EXISTS (SELECT FROM read.retention r WHERE r.subject_id = $1 AND r.kind = t.kind)
            RETURNING 1)
        SELECT (SELECT count(*) FROM added), (SELECT count(*) FROM corrected), (SELECT count(*) FROM removed)",
    )
    .bind(subject.0)
}

/// The stream of a person's rule for a kind.
pub fn stream_id(subject: SubjectId, kind: &str) -> String {
    format!("{subject}/{kind}")
}

/// A person's own rule.
pub struct RetentionRow {
    /// The kind's name.
    pub kind: String,
    /// Days after the last change.
    pub days: u32,
    /// When the person set it.
    pub changed_at: DateTime<Utc>,
}

impl RetentionRow {
    /// Reads a row of [`retention_list`].
    pub fn from_row(row: &Row) -> Self {
        Self { kind: row.get(0), days: row.get::<_, i32>(1).unsigned_abs(), changed_at: row.get(2) }
    }
}

/// A person's own rules.
pub fn retention_list(subject: SubjectId) -> Query {
    Query::new("-- retention_list\nSELECT kind, days, changed_at FROM read.retention WHERE subject_id = $1")
        .bind(subject.0)
}

/// For how many days a kind's records are kept, given a person's own rules; none: as long as the account.
pub fn days_of(kind: &dyn domain::Kind, own: &[RetentionRow]) -> Option<u32> {
    own.iter().find(|row| row.kind == kind.name()).map(|row| row.days).or(kind.retention_days())
}

/// The time before which the last change must lie for a record to have outlived `days`.
pub fn limit(now: DateTime<Utc>, days: u32) -> DateTime<Utc> {
    now.checked_sub_signed(TimeDelta::days(i64::from(days))).unwrap_or(DateTime::<Utc>::MIN_UTC)
}
