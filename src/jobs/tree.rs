//! Growing the tree: once a second what was committed is integrated, signed, shown to the witnesses and published.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use context::Ctx;
use db::Gate;
use event_log::tree::{StoredCheckpoint, checkpoint_cosign, checkpoint_newest, checkpoints_thin};
use tokio::time::Instant;
use transparency::Checkpoint;

use super::witness::Witnesses;
use crate::app::{App, AppError};

const EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(15);
const THIN_EVERY: Duration = Duration::from_secs(3600);
/// An event that no published checkpoint covers for so long raises an alarm.
pub const UNCOVERED: TimeDelta = TimeDelta::seconds(60);

/// Grows the tree until the task is ended.
pub async fn grow_tree(app: Arc<App>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut witnesses = Witnesses::of(&app);
    let (mut looked, mut thinned, mut failed) = (Instant::now(), Instant::now(), None);
    loop {
        every.tick().await;
        let failure = grow_once(&app, &mut witnesses).await.err().map(|error| error.to_string());
        if failure != failed {
            match &failure {
                Some(error) => tracing::error!(%error, "the tree over the log can't be grown"),
                None => tracing::info!("the tree over the log grows again"),
            }
            failed = failure;
        }
        if looked.elapsed() > LOOK_EVERY {
            looked = Instant::now();
            warn_of_uncovered(&app).await;
        }
        if thinned.elapsed() > THIN_EVERY {
            thinned = Instant::now();
            if let Err(error) = thin(&app).await {
                tracing::warn!(%error, "old checkpoints can't be thinned");
            }
        }
    }
}

/// Integrates and signs what is there, and asks the witnesses; gives the checkpoint that was signed.
pub async fn grow_once(app: &App, witnesses: &mut Witnesses) -> Result<Option<Checkpoint>, AppError> {
    let signed = app.tree_grow().await?;
    if !witnesses.are_named() {
        return Ok(signed);
    }
    // Also one that was signed earlier and did not find its witnesses.
    let Some((tree, checkpoint)) = unwitnessed(app).await? else { return Ok(signed) };
    let (cosigned, witnessed) = witnesses.ask(app, &checkpoint).await?;
    if cosigned.note != checkpoint.note {
        let (ctx, cosigned) = (&Ctx::system(app.clock.clone()), &cosigned);
        let work = move |tx: db::Tx| async move {
            tx.queue(checkpoint_cosign(tree, cosigned, witnessed));
            Ok::<_, AppError>(())
        };
        app.db.system.run_tx("checkpoint_cosign", ctx, Gate::read(ctx), work).await?;
    }
    Ok(Some(cosigned))
}

async fn unwitnessed(app: &App) -> Result<Option<(i64, Checkpoint)>, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let work = move |tx: db::Tx| async move {
        let [rows] = tx.finish([checkpoint_newest(false)]).await?;
        Ok::<_, AppError>(rows.first().map(StoredCheckpoint::from_row))
    };
    let newest = app.db.system.run_tx("checkpoint_newest", ctx, Gate::read(ctx), work).await?;
    let Some(stored) = newest.filter(|stored| !stored.witnessed) else { return Ok(None) };
    let checkpoint = Checkpoint::unverified(&stored.note);
    let checkpoint = checkpoint.map_err(|_| AppError::Corrupt("a stored checkpoint".to_owned()))?;
    Ok(Some((stored.tree, checkpoint)))
}

async fn thin(app: &App) -> Result<(), AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let work = move |tx: db::Tx| async move {
        tx.queue(checkpoints_thin(ctx.now()));
        Ok::<_, AppError>(())
    };
    app.db.system.run_tx("checkpoints_thin", ctx, Gate::read(ctx), work).await
}

async fn warn_of_uncovered(app: &App) {
    match app.log_uncovered().await {
        Ok(Some(waiting)) if waiting > UNCOVERED => {
            let waiting_s = waiting.num_seconds();
            tracing::error!(waiting_s, "an acknowledged event is covered by no published checkpoint");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the cover of the log can't be watched"),
    }
}
