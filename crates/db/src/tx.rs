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
use context::{Role, SubjectId};
use deadpool::managed::Object;
use futures_util::future;
use tokio::sync::oneshot;
use tokio_postgres::{Row, Statement, types::ToSql};
use uuid::Uuid;

use crate::{
    Db, DbError, TicketKey,
    gate::{BEGIN, BEGIN_LONG, Gate, SHARED, lock_key},
    group::{self, Joining, Opened, Part, Wish},
    pool::{Connection, Connections},
    query::Query,
    ticket::LIFETIME,
};

/// The most statements in one flight, because `join_all` polls at most so many strictly in their order.
const FLIGHT: usize = 30;

/// The next flight replaces a ticket that is older than this.
const FRESH: Duration = Duration::from_secs(20);
/// How long a statement may take in a transaction that asks for long statements, and how much longer the tickets of
/// that transaction are valid.
const LONG: TimeDelta = TimeDelta::minutes(15);

/// Shows a ticket, and says whether the session accepted it. A session that had lost its number would accept none, and
/// every table would answer with no rows.
const SHOW: &str = "-- tx_show\nSELECT lethe.show($1, true), lethe.ticket_role() IS NOT NULL AS shown";
/// Sets the ticket and takes locks. Only logins that take locks may call these functions.
const OPEN: &str = "-- tx_open
SELECT lethe.show($1, true), lethe.ticket_role() IS NOT NULL AS shown,
       CASE $2::int WHEN 1 THEN pg_advisory_xact_lock_shared($3::bigint) WHEN 2 THEN pg_advisory_xact_lock($3::bigint) END,
       CASE WHEN $4::bigint IS NULL THEN true ELSE pg_try_advisory_xact_lock($4::bigint) END AS claimed";

/// The same for a group: it leaves out whose lock or claim is taken, and says who stays. The ticket is shown before anybody
/// is left out of it, because a row's values are made in their order. Others wait for the end of the transaction, so that it
/// waits for no lock for long.
const OPEN_GROUP: &str = "-- tx_open_group
SELECT lethe.show($1, true), lethe.ticket_role() IS NOT NULL AS shown, set_config('lock_timeout', '200ms', true),
       CASE WHEN bool_and(free) THEN $2::uuid[] ELSE lethe.keep(array_agg(subject) FILTER (WHERE free)) END AS stay
FROM (SELECT subject, CASE WHEN lock IS NULL THEN true ELSE pg_try_advisory_xact_lock_shared(lock) END
                      AND CASE WHEN claim IS NULL THEN true ELSE pg_try_advisory_xact_lock(claim) END AS free
      FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS members (subject, lock, claim) OFFSET 0) members";

/// The same for several persons, each of whose locks is taken alone, in the order of the list.
const OPEN_ALL: &str = "-- tx_open_all
SELECT lethe.show($1, true), lethe.ticket_role() IS NOT NULL AS shown, count(pg_advisory_xact_lock(lock))
FROM unnest($2::bigint[]) AS lock";

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
    way: Way,
    state: AtomicU8,
    queue: Mutex<Vec<Query>>,
}

/// How the statements of a transaction reach the database.
enum Way {
    /// On a connection of its own.
    Own(Box<Own>),
    /// With those of others.
    Joined(Member),
    /// Not at all: whoever decides may only queue them.
    Collected,
}

/// A connection, and what its transaction begins with.
struct Own {
    connection: Option<Object<Connections>>,
    minter: Minter,
    opening: Opening,
}

/// Whose rows a transaction may touch, and the locks that it takes first.
pub(crate) enum Opening {
    One(Gate),
    /// For one person, without waiting for a lock.
    Try(Gate),
    Group(Vec<Gate>),
    /// For several persons, whose locks are held alone, with long statements.
    All(Vec<SubjectId>),
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
    fn next(&self, opening: &Opening, connection: &Connection) -> Option<String> {
        let mut minted = self.minted.lock().expect("no one panics while minting");
        if minted.is_some_and(|minted| minted.elapsed() < FRESH) {
            return None;
        }
        *minted = Some(Instant::now());
        let (subjects, lookup, lifetime) = match opening {
            Opening::One(gate) | Opening::Try(gate) => {
                let lifetime = if gate.long_statements { LIFETIME + LONG } else { LIFETIME };
                (vec![gate.subject], gate.lookup, lifetime)
            }
            Opening::Group(gates) => (gates.iter().map(|gate| gate.subject).collect(), None, LIFETIME),
            Opening::All(subjects) => (subjects.clone(), None, LIFETIME + LONG),
        };
        let until = connection.now() + lifetime;
        Some(self.key.mint_until(&subjects, lookup, self.role, until, &connection.session))
    }
}

