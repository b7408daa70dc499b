//! The frames of a person's transactions. All begin with the standing in the first flight, but for a new record of somebody whose
//! standing is remembered.

use std::sync::Arc;

use context::{Ctx, SubjectId};
use db::{AtOnce, Gate, Query, Row, Tx};
use projections::records::store::{NewRecord, only_new, record_store};
use serde::{Serialize, de::DeserializeOwned};
use vault::{IndexKey, SubjectKeys, subject_insert};

use crate::app::{
    App, AppError,
    frame::{
        answer::{Claim, IdempotentRequest, Once},
        demand::{Demands, Frame},
        standing::Standing,
        work::Work,
    },
};

/// Reads a person's own data in one flight. Returns the rows with the standing, whose keys open them.
pub(crate) async fn query<const N: usize>(
    app: &App,
    frame: Frame<'_>,
    reads: impl Fn() -> [Query; N] + Sync,
) -> Result<(Standing, [Vec<Row>; N]), AppError> {
    let (reads, frame) = (&reads, &frame);
    let work = move |tx: Tx| async move {
        let mut queries: Vec<Query> = reads().into();
        queries.push(frame.standing_query());
        let mut rows = tx.finish_all(queries).await?;
        let standing = frame.take(app, &rows.pop().expect("each statement is answered"))?;
        frame.demands.check(&standing)?;
        Ok((standing, answers(rows)))
    };
    frame.run(app, work).await
}

/// Decides something for a person. The first flight sends `reads` and reads the standing; `decide` gets their rows; the
/// last flight stores the events and statements that `decide` added.
pub(crate) async fn command<'a, const N: usize, T, F, Fut>(
    app: &'a App,
    frame: Frame<'a>,
    reads: impl Fn() -> [Query; N] + Sync,
    decide: F,
) -> Result<T, AppError>
where
    F: Fn(Work<'a>, Standing, [Vec<Row>; N]) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
{
    let (reads, decide, frame) = (&reads, &decide, &frame);
    let work = move |tx: Tx| async move {
        let (work, standing, rows) = begin(app, frame, reads().into(), tx).await?;
        frame.demands.check(&standing)?;
        let value = decide(work.clone(), standing, answers(rows)).await?;
        work.flush();
        Ok(value)
    };
    frame.run(app, work).await
}

/// The claim of a person's request on its idempotency key, if it has one.
pub(crate) async fn claim<'a>(
    app: &App,
    ctx: &Ctx,
    operation: &'static str,
    request: Option<&'a IdempotentRequest<'a>>,
) -> Result<Option<Claim<'a>>, AppError> {
    let Some(request) = request else { return Ok(None) };
    Ok(Some(Claim::of_person(operation, ctx, request, &index_key(app, ctx).await?)))
}

/// The claim of a request by a member of staff on its idempotency key, if it has one. Refuses if their session has ended
/// or their account is suspended.
pub(crate) async fn staff_claim<'a>(
    app: &App,
    staff: &Ctx,
    operation: &'static str,
    request: Option<&'a IdempotentRequest<'a>>,
) -> Result<Option<Claim<'a>>, AppError> {
    let Some(request) = request else { return Ok(None) };
    Ok(Some(Claim::of_staff(operation, staff, request, acting_keys(app, staff).await?)))
}

/// The answer to an earlier request with the key, for a command that does more than its one transaction: a repeated
/// request must not do it. `frame` is that of who asks.
pub(crate) async fn answered<T: DeserializeOwned>(
    app: &App,
    frame: Frame<'_>,
    claim: Option<&Claim<'_>>,
) -> Result<Option<Once<T>>, AppError> {
    let Some(claim) = claim else { return Ok(None) };
    let frame = Frame { gate: Gate::read(frame.ctx), demands: Demands::default(), ..frame };
    let (standing, [stored]) = query(app, frame, || [claim.query()]).await?;
    claim.replay(frame.ctx, app.vault.ring(), &standing.keys, &stored)
}

