//! Housekeeping: removes expired rows and files, forgets standings, merges the tally of accounts and consents, makes transit
//! keys ahead of time, and destroys transit keys after 72 hours and signing keys whose tokens have expired.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use context::Ctx;
use projections::{desk::compliance::tally_merge, operation::expired::expired_clear};
use vault::RingError;

use crate::app::{App, AppError, frame, rights::export_run};

const EVERY: Duration = Duration::from_secs(600);
/// How long before a day begins its transit key is made. It is longer than the pause between two rounds, so that no day
/// begins without its key.
const AHEAD: TimeDelta = TimeDelta::minutes(20);

/// Keeps house every ten minutes until the task is ended.
pub async fn keep_house(app: Arc<App>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        if let Err(error) = keep_house_once(&app).await {
            tracing::error!(%error, "housekeeping failed");
        }
    }
}

/// Does one round of housekeeping. The keys come first, because they must be destroyed even when the database can't be
/// reached.
pub async fn keep_house_once(app: &App) -> Result<(), AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    app.standings.sweep();
    // On a thread that may block, because it waits for a file's lock.
    let (vault, now) = (app.vault.clone(), ctx.now());
    let destroy = move || {
        // Keys are made ahead, so that no request has to wait for the file's lock.
        vault.ring().transit(now)?;
        vault.ring().transit(now + AHEAD)?;
        let destroyed = vault.ring().destroy_old_transit(now)?;
        Ok::<_, RingError>((destroyed, vault.ring().destroy_old_signing(now)?))
    };
    let outcome = tokio::task::spawn_blocking(destroy).await;
    let (destroyed, retired) = outcome.expect("no one panics while keys are destroyed")?;
    if destroyed > 0 {
        tracing::info!(destroyed, "transit keys destroyed");
    }
    if retired > 0 {
        tracing::info!(retired, "signing keys destroyed, whose tokens have run out");
    }
    if app.vault.ring().rotation_due().is_none_or(|due| due < ctx.now()) {
        tracing::warn!("the key-encryption key is older than it should be: `lethe keys rotate`");
    }
    if app.vault.ring().keks().len() > 1 && !app.vault.ring().is_rotating() {
        tracing::warn!(
            "an older key-encryption key lives: what was erased since the rotation opens in old copies until it is destroyed"
        );
    }
    let now = app.clock.now();
    frame::system_query(app, "keep_house", || expired_clear(now)).await?;
    frame::system_query(app, "tally_merge", || [tally_merge()]).await?;
    let files = export_run::expire_all(app).await?;
    if files > 0 {
        tracing::info!(files, "export files removed");
    }
    Ok(())
}
