//! Catch-up projections: read models that follow the log behind the commands and apply each event once, also after a
//! crash.
//!
//! A projection is a name, a version of its code and a pure function from events to statements. Its rows belong to a
//! *generation*. Each generation has a position in the log, which moves in the transaction that writes the rows. One
//! generation is shown; another can be built beside it and replaces it in one transaction. Refuses to lose an event
//! that cannot be applied: the event becomes a dead letter, which holds its position and a reason but not its content.
//! Refuses to move a position back.
//!
//! Rebuildable from the log. No personal data. An erasure does not touch it.

use chrono::{DateTime, Utc};
use db::{FromRow, Query, sql};
use event_log::{PlacedEvent, Position};

pub struct CatchUp {
    /// The name under which the database knows the projection.
    pub name: &'static str,
    /// The version of the projection's code. A server with a higher version builds a new generation by itself; a server
    /// with a lower version does not move the projection.
    pub version: i32,
    /// Turns events into statements that write the rows of a generation. A dead letter that is tried again comes late,
    /// and as the only event.
    pub apply: fn(generation: i64, events: &[PlacedEvent]) -> Applied,
    /// What follows from events whether they can be applied or not; once from each.
    pub always: fn(generation: i64, events: &[PlacedEvent]) -> Vec<Query>,
    /// Removes the rows of generations that have no position any more.
    pub sweep: fn() -> Vec<Query>,
}

/// The result of applying a page of events.
#[derive(Default)]
pub struct Applied {
    /// The statements that write the rows.
    pub statements: Vec<Query>,
    /// The events that cannot be applied, each with a code for the reason.
    pub unapplied: Vec<(Position, &'static str)>,
}

/// The position of a generation, and whether events wait for the generation.
#[derive(FromRow)]
pub struct Progress {
    /// The position up to which the generation has read the log.
    #[row(flatten)]
    pub position: Position,
    pub generation: i64,
    /// Whether the generation is being built. Otherwise it is the generation that is shown.
    #[row(sql = "c.generation IS NOT DISTINCT FROM p.building")]
    pub building: bool,
    /// Whether events that may be read wait for the generation.
    #[row(sql = "(SELECT true FROM log.events e
                WHERE (e.txid, e.position) > (c.txid, c.position) AND e.txid < pg_snapshot_xmin(pg_current_snapshot())
                ORDER BY e.txid, e.position LIMIT 1) IS NOT NULL")]
    pub due: bool,
}

/// The generations that this version of the code keeps, and whether events wait for them. Takes no lock. The query asks
/// for the order of the index, because only by that order PostgreSQL finds the first event after a position at once, or
/// finds that there is none.
pub fn projection_progress(projection: &CatchUp) -> Query {
    Query::new(sql!(
        "-- projection_progress
        SELECT ",
        Progress::COLUMNS,
        "
        FROM read.projections p JOIN read.checkpoints c ON c.name = p.name
        WHERE p.name = $1 AND c.code_version = $2 ORDER BY c.generation"
    ))
    .bind(projection.name)
    .bind(projection.version)
}

/// Makes the first generation, if the projection has none.
pub fn generation_enter(projection: &CatchUp, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- generation_enter
        WITH fresh AS (INSERT INTO read.projections (name, active) VALUES ($1, 1) ON CONFLICT DO NOTHING RETURNING name)
        INSERT INTO read.checkpoints (name, generation, code_version, moved_at) SELECT name, 1, $2, $3 FROM fresh",
    )
    .bind(projection.name)
    .bind(projection.version)
    .bind(now)
}

/// Locks the position of a generation. Returns no row if another server has it locked, or has moved it since `at` was
/// read.
pub fn position_lock(projection: &CatchUp, at: &Progress) -> Query {
    Query::new(
        "-- position_lock
        SELECT true FROM read.checkpoints
        WHERE name = $1 AND generation = $2 AND (txid, position) = ($3::text::xid8, $4) FOR UPDATE SKIP LOCKED",
    )
    .bind(projection.name)
    .bind(at.generation)
    .bind(at.position.txid.to_string())
    .bind(at.position.position)
}

