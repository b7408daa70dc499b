//! The frames in which transactions run. A capability names its operation, says what it reads and what must be true of
//! the person, and decides. The frame does the rest: the ticket and the locks, the standing, the stored answer to a
//! repeated request, the events, and the read models that follow from the events.
//!
//! - [`query`] reads a person's own data, in one flight.
//! - [`command`] decides something for a person. [`command_once`] does so once for each idempotency key, [`attempt`]
//!   does so while nobody has signed in, and [`first`] creates the person.
//! - [`system_query`], [`system_command`] and, in several flights, [`system_work`] do the same for data that is about
//!   nobody.
//! - [`ticket_query`] reads without a standing.

mod standing;

use std::sync::Arc;

use context::{Ctx, EventId, SubjectId};
use db::{Db, FromRow, Gate, Lookup, Query, Row, Tx};
use domain::{
    event::{About, Described},
    rights::consent::Purpose,
};
use event_log::{Event, Sealing, Store, Stream, Unit, execute};
use projections::{INLINE, identity::standing::standing, log::audit::stream_newest, records::answer::AnswerRow};
use serde::{Serialize, de::DeserializeOwned};
use vault::{IndexKey, SubjectKeys, subject_insert};

pub use standing::Standing;

use crate::{
    app::{App, AppError, letter, records::once::Claim},
    mail::Letter,
};

/// A person's transaction before it begins: its operation, its locks, and what must be true of the person.
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

/// What must be true of the person, besides that the person exists and the session is alive.
#[derive(Clone, Copy, Default)]
struct Demands {
    open: bool,
    consent: Option<Purpose>,
    unrestricted: bool,
    unheld: bool,
}

/// The context whose actor the events name, if that is not the holder of the ticket, and the details of the events'
/// trail.
#[derive(Clone, Copy)]
struct Author<'a> {
    ctx: &'a Ctx,
    details: &'a str,
}

impl<'a> Frame<'a> {
    /// An act, such as submitting, granting, or asking for a deletion: a suspension bars it. Takes no lock.
    pub(crate) fn act(operation: &'static str, ctx: &'a Ctx) -> Self {
        let (gate, demands) = (Gate::read(ctx), Demands::default());
        Self { operation, ctx, gate, is_act: true, demands, author: None, keeps_trail: true }
    }

    /// A right over one's own data, which a suspension leaves open: to read or export it, to withdraw a consent or
    /// object, to restrict, to cancel a deletion, to sign out. Takes no lock.
    pub(crate) fn right(operation: &'static str, ctx: &'a Ctx) -> Self {
        Self { is_act: false, ..Self::act(operation, ctx) }
    }

    /// An act if `is_act` is true, otherwise a right.
    pub(crate) fn act_if(is_act: bool, operation: &'static str, ctx: &'a Ctx) -> Self {
        Self { is_act, ..Self::act(operation, ctx) }
    }

    /// Shares the person's lock with other transactions that write, or that open sealed values, so that no transaction
    /// wraps the person's keys anew meanwhile.
    pub(crate) fn shared(self) -> Self {
        Self { gate: self.gate.and_shared(), ..self }
    }

    /// Takes the person's lock alone, which is necessary to replace or destroy keys.
    pub(crate) fn alone(self) -> Self {
        Self { gate: self.gate.and_alone(), ..self }
    }

    /// Also lets the transaction read and write rows that are found by a keyed hash.
    pub(crate) fn looking_up(self, lookup: Lookup) -> Self {
        Self { gate: self.gate.and_lookup(lookup), ..self }
    }

    /// Lets each statement take a quarter of an hour, because it may change very many rows.
    pub(crate) fn with_long_statements(self) -> Self {
        Self { gate: self.gate.with_long_statements(), ..self }
    }

    /// For a transaction that adds data. Refuses if processing is restricted, if a confirmed deletion waits, or if
    /// `consent` names a purpose without a consent on its current notice.
    pub(crate) fn open_for(self, consent: Option<Purpose>) -> Self {
        Self { demands: Demands { open: true, consent, ..self.demands }, ..self }
    }

    /// Refuses while processing is restricted (GDPR Art. 18).
    pub(crate) fn unrestricted(self) -> Self {
        Self { demands: Demands { unrestricted: true, ..self.demands }, ..self }
    }

    /// Refuses while a legal hold is in force (GDPR Art. 17(3)).
    pub(crate) fn unheld(self) -> Self {
        Self { demands: Demands { unheld: true, ..self.demands }, ..self }
    }

    /// Lets the events name the actor of `ctx` instead of the holder of the ticket, and adds `details` to their trail.
    pub(crate) fn recorded_for(self, ctx: &'a Ctx, details: &'a str) -> Self {
        Self { author: Some(Author { ctx, details }), ..self }
    }

    /// Adds no trail to the events, because the transaction destroys the key that would open the trail.
    pub(crate) fn without_trail(self) -> Self {
        Self { keeps_trail: false, ..self }
    }

