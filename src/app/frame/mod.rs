//! The frames in which transactions run. A capability names its operation, says what it reads and what must hold of the person,
//! and decides; all else is here: the ticket and the locks, the standing, the answer to a repeated request, and the events and
//! read models that follow.
//!
//! - [`query`] reads what is a person's own, in one flight.
//! - [`command`] decides something of a person; [`command_once`] does so once for an idempotency key, [`attempt`] where nobody has
//!   signed in, [`first`] where the person begins.
//! - [`system_query`], [`system_command`] and, in several flights, [`system_work`] do the same for what is about nobody.
//! - [`ticket_query`] reads what needs no standing.

mod standing;

use std::sync::Arc;

use context::{Ctx, EventId, SubjectId};
use db::{Db, FromRow, Gate, Lookup, Query, Row, Tx};
use domain::rights::consent::Purpose;
use event_log::{Event, Sealing, Store, Stream, Unit, cqrs_es::Aggregate, execute};
use projections::{INLINE, log::audit::newest};
use serde::{Serialize, de::DeserializeOwned};
use vault::{IndexKey, SubjectKeys, subject_insert};

pub use standing::Standing;

use crate::{
    app::{App, AppError, letter, records::once::Claim},
    mail::Letter,
};
use projections::records::answer::AnswerRow;

/// A transaction of a person before it begins: its operation, its locks, and what must hold.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    operation: &'static str,
    ctx: &'a Ctx,
    gate: Gate,
    is_act: bool,
    demands: Demands,
    author: Option<Author<'a>>,
    keeps_trail: bool,
}

/// What must hold of the person, besides that they are there and their session lives.
#[derive(Clone, Copy, Default)]
struct Demands {
    open: bool,
    consent: Option<Purpose>,
    unrestricted: bool,
    unheld: bool,
}

/// Whom events name who is not who the ticket is for, and what their trail says besides.
#[derive(Clone, Copy)]
struct Author<'a> {
    ctx: &'a Ctx,
    details: &'a str,
}

impl<'a> Frame<'a> {
    /// An act, such as submitting, granting, or asking for a deletion: a suspension bars it. Without a lock.
    pub(crate) fn act(operation: &'static str, ctx: &'a Ctx) -> Self {
        let (gate, demands) = (Gate::read(ctx), Demands::default());
        Self { operation, ctx, gate, is_act: true, demands, author: None, keeps_trail: true }
    }

    /// A right over one's own data, which a suspension leaves open: to read it, to take it along, to withdraw a consent or object,
    /// to restrict, to cancel a deletion, to sign out. Without a lock.
    pub(crate) fn right(operation: &'static str, ctx: &'a Ctx) -> Self {
        Self { is_act: false, ..Self::act(operation, ctx) }
    }

    /// An act or a right.
    pub(crate) fn act_if(is_act: bool, operation: &'static str, ctx: &'a Ctx) -> Self {
        Self { is_act, ..Self::act(operation, ctx) }
    }

    /// Shares the person's lock with all who write, or open what must not be wrapped anew meanwhile.
    pub(crate) fn shared(self) -> Self {
        Self { gate: self.gate.and_shared(), ..self }
    }

    /// Has the person's lock alone, as what replaces or destroys keys must.
    pub(crate) fn alone(self) -> Self {
        Self { gate: self.gate.and_alone(), ..self }
    }

    /// Also reads and writes rows that are found by a keyed hash.
    pub(crate) fn looking_up(self, lookup: Lookup) -> Self {
        Self { gate: self.gate.and_lookup(lookup), ..self }
    }

    /// Each statement may take a quarter of an hour.
    pub(crate) fn with_long_statements(self) -> Self {
        Self { gate: self.gate.with_long_statements(), ..self }
    }

    /// Refuses what adds to data that is restricted or about to be deleted, or whose purpose has no consent that counts.
    pub(crate) fn open_for(self, consent: Option<Purpose>) -> Self {
        Self { demands: Demands { open: true, consent, ..self.demands }, ..self }
    }

    /// Refuses while processing is restricted.
    pub(crate) fn unrestricted(self) -> Self {
        Self { demands: Demands { unrestricted: true, ..self.demands }, ..self }
    }

