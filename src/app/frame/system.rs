//! The frames of transactions that look at no standing: the system's own, and reads of what is public or comes before it.

use std::sync::Arc;

use context::{Ctx, SubjectId};
use db::{Db, Gate, Query, Row, Tx};
use domain::event::{About, Described};
use event_log::{Event, Unit};
use projections::log::audit::stream_newest;

use crate::app::{
    App, AppError,
    frame::work::{Work, newest_of},
};

/// Sends one flight under the ticket of `ctx` without a standing: for public data, and for reads that come before a
/// standing.
pub(crate) async fn ticket_query<const N: usize>(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    gate: Gate,
    queries: impl Fn() -> [Query; N] + Sync,
) -> Result<[Vec<Row>; N], AppError> {
    one_flight(&app.db.api, operation, ctx, gate, queries).await
}

/// Reads and writes data that is about nobody, in one flight, under the system's ticket.
pub(crate) async fn system_query<const N: usize>(
    app: &App,
    operation: &'static str,
    queries: impl Fn() -> [Query; N] + Sync,
) -> Result<[Vec<Row>; N], AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    one_flight(&app.db.system, operation, ctx, Gate::read(ctx), queries).await
}

async fn one_flight<const N: usize>(
    pool: &Db,
    operation: &'static str,
    ctx: &Ctx,
    gate: Gate,
    queries: impl Fn() -> [Query; N] + Sync,
) -> Result<[Vec<Row>; N], AppError> {
    let queries = &queries;
    let work = move |tx: Tx| async move { Ok(tx.finish(queries()).await?) };
    pool.run_tx(operation, ctx, gate, work).await
}

/// Works on data that is about nobody, in several flights, on the given pool, under the ticket of `ctx`.
pub(crate) async fn system_work<'a, T, F, Fut>(
    app: &'a App,
    pool: &Db,
    operation: &'static str,
    ctx: &'a Ctx,
    decide: F,
) -> Result<T, AppError>
where
    F: Fn(Work<'a>) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
{
    let decide = &decide;
    let work = move |tx: Tx| async move {
        let work = Work { app, ctx, tx, unit: Arc::new(Unit::new(ctx, None)) };
        let value = decide(work.clone()).await?;
        work.flush();
        Ok(value)
    };
    pool.run_tx(operation, ctx, Gate::read(ctx), work).await
}

/// Runs a command on a stream that is about nobody, in the name of the actor of `ctx`. Returns the stream's newest
/// event afterwards, and whether the command added it.
pub(crate) async fn system_command<A>(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    id: &str,
    command: A::Command,
) -> Result<(Option<Event>, bool), AppError>
where
    A: Described<Services = (), Command: Clone + Sync>,
{
    const { assert!(matches!(A::ABOUT, About::Nobody), "a person's stream needs the person's standing") }
    let (ctx, command) = (&ctx.for_subject(SubjectId::NIL, ctx.session).acting_as(ctx.role), &command);
    let work = move |tx: Tx| async move {
        let [rows] = tx.flight([stream_newest(SubjectId::NIL, A::TYPE, id)]).await?;
        let work = Work { app, ctx, tx, unit: Arc::new(Unit::new(ctx, None)) };
        let added = work.command::<A>(id, &rows, command.clone()).await?;
        work.flush();
        let is_new = added.is_some();
        Ok((added.or(newest_of(&rows)), is_new))
    };
    app.db.api.run_tx(operation, ctx, Gate::alone(ctx), work).await
}