/// Moves a locked position on, never back.
pub fn position_move(projection: &CatchUp, generation: i64, to: Position, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- position_move
        UPDATE read.checkpoints SET txid = $3::text::xid8, position = $4, moved_at = $5
        WHERE name = $1 AND generation = $2 AND (txid, position) < ($3::text::xid8, $4)",
    )
    .exactly(1)
    .bind(projection.name)
    .bind(generation)
    .bind(to.txid.to_string())
    .bind(to.position)
    .bind(now)
}

/// Lets the commit of a page not wait for the disk. If the database crashes, rows and position are lost together, and
/// the page is read again.
pub fn commit_lazily() -> Query {
    Query::new("-- commit_lazily\nSELECT set_config('synchronous_commit', 'off', true)")
}

/// A projection's generations.
#[derive(FromRow)]
pub struct GenerationsRow {
    pub active: i64,
    /// The version of the code that keeps the active generation; `None` where its position is missing.
    #[row(sql = "a.code_version")]
    pub active_version: Option<i32>,
    pub building: Option<i64>,
    #[row(sql = "b.code_version")]
    pub building_version: Option<i32>,
}

/// Locks a projection and reads the generation that is shown, the one that is being built, and the versions of both.
pub fn generations_lock(projection: &CatchUp) -> Query {
    Query::new(sql!(
        "-- generations_lock
        SELECT ",
        GenerationsRow::COLUMNS,
        "
        FROM read.projections p
        LEFT JOIN read.checkpoints a ON a.name = p.name AND a.generation = p.active
        LEFT JOIN read.checkpoints b ON b.name = p.name AND b.generation = p.building
        WHERE p.name = $1 FOR UPDATE OF p"
    ))
    .bind(projection.name)
}

/// Begins a generation. If another one was being built, it is given up.
pub fn generation_begin(projection: &CatchUp, given_up: Option<i64>, next: i64, now: DateTime<Utc>) -> [Query; 3] {
    let drop = Query::new("-- generation_give_up\nDELETE FROM read.checkpoints WHERE name = $1 AND generation = $2");
    let mark = Query::new("-- generation_mark\nUPDATE read.projections SET building = $2 WHERE name = $1");
    let add = Query::new(
        "-- generation_begin
        INSERT INTO read.checkpoints (name, generation, code_version, moved_at) VALUES ($1, $2, $3, $4)",
    );
    [
        drop.bind(projection.name).bind(given_up),
        mark.bind(projection.name).bind(next),
        add.bind(projection.name).bind(next).bind(projection.version).bind(now),
    ]
}

/// A generation that may be swapped for another.
#[derive(FromRow)]
pub struct SwapRow {
    #[row(flatten)]
    pub position: Position,
    pub generation: i64,
    #[row(sql = "c.generation = p.building")]
    pub is_new: bool,
}

/// Locks the positions of the generation that is shown and of the generation that is being built. The last column says
/// whether a row is the one that is being built.
pub fn swap_lock(projection: &CatchUp) -> Query {
    Query::new(sql!(
        "-- swap_lock
        SELECT ",
        SwapRow::COLUMNS,
        "
        FROM read.projections p JOIN read.checkpoints c ON c.name = p.name AND c.generation IN (p.active, p.building)
        WHERE p.name = $1 AND p.building IS NOT NULL ORDER BY c.generation FOR UPDATE OF c"
    ))
    .bind(projection.name)
}

/// Shows the generation that was being built, and removes the position of the other.
pub fn generation_swap(projection: &CatchUp, new: i64) -> [Query; 2] {
    let swap = Query::new(
        "-- generation_swap
        UPDATE read.projections SET active = $2, building = NULL WHERE name = $1 AND building = $2",
    );
    let drop = Query::new("-- generation_drop\nDELETE FROM read.checkpoints WHERE name = $1 AND generation < $2");
    [swap.bind(projection.name).bind(new), drop.bind(projection.name).bind(new)]
}
