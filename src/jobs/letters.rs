//! Handing letters over: at least once each, retried with growing pauses, and dropped when a letter is refused for good
//! or too old.
//!
//! A letter is leased, not locked. A server that takes one moves its next time ahead and commits, then hands it over
//! outside of any transaction (a relay may take minutes, and an open transaction holds readers of the log back), and
//! deletes the row only then. A server that dies in between loses nothing: the lease ends, and another server takes the
//! letter. If it died after the relay's yes and before the deletion, the letter goes out twice, with the same
//! Message-ID.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use context::Ctx;
use db::Query;
use uuid::Uuid;
use vault::{Sealed, TransitId};

use crate::{
    app::{
        App, AppError,
        frame::{self},
    },
    mail::{Letter, MailError, Mailbox, Round, place},
};

const PAUSE: Duration = Duration::from_millis(100);
/// The pause after a failure that every letter would have, or when none could be taken.
const LONG_PAUSE: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 16;

/// Hands letters over until the task is ended.
pub async fn deliver_letters(app: Arc<App>, mailbox: Mailbox) {
    loop {
        let pause = match deliver_round(&app, &mailbox).await {
            Ok(Outcome { failed: true, .. }) => LONG_PAUSE,
            Ok(Outcome { taken: 0, .. }) => PAUSE,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(%error, "letters can't be handed over");
                LONG_PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Takes up to sixteen letters that are due, and returns how many it took.
pub async fn deliver_some(app: &App, mailbox: &Mailbox) -> Result<usize, AppError> {
    Ok(deliver_round(app, mailbox).await?.taken)
}

/// The outcome of one round of letters.
struct Outcome {
    taken: usize,
    /// Whether the last letter failed for a reason that concerns all letters.
    failed: bool,
}

async fn deliver_round(app: &App, mailbox: &Mailbox) -> Result<Outcome, AppError> {
    let mut round = mailbox.round();
    let mut outcome = Outcome { taken: 0, failed: false };
    while outcome.taken < AT_ONCE && !outcome.failed {
        let Some(taken) = take(app, mailbox).await? else { break };
        outcome.taken += 1;
        let handed_over = hand_over(app, &mut round, &taken).await;
        outcome.failed = handed_over.as_ref().is_err_and(MailError::concerns_all);
        settle(app, &taken, handed_over).await?;
    }
    round.end().await;
    Ok(outcome)
}

/// A letter that is ours until its lease ends. The number of attempts tells our lease from a later one.
struct Taken {
    id: Uuid,
    key: TransitId,
    sealed: Sealed,
    attempts: i32,
}

async fn take(app: &App, mailbox: &Mailbox) -> Result<Option<Taken>, AppError> {
    let now = app.clock.now();
    let lease_ends: DateTime<Utc> = now + mailbox.patience();
    let [rows] = frame::system_query(app, "letter_take", || [letter_take(now, lease_ends)]).await?;
    let taken = |row: &tokio_postgres::Row| Taken {
        id: row.get(0),
        key: row.get(1),
        sealed: Sealed(row.get(2)),
        attempts: row.get(3),
    };
    Ok(rows.first().map(taken))
}

/// Takes one letter that is due, and sets its next time to the end of the lease.
pub fn letter_take(now: DateTime<Utc>, lease_ends: DateTime<Utc>) -> Query {
    Query::new(
        "-- letter_take
        WITH due AS MATERIALIZED (SELECT letter_id FROM auth.letters WHERE next_at <= $1 AND expires_at > $1
                                  ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
        UPDATE auth.letters l SET attempts = attempts + 1, next_at = $2 FROM due WHERE l.letter_id = due.letter_id
        RETURNING l.letter_id, ring_key, sealed, attempts",
    )
    .bind(now)
    .bind(lease_ends)
}

async fn hand_over(app: &App, round: &mut Round<'_>, taken: &Taken) -> Result<(), MailError> {
    let sealer = app.vault.ring().transit_of(taken.key).ok_or(MailError::Malformed)?;
    let text = sealer.open(&place(taken.id), &taken.sealed).map_err(|_| MailError::Malformed)?;
    let letter: Letter = serde_json::from_slice(&text).map_err(|_| MailError::Malformed)?;
    round.deliver(taken.id, &letter).await
}

/// Deletes a letter that was handed over or can't be, and puts off any other.
async fn settle(app: &App, taken: &Taken, handed_over: Result<(), MailError>) -> Result<(), AppError> {
    let (ctx, &Taken { id, attempts, .. }) = (&Ctx::system(app.clock.clone()), taken);
    let waits = match handed_over {
        Ok(()) => false,
        Err(error) if error.is_final() => {
            tracing::error!(%error, letter = %id, "a letter can't be handed over, and is dropped");
            false
        }
        Err(error) => {
            tracing::warn!(%error, letter = %id, attempts, "a letter waits");
            true
        }
    };
    let settle = || if waits { letter_later(ctx, id, attempts) } else { letter_done(id) };
    frame::system_query(app, "letter_settle", || [settle()]).await.map(drop)
}

fn letter_done(id: Uuid) -> Query {
    Query::new("-- letter_done\nDELETE FROM auth.letters WHERE letter_id = $1").bind(id)
}

/// Tries again five seconds after the first attempt, and twice as long after each further one, up to 21 minutes.
fn letter_later(ctx: &Ctx, id: Uuid, attempts: i32) -> Query {
    Query::new(
        "-- letter_later
        UPDATE auth.letters SET next_at = $3::timestamptz + interval '5 seconds' * power(2, least(attempts - 1, 8))
        WHERE letter_id = $1 AND attempts = $2",
    )
    .bind(id)
    .bind(attempts)
    .bind(ctx.now())
}
