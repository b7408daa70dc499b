//! Growing the tree: once a second what was committed is integrated, signed, shown to the witnesses and published.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use domain::alert::Severity;
use event_log::tree::checkpoints_thin;
use tokio::time::Instant;
use transparency::Checkpoint;

use super::witness::Witnesses;
use crate::app::{App, AppError};

const EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(15);
const THIN_EVERY: Duration = Duration::from_secs(3600);
/// An event that no published checkpoint covers for so long raises an alarm.
const UNCOVERED: TimeDelta = TimeDelta::seconds(60);

/// Grows the tree until the task is ended.
pub async fn grow_tree(app: Arc<App>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut witnesses = Witnesses::of(&app);
    let (mut looked, mut thinned, mut failed) = (Instant::now(), Instant::now(), None);
    loop {
        every.tick().await;
        let outcome = grow_once(&app, &mut witnesses).await;
        if outcome.is_ok() {
            app.readiness.tree_grew();
        }
        if let Err(AppError::LogNotContinued { size, .. }) = &outcome {
            app.alarm("log_not_continued", Severity::Critical, *size).await;
        }
        let failure = outcome.err().map(|error| error.to_string());
        if failure != failed {
            match &failure {
                Some(error) => tracing::error!(%error, "the tree over the log can't be grown"),
                None => tracing::info!("the tree over the log grows again"),
            }
            failed = failure;
        }
        if looked.elapsed() > LOOK_EVERY {
            looked = Instant::now();
            if let Err(error) = watch_cover(&app).await {
                tracing::warn!(%error, "the cover of the log can't be watched");
            }
        }
        if thinned.elapsed() > THIN_EVERY {
            thinned = Instant::now();
            if let Err(error) = thin(&app).await {
                tracing::warn!(%error, "old checkpoints can't be thinned");
            }
        }
    }
}

/// Integrates and signs what is there, asks the witnesses, and publishes; gives the checkpoint that was signed or cosigned.
pub async fn grow_once(app: &App, witnesses: &mut Witnesses) -> Result<Option<Checkpoint>, AppError> {
    let signed = app.tree_grow().await?;
    // Also one that was signed earlier, and did not find its witnesses, or the end of its publication.
    let Some((tree, checkpoint)) = app.tree_unpublished().await? else { return Ok(signed) };
    let (cosigned, enough) = witnesses.ask(app, &checkpoint).await?;
    if enough || cosigned.note != checkpoint.note {
        app.tree_publish(tree, &cosigned, enough).await?;
    }
    Ok(Some(cosigned))
}

async fn thin(app: &App) -> Result<(), AppError> {
    let now = app.clock.now();
    app.read_as_system("checkpoints_thin", &|| checkpoints_thin(now)).await.map(drop)
}

/// Raises an alarm where an event has been waiting for a published checkpoint for too long; says whether one has.
pub async fn watch_cover(app: &App) -> Result<bool, AppError> {
    let Some(waiting) = app.log_uncovered().await?.filter(|waiting| *waiting > UNCOVERED) else { return Ok(false) };
    let waiting_s = waiting.num_seconds();
    tracing::error!(waiting_s, "an acknowledged event is covered by no published checkpoint");
    app.alarm("log_uncovered", Severity::Critical, 1).await;
    Ok(true)
}
