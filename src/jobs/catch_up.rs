//! Catching up: reads the log on for the catch-up projections, every 60 ms while there is something to read.
//!
//! A page's rows and the checkpoint behind it are one transaction, under a lock that nobody waits for: of several servers one
//! reads on and the others look again later; whoever crashes leaves the checkpoint where it was, and the lock to the next. So
//! each event counts exactly once. A generation that is being built is caught up in the same way and then shown. An event that
//! can't be applied is set aside, and the projection goes on.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use context::Ctx;
use db::{DbError, Gate};
use event_log::{Position, Reader};
use projections::{
    CATCH_UP,
    catch_up::{Applied, CatchUp, Placed, Progress, checkpoint_lock, checkpoint_move, commit_lazily},
    dead_letter::dead_letter_add,
    lag::log_stalled,
};
use tokio::time::Instant;

use super::generation::{self, enter, swap};
use crate::app::{App, AppError};

/// So many events make a page.
const PAGE: usize = 2000;
/// Half of this is the median lag under load; each look costs a transaction that the commands could have.
const BUSY: Duration = Duration::from_millis(60);
const IDLE: Duration = Duration::from_millis(250);
/// So long after the last event the pauses stay short.
const LINGER: Duration = Duration::from_secs(1);
const TROUBLE: Duration = Duration::from_secs(1);
const LOOK_FOR_STALL_EVERY: Duration = Duration::from_secs(10);
const STALLED_AFTER: TimeDelta = TimeDelta::seconds(5);

/// The database refused what follows from this event alone.
pub const REFUSED: &str = "refused_by_database";

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: somebody else reads on for this generation.
    Elsewhere,
    /// Took so many events, dead letters among them.
    Took(usize),
}

/// Keeps all catch-up projections until the task is ended.
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

/// Makes what each projection of this version needs: its first generation, or one of newer code.
pub async fn enter_all(app: &App) -> Result<(), AppError> {
    for projection in CATCH_UP {
        enter(app, projection).await?;
    }
    Ok(())
}

/// Takes everything that can be read now, for all projections; says how many events it took.
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

/// One step for each generation; says whether there may be more to take at once, and how many events it took.
async fn round(app: &App, projection: &'static CatchUp) -> Result<(bool, usize), AppError> {
    let (mut more, mut taken) = (false, 0);
    for generation in generation::all(app, projection).await? {
        if generation.due {
            if let Step::Took(count) = catch_up_step(app, projection, &generation).await? {
                more |= count == PAGE;
                taken += count;
            }
        } else if generation.building {
            swap(app, projection).await?;
        }
    }
    Ok((more, taken))
}

/// Takes the next page for a generation that stands where it was seen to stand. Where the database refuses what follows from it,
/// smaller ones, down to the one event that is the cause: that is set aside.
pub async fn catch_up_step(app: &App, projection: &'static CatchUp, at: &Progress) -> Result<Step, AppError> {
    let mut limit = PAGE;
    loop {
        match take_page(app, projection, at, limit, projection.apply).await {
            Err(error) if is_refused_value(&error) && limit > 1 => limit /= 2,
            Err(error) if is_refused_value(&error) => return take_page(app, projection, at, limit, refuse).await,
            outcome => return outcome,
        }
    }
}

/// Applies nothing.
fn refuse(_: i64, events: &[Placed]) -> Applied {
    Applied { statements: Vec::new(), unapplied: events.iter().map(|(position, _)| (*position, REFUSED)).collect() }
}

/// Whether the values of a statement are at fault (classes 22 and 23), and neither the statement nor the database.
pub fn is_refused_value(error: &AppError) -> bool {
    matches!(error, AppError::Db(DbError::Fault { code, .. }) if code.starts_with("22") || code.starts_with("23"))
}

/// One transaction: lock, read, write, move.
async fn take_page(
    app: &App,
    projection: &'static CatchUp,
    at: &Progress,
    limit: usize,
    apply: fn(i64, &[Placed]) -> Applied,
) -> Result<Step, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    app.db
        .system
        .run_tx("projection_step", ctx, Gate::read(ctx), move |tx| async move {
            let mut reader = Reader::new(at.position, limit);
            let [locked, rows, _] =
                tx.flight([checkpoint_lock(projection, at), reader.page(), commit_lazily()]).await?;
            if locked.is_empty() {
                return Ok(Step::Elsewhere);
            }
            let events = reader.take(&rows);
            if events.is_empty() {
                return Ok(Step::Took(0));
            }
            let applied = apply(at.generation, &events);
            applied.statements.into_iter().for_each(|query| tx.queue(query));
            if !applied.unapplied.is_empty() {
                warn_of_dead_letters(projection, &applied.unapplied);
                tx.queue(dead_letter_add(projection, at.generation, applied.unapplied, ctx.now()));
            }
            tx.queue(checkpoint_move(projection, at.generation, reader.position(), ctx.now()));
            Ok(Step::Took(events.len()))
        })
        .await
}

fn warn_of_dead_letters(projection: &CatchUp, unapplied: &[(Position, &'static str)]) {
    let (first, reason) = unapplied[0];
    let (name, count, position) = (projection.name, unapplied.len(), first.position);
    tracing::warn!(projection = name, count, position, reason, "events can't be applied, and are set aside");
}

async fn warn_of_stall(app: &App) {
    let ctx = &Ctx::system(app.clock.clone());
    let work = move |tx: db::Tx| async move {
        let [rows] = tx.finish([log_stalled(ctx.now() - STALLED_AFTER)]).await?;
        let named = |row: &db::Row| (row.get(0), row.get::<_, Option<String>>(1).unwrap_or_default());
        Ok::<_, AppError>(rows.iter().map(named).collect::<Vec<(i32, String)>>())
    };
    match app.db.system.run_tx("log_stalled", ctx, Gate::read(ctx), work).await {
        Ok(held_by) if held_by.is_empty() => {}
        Ok(held_by) => tracing::warn!(?held_by, "an open transaction holds the readers of the log back"),
        Err(error) => tracing::warn!(%error, "the readers of the log can't be watched"),
    }
}
