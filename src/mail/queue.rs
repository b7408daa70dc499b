//! The queue of letters: sealed with a transit key of the ring, leased to a server for the time that handing one over may take, and
//! removed when that is done.

use chrono::{DateTime, Utc};
use context::{Ctx, EventId};
use db::{FromRow, Query, sql};
use uuid::Uuid;
use vault::{Place, Sealed, Sealer, TransitId};

use crate::mail::Letter;

/// The place that binds a sealed letter to its row.
pub fn place(letter: Uuid) -> Place {
    Place::of("letter").and(letter.as_bytes())
}

/// Puts a letter into the queue; it is sent if the transaction commits. Works under any ticket.
pub fn letter_insert(ctx: &Ctx, letter: &Letter, key: TransitId, sealer: &Sealer) -> Query {
    let id = EventId::random().0;
    let text = serde_json::to_vec(letter).expect("a letter can be written as JSON");
    Query::new(
        "-- letter_insert
        INSERT INTO auth.letters (letter_id, ring_key, sealed, next_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(key)
    .bind(sealer.seal(&place(id), &text).0)
    .bind(ctx.now())
    .bind(ctx.now() + letter.lifetime)
}

/// A letter that is ours until its lease ends. The number of attempts tells our lease from a later one.
#[derive(FromRow)]
pub struct Leased {
    #[row(sql = "l.letter_id")]
    pub id: Uuid,
    #[row(sql = "ring_key")]
    pub key: TransitId,
    #[row(with = Sealed)]
    pub sealed: Sealed,
    pub attempts: i32,
}

/// Takes one letter that is due, and sets its next time to the end of the lease.
pub fn letter_take(now: DateTime<Utc>, lease_ends: DateTime<Utc>) -> Query {
    Query::new(sql!(
        "-- letter_take
        WITH due AS MATERIALIZED (SELECT letter_id FROM auth.letters WHERE next_at <= $1 AND expires_at > $1
                                  ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
        UPDATE auth.letters l SET attempts = attempts + 1, next_at = $2 FROM due WHERE l.letter_id = due.letter_id
        RETURNING ",
        Leased::COLUMNS
    ))
    .bind(now)
    .bind(lease_ends)
}

/// Removes a letter.
pub fn letter_done(id: Uuid) -> Query {
    Query::new("-- letter_done\nDELETE FROM auth.letters WHERE letter_id = $1").bind(id)
}

/// Tries again five seconds after the first attempt, and twice as long after each further one, up to 21 minutes.
pub fn letter_later(id: Uuid, attempts: i32, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- letter_later
        UPDATE auth.letters SET next_at = $3::timestamptz + interval '5 seconds' * power(2, least(attempts - 1, 8))
        WHERE letter_id = $1 AND attempts = $2",
    )
    .bind(id)
    .bind(attempts)
    .bind(now)
}
