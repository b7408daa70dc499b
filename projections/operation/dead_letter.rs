//! Dead letters: events that a catch-up projection could not apply, until a newer version of its code can. A dead
//! letter is a position and a reason; the content of the event stays in the log.

use chrono::{DateTime, Utc};
use db::{FromRow, Query, sql};
use event_log::Position;

use crate::catch_up::CatchUp;

/// An event that could not be applied.
#[derive(FromRow)]
pub struct DeadLetter {
    /// The name of the projection.
    #[row(sql = "d.name")]
    pub projection: String,
    /// The generation that lacks the event.
    pub generation: i64,
    /// The position of the event in the log.
    #[row(flatten)]
    pub position: Position,
    /// A code for the reason.
    pub reason: String,
    /// How often the projection tried to apply the event.
    pub attempts: i32,
    /// When the projection tried last.
    pub tried_at: DateTime<Utc>,
}

/// Sets events aside.
pub fn dead_letter_add(
    projection: &CatchUp,
    generation: i64,
    events: Vec<(Position, &'static str)>,
    now: DateTime<Utc>,
) -> Query {
    let (places, reasons): (Vec<Position>, Vec<&'static str>) = events.into_iter().unzip();
    Query::new(
        "-- dead_letter_add
        INSERT INTO read.dead_letters (name, generation, position, txid, reason, tried_at)
        SELECT $1, $2, position, txid::xid8, reason, $6
        FROM unnest($3::bigint[], $4::text[], $5::text[]) AS e (position, txid, reason)",
    )
    .bind(projection.name)
    .bind(generation)
    .bind(places.iter().map(|place| place.position).collect::<Vec<_>>())
    .bind(places.iter().map(|place| place.txid.to_string()).collect::<Vec<_>>())
    .bind(reasons)
    .bind(now)
}

/// The events that the shown generations could not apply; with a projection, only its events.
pub fn dead_letter_list(projection: Option<&'static str>, limit: i64) -> Query {
    Query::new(sql!(
        "-- dead_letter_list
        SELECT ",
        DeadLetter::COLUMNS,
        "
        FROM read.dead_letters d JOIN read.projections p ON p.name = d.name AND p.active = d.generation
        WHERE $1::text IS NULL OR d.name = $1 ORDER BY d.name, d.position LIMIT $2"
    ))
    .bind(projection)
    .bind(limit)
}

/// Locks a dead letter. Returns no row if somebody else tries it or applied it, or if its generation is gone.
pub fn dead_letter_lock(projection: &CatchUp, letter: &DeadLetter) -> Query {
    Query::new(
        "-- dead_letter_lock
        SELECT txid::text, position FROM read.dead_letters
        WHERE name = $1 AND generation = $2 AND position = $3 FOR UPDATE SKIP LOCKED",
    )
    .bind(projection.name)
    .bind(letter.generation)
    .bind(letter.position.position)
}

/// Keeps a dead letter after another attempt that failed.
pub fn dead_letter_keep(projection: &CatchUp, letter: &DeadLetter, reason: &'static str, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- dead_letter_keep
        UPDATE read.dead_letters SET attempts = attempts + 1, reason = $4, tried_at = $5
        WHERE name = $1 AND generation = $2 AND position = $3",
    )
    .bind(projection.name)
    .bind(letter.generation)
    .bind(letter.position.position)
    .bind(reason)
    .bind(now)
}

/// Removes a dead letter that was applied.
pub fn dead_letter_drop(projection: &CatchUp, letter: &DeadLetter) -> Query {
    Query::new(
        "-- dead_letter_drop
        DELETE FROM read.dead_letters WHERE name = $1 AND generation = $2 AND position = $3",
    )
    .bind(projection.name)
    .bind(letter.generation)
    .bind(letter.position.position)
}
