//! Handing letters over: each is taken by one server at a time, retried with growing pauses, dropped when it is too old.

use std::{sync::Arc, time::Duration};

use context::Ctx;
use db::{Gate, Query, Tx};
use uuid::Uuid;
use vault::Sealed;

use crate::{
    app::{App, AppError},
    mail::{Letter, MailError, Mailbox, place},
};

const PAUSE: Duration = Duration::from_millis(100);

/// Delivers letters until the task is ended.
pub async fn deliver_letters(app: Arc<App>, mailbox: Mailbox) {
    loop {
        match deliver_some(&app, &mailbox).await {
            Ok(0) => tokio::time::sleep(PAUSE).await,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "letters can't be handed over");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Takes up to sixteen letters that are due; says how many it took.
pub async fn deliver_some(app: &App, mailbox: &Mailbox) -> Result<usize, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    app.db
        .system
        .run_tx("letters_deliver", ctx, Gate::read(ctx), move |tx| async move {
            let due = Query::new(
                "-- letters_due
                SELECT letter_id, ring_key, sealed FROM auth.letters WHERE next_at <= $1 AND expires_at > $1
                ORDER BY next_at LIMIT 16 FOR UPDATE SKIP LOCKED",
            )
            .bind(ctx.now());
            let [rows] = tx.flight([due]).await?;
            for row in &rows {
                let (id, key, sealed) = (row.get(0), row.get(1), Sealed(row.get(2)));
                let outcome = hand_over(app, mailbox, id, key, &sealed).await;
                if let Err(error @ MailError::Io(_)) = &outcome {
                    tracing::warn!(%error, letter = %id, "a letter waits");
                    later(&tx, ctx, id);
                } else {
                    if let Err(error) = &outcome {
                        tracing::error!(%error, letter = %id, "a letter can't be handed over, and is dropped");
                    }
                    tx.queue(Query::new("-- letter_done\nDELETE FROM auth.letters WHERE letter_id = $1").bind(id));
                }
            }
            Ok(rows.len())
        })
        .await
}

async fn hand_over(app: &App, mailbox: &Mailbox, id: Uuid, key: i64, sealed: &Sealed) -> Result<(), MailError> {
    let sealer = app.vault.ring().transit_of(key).ok_or(MailError::Malformed)?;
    let text = sealer.open(&place(id), sealed).map_err(|_| MailError::Malformed)?;
    let letter: Letter = serde_json::from_slice(&text).map_err(|_| MailError::Malformed)?;
    mailbox.deliver(id, &letter).await
}

fn later(tx: &Tx, ctx: &Ctx, id: Uuid) {
    tx.queue(
        Query::new(
            "-- letter_later
            UPDATE auth.letters SET attempts = attempts + 1, next_at = $2 + interval '5 seconds' * power(2, least(attempts, 8))
            WHERE letter_id = $1",
        )
        .bind(id)
        .bind(ctx.now()),
    );
}
