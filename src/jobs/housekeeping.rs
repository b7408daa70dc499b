//! Housekeeping: what has run out is removed, and transit keys that are 72 hours old are destroyed.

use std::{sync::Arc, time::Duration};

use context::Ctx;
use db::{Gate, Query};

use crate::app::{App, AppError};

const EVERY: Duration = Duration::from_secs(600);

/// What is removed once it has run out.
const EXPIRED: [&str; 5] = [
    "-- codes_clear\nDELETE FROM auth.codes WHERE expires_at <= $1",
    "-- limits_clear\nDELETE FROM auth.limits WHERE window_end <= $1",
    "-- letters_clear\nDELETE FROM auth.letters WHERE expires_at <= $1",
    "-- sessions_clear\nDELETE FROM auth.sessions WHERE expires_at <= $1",
    "-- answers_clear\nDELETE FROM read.answers WHERE expires_at <= $1",
];

/// Keeps house until the task is ended.
pub async fn keep_house(app: Arc<App>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        if let Err(error) = keep_house_once(&app).await {
            tracing::error!(%error, "housekeeping failed");
        }
    }
}

/// Removes what has run out, and destroys old transit keys.
pub async fn keep_house_once(app: &App) -> Result<(), AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    // First, since it must happen though the database fails.
    let destroyed = app.vault.ring().destroy_old_transit(ctx.now())?;
    if destroyed > 0 {
        tracing::info!(destroyed, "transit keys destroyed");
    }
    app.db
        .system
        .run_tx("keep_house", ctx, Gate::read(ctx), move |tx| async move {
            for sql in EXPIRED {
                tx.queue(Query::new(sql).bind(ctx.now()));
            }
            Ok::<_, AppError>(())
        })
        .await?;
    Ok(())
}
