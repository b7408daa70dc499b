//! One step of a catch-up projection: a page of the log, the rows that follow from it, and the projection's new
//! position, in one transaction. If the database refuses what follows from an event, only that event is set aside.

use context::Ctx;
use db::DbError;
use event_log::{PlacedEvent, Position, Reader};
use projections::{
    catch_up::{Applied, CatchUp, Progress, commit_lazily, position_lock, position_move},
    operation::dead_letter::dead_letter_add,
};

use crate::app::{App, AppError, frame};

/// The most events in a page.
pub(crate) const PAGE: usize = 2000;

/// The reason of a dead letter: the database refused what follows from this event alone.
pub const REFUSED: &str = "refused_by_database";

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, because another server has moved this generation on.
    Elsewhere,
    /// Took so many events, including those that were set aside.
    Took(usize),
}

/// Takes the next page for a generation, from the position where it was seen. If the database refuses what follows from
/// the page, takes smaller pages, down to the one event that is the cause, and sets that event aside.
pub async fn step(app: &App, projection: &'static CatchUp, at: &Progress) -> Result<Step, AppError> {
    let mut limit = PAGE;
    loop {
        match take_page(app, projection, at, limit, projection.apply).await {
            Err(error) if is_refused_value(&error) && limit > 1 => limit /= 2,
            Err(error) if is_refused_value(&error) => return take_page(app, projection, at, limit, refuse).await,
            outcome => return outcome,
        }
    }
}

/// Applies no event, so that each becomes a dead letter.
fn refuse(_: i64, events: &[PlacedEvent]) -> Applied {
    Applied { statements: Vec::new(), unapplied: events.iter().map(|event| (event.position, REFUSED)).collect() }
}

/// Whether the values of a statement are at fault (SQLSTATE classes 22 and 23), and not the statement or the database.
pub fn is_refused_value(error: &AppError) -> bool {
    matches!(error, AppError::Db(DbError::Fault { code, .. }) if code.starts_with("22") || code.starts_with("23"))
}

/// Runs one transaction: it locks the generation's position, reads a page, queues the rows and moves the position.
async fn take_page(
    app: &App,
    projection: &'static CatchUp,
    at: &Progress,
    limit: usize,
    apply: fn(i64, &[PlacedEvent]) -> Applied,
) -> Result<Step, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    frame::system_work(app, &app.db.system, "projection_step", ctx, move |work| async move {
        let mut reader = Reader::new(at.position, limit);
        let [locked, rows, _] = work.tx.flight([position_lock(projection, at), reader.page(), commit_lazily()]).await?;
        if locked.is_empty() {
            return Ok(Step::Elsewhere);
        }
        let events = reader.take(&rows);
        if events.is_empty() {
            return Ok(Step::Took(0));
        }
        let applied = apply(at.generation, &events);
        (projection.always)(at.generation, &events).into_iter().for_each(|query| work.queue(query));
        applied.statements.into_iter().for_each(|query| work.queue(query));
        if !applied.unapplied.is_empty() {
            warn_of_dead_letters(projection, &applied.unapplied);
            work.queue(dead_letter_add(projection, at.generation, applied.unapplied, ctx.now()));
        }
        work.queue(position_move(projection, at.generation, reader.position(), ctx.now()));
        Ok(Step::Took(events.len()))
    })
    .await
}

fn warn_of_dead_letters(projection: &CatchUp, unapplied: &[(Position, &'static str)]) {
    let (first, reason) = unapplied[0];
    let (name, count, position) = (projection.name, unapplied.len(), first.position);
    tracing::warn!(projection = name, count, position, reason, "events can't be applied, and are set aside");
}
