//! The audit log: a person's own events, newest first, straight from the log. Address, agent and details are sealed.

use chrono::{DateTime, Utc};
use context::{EventId, SubjectId};
use db::{FromRow, Query, sql};
use event_log::{Event, PlacedEvent};

use crate::page::Page;

/// Which entries of a person are searched for.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only this action, or all actions whose name begins with it and a dot.
    pub action: Option<String>,
    /// From this time on.
    pub from: Option<DateTime<Utc>>,
    /// Up to this time, included.
    pub to: Option<DateTime<Utc>>,
}

/// An entry.
#[derive(FromRow)]
pub struct AuditRow {
    pub position: i64,
    #[row(flatten)]
    pub event: Event,
}

/// A page of a person's entries, newest first, by their positions in the log. They are what the view `read.audit_log`
/// shows; but behind its barrier PostgreSQL would sort all of the person's events for each page.
pub fn audit_list(subject: SubjectId, filter: AuditFilter, page: &Page<i64>) -> Query {
    Query::new(sql!(
        "-- audit_list
        SELECT ",
        AuditRow::COLUMNS,
        "
        FROM log.events
        WHERE subject_id = $1 AND position < $2
          AND ($3::text IS NULL OR event_type = $3 OR starts_with(event_type, $3 || '.'))
          AND ($4::timestamptz IS NULL OR recorded_at >= $4) AND ($5::timestamptz IS NULL OR recorded_at <= $5)
        ORDER BY position DESC LIMIT $6"
    ))
    .bind(subject.0)
    .bind(page.after.unwrap_or(i64::MAX))
    .bind(filter.action)
    .bind(filter.from)
    .bind(filter.to)
    .bind(page.rows())
}

/// A person's event and its position in the log: transaction, position, then the event.
pub fn event_place(subject: SubjectId, event: EventId) -> Query {
    Query::new(sql!(
        "-- event_place
        SELECT ",
        PlacedEvent::COLUMNS,
        "
        FROM log.events WHERE subject_id = $1 AND event_id = $2"
    ))
    .bind(subject.0)
    .bind(event.0)
}

pub fn stream_newest(subject: SubjectId, aggregate_type: &'static str, aggregate_id: &str) -> Query {
    Query::new(sql!(
        "-- stream_newest
        SELECT ",
        Event::COLUMNS,
        "
        FROM log.events WHERE subject_id = $1 AND aggregate_type = $2 AND aggregate_id = $3
        ORDER BY sequence DESC LIMIT 1"
    ))
    .bind(subject.0)
    .bind(aggregate_type)
    .bind(aggregate_id.to_owned())
}
