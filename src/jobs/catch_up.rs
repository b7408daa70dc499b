//! Catching up: reads the log for the catch-up projections, every 60 ms while there is something to read.
//!
//! The rows of a page and the new position are written in one transaction, under a lock that nobody waits for: one
//! server reads on, and the others look again later. A server that crashes leaves the position unchanged and the lock
//! free. So each event counts exactly once. A generation that is being built is caught up in the same way, and then
//! shown. An event that can't be applied is set aside, and the projection goes on.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use db::FromRow;
use projections::{
    CATCH_UP,
    catch_up::CatchUp,
    operation::lag::{HolderRow, log_stalled},
};
use tokio::time::Instant;

use crate::app::{
    App, AppError, frame,
    operation::{
        catch_up::{self, PAGE, Step},
        generation::{self, enter, swap},
    },
};

/// The median lag under load is half of this. A shorter pause would cost the commands transactions, because each look
/// is one.
const BUSY: Duration = Duration::from_millis(60);
const IDLE: Duration = Duration::from_millis(250);
/// How long after the last event the pauses stay short.
const LINGER: Duration = Duration::from_secs(1);
const TROUBLE: Duration = Duration::from_secs(1);
const LOOK_FOR_STALL_EVERY: Duration = Duration::from_secs(10);
const STALLED_AFTER: TimeDelta = TimeDelta::seconds(5);

/// Keeps all catch-up projections up to date until the task is ended.
pub async fn catch_up(app: Arc<App>) {
    let (mut pause, mut busy_until) = (BUSY, Instant::now());
    let (mut entered, mut looked) = (false, Instant::now());
    loop {
        let outcome = if entered { catch_up_once(&app).await } else { enter_all(&app).await.map(|()| 0) };
        match outcome {
            Err(error) => {
                tracing::error!(%error, "projections can't be kept");
                pause = TROUBLE;
            }
            Ok(taken) => {
                entered = true;
                if taken > 0 {
                    (pause, busy_until) = (BUSY, Instant::now() + LINGER);
                } else if Instant::now() > busy_until {
                    pause = (pause * 2).min(IDLE);
                }
            }
        }
        if looked.elapsed() > LOOK_FOR_STALL_EVERY {
            looked = Instant::now();
            warn_of_stall(&app).await;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Creates the generations that this version's projections need: the first one, or one for newer code.
pub async fn enter_all(app: &App) -> Result<(), AppError> {
    for projection in CATCH_UP {
        enter(app, projection).await?;
    }
    Ok(())
}

/// Applies all events that can be read now to all projections, and returns how many there were.
pub async fn catch_up_once(app: &App) -> Result<usize, AppError> {
    let mut taken = 0;
    for projection in CATCH_UP {
        loop {
            let (more, count) = round(app, projection).await?;
            taken += count;
            if !more {
                break;
            }
        }
    }
    Ok(taken)
}

/// Does one step for each generation. Returns whether there may be more to read at once, and how many events were read.
async fn round(app: &App, projection: &'static CatchUp) -> Result<(bool, usize), AppError> {
    let (mut more, mut taken) = (false, 0);
    for generation in generation::all(app, projection).await? {
        if generation.due {
            if let Step::Took(count) = catch_up::step(app, projection, &generation).await? {
                more |= count == PAGE;
                taken += count;
            }
        } else if generation.building {
            swap(app, projection).await?;
        }
    }
    Ok((more, taken))
}

async fn warn_of_stall(app: &App) {
    let since = app.clock.now() - STALLED_AFTER;
    match frame::system_query(app, "log_stalled", || [log_stalled(since)]).await {
        Ok([rows]) if rows.is_empty() => {}
        Ok([rows]) => {
            let held_by = HolderRow::from_rows(&rows);
            tracing::warn!(?held_by, "an open transaction holds the readers of the log back");
        }
        Err(error) => tracing::warn!(%error, "the readers of the log can't be watched"),
    }
}
