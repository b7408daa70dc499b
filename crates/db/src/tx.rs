//! Transactions in flights. A flight is statements that are sent together, in order, in one round trip.
//!
//! A transaction opens with its first flight (BEGIN, ticket and locks go ahead of the first statements) and commits
//! with its last flight (the queued statements, then COMMIT). All statements of a flight are prepared before the first
//! of them is sent, so that none overtakes another. An error rolls the transaction back; a cancelled future closes its
//! connection.
//!
//! A ticket expires after a minute, so a later flight brings a fresh one. If a ticket expires all the same, behind a
//! lock or a long statement, the database reports an error and the transaction begins again; nothing is half done.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use context::{Ctx, Role, SubjectId};
use deadpool::managed::Object;
use futures_util::future;
use tokio_postgres::{Row, Statement, types::ToSql};

use crate::{
    Db, DbError, Lookup, TicketKey, Transient,
    pool::{Connection, Connections},
    ticket::LIFETIME,
};

const ATTEMPTS: u32 = 5;
/// The most statements in one flight, because `join_all` polls at most so many strictly in their order.
const FLIGHT: usize = 30;
const SHARED: i32 = 1;
const ALONE: i32 = 2;

/// The next flight replaces a ticket that is older than this.
const FRESH: Duration = Duration::from_secs(20);
/// How long a statement may take in a transaction that asks for long statements, and how much longer the tickets of
/// that transaction are valid.
const LONG: TimeDelta = TimeDelta::minutes(15);

const SHOW: &str = "-- tx_show\nSELECT set_config('lethe.ticket', $1, true)";
/// Sets the ticket and takes locks. Only logins that take locks may call these functions.
const OPEN: &str = "-- tx_open
SELECT set_config('lethe.ticket', $1, true),
       CASE $2::int WHEN 1 THEN pg_advisory_xact_lock_shared($3::bigint) WHEN 2 THEN pg_advisory_xact_lock($3::bigint) END,
       CASE WHEN $4::bigint IS NULL THEN true ELSE pg_try_advisory_xact_lock($4::bigint) END AS claimed";

/// One statement and the values bound to it.
pub struct Query {
    sql: &'static str,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
    exactly: Option<u64>,
}

impl Query {
    /// A statement; its first line is a comment with the operation's name.
    pub fn new(sql: &'static str) -> Self {
        Self { sql, values: Vec::new(), exactly: None }
    }

    /// The statement itself, for plans.
    pub fn sql(&self) -> &'static str {
        self.sql
    }

    /// Binds the next parameter.
    pub fn bind(mut self, value: impl ToSql + Sync + Send + 'static) -> Self {
        self.values.push(Box::new(value));
        self
    }

    /// Requires the statement to change or find exactly so many rows. Otherwise the transaction fails before its COMMIT
    /// is sent. For statements where fewer rows would mean that something stays that must be removed. Such a statement
    /// returns no rows.
    pub fn exactly(self, rows: usize) -> Self {
        Self { exactly: Some(rows as u64), ..self }
    }
}

/// Which rows a transaction may touch, and which locks it takes first.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    subject: SubjectId,
    lookup: Option<Lookup>,
    lock: i32,
    claim: Option<i64>,
    snapshot: bool,
    long_statements: bool,
}

impl Gate {
    /// The rows of the context's subject, without a lock. For reads that stay readable whatever happens to keys.
    pub fn read(ctx: &Ctx) -> Self {
        Self { subject: ctx.subject, lookup: None, lock: 0, claim: None, snapshot: false, long_statements: false }
    }

    /// Like [`Gate::read`], and all statements see the database as the first one sees it, because keys and the values
    /// that they open must belong together.
    pub fn snapshot(ctx: &Ctx) -> Self {
        Self { snapshot: true, ..Self::read(ctx) }
    }

    /// The rows of the context's subject, with the subject's lock shared. For writing, and for opening values that must
    /// not be rewrapped meanwhile.
    pub fn shared(ctx: &Ctx) -> Self {
        Self { lock: SHARED, ..Self::read(ctx) }
    }

