//! Lag: how far each catch-up projection is behind the newest committed event, and which transactions hold the
//! projection back.
//!
//! All committed events are counted, also events that may not be read yet because an older transaction is still open.

use chrono::{DateTime, Utc};
use db::{Query, Row};
use event_log::Position;

use crate::catch_up::position_of;

/// Waiting events are counted up to this number.
pub const COUNTED: i64 = 100_000;

/// The state of a projection.
pub struct LagRow {
    pub name: String,
    /// The generation that is shown.
    pub active: i64,
    /// The generation that is being built.
    pub building: Option<i64>,
    /// The version of the code that keeps the generation that is shown.
    pub code_version: i32,
    /// The position of the generation that is shown.
    pub position: Position,
    /// When the position moved last.
    pub moved_at: DateTime<Utc>,
    /// How many events wait, at most [`COUNTED`].
    pub lag_events: i64,
    /// When the oldest waiting event was recorded.
    pub waiting_since: Option<DateTime<Utc>>,
    /// How many events the generation that is shown could not apply.
    pub dead_letters: i64,
}

impl LagRow {
    /// Reads a row of [`projection_list`].
    pub fn from_row(row: &Row) -> Self {
        Self {
            position: position_of(row),
            name: row.get(2),
            active: row.get(3),
            building: row.get(4),
            code_version: row.get(5),
            moved_at: row.get(6),
            lag_events: row.get(7),
            waiting_since: row.get(8),
            dead_letters: row.get(9),
        }
    }
}

pub fn projection_list() -> Query {
    Query::new(
        "-- projection_list
        SELECT c.txid::text, c.position, p.name, p.active, p.building, c.code_version, c.moved_at,
               waiting.events, waiting.since, dead.letters
        FROM read.projections p
        JOIN read.checkpoints c ON c.name = p.name AND c.generation = p.active
        CROSS JOIN LATERAL (
            SELECT count(*) AS events, min(recorded_at) AS since
            FROM (SELECT recorded_at FROM log.events e WHERE (e.txid, e.position) > (c.txid, c.position)
                  ORDER BY e.txid, e.position LIMIT $1) counted) waiting
        CROSS JOIN LATERAL (
            SELECT count(*) AS letters FROM read.dead_letters d WHERE d.name = p.name AND d.generation = p.active) dead
        ORDER BY p.name",
    )
    .bind(COUNTED)
}

/// The backends that hold readers back, by process id and login, if a committed event has been waiting for them since
/// `since`.
pub fn log_stalled(since: DateTime<Utc>) -> Query {
    Query::new(
        "-- log_stalled
        SELECT DISTINCT l.pid, a.usename::text AS login FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid IS NOT NULL
          AND l.transactionid = pg_snapshot_xmin(pg_current_snapshot())::xid
          AND (SELECT true FROM log.events e
               WHERE e.txid >= pg_snapshot_xmin(pg_current_snapshot()) AND e.recorded_at <= $1
               ORDER BY e.txid, e.position LIMIT 1)",
    )
    .bind(since)
}
