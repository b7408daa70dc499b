//! The audit log: a person's own events, newest first, straight from the log. Address, agent and details are sealed.

use chrono::{DateTime, Utc};
use context::{EventId, SubjectId};
use db::{Query, Row};
use event_log::Event;

/// Which entries of a person are searched for.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only this action, or all actions whose name begins with it and a dot.
    pub action: Option<String>,
    /// From this time on.
    pub from: Option<DateTime<Utc>>,
    /// Up to this time, included.
    pub to: Option<DateTime<Utc>>,
    /// Only entries before this position of the log.
    pub before: Option<i64>,
    /// The most entries that are returned.
    pub limit: i64,
}

/// A page of a person's entries, newest first.
pub fn audit_list(subject: SubjectId, filter: AuditFilter) -> Query {
    Query::new(
        "-- audit_list
        SELECT position, table_name, record_id, sequence, action, event_version, details::text, metadata::text, id, subject_id,
               kind, \"timestamp\"
        FROM read.audit_log
        WHERE subject_id = $1 AND ($2::bigint IS NULL OR position < $2)
          AND ($3::text IS NULL OR action = $3 OR starts_with(action, $3 || '.'))
          AND ($4::timestamptz IS NULL OR \"timestamp\" >= $4) AND ($5::timestamptz IS NULL OR \"timestamp\" <= $5)
        ORDER BY position DESC LIMIT $6",
    )
    .bind(subject.0)
    .bind(filter.before)
    .bind(filter.action)
    .bind(filter.from)
    .bind(filter.to)
    .bind(filter.limit)
}

/// Reads a row of [`audit_list`]: the position and the event.
pub fn audit_row(row: &Row) -> (i64, Event) {
    (row.get(0), Event::from_row(row, 1))
}

/// A person's event and its position in the log: transaction, position, then the event.
pub fn event_place(subject: SubjectId, event: EventId) -> Query {
    Query::new(
        "-- event_place
        SELECT txid::text, position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text,
               metadata::text, event_id, subject_id, kind, recorded_at
        FROM log.events WHERE subject_id = $1 AND event_id = $2",
    )
    .bind(subject.0)
    .bind(event.0)
}

pub fn newest(subject: SubjectId, aggregate_type: &'static str, aggregate_id: &str) -> Query {
    Query::new(
        "-- stream_newest
        SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text, metadata::text, event_id,
               subject_id, kind, recorded_at
        FROM log.events WHERE subject_id = $1 AND aggregate_type = $2 AND aggregate_id = $3
        ORDER BY sequence DESC LIMIT 1",
    )
    .bind(subject.0)
    .bind(aggregate_type)
    .bind(aggregate_id.to_owned())
}