/// Like [`command`], but once for each idempotency key: the result of the first request with the key is stored, sealed,
/// and answers all later requests with it.
pub(crate) async fn command_once<'a, const N: usize, T, F, Fut>(
    app: &'a App,
    frame: Frame<'a>,
    claim: Option<Claim<'a>>,
    reads: impl Fn() -> [Query; N] + Sync,
    decide: F,
) -> Result<Once<T>, AppError>
where
    F: Fn(Work<'a>, Standing, [Vec<Row>; N]) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
    T: Serialize + DeserializeOwned,
{
    let mut frame = claim.iter().fold(frame, |frame, claim| Frame { gate: claim.gate(frame.gate), ..frame });
    if let Some(done) = at_once(app, &mut frame, claim.as_ref(), &decide).await? {
        return Ok(done);
    }
    let Some(claim) = claim else { return Ok(Once::now(frame.ctx, command(app, frame, reads, decide).await?)) };
    let (reads, decide, frame, claim) = (&reads, &decide, &frame, &claim);
    let work = move |tx: Tx| async move {
        let mut queries: Vec<Query> = reads().into();
        queries.push(claim.query());
        let (work, standing, mut rows) = begin(app, frame, queries, tx).await?;
        let stored = rows.pop().expect("each statement is answered");
        let keys = standing.keys.clone();
        let doing = || async {
            // Checked after the replay, so that a repeated request gets its stored answer even if the command would be
            // refused now.
            frame.demands.check(&standing)?;
            decide(work.clone(), standing, answers(rows)).await
        };
        claim.settle(&work, &stored, Some(&keys), doing).await
    };
    frame.run(app, work).await
}

/// Decides on what this server remembers, and stores what follows by one statement, if everything is still so. Returns
/// `None` if nothing is stored: then the command has to read first, and outside of groups if one failed. A refusal counts
/// only after it has read.
async fn at_once<'a, const N: usize, T, F, Fut>(
    app: &'a App,
    frame: &mut Frame<'a>,
    claim: Option<&Claim<'a>>,
    decide: &F,
) -> Result<Option<Once<T>>, AppError>
where
    F: Fn(Work<'a>, Standing, [Vec<Row>; N]) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
    T: Serialize + DeserializeOwned,
{
    if !frame.expects_new {
        return Ok(None);
    }
    let Some((standing, version)) = frame.remembered(app) else { return Ok(None) };
    if frame.demands.check(&standing).is_err() {
        return Ok(None);
    }
    let (keys, tx) = (standing.keys.clone(), Tx::collected());
    let work = Work { app, ctx: frame.ctx, tx: tx.clone(), unit: Arc::new(frame.unit(Some(&keys))) };
    let Ok(value) = decide(work.clone(), standing, std::array::from_fn(|_| Vec::new())).await else { return Ok(None) };
    let done = Once::now(frame.ctx, value);
    let answer = claim.map(|claim| claim.new_answer(app.vault.ring(), &keys, &done)).transpose();
    let Ok(answer) = answer else { return Ok(None) };
    let Some((event, entry)) = only_new(work.unit.take()).filter(|_| tx.take_queue().is_empty()) else {
        return Ok(None);
    };
    let store = record_store(frame.ctx, NewRecord { version, event, entry, answer });
    let stored = app.db.api.run_at_once(frame.operation, frame.ctx, frame.gate, store).await?;
    frame.in_group &= stored != AtOnce::Failed;
    Ok((stored == AtOnce::Stored).then_some(done))
}

/// Sends the first flight of a person's command, and reads the standing from its rows.
async fn begin<'a>(
    app: &'a App,
    frame: &Frame<'a>,
    queries: Vec<Query>,
    tx: Tx,
) -> Result<(Work<'a>, Standing, Vec<Vec<Row>>), AppError> {
    let (rows, standing) = first_flight(frame, queries, &tx).await?;
    if !tx.claimed() {
        return Err(AppError::InFlight);
    }
    let standing = frame.take(app, &standing)?;
    let unit = Arc::new(frame.unit(Some(&standing.keys)));
    Ok((Work { app, ctx: frame.ctx, tx, unit }, standing, rows))
}

