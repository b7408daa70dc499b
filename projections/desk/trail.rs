//! The trail: everybody's events in the order of the log, as compliance staff search them. No personal data in clear.
//!
//! Where the events of an hour lie is kept by the projection `activity` (`read.hours`), so that a page of a span of time
//! reads that part of the log only. Events that the projection has not come to are looked through as well, so that the
//! trail never waits for it.

use chrono::{DateTime, Utc};
use db::{FromRow, Query, sql};
use event_log::PlacedEvent;
use uuid::Uuid;

use crate::page::Page;

/// Which of everybody's events are searched for.
#[derive(Clone, Debug)]
pub struct TrailFilter {
    /// From this time on.
    pub from: DateTime<Utc>,
    /// Before this time.
    pub to: DateTime<Utc>,
    /// Only this type of event, or all types that begin with this text and a dot.
    pub action: Option<String>,
    /// Only events about this person inside the log.
    pub subject: Option<Uuid>,
    /// Only events by somebody in this role.
    pub role: Option<String>,
}

/// Where an event stands in [`trail_list`]: its transaction and its position.
pub type TrailPlace = (u64, i64);

/// The events of the trail. A sealed payload says nothing, so that it is left out.
const UNSEALED: &str = "
            SELECT e.txid, e.position, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
                   CASE WHEN e.payload->'sealed' IS NULL THEN e.payload::text ELSE '' END AS payload, e.metadata, e.event_id,
                   e.subject_id, e.kind, e.recorded_at
            FROM log.events e";

/// What of the filter and of the page an event must meet, whoever it is about. `IS TRUE` keeps the planner from the index
/// by time, by which it would collect and sort the whole span for each page.
const WANTED: &str = "
              AND (e.recorded_at >= $1 AND e.recorded_at < $2) IS TRUE
              AND ($3::text IS NULL OR e.event_type = $3 OR starts_with(e.event_type, $3 || '.'))
              AND ($4::text IS NULL OR e.metadata->>'role' = $4)
              AND (e.txid, e.position) > ($5::text::xid8, $6) AND e.txid < pg_snapshot_xmin(pg_current_snapshot())
            ORDER BY e.txid, e.position LIMIT $7";

/// A page of events in the order of the log, below the oldest open transaction: of everybody in a span of time, or of
/// one person.
pub fn trail_list(filter: TrailFilter, page: &Page<TrailPlace>) -> Query {
    const OF_ONE: &str = sql!(
        "-- trail_of_subject
        SELECT ",
        PlacedEvent::COLUMNS,
        " FROM (",
        UNSEALED,
        "
            WHERE e.subject_id = $8",
        WANTED,
        ") entry
        ORDER BY entry.txid, entry.position"
    );
    const OF_ALL: &str = sql!(
        "-- trail_list
        WITH shown AS MATERIALIZED (
            SELECT c.generation, c.txid, c.position FROM read.projections p
            JOIN read.checkpoints c ON c.name = p.name AND c.generation = p.active
            -- The first version kept no hours.
            WHERE p.name = 'activity' AND c.code_version >= 2),
        hours AS MATERIALIZED (
            SELECT * FROM read.hours h WHERE h.generation = (SELECT generation FROM shown)
               AND h.hour >= date_trunc('hour', $1::timestamptz, 'UTC') AND h.hour < $2),
        first AS MATERIALIZED (
            SELECT first_txid AS txid, first_position AS position FROM hours ORDER BY first_txid, first_position LIMIT 1),
        last AS MATERIALIZED (
            SELECT last_txid AS txid, last_position AS position FROM hours ORDER BY last_txid DESC, last_position DESC LIMIT 1),
        read_up_to AS MATERIALIZED (
            SELECT coalesce((SELECT txid FROM shown), '0') AS txid, coalesce((SELECT position FROM shown), 0) AS position),
        known AS (",
        UNSEALED,
        "
            WHERE (e.txid, e.position) >= ((SELECT txid FROM first), (SELECT position FROM first))
              AND (e.txid, e.position) <= ((SELECT txid FROM last), (SELECT position FROM last))",
        WANTED,
        "),
        fresh AS (",
        UNSEALED,
        "
            WHERE (e.txid, e.position) > ((SELECT txid FROM read_up_to), (SELECT position FROM read_up_to))",
        WANTED,
        ")
        SELECT ",
        PlacedEvent::COLUMNS,
        " FROM (SELECT * FROM known UNION ALL SELECT * FROM fresh) entry
        ORDER BY entry.txid, entry.position LIMIT $7"
    );
    let (txid, position) = page.after.unwrap_or_default();
    let query = Query::new(if filter.subject.is_some() { OF_ONE } else { OF_ALL })
        .bind(filter.from)
        .bind(filter.to)
        .bind(filter.action)
        .bind(filter.role)
        .bind(txid.to_string())
        .bind(position)
        .bind(page.rows());
    match filter.subject {
        Some(subject) => query.bind(subject),
        None => query,
    }
}