    /// Refuses while a legal hold stands.
    pub(crate) fn unheld(self) -> Self {
        Self { demands: Demands { unheld: true, ..self.demands }, ..self }
    }

    /// Events name somebody else than whom the ticket is for; their sealed trail says `details` besides.
    pub(crate) fn recorded_for(self, ctx: &'a Ctx, details: &'a str) -> Self {
        Self { author: Some(Author { ctx, details }), ..self }
    }

    /// Events keep no trail: its key is about to go.
    pub(crate) fn without_trail(self) -> Self {
        Self { keeps_trail: false, ..self }
    }

    fn standing(&self) -> Query {
        Standing::query(self.ctx, self.demands.consent)
    }

    fn take(&self, app: &App, rows: &[Row]) -> Result<Standing, AppError> {
        let standing = Standing::take(app, self.ctx, rows)?;
        if self.is_act {
            standing.require_acting()?;
        }
        Ok(standing)
    }

    fn unit(&self, keys: Option<&Arc<SubjectKeys>>) -> Unit {
        let keys = keys.filter(|_| self.keeps_trail).cloned();
        match self.author {
            Some(Author { ctx, details }) => Unit::new(ctx, keys).with_details(details.to_owned()),
            None => Unit::new(self.ctx, keys),
        }
    }
}

impl Demands {
    fn check(&self, standing: &Standing) -> Result<(), AppError> {
        if self.unrestricted {
            standing.require_unrestricted()?;
        }
        if self.unheld {
            standing.require_unheld()?;
        }
        if self.open {
            standing.require_open()?;
            standing.require_consent(self.consent)?;
        }
        Ok(())
    }
}

/// What a decision works with: the open transaction, and the events that come of it.
#[derive(Clone)]
pub(crate) struct Work<'a> {
    /// The application.
    pub app: &'a App,
    /// Who decides, about whom.
    pub ctx: &'a Ctx,
    /// The transaction.
    pub tx: Tx,
    /// The events so far.
    pub unit: Arc<Unit>,
}

impl Work<'_> {
    /// Runs a command on a stream whose payloads stand in clear (states and times, no value), of which `newest` holds the newest
    /// event; gives the event that came of it.
    pub(crate) async fn command<A>(
        &self,
        id: &str,
        newest: &[Row],
        command: A::Command,
    ) -> Result<Option<Event>, AppError>
    where
        A: Aggregate<Services = ()>,
        A::Error: Into<AppError>,
    {
        self.command_after::<A>(id, newest_of(newest).as_ref(), command).await
    }

    /// The same on a stream whose newest event is known.
    pub(crate) async fn command_after<A>(
        &self,
        id: &str,
        newest: Option<&Event>,
        command: A::Command,
    ) -> Result<Option<Event>, AppError>
    where
        A: Aggregate<Services = ()>,
        A::Error: Into<AppError>,
    {
        let before = self.unit.len();
        let stream = Stream { subject: self.ctx.subject, kind: A::TYPE, sealing: Sealing::Clear, newest };
        execute::<A>(Store::new(&self.unit, stream, &[], self.ctx.now()), id, command, ()).await?;
        Ok(self.unit.newest().filter(|_| self.unit.len() > before))
    }

    /// Keeps a statement for the last flight.
    pub(crate) fn queue(&self, query: Query) {
        self.tx.queue(query);
    }

    /// Queues a letter: it is sent if the transaction is committed.
    pub(crate) fn post(&self, letter: &Letter) -> Result<(), AppError> {
        letter::post(self.app, self.ctx, &self.tx, letter)
    }

    /// Drops events, statements and letters so far: the transaction ends without a change.
    pub(crate) fn undo(&self) {
        self.unit.clear();
        self.tx.clear_queue();
    }

    /// Queues the events so far, with the read models that follow; what is queued after it comes after them.
    pub(crate) fn flush(&self) {
        self.unit.flush(&self.tx, INLINE);
    }
}