/// Sends `queries` and the standing's query in one flight. Returns their rows, and the standing's apart.
async fn first_flight(
    frame: &Frame<'_>,
    mut queries: Vec<Query>,
    tx: &Tx,
) -> Result<(Vec<Vec<Row>>, Vec<Row>), AppError> {
    queries.push(frame.standing_query());
    let mut rows = tx.flight_all(queries).await?;
    let standing = rows.pop().expect("each statement is answered");
    Ok((rows, standing))
}

/// Runs what somebody tries before signing in. It concerns the context's subject, or nobody if that is nil. Both cases
/// send the same statements, and for nobody the same number of keys is made and thrown away, so that the time of an
/// answer does not tell one case from the other.
pub(crate) async fn attempt<'a, const N: usize, T, F, Fut>(
    app: &'a App,
    frame: Frame<'a>,
    reads: impl Fn() -> [Query; N] + Sync,
    decide: F,
) -> Result<T, AppError>
where
    F: Fn(Work<'a>, [Vec<Row>; N]) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
{
    let (reads, decide, frame) = (&reads, &decide, &frame);
    let work = move |tx: Tx| async move {
        let (rows, standing) = first_flight(frame, reads().into(), &tx).await?;
        let keys = if frame.ctx.subject == SubjectId::NIL {
            let nobody = SubjectId::random();
            drop(app.vault.create_subject(nobody));
            app.vault.forget(nobody);
            None
        } else {
            Some(frame.take(app, &standing)?.keys)
        };
        let work = Work { app, ctx: frame.ctx, tx, unit: Arc::new(frame.unit(keys.as_ref())) };
        let value = decide(work.clone(), answers(rows)).await?;
        work.flush();
        Ok(value)
    };
    frame.run(app, work).await
}

/// Runs the transaction that creates a person: it makes the person's keys, and the events that `decide` adds are the
/// first under these keys.
pub(crate) async fn first<'a, T, F, Fut>(app: &'a App, frame: Frame<'a>, decide: F) -> Result<T, AppError>
where
    F: Fn(Work<'a>, Arc<SubjectKeys>) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
{
    let (decide, frame) = (&decide, &frame);
    let work = move |tx: Tx| async move {
        // The keys are made anew with every try, because the ring may have been rotated in between.
        let (keys, wrapped) = app.vault.create_subject(frame.ctx.subject);
        let keys = Arc::new(keys);
        tx.queue(subject_insert(frame.ctx.subject, &wrapped));
        let work = Work { app, ctx: frame.ctx, tx, unit: Arc::new(frame.unit(Some(&keys))) };
        let value = decide(work.clone(), keys).await?;
        work.flush();
        Ok(value)
    };
    let outcome = frame.run(app, work).await;
    if outcome.is_err() {
        app.vault.forget(frame.ctx.subject);
    }
    outcome
}

/// The keys of the context's subject, for an act. If the context names a session, refuses if it has ended or if the
/// account is suspended.
pub(crate) async fn acting_keys(app: &App, ctx: &Ctx) -> Result<Arc<SubjectKeys>, AppError> {
    Ok(query(app, Frame::act("standing_keys", ctx), || []).await?.0.keys)
}

/// The keys of the context's subject, for a right over their own data. If the context names a session, refuses if it
/// has ended.
pub async fn right_keys(app: &App, ctx: &Ctx) -> Result<Arc<SubjectKeys>, AppError> {
    Ok(query(app, Frame::right("standing_keys", ctx), || []).await?.0.keys)
}

/// The person's index key: from memory or, if it is not there yet, from the database. A right is enough here, because
/// the transaction that reads rows with this key checks the standing for its own purpose.
pub(crate) async fn index_key(app: &App, ctx: &Ctx) -> Result<IndexKey, AppError> {
    match app.vault.index_key(ctx.subject) {
        Some(key) => Ok(key),
        None => Ok(query(app, Frame::right("index_key", ctx), || []).await?.0.keys.index().clone()),
    }
}

fn answers<const N: usize>(rows: Vec<Vec<Row>>) -> [Vec<Row>; N] {
    rows.try_into().expect("as many answers as statements")
}
