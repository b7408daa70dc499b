//! Retention: a person's own rules, one for each kind. Rebuildable from the log. Holds kinds and numbers of days beside
//! the random id. An erasure removes the rows.

use chrono::{DateTime, TimeDelta, Utc};
use context::SubjectId;
use db::{FromRow, Query, Row, Tx, sql};
use domain::rights::retention::{Retention, RetentionEvent, Waits, in_force};
use event_log::{Event, Inline, cqrs_es::Aggregate};

use crate::rebuild::{Rebuild, rebuild_events};

/// Writes `read.retention`.
pub struct Retentions;

impl Inline for Retentions {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events.iter().filter(|event| event.aggregate_type == Retention::TYPE) {
            match serde_json::from_str::<RetentionEvent>(&event.payload) {
                Ok(RetentionEvent::Set { kind, days: None, waits: None }) => tx.queue(retention_unset(event, kind)),
                Ok(RetentionEvent::Set { kind, days, waits }) => tx.queue(retention_set(event, kind, days, waits)),
                Err(_) => {}
            }
        }
    }
}

fn number(days: Option<u32>) -> Option<i32> {
    days.map(|days| i32::try_from(days).unwrap_or(i32::MAX))
}

fn retention_set(event: &Event, kind: String, days: Option<u32>, waits: Option<Waits>) -> Query {
    Query::new(
        "-- retention_set
        INSERT INTO read.retention AS r (subject_id, kind, days, sequence, changed_at, before_days, counts_from)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (subject_id, kind) DO UPDATE
        SET days = excluded.days, sequence = excluded.sequence, changed_at = excluded.changed_at,
            before_days = excluded.before_days, counts_from = excluded.counts_from
        WHERE r.sequence < excluded.sequence",
    )
    .bind(event.subject_id.0)
    .bind(kind)
    .bind(number(days))
    .bind(event.sequence)
    .bind(event.recorded_at)
    .bind(number(waits.and_then(|waits| waits.before)))
    .bind(waits.map(|waits| waits.until))
}

fn retention_unset(event: &Event, kind: String) -> Query {
    Query::new(
        "-- retention_unset
        DELETE FROM read.retention WHERE subject_id = $1 AND kind = $2 AND sequence < $3",
    )
    .bind(event.subject_id.0)
    .bind(kind)
    .bind(event.sequence)
}

/// Makes people's own rules equal to the log.
pub const REBUILD: Rebuild = Rebuild {
    name: "retention",
    events: |subjects| rebuild_events(subjects, &[Retention::TYPE]),
    projections: &[&Retentions],
    rows: "-- retention_rows\nSELECT concat(subject_id, ' ', kind) AS key, to_json(r)::text AS row FROM read.retention r WHERE subject_id = ANY ($1)",
    clear: "-- retention_clear\nDELETE FROM read.retention WHERE subject_id = ANY ($1)",
};

/// The id of the stream of a person's rule for a kind.
pub fn stream_id(subject: SubjectId, kind: &str) -> String {
    format!("{subject}/{kind}")
}

/// A person's own rule for a kind.
pub struct RetentionRow {
    pub kind: String,
    /// Days after the last change. `None`: the kind's own rule, once the person's earlier rule has stopped counting.
    pub days: Option<u32>,
    pub changed_at: DateTime<Utc>,
    /// The rule that counts until this rule takes effect; `None` if this rule does not wait.
    pub waits: Option<Waits>,
}

impl FromRow for RetentionRow {
    const COLUMNS: &'static str = Columns::COLUMNS;

    fn from_row(row: &Row) -> Self {
        let Columns { kind, days, changed_at, before_days, counts_from } = Columns::from_row(row);
        let waits = counts_from.map(|until| Waits { before: before_days.map(i32::unsigned_abs), until });
        Self { kind, days: days.map(i32::unsigned_abs), changed_at, waits }
    }
}

#[derive(FromRow)]
struct Columns {
    kind: String,
    days: Option<i32>,
    changed_at: DateTime<Utc>,
    before_days: Option<i32>,
    counts_from: Option<DateTime<Utc>>,
}

impl RetentionRow {
    /// The person's rule that counts at a time, in days. `None`: the kind's own rule.
    pub fn in_force(&self, now: DateTime<Utc>) -> Option<u32> {
        in_force(self.days, self.waits, now)
    }
}

pub fn retention_list(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- retention_list
        SELECT ",
        RetentionRow::COLUMNS,
        " FROM read.retention WHERE subject_id = $1"
    ))
    .bind(subject.0)
}

/// For how many days a kind's records are kept, given a person's own rules. `None`: as long as the account exists.
pub fn days_of(kind: &domain::Kind, own: &[RetentionRow], now: DateTime<Utc>) -> Option<u32> {
    let mine = own.iter().find(|row| row.kind == kind.name());
    mine.and_then(|row| row.in_force(now)).or(kind.retention_days())
}

/// A record whose last change lies before this time has been kept longer than `days`.
pub fn limit(now: DateTime<Utc>, days: u32) -> DateTime<Utc> {
    now.checked_sub_signed(TimeDelta::days(i64::from(days))).unwrap_or(DateTime::<Utc>::MIN_UTC)
}