    /// The rows of the context's subject, with the subject's lock held alone. For replacing or destroying keys.
    pub fn alone(ctx: &Ctx) -> Self {
        Self { lock: ALONE, ..Self::read(ctx) }
    }

    /// Rows found by a keyed hash, before a subject is known.
    pub fn lookup(lookup: Lookup) -> Self {
        Self {
            subject: SubjectId::NIL,
            lookup: Some(lookup),
            lock: 0,
            claim: None,
            snapshot: false,
            long_statements: false,
        }
    }

    /// The same gate, with the subject's lock shared.
    pub fn and_shared(self) -> Self {
        Self { lock: SHARED, ..self }
    }

    /// The same gate, with the subject's lock held alone.
    pub fn and_alone(self) -> Self {
        Self { lock: ALONE, ..self }
    }

    /// The same gate, which also opens the rows found by a keyed hash.
    pub fn and_lookup(self, lookup: Lookup) -> Self {
        Self { lookup: Some(lookup), ..self }
    }

    /// The same gate, which also claims a key for the length of the transaction; see [`Tx::claimed`].
    pub fn claim(self, key: Option<i64>) -> Self {
        Self { claim: key, ..self }
    }

    /// The same gate, with 15 minutes for each statement, because very many rows may take longer than a request may.
    pub fn with_long_statements(self) -> Self {
        Self { long_statements: true, ..self }
    }

    fn begin(&self) -> &'static str {
        match (self.snapshot, self.long_statements) {
            (true, _) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (false, false) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            (false, true) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = '15min'",
        }
    }

    fn lock_key(&self) -> i64 {
        let bytes = self.subject.0.into_bytes();
        i64::from_be_bytes(bytes[..8].try_into().expect("a UUID has sixteen bytes"))
    }
}

/// The code of a statement that changed or found another number of rows than required. PostgreSQL has no such code.
const UNMATCHED: &str = "LT002";

const UNOPENED: u8 = 0;
const OPENED: u8 = 1;
const CLOSED: u8 = 2;
const CLAIM_REFUSED: u8 = 3;

/// An open transaction. Clones are handles of the same transaction. If it is dropped before its end, its connection is
/// taken out of the pool and closed.
#[derive(Clone)]
pub struct Tx(Arc<Inner>);

struct Inner {
    connection: Option<Object<Connections>>,
    minter: Minter,
    gate: Gate,
    state: AtomicU8,
    queue: Mutex<Vec<Query>>,
}

/// Makes a transaction's tickets.
struct Minter {
    key: Arc<TicketKey>,
    role: Role,
    minted: Mutex<Option<Instant>>,
    pool_age: Arc<AtomicU64>,
}

impl Minter {
    /// A ticket, if the transaction has none yet or an old one; otherwise `None`.
    fn next(&self, gate: &Gate, connection: &Connection) -> Option<String> {
        let mut minted = self.minted.lock().expect("no one panics while minting");
        if minted.is_some_and(|minted| minted.elapsed() < FRESH) {
            return None;
        }
        *minted = Some(Instant::now());
        let lifetime = if gate.long_statements { LIFETIME + LONG } else { LIFETIME };
        let until = connection.now() + lifetime;
        Some(self.key.mint_until(gate.subject, gate.lookup, self.role, until, &connection.backend))
    }
}

impl Tx {
    fn new(connection: Object<Connections>, minter: Minter, gate: Gate) -> Self {
        let state = AtomicU8::new(UNOPENED);
        Self(Arc::new(Inner { connection: Some(connection), minter, gate, state, queue: Mutex::default() }))
    }

    /// Sends statements in one flight, and returns the rows of each.
    pub async fn flight<const N: usize>(&self, queries: [Query; N]) -> Result<[Vec<Row>; N], DbError> {
        let rows = self.send(queries.into(), false).await?;
        Ok(rows.try_into().expect("as many answers as statements"))
    }