/// Reads what is a person's own, in one flight; gives the standing, whose keys open it.
pub(crate) async fn query<const N: usize>(
    app: &App,
    frame: Frame<'_>,
    reads: impl Fn() -> [Query; N] + Sync,
) -> Result<(Standing, [Vec<Row>; N]), AppError> {
    let (reads, frame) = (&reads, &frame);
    let work = move |tx: Tx| async move {
        let mut queries: Vec<Query> = reads().into();
        queries.push(frame.standing());
        let mut rows = tx.finish_all(queries).await?;
        let standing = frame.take(app, &rows.pop().expect("each statement is answered"))?;
        frame.demands.check(&standing)?;
        Ok((standing, answers(rows)))
    };
    app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await
}

/// Decides something of a person: `reads` go with the standing in the first flight, `decide` works with their answers, and what
/// comes of it is stored by the last.
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
    app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await
}

/// The same once: what the first request with an idempotency key came to is stored, sealed, and answers all later ones.
pub(crate) async fn command_once<'a, const N: usize, T, F, Fut>(
    app: &'a App,
    frame: Frame<'a>,
    claim: Option<Claim<'a>>,
    reads: impl Fn() -> [Query; N] + Sync,
    decide: F,
) -> Result<T, AppError>
where
    F: Fn(Work<'a>, Standing, [Vec<Row>; N]) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
    T: Serialize + DeserializeOwned,
{
    let Some(claim) = claim else { return command(app, frame, reads, decide).await };
    let frame = Frame { gate: frame.gate.claim(Some(claim.lock_key())), ..frame };
    let (reads, decide, frame, claim) = (&reads, &decide, &frame, &claim);
    let work = move |tx: Tx| async move {
        let mut queries: Vec<Query> = reads().into();
        queries.push(claim.query(frame.ctx));
        let (work, standing, mut rows) = begin(app, frame, queries, tx).await?;
        let ring = app.vault.ring();
        let stored = rows.pop().expect("each statement is answered");
        if let Some(row) = stored.first().map(AnswerRow::from_row) {
            if row.expires_at > frame.ctx.now() {
                return claim.replay(ring, &standing.keys, &row);
            }
            work.queue(claim.forget(frame.ctx));
        }
        // After the replay: the first request was answered when it could be.
        frame.demands.check(&standing)?;
        let keys = standing.keys.clone();
        let value = decide(work.clone(), standing, answers(rows)).await?;
        work.flush();
        work.queue(claim.store(frame.ctx, ring, &keys, &value)?);
        Ok(value)
    };
    app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await
}

/// The first flight of a person's command.
async fn begin<'a>(
    app: &'a App,
    frame: &Frame<'a>,
    mut queries: Vec<Query>,
    tx: Tx,
) -> Result<(Work<'a>, Standing, Vec<Vec<Row>>), AppError> {
    queries.push(frame.standing());
    let mut rows = tx.flight_all(queries).await?;
    if !tx.claimed() {
        return Err(AppError::InFlight);
    }
    let standing = frame.take(app, &rows.pop().expect("each statement is answered"))?;
    let unit = Arc::new(frame.unit(Some(&standing.keys)));
    Ok((Work { app, ctx: frame.ctx, tx, unit }, standing, rows))
}

/// What anybody may try who has not signed in, about a person or, where the context's subject is nil, about nobody. Both take the
/// same statements, and as many keys are made for nobody and thrown away, so that the time of an answer does not tell which it was.
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
        let mut queries: Vec<Query> = reads().into();
        queries.push(frame.standing());
        let mut rows = tx.flight_all(queries).await?;
        let standing = rows.pop().expect("each statement is answered");
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
    app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await
}