    fn standing_query(&self) -> Query {
        standing(self.ctx, self.demands.consent)
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

/// What a decision works with: the open transaction and the events that it has added.
#[derive(Clone)]
pub(crate) struct Work<'a> {
    pub app: &'a App,
    /// The actor, and the person whom the work concerns.
    pub ctx: &'a Ctx,
    pub tx: Tx,
    /// The events that this transaction has added so far.
    pub unit: Arc<Unit>,
}

impl Work<'_> {
    /// Runs a command on a stream whose payloads are stored in clear, because they hold states and times and no
    /// personal value. `newest` is the row of the stream's newest event. Returns the event that the command added, if
    /// any.
    pub(crate) async fn command<A>(
        &self,
        id: &str,
        newest: &[Row],
        command: A::Command,
    ) -> Result<Option<Event>, AppError>
    where
        A: Described<Services = ()>,
        A::Error: Into<AppError>,
    {
        self.command_after::<A>(id, newest_of(newest).as_ref(), command).await
    }

    /// The same, for a stream whose newest event is loaded already.
    pub(crate) async fn command_after<A>(
        &self,
        id: &str,
        newest: Option<&Event>,
        command: A::Command,
    ) -> Result<Option<Event>, AppError>
    where
        A: Described<Services = ()>,
        A::Error: Into<AppError>,
    {
        const { assert!(!A::IS_SEALED, "a sealed stream needs the record's key") }
        let before = self.unit.len();
        let stream = Stream { subject: self.ctx.subject, kind: A::TYPE, sealing: Sealing::Clear, newest };
        execute::<A>(Store::new(&self.unit, stream, &[], self.ctx.now()), id, command, ()).await?;
        Ok(self.unit.newest().filter(|_| self.unit.len() > before))
    }

    /// Queues a statement for the last flight.
    pub(crate) fn queue(&self, query: Query) {
        self.tx.queue(query);
    }

    /// Queues a letter, which is sent only if the transaction is committed.
    pub(crate) fn post(&self, letter: &Letter) -> Result<(), AppError> {
        letter::post(self.app, self.ctx, &self.tx, letter)
    }

    /// Drops the events, statements and letters so far, so that the transaction ends without a change.
    pub(crate) fn undo(&self) {
        self.unit.clear();
        drop(self.tx.take_queue());
    }

    /// Queues the statements that store the events so far and update the read models. Statements that are queued later
    /// run later.
    pub(crate) fn flush(&self) {
        self.unit.flush(&self.tx, INLINE);
    }
}

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
    app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await
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
    app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await
}

/// Like [`command`], but once for each idempotency key: the result of the first request with the key is stored, sealed,
/// and answers all later requests with it.
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
        // Checked after the replay, so that a repeated request gets its stored answer even if the command would be
        // refused now.
        frame.demands.check(&standing)?;
        let keys = standing.keys.clone();
        let value = decide(work.clone(), standing, answers(rows)).await?;
        work.flush();
        work.queue(claim.store(frame.ctx, ring, &keys, &value)?);
        Ok(value)
    };
    app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await
}

/// Sends the first flight of a person's command, and reads the standing from its rows.
async fn begin<'a>(
    app: &'a App,
    frame: &Frame<'a>,
    mut queries: Vec<Query>,
    tx: Tx,
) -> Result<(Work<'a>, Standing, Vec<Vec<Row>>), AppError> {
    queries.push(frame.standing_query());
    let mut rows = tx.flight_all(queries).await?;
    if !tx.claimed() {
        return Err(AppError::InFlight);
    }
    let standing = frame.take(app, &rows.pop().expect("each statement is answered"))?;
    let unit = Arc::new(frame.unit(Some(&standing.keys)));
    Ok((Work { app, ctx: frame.ctx, tx, unit }, standing, rows))
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
        let mut queries: Vec<Query> = reads().into();
        queries.push(frame.standing_query());
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
    let outcome = app.db.api.run_tx(frame.operation, frame.ctx, frame.gate, work).await;
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

/// Sends one flight under the ticket of `ctx` without a standing: for public data, and for reads that come before a
/// standing.
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

/// Reads and writes data that is about nobody, in one flight, under the system's ticket.
pub(crate) async fn system_query<const N: usize>(
    app: &App,
    operation: &'static str,
    queries: impl Fn() -> [Query; N] + Sync,
) -> Result<[Vec<Row>; N], AppError> {
    let (ctx, queries) = (&Ctx::system(app.clock.clone()), &queries);
    let work = move |tx: Tx| async move { Ok(tx.finish(queries()).await?) };
    app.db.system.run_tx(operation, ctx, Gate::read(ctx), work).await
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
    A::Error: Into<AppError>,
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

/// A fresh id, for an event that is a stream of its own.
pub(crate) fn own_id() -> String {
    EventId::random().to_string()
}

/// The newest event of a stream, from the rows of `projections::log::audit::stream_newest`.
pub(crate) fn newest_of(rows: &[Row]) -> Option<Event> {
    rows.first().map(|row| Event::from_row(row))
}

fn answers<const N: usize>(rows: Vec<Vec<Row>>) -> [Vec<Row>; N] {
    rows.try_into().expect("as many answers as statements")
}