impl Tx {
    /// A transaction that sends nothing, for a command that is stored by [`Db::run_at_once`].
    pub fn collected() -> Self {
        Self::new(Way::Collected)
    }

    /// A transaction that is a part of the next group's.
    pub(crate) fn joined(gate: Gate, role: Role, join: impl Fn(Joining) + Send + Sync + 'static) -> Self {
        Self::new(Way::Joined(Member { gate, role, join: Box::new(join), link: Mutex::default() }))
    }

    fn new(way: Way) -> Self {
        Self(Arc::new(Inner { way, state: AtomicU8::new(UNOPENED), queue: Mutex::default() }))
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

    /// Sends the first flight of a group. Says who stays in it.
    pub(crate) async fn open_group(&self, reads: Vec<Query>) -> Result<(Vec<Uuid>, Vec<Vec<Row>>), DbError> {
        let (opened, rows) = self.flight_of(self.own(), reads, false).await?;
        Ok((opened.expect("a group takes locks").get("stay"), rows))
    }

    /// Sends a statement that is a transaction of its own ([`Db::run_at_once`]). Returns for whom it has stored something.
    pub(crate) async fn at_once(&self, query: &Query) -> Result<Vec<Uuid>, DbError> {
        let own = self.own();
        let outcome = own.at_once(&self.0.state, query).await;
        own.note(&outcome);
        outcome
    }

    fn own(&self) -> &Own {
        let Way::Own(own) = &self.0.way else { unreachable!("it has a connection of its own") };
        own
    }

    async fn send(&self, queries: Vec<Query>, commit: bool) -> Result<Vec<Vec<Row>>, DbError> {
        let own = match &self.0.way {
            Way::Own(own) => own,
            // With nothing to store a member leaves its group, and need not wait for it.
            Way::Joined(_) if commit && queries.is_empty() => return Ok(Vec::new()),
            Way::Joined(member) if commit => return member.store(queries).await.map(|()| Vec::new()),
            Way::Joined(member) => {
                let rows = member.open(queries).await?;
                self.0.state.store(OPENED, Ordering::Release);
                return Ok(rows);
            }
            Way::Collected => {
                let message = "a statement was sent instead of being queued".to_owned();
                return Err(DbError::Fault { code: "25000".to_owned(), message });
            }
        };
        if commit && queries.iter().any(|query| query.exactly.is_some()) {
            // The rows are counted before the COMMIT is sent.
            let (_, rows) = self.flight_of(own, queries, false).await?;
            self.flight_of(own, Vec::new(), true).await?;
            return Ok(rows);
        }
        let (opened, rows) = self.flight_of(own, queries, commit).await?;
        let Some(opened) = opened else { return Ok(rows) };
        match &own.opening {
            // Whoever is left out reads nothing.
            Opening::Try(_) if opened.get::<_, Vec<Uuid>>("stay").is_empty() => return Err(group::again()),
            Opening::One(_) if !commit && !opened.get::<_, bool>("claimed") => {
                self.0.state.store(CLAIM_REFUSED, Ordering::Release);
            }
            _ => {}
        }
        Ok(rows)
    }

    async fn flight_of(
        &self,
        own: &Own,
        queries: Vec<Query>,
        commit: bool,
    ) -> Result<(Option<Row>, Vec<Vec<Row>>), DbError> {
        if queries.len() > FLIGHT {
            let message = format!("{} statements in one flight", queries.len());
            return Err(DbError::Fault { code: "54000".to_owned(), message });
        }
        let outcome = own.flight(&self.0.state, queries, commit).await;
        own.note(&outcome);
        outcome
    }

    /// Sends the queued statements, with the COMMIT.
    pub(crate) async fn commit(&self) -> Result<(), DbError> {
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

    pub(crate) async fn roll_back(&self) {
        match self.0.state.load(Ordering::Acquire) {
            UNOPENED => self.0.state.store(CLOSED, Ordering::Release),
            CLOSED => {}
            _ => {
                // A member that stores nothing has left its group.
                let Way::Own(own) = &self.0.way else { return };
                if own.connection().client.batch_execute("ROLLBACK").await.is_ok() {
                    self.0.state.store(CLOSED, Ordering::Release);
                }
            }
        }
    }
}

impl Own {
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("a transaction holds its connection until it ends")
    }

    /// Notes a ticket that ran out: the database's clock may have been set, or a session may have lost its number, so every
    /// connection of the pool is made anew.
    fn note<T>(&self, outcome: &Result<T, DbError>) {
        if let Err(DbError::TicketRanOut) = outcome {
            self.minter.pool_age.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a statement outside any transaction, so that it is one by itself. The COMMIT has been answered when it has.
    async fn at_once(&self, state: &AtomicU8, query: &Query) -> Result<Vec<Uuid>, DbError> {
        let client = &self.connection().client;
        let (sql, rest) = query.sent();
        let statement = client.prepare_cached(sql).await?;
        let ticket = self.minter.next(&self.opening, self.connection());
        let (locks, claims) = self.opening.locks_and_claims();
        let (lock, claim): (&(dyn ToSql + Sync), &(dyn ToSql + Sync)) = match (&locks[..], &claims[..]) {
            ([lock], [claim]) => (lock, claim),
            _ => (&locks, &claims),
        };
        let values: Vec<&(dyn ToSql + Sync)> = [&ticket as _, lock, claim].into_iter().chain(rest).collect();
        // From here on the database may be at it, even if this future is dropped.
        state.store(OPENED, Ordering::Release);
        let answer = client.query_one(&statement, &values).await;
        state.store(CLOSED, Ordering::Release);
        Ok(answer?.try_get("stored")?)
    }

    /// Sends one flight, after BEGIN, ticket and locks if it is the first. Returns the row of the locks, if it took any,
    /// and the rows of each statement.
    async fn flight(
        &self,
        state: &AtomicU8,
        queries: Vec<Query>,
        commit: bool,
    ) -> Result<(Option<Row>, Vec<Vec<Row>>), DbError> {
        let client = &self.connection().client;
        let opening = state.load(Ordering::Acquire) == UNOPENED;
        let closed = state.load(Ordering::Acquire) == CLOSED;
        let locks = if opening { self.opening.locks() } else { None };
        let ticket = if closed { None } else { self.minter.next(&self.opening, self.connection()) };
        let show = match &ticket {
            Some(_) => Some(client.prepare_cached(locks.as_ref().map_or(SHOW, |(open, _)| open)).await?),
            None => None,
        };
        let mut statements = Vec::with_capacity(queries.len());
        for query in &queries {
            let (sql, values) = query.sent();
            statements.push((client.prepare_cached(sql).await?, values));
        }
        if opening {
            // From here on the database may be inside a transaction, even if this future is dropped.
            state.store(OPENED, Ordering::Release);
        }
        let begin = async {
            let begin = self.opening.begin();
            let started = async { if opening { client.batch_execute(begin).await } else { Ok(()) } };
            let shown = async {
                let Some((show, ticket)) = show.as_ref().zip(ticket.as_ref()) else { return Ok(Vec::new()) };
                let locks = locks.iter().flat_map(|(_, values)| values);
                let values: Vec<&(dyn ToSql + Sync)> =
                    std::iter::once(ticket as _).chain(locks.map(|value| &**value as _)).collect();
                client.query(show, &values).await
            };
            let ((), rows) = future::try_join(started, shown).await?;
            let row = rows.into_iter().next();
            if row.as_ref().is_some_and(|row| !row.get::<_, bool>("shown")) {
                return Err(DbError::TicketRanOut);
            }
            Ok::<_, DbError>(row.filter(|_| locks.is_some()))
        };
        let body = future::join_all(
            statements.iter().zip(&queries).map(|((sql, values), query)| self.run(sql, values, query)),
        );
        let end = async { if commit { client.batch_execute("COMMIT").await } else { Ok(()) } };
        let (opened, rows, ended) = future::join3(begin, body, end).await;
        if commit {
            // The COMMIT was answered, so the transaction is over, even if a failed statement turned the COMMIT into a
            // rollback.
            state.store(CLOSED, Ordering::Release);
        }
        let opened = opened?;
        let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
        ended?;
        Ok((opened, rows))
    }

    async fn run(
        &self,
        statement: &Statement,
        values: &[&(dyn ToSql + Sync)],
        query: &Query,
    ) -> Result<Vec<Row>, DbError> {
        let client = &self.connection().client;
        let Some(exactly) = query.exactly else { return Ok(client.query(statement, values).await?) };
        let changed = client.execute(statement, values).await?;
        if changed == exactly {
            return Ok(Vec::new());
        }
        let name = query.sql.lines().next().unwrap_or_default().trim_start_matches("-- ");
        let message = format!("{name} concerned {changed} row(s) instead of {exactly}");
        Err(DbError::Fault { code: UNMATCHED.to_owned(), message })
    }
}

/// A statement that takes locks, and its parameters after the ticket.
type LockStatement = (&'static str, Vec<Box<dyn ToSql + Sync + Send>>);

impl Opening {
    fn begin(&self) -> &'static str {
        match self {
            Self::One(gate) | Self::Try(gate) => gate.begin(),
            Self::Group(_) => BEGIN,
            Self::All(_) => BEGIN_LONG,
        }
    }

    fn locks(&self) -> Option<LockStatement> {
        match self {
            Self::One(gate) if gate.lock == 0 && gate.claim.is_none() => None,
            Self::One(gate) => Some((OPEN, vec![Box::new(gate.lock), Box::new(gate.lock_key()), Box::new(gate.claim)])),
            Self::Try(_) | Self::Group(_) => self.try_locks(),
            Self::All(subjects) => {
                // Everybody who takes several of these locks takes them in this order, so that they never wait for each
                // other in a circle.
                let mut keys: Vec<i64> = subjects.iter().map(|subject| lock_key(*subject)).collect();
                keys.sort_unstable();
                Some((OPEN_ALL, vec![Box::new(keys)]))
            }
        }
    }

    fn try_locks(&self) -> Option<LockStatement> {
        let subjects: Vec<Uuid> = self.gates().iter().map(|gate| gate.subject.0).collect();
        let (locks, claims) = self.locks_and_claims();
        Some((OPEN_GROUP, vec![Box::new(subjects), Box::new(locks), Box::new(claims)]))
    }

    /// For each person the keys of the lock that is shared and of the one that is claimed, if there are any.
    fn locks_and_claims(&self) -> (Vec<Option<i64>>, Vec<Option<i64>>) {
        let lock = |gate: &Gate| (gate.lock == SHARED).then(|| gate.lock_key());
        self.gates().iter().map(|gate| (lock(gate), gate.claim)).unzip()
    }

    /// The gates of those whose locks are only tried.
    fn gates(&self) -> &[Gate] {
        match self {
            Self::Try(gate) => std::slice::from_ref(gate),
            Self::Group(gates) => gates,
            Self::One(_) | Self::All(_) => &[],
        }
    }
}

/// A transaction that is a part of a group's. It has two flights: what it reads, and what it stores.
struct Member {
    gate: Gate,
    role: Role,
    /// Puts the member in line for the next group.
    join: Box<dyn Fn(Joining) + Send + Sync>,
    /// Where the member sends what it stores, after its first flight. Dropped, it leaves the group.
    link: Mutex<Option<oneshot::Sender<Part>>>,
}

impl Member {
    async fn open(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, DbError> {
        let (opened, answer) = oneshot::channel();
        (self.join)(Joining { gate: self.gate, role: self.role, wish: Wish::Open(queries, opened) });
        let Opened { rows, link } = answer.await.map_err(|_| group::again())??;
        *self.link.lock().expect("no one panics while joining") = Some(link);
        Ok(rows)
    }

    async fn store(&self, queries: Vec<Query>) -> Result<(), DbError> {
        let link = self.link.lock().expect("no one panics while joining").take();
        let (done, outcome) = oneshot::channel();
        let sent = link.ok_or_else(group::again)?.send(Part { queries, done });
        sent.map_err(|_| group::again())?;
        // Whether a leader that ended without a word had sent its COMMIT, nobody knows.
        outcome.await.map_err(|_| DbError::Unreachable("a group's transaction broke off".to_owned()))?
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let unfinished = !matches!(self.state.load(Ordering::Acquire), CLOSED | UNOPENED);
        if let Way::Own(own) = &mut self.way
            && let Some(connection) = own.connection.take()
            && unfinished
        {
            // Closing the connection makes the server roll back, or end the only statement; the pool opens another.
            drop(Object::take(connection));
        }
    }
}

impl Db {
    /// A transaction on a connection of its own.
    pub(crate) async fn own_tx(&self, role: Role, opening: Opening) -> Result<Tx, DbError> {
        let connection = Some(self.get().await?);
        let (key, pool_age) = (self.key.clone(), self.age.clone());
        let minter = Minter { key, role, minted: Mutex::default(), pool_age };
        Ok(Tx::new(Way::Own(Box::new(Own { connection, minter, opening }))))
    }
}
