//! Growing the tree: once a second, committed events are added to the tree, and a checkpoint is signed, shown to the
//! witnesses and published.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use domain::desk::alert::Severity;
use event_log::tree::checkpoints_thin;
use tokio::time::Instant;
use transparency::Checkpoint;

use crate::{
    app::{
        App, AppError,
        desk::alert,
        frame,
        log::{published, tree},
    },
    jobs::witness::Witnesses,
};

const EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(15);
const THIN_EVERY: Duration = Duration::from_secs(3600);
/// An event that no published checkpoint covers for this long raises an alarm.
const UNCOVERED: TimeDelta = TimeDelta::seconds(60);
/// An event that waits for this long means that the tree no longer counts as growing.
const LATE: TimeDelta = TimeDelta::seconds(30);

/// Grows the tree every second until the task is ended.
pub async fn grow_tree(app: Arc<App>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut witnesses = Witnesses::of(&app);
    let (mut looked, mut thinned, mut failed) = (Instant::now(), Instant::now(), None);
    let mut covered = true;
    loop {
        every.tick().await;
        let outcome = grow_once(&app, &mut witnesses).await;
        if outcome.is_ok() && covered {
            app.readiness.tree_grew();
        }
        if let Err(AppError::LogNotContinued { size, .. }) = &outcome {
            alert::alarm(&app, "log_not_continued", Severity::Critical, *size).await;
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
            match watch_cover(&app).await {
                Ok(cover) => covered = cover == Cover::Timely,
                Err(error) => tracing::warn!(%error, "the cover of the log can't be watched"),
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

/// Adds committed events to the tree and signs, asks the witnesses, and publishes. Returns the newest checkpoint, with
/// its cosignatures.
pub async fn grow_once(app: &App, witnesses: &mut Witnesses) -> Result<Option<Checkpoint>, AppError> {
    let signed = tree::grow(app).await?;
    // This may also be a checkpoint signed earlier that did not get its cosignatures, or was not published to the end.
    let Some((tree, checkpoint)) = tree::unpublished(app).await? else { return Ok(signed) };
    let (cosigned, enough) = witnesses.ask(app, &checkpoint).await?;
    if enough || cosigned.note != checkpoint.note {
        tree::publish(app, tree, &cosigned, enough).await?;
    }
    Ok(Some(cosigned))
}

async fn thin(app: &App) -> Result<(), AppError> {
    let now = app.clock.now();
    frame::system_query(app, "checkpoints_thin", || [checkpoints_thin(now)]).await.map(drop)
}

/// Whether published checkpoints keep up with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    Timely,
    /// An event has been waiting for more than 30 seconds. The tree stands still without an error: an open transaction
    /// or the witnesses hold it back.
    Late,
    /// An event has been waiting for more than 60 seconds, and an alarm was raised.
    Missing,
}

/// Measures how long the oldest uncovered event has been waiting for a published checkpoint, and raises an alarm when
/// that is too long.
pub async fn watch_cover(app: &App) -> Result<Cover, AppError> {
    let waiting = published::uncovered(app).await?.unwrap_or_default();
    if waiting <= UNCOVERED {
        return Ok(if waiting > LATE { Cover::Late } else { Cover::Timely });
    }
    let waiting_s = waiting.num_seconds();
    tracing::error!(waiting_s, "an acknowledged event is covered by no published checkpoint");
    alert::alarm(app, "log_uncovered", Severity::Critical, 1).await;
    Ok(Cover::Missing)
}
