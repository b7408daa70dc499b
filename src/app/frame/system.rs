//! The frames of transactions that look at no standing: the system's own, and reads of what is public or comes before it.

use std::sync::Arc;

use context::{Ctx, SubjectId};
use db::{Db, Gate, Query, Row, Tx};
use domain::event::{About, Described};
use event_log::{Event, Unit};
use projections::log::audit::stream_newest;
use serde::{Serialize, de::DeserializeOwned};

use crate::app::{
    App, AppError,
    frame::{
        answer::{Claim, Once},
        work::{Work, newest_of},
    },
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

/// Works on data that is about nobody, on the system's pool and under its ticket, once for each idempotency key of the
/// member of staff who asks.
pub(crate) async fn system_work_once<'a, T, F, Fut>(
    app: &'a App,
    operation: &'static str,
    ctx: &'a Ctx,
    claim: Option<Claim<'_>>,
    decide: F,
) -> Result<Once<T>, AppError>
where
    F: Fn(Work<'a>) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
    T: Serialize + DeserializeOwned,
{
    let Some(claim) = claim else {
        return Ok(Once::now(ctx, system_work(app, &app.db.system, operation, ctx, decide).await?));
    };
    let (claim, decide) = (&claim, &decide);
    let work = move |tx: Tx| async move {
        let [stored] = tx.flight([claim.query()]).await?;
        let work = Work { app, ctx, tx, unit: Arc::new(Unit::new(ctx, None)) };
        claim.settle(&work, &stored, None, || decide(work.clone())).await
    };
    app.db.system.run_tx(operation, ctx, claim.open(Gate::read(ctx)), work).await
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
    let (ctx, command) = (&of_nobody(ctx), &command);
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

/// Like [`system_command`], but once for each idempotency key of the member of staff who asks. Returns what `answer`
/// makes of the stream's newest event.
pub(crate) async fn system_command_once<A, T>(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    (id, command): (&str, A::Command),
    claim: Option<Claim<'_>>,
    answer: impl Fn(Option<Event>) -> Result<T, AppError> + Sync,
) -> Result<Once<T>, AppError>
where
    A: Described<Services = (), Command: Clone + Sync>,
    T: Serialize + DeserializeOwned,
{
    let Some(claim) = claim else {
        let (newest, _) = system_command::<A>(app, operation, ctx, id, command).await?;
        return Ok(Once::now(ctx, answer(newest)?));
    };
    let ctx = &of_nobody(ctx);
    let (claim, command, answer) = (&claim, &command, &answer);
    let work = move |tx: Tx| async move {
        let [rows, stored] = tx.flight([stream_newest(SubjectId::NIL, A::TYPE, id), claim.query()]).await?;
        if !tx.claimed() {
            return Err(AppError::InFlight);
        }
        let work = Work { app, ctx, tx, unit: Arc::new(Unit::new(ctx, None)) };
        let doing = || async {
            let added = work.command::<A>(id, &rows, command.clone()).await?;
            answer(added.or(newest_of(&rows)))
        };
        claim.settle(&work, &stored, None, doing).await
    };
    app.db.api.run_tx(operation, ctx, claim.gate(Gate::alone(ctx)), work).await
}

/// The same actor, on a stream that is about nobody.
fn of_nobody(ctx: &Ctx) -> Ctx {
    ctx.for_subject(SubjectId::NIL, ctx.session).acting_as(ctx.role)
}