    /// The same for a number of statements that is not known when the code is compiled.
    pub async fn flight_all(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, DbError> {
        self.send(queries, false).await
    }

    /// Sends any number of statements in as many flights as they take, and returns the rows of each.
    pub async fn flights(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, DbError> {
        let (mut queries, mut rows) = (queries.into_iter().peekable(), Vec::new());
        while queries.peek().is_some() {
            rows.extend(self.send(queries.by_ref().take(FLIGHT).collect(), false).await?);
        }
        Ok(rows)
    }

    /// Sends statements together with the COMMIT, so that a read takes one round trip. Nothing may be sent or queued
    /// after it.
    pub async fn finish<const N: usize>(&self, queries: [Query; N]) -> Result<[Vec<Row>; N], DbError> {
        let rows = self.send(queries.into(), true).await?;
        Ok(rows.try_into().expect("as many answers as statements"))
    }

    /// The same for a number of statements that is not known when the code is compiled.
    pub async fn finish_all(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, DbError> {
        self.send(queries, true).await
    }

    /// Keeps a statement for the last flight, which also sends the COMMIT.
    pub fn queue(&self, query: Query) {
        self.0.queue.lock().expect("no one panics while queueing").push(query);
    }

    /// Takes all queued statements out of the queue.
    pub fn take_queue(&self) -> Vec<Query> {
        std::mem::take(&mut *self.0.queue.lock().expect("no one panics while queueing"))
    }

    /// Whether this transaction holds the key of [`Gate::claim`]; false if another transaction holds it. Known after
    /// the first flight.
    pub fn claimed(&self) -> bool {
        self.0.state.load(Ordering::Acquire) != CLAIM_REFUSED
    }

    fn connection(&self) -> &Connection {
        self.0.connection.as_ref().expect("a transaction holds its connection until it ends")
    }

    async fn send(&self, queries: Vec<Query>, commit: bool) -> Result<Vec<Vec<Row>>, DbError> {
        if queries.len() > FLIGHT {
            let message = format!("{} statements in one flight", queries.len());
            return Err(DbError::Fault { code: "54000".to_owned(), message });
        }
        let outcome = if commit && queries.iter().any(|query| query.exactly.is_some()) {
            // The rows are counted before the COMMIT is sent.
            let rows = self.send_flight(queries, false).await;
            match rows {
                Ok(rows) => self.send_flight(Vec::new(), true).await.map(|_| rows),
                refused => refused,
            }
        } else {
            self.send_flight(queries, commit).await
        };
        if let Err(DbError::TicketRanOut) = &outcome {
            // The database's clock may have been set, so every connection of the pool asks for the time anew.
            self.0.minter.pool_age.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    async fn send_flight(&self, queries: Vec<Query>, commit: bool) -> Result<Vec<Vec<Row>>, DbError> {
        let Inner { gate, minter, state, .. } = &*self.0;
        let client = &self.connection().client;
        let opening = state.load(Ordering::Acquire) == UNOPENED;
        let closed = state.load(Ordering::Acquire) == CLOSED;
        let with_locks = opening && (gate.lock != 0 || gate.claim.is_some());
        let ticket = if closed { None } else { minter.next(gate, self.connection()) };
        let show = match &ticket {
            Some(_) => Some(client.prepare_cached(if with_locks { OPEN } else { SHOW }).await?),
            None => None,
        };
        let mut statements = Vec::with_capacity(queries.len());
        for query in &queries {
            statements.push(client.prepare_cached(query.sql).await?);
        }
        if opening {
            // From here on the database may be inside a transaction, even if this future is dropped.
            state.store(OPENED, Ordering::Release);
        }
        let begin = async {
            let (lock, claim, key) = (gate.lock, gate.claim, gate.lock_key());
            let started = async { if opening { client.batch_execute(gate.begin()).await } else { Ok(()) } };
            let shown = async {
                let Some((show, ticket)) = show.as_ref().zip(ticket.as_ref()) else { return Ok(Vec::new()) };
                let values: [&(dyn ToSql + Sync); 4] = [ticket, &lock, &key, &claim];
                client.query(show, if with_locks { &values[..] } else { &values[..1] }).await
            };
            let ((), rows) = future::try_join(started, shown).await?;
            if with_locks { rows[0].try_get::<_, bool>("claimed") } else { Ok(true) }
        };
        let body =
            future::join_all(statements.iter().zip(&queries).map(|(statement, query)| self.run(statement, query)));
        let end = async { if commit { client.batch_execute("COMMIT").await } else { Ok(()) } };
        let (claimed, rows, ended) = future::join3(begin, body, end).await;
        if commit {
            // The COMMIT was answered, so the transaction is over, even if a failed statement turned the COMMIT into a
            // rollback.
            state.store(CLOSED, Ordering::Release);
        }
        let claimed = claimed?;
        let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
        ended?;
        if !claimed && !commit {
            state.store(CLAIM_REFUSED, Ordering::Release);
        }
        Ok(rows)
    }

    async fn run(&self, statement: &Statement, query: &Query) -> Result<Vec<Row>, DbError> {
        let values: Vec<&(dyn ToSql + Sync)> = query.values.iter().map(|value| &**value as _).collect();
        let client = &self.connection().client;
        let Some(exactly) = query.exactly else { return Ok(client.query(statement, &values).await?) };
        let changed = client.execute(statement, &values).await?;
        if changed == exactly {
            return Ok(Vec::new());
        }
        let name = query.sql.lines().next().unwrap_or_default().trim_start_matches("-- ");
        let message = format!("{name} concerned {changed} row(s) instead of {exactly}");
        Err(DbError::Fault { code: UNMATCHED.to_owned(), message })
    }

    /// Sends the queued statements, with the COMMIT.
    async fn commit(&self) -> Result<(), DbError> {
        let queue = self.take_queue();
        match self.0.state.load(Ordering::Acquire) {
            CLOSED if queue.is_empty() => {}
            CLOSED => {
                let message = "statements were queued after the last flight".to_owned();
                return Err(DbError::Fault { code: "25000".to_owned(), message });
            }
            UNOPENED if queue.is_empty() => self.0.state.store(CLOSED, Ordering::Release),
            _ => drop(self.send(queue, true).await?),
        }
        Ok(())
    }

    async fn roll_back(&self) {
        match self.0.state.load(Ordering::Acquire) {
            UNOPENED => self.0.state.store(CLOSED, Ordering::Release),
            CLOSED => {}
            _ => {
                if self.connection().client.batch_execute("ROLLBACK").await.is_ok() {
                    self.0.state.store(CLOSED, Ordering::Release);
                }
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let unfinished = !matches!(self.state.load(Ordering::Acquire), CLOSED | UNOPENED);
        if let Some(connection) = self.connection.take()
            && unfinished
        {
            // Closing the connection makes the server roll back; the pool opens another.
            drop(Object::take(connection));
        }
    }
}

impl Db {
    /// Runs one transaction, and again if another transaction was faster. `work` must be repeatable. (An `AsyncFn`
    /// would read better; its futures are not provably `Send` yet.)
    pub async fn run_tx<T, E, F, Fut>(&self, name: &'static str, ctx: &Ctx, gate: Gate, work: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<DbError> + Transient + std::fmt::Display,
    {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            // After a conflict the next attempt holds the subject's lock alone, so that each round lets one transaction
            // through.
            let gate = if attempt > 1 && gate.lock == SHARED { Gate { lock: ALONE, ..gate } } else { gate };
            let outcome = self.attempt(ctx, gate, &work).await;
            match outcome {
                Err(error) if attempt < ATTEMPTS && error.is_transient() => {
                    tracing::debug!(tx = name, attempt, %error, "trying again");
                    attempt += 1;
                }
                outcome => {
                    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                    tracing::debug!(tx = name, attempt, elapsed_us, ok = outcome.is_ok(), "transaction");
                    return outcome;
                }
            }
        }
    }

    async fn attempt<T, E, F, Fut>(&self, ctx: &Ctx, gate: Gate, work: &F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<DbError>,
    {
        let connection = self.get().await?;
        let (key, pool_age) = (self.key.clone(), self.age.clone());
        let minter = Minter { key, role: ctx.role, minted: Mutex::default(), pool_age };
        let tx = Tx::new(connection, minter, gate);
        match work(tx.clone()).await {
            Ok(value) => {
                tx.commit().await?;
                Ok(value)
            }
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        }
    }
}
