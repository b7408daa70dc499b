//! Lag: how far each catch-up projection is behind the newest committed event, and which transactions hold the
//! projection back.
//!
//! All committed events are counted, also events that may not be read yet because an older transaction is still open.

use chrono::{DateTime, Utc};
use db::{FromRow, Query, sql};
use event_log::Position;

/// Waiting events are counted up to this number.
pub const COUNTED: i64 = 100_000;

/// The state of a projection.
#[derive(FromRow)]
pub struct LagRow {
    /// Its name.
    #[row(sql = "p.name")]
    pub name: String,
    /// The generation that is shown.
    pub active: i64,
    /// The generation that is being built.
    pub building: Option<i64>,
    /// The version of the code that keeps the generation that is shown.
    pub code_version: i32,
    /// The position of the generation that is shown.
    #[row(flatten)]
    pub position: Position,
    /// When the position moved last.
    pub moved_at: DateTime<Utc>,
    /// How many events wait, at most [`COUNTED`].
    #[row(sql = "waiting.events")]
    pub lag_events: i64,
    /// When the oldest waiting event was recorded.
    #[row(sql = "waiting.since")]
    pub waiting_since: Option<DateTime<Utc>>,
    /// How many events the generation that is shown could not apply.
    #[row(sql = "dead.letters")]
    pub dead_letters: i64,
}

/// All catch-up projections.
pub fn projection_list() -> Query {
    Query::new(sql!(
        "-- projection_list
        SELECT ",
        LagRow::COLUMNS,
        "
        FROM read.projections p
        JOIN read.checkpoints c ON c.name = p.name AND c.generation = p.active
        CROSS JOIN LATERAL (
            SELECT count(*) AS events, min(recorded_at) AS since
            FROM (SELECT recorded_at FROM log.events e WHERE (e.txid, e.position) > (c.txid, c.position)
                  ORDER BY e.txid, e.position LIMIT $1) counted) waiting
        CROSS JOIN LATERAL (
            SELECT count(*) AS letters FROM read.dead_letters d WHERE d.name = p.name AND d.generation = p.active) dead
        ORDER BY p.name"
    ))
    .bind(COUNTED)
}

/// A backend that holds readers back.
#[derive(Debug, FromRow)]
pub struct HolderRow {
    #[row(sql = "l.pid")]
    pub pid: i32,
    /// `None` where the backend has ended since.
    #[row(sql = "a.usename::text")]
    pub login: Option<String>,
}

/// The backends that hold readers back, by process id and login, if a committed event has been waiting for them since
/// `since`.
pub fn log_stalled(since: DateTime<Utc>) -> Query {
    Query::new(sql!(
        "-- log_stalled
        SELECT DISTINCT ",
        HolderRow::COLUMNS,
        " FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid IS NOT NULL
          AND l.transactionid = pg_snapshot_xmin(pg_current_snapshot())::xid
          AND (SELECT true FROM log.events e
               WHERE e.txid >= pg_snapshot_xmin(pg_current_snapshot()) AND e.recorded_at <= $1
               ORDER BY e.txid, e.position LIMIT 1)"
    ))
    .bind(since)
}