/// The transaction with which a person begins: keys are made, and what `decide` adds is the first that is kept under them.
pub(crate) async fn first<'a, T, F, Fut>(app: &'a App, frame: Frame<'a>, decide: F) -> Result<T, AppError>
where
    F: Fn(Work<'a>, Arc<SubjectKeys>) -> Fut + Sync,
    Fut: Future<Output = Result<T, AppError>>,
{
    let (decide, frame) = (&decide, &frame);
    let work = move |tx: Tx| async move {
        // Made anew with every try: a rotation of the ring may have come in between.
        let (keys, wrapped) = app.vault.create_subject(frame.ctx.subject);
        let keys = Arc::new(keys);
        tx.queue(subject_insert(frame.ctx.subject, &wrapped));
        let work = Work { app, ctx: frame.ctx, tx, unit: Arc::new(frame.unit(Some(&keys))) };
        let value = decide(work.clone(), keys).await?;
        work.flush();
        Ok(value)
    };
    let outcome = app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await;
    if outcome.is_err() {
        app.vault.forget(frame.ctx.subject);
    }
    outcome
}

/// The keys of the context's subject for an act; refuses where the session, if one is named, has ended or is suspended.
pub(crate) async fn acting_keys(app: &App, ctx: &Ctx) -> Result<Arc<SubjectKeys>, AppError> {
    Ok(query(app, Frame::act("standing_keys", ctx), || []).await?.0.keys)
}

/// The keys of the context's subject for a right over their own data; refuses where the session has ended.
pub async fn right_keys(app: &App, ctx: &Ctx) -> Result<Arc<SubjectKeys>, AppError> {
    Ok(query(app, Frame::right("standing_keys", ctx), || []).await?.0.keys)
}

/// The person's index key, from memory or, once, from the database. What is found with it is read by a transaction of its own,
/// which looks at the standing for what it does.
pub(crate) async fn index_key(app: &App, ctx: &Ctx) -> Result<IndexKey, AppError> {
    match app.vault.index_key(ctx.subject) {
        Some(key) => Ok(key),
        None => Ok(query(app, Frame::right("index_key", ctx), || []).await?.0.keys.index().clone()),
    }
}

/// One flight under the ticket of whoever asks, without a standing: what is public, or comes before it.
pub(crate) async fn ticket_query<const N: usize>(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    gate: Gate,
    queries: impl Fn() -> [Query; N] + Sync,
) -> Result<[Vec<Row>; N], AppError> {
    let queries = &queries;
    let work = move |tx: Tx| async move { Ok(tx.finish(queries()).await?) };
    app.db.api.run_tx(operation, ctx, gate, work).await
}

/// Reads and writes what is about nobody, in one flight, under the system's ticket.
pub(crate) async fn system_query<const N: usize>(
    app: &App,
    operation: &'static str,
    queries: impl Fn() -> [Query; N] + Sync,
) -> Result<[Vec<Row>; N], AppError> {
    let (ctx, queries) = (&Ctx::system(app.clock.clone()), &queries);
    let work = move |tx: Tx| async move { Ok(tx.finish(queries()).await?) };
    app.db.system.run_tx(operation, ctx, Gate::read(ctx), work).await
}

/// Works on what is about nobody in several flights, by a pool of one's choice, under the ticket of `ctx`.
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

/// Runs a command on a stream that is about nobody, as whoever `ctx` says; gives the stream's newest event then, and whether the
/// command added it.
pub(crate) async fn system_command<A>(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    id: &str,
    command: A::Command,
) -> Result<(Option<Event>, bool), AppError>
where
    A: Aggregate<Services = (), Command: Clone + Sync>,
    A::Error: Into<AppError>,
{
    let (ctx, command) = (&ctx.for_subject(SubjectId::NIL, ctx.session).acting_as(ctx.role), &command);
    let work = move |tx: Tx| async move {
        let [rows] = tx.flight([newest(SubjectId::NIL, A::TYPE, id)]).await?;
        let work = Work { app, ctx, tx, unit: Arc::new(Unit::new(ctx, None)) };
        let added = work.command::<A>(id, &rows, command.clone()).await?;
        work.flush();
        let is_new = added.is_some();
        Ok((added.or(newest_of(&rows)), is_new))
    };
    app.db.api.run_tx(operation, ctx, Gate::alone(ctx), work).await
}

/// A fresh id, for an event that is a stream of its own.
pub(crate) fn own_id() -> String {
    EventId::random().to_string()
}

/// The newest event of a stream, of the rows that `projections::log::audit::newest` gives.
pub(crate) fn newest_of(rows: &[Row]) -> Option<Event> {
    rows.first().map(|row| Event::from_row(row))
}

fn answers<const N: usize>(rows: Vec<Vec<Row>>) -> [Vec<Row>; N] {
    rows.try_into().expect("as many answers as statements")
}
