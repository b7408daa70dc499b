//! Handing letters over: at least once each, retried with growing pauses, and dropped when a letter is refused for good
//! or too old.
//!
//! A letter is leased, not locked. A server that takes one moves its next time ahead and commits, then hands it over
//! outside of any transaction (a relay may take minutes, and an open transaction holds readers of the log back), and
//! deletes the row only then. A server that dies in between loses nothing: the lease ends, and another server takes the
//! letter. If it died after the relay's yes and before the deletion, the letter goes out twice, with the same
//! Message-ID.

use std::{sync::Arc, time::Duration};

use db::FromRow;

use crate::{
    app::{App, AppError, frame},
    mail::{Leased, Letter, MailError, Mailbox, Round, letter_done, letter_later, letter_take, place},
};

const PAUSE: Duration = Duration::from_millis(100);
/// The pause after a failure that every letter would have, or when none could be taken.
const LONG_PAUSE: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 16;

/// Hands letters over until the task is ended.
pub async fn deliver_letters(app: Arc<App>, mailbox: Mailbox) {
    loop {
        let pause = match deliver_round(&app, &mailbox).await {
            Ok(Delivered { failed: true, .. }) => LONG_PAUSE,
            Ok(Delivered { taken: 0, .. }) => PAUSE,
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
struct Delivered {
    taken: usize,
    /// Whether the last letter failed for a reason that concerns all letters.
    failed: bool,
}

async fn deliver_round(app: &App, mailbox: &Mailbox) -> Result<Delivered, AppError> {
    let mut round = mailbox.round();
    let mut outcome = Delivered { taken: 0, failed: false };
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

async fn take(app: &App, mailbox: &Mailbox) -> Result<Option<Leased>, AppError> {
    let now = app.clock.now();
    let lease_ends = now + mailbox.timeout();
    let [rows] = frame::system_query(app, "letter_take", || [letter_take(now, lease_ends)]).await?;
    Ok(rows.first().map(Leased::from_row))
}

async fn hand_over(app: &App, round: &mut Round<'_>, taken: &Leased) -> Result<(), MailError> {
    let sealer = app.vault.ring().transit_of(taken.key).ok_or(MailError::Malformed)?;
    let text = sealer.open(&place(taken.id), &taken.sealed).map_err(|_| MailError::Malformed)?;
    let letter: Letter = serde_json::from_slice(&text).map_err(|_| MailError::Malformed)?;
    round.deliver(taken.id, &letter).await
}

/// Deletes a letter that was handed over or can't be, and puts off any other.
async fn settle(app: &App, taken: &Leased, handed_over: Result<(), MailError>) -> Result<(), AppError> {
    let (now, &Leased { id, attempts, .. }) = (app.clock.now(), taken);
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
    let settle = || if waits { letter_later(id, attempts, now) } else { letter_done(id) };
    frame::system_query(app, "letter_settle", || [settle()]).await.map(drop)
}
