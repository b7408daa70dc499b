//! Running transactions: alone, and again after a conflict, or as a member of a group.

use std::time::{Duration, Instant};

use context::{Ctx, Role, SubjectId};
use futures_util::future;
use tokio::sync::oneshot;

use crate::{
    Db, DbError, Transient,
    gate::{Gate, SHARED},
    group::{Joining, MOST, Merged, Opened, Wish, again, split},
    query::Query,
    tx::{Opening, Tx},
};

const ATTEMPTS: u32 = 5;
/// How long a leader waits for a member to decide.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a leader waits for the database: a little longer than the database lets a statement run.
const FLIGHT_TIMEOUT: Duration = Duration::from_secs(40);

impl Db {
    /// Runs one transaction, and again if another transaction was faster. `work` must be repeatable. (An `AsyncFn`
    /// would read better; its futures are not provably `Send` yet.)
    pub async fn run_tx<T, E, F, Fut>(&self, name: &'static str, ctx: &Ctx, gate: Gate, work: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<DbError> + Transient + std::fmt::Display,
    {
        let attempt = |number| {
            // After a conflict the next attempt holds the subject's lock alone, so that each round lets one transaction
            // through.
            let gate = if number > 1 && gate.lock == SHARED { gate.and_alone() } else { gate };
            end_on(self, ctx.role, Opening::One(gate), &work)
        };
        self.again(name, attempt).await
    }

    /// Makes attempts, whose numbers begin with 1, until one is over for good.
    async fn again<T, E, Fut>(&self, name: &'static str, attempt: impl Fn(u32) -> Fut) -> Result<T, E>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Transient + std::fmt::Display,
    {
        let started = Instant::now();
        let mut number = 1;
        loop {
            match attempt(number).await {
                Err(error) if number < ATTEMPTS && error.is_transient() => {
                    tracing::debug!(tx = name, attempt = number, %error, "trying again");
                    number += 1;
                }
                outcome => {
                    note(name, number, started, outcome.is_ok());
                    return outcome;
                }
            }
        }
    }

    /// Like [`Db::run_tx`], for a transaction that others may share: it sends one flight and queues the rest, and all
    /// parameters of its statements are lists ([`crate::Query::list`]). It waits for no lock of its person while others
    /// could run, and for no other lock for long. If it can't be done so, or if the shared transaction fails, it runs again
    /// alone.
    pub async fn run_shared<T, E, F, Fut>(&self, name: &'static str, ctx: &Ctx, gate: Gate, work: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<DbError> + Transient + std::fmt::Display,
    {
        if gate.is_common() {
            let started = Instant::now();
            let outcome = match alone(self, gate.subject) {
                Some(_turn) => {
                    let end = end_on(self, ctx.role, Opening::Try(gate), &work);
                    // A slot is nobody's for ever. The transaction has two flights.
                    let late = |_| E::from(DbError::Unreachable("it does not answer".to_owned()));
                    tokio::time::timeout(2 * FLIGHT_TIMEOUT, end).await.map_err(late).flatten()
                }
                None => {
                    let db = self.clone();
                    let join = move |joining| join(&db, joining);
                    end(Tx::joined(gate, ctx.role, join), &work).await
                }
            };
            match outcome {
                Err(error) if may_end_alone(&error) => tracing::debug!(tx = name, %error, "trying again alone"),
                outcome => {
                    note(name, 1, started, outcome.is_ok());
                    return outcome;
                }
            }
        }
        self.run_tx(name, ctx, gate, work).await
    }

    /// Stores something by a statement that is a transaction of its own, which others may share, without reading anything
    /// before. The statement looks whether everything is as it was taken to be, and if so it stores. Its first parameters
    /// are the ticket, the key of the lock that is shared and the key that is claimed; the others are lists
    /// ([`Query::list`]), the first of which holds the person. Its only row says as `stored` for whom it has stored
    /// something.
    pub async fn run_at_once(
        &self,
        name: &'static str,
        ctx: &Ctx,
        gate: Gate,
        query: Query,
    ) -> Result<AtOnce, DbError> {
        if !gate.is_common() || gate.lock != SHARED || !query.is_about(gate.subject.0) {
            return Ok(AtOnce::Failed);
        }
        let started = Instant::now();
        let outcome = match alone(self, gate.subject) {
            Some(_turn) => {
                let tx = self.own_tx(ctx.role, Opening::Try(gate)).await?;
                in_time(tx.at_once(&query)).await.map(|stored| stored == [gate.subject.0])
            }
            None => {
                let (stored, outcome) = oneshot::channel();
                join(self, Joining { gate, role: ctx.role, wish: Wish::Store(query, stored) });
                // Whether a leader that ended without a word had sent its statement, nobody knows.
                let lost = |_| DbError::Unreachable("a group's transaction broke off".to_owned());
                outcome.await.map_err(lost)?
            }
        };
        note(name, 1, started, outcome.is_ok());
        match outcome {
            Ok(true) => Ok(AtOnce::Stored),
            Ok(false) => Ok(AtOnce::Otherwise),
            Err(error) if may_end_alone(&error) => Ok(AtOnce::Failed),
            Err(error) => Err(error),
        }
    }

    /// Runs one transaction over the rows of several persons, whose locks it holds alone and whose statements may take 15
    /// minutes; and again if another transaction was faster. `work` must be repeatable.
    pub async fn run_for_all<T, E, F, Fut>(
        &self,
        name: &'static str,
        role: Role,
        subjects: &[SubjectId],
        work: F,
    ) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<DbError> + Transient + std::fmt::Display,
    {
        self.again(name, |_| end_on(self, role, Opening::All(subjects.to_vec()), &work)).await
    }
}

/// Whether a transaction that others wait for may succeed where nobody does: it waits for locks longer there.
fn may_end_alone(error: &(impl Transient + ?Sized)) -> bool {
    error.is_transient() || error.is_lock_taken()
}

/// What became of a command that was stored without reading anything before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// It is stored.
    Stored,
    /// Something is otherwise than it was taken to be: the command has to read and decide.
    Otherwise,
    /// Nothing is stored, because the transaction failed, perhaps for another member of its group, or can't be shared: the
    /// command has to read and decide, and in a transaction of its own.
    Failed,
}

/// Notes a transaction that is over.
fn note(name: &'static str, attempt: u32, started: Instant, ok: bool) {
    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(tx = name, attempt, elapsed_us, ok, "transaction");
}

/// Runs the work in a transaction on a connection of its own.
async fn end_on<T, E, F, Fut>(db: &Db, role: Role, opening: Opening, work: &F) -> Result<T, E>
where
    F: Fn(Tx) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<DbError>,
{
    end(db.own_tx(role, opening).await?, work).await
}

/// Runs the work of a transaction and ends it.
async fn end<T, E, F, Fut>(tx: Tx, work: &F) -> Result<T, E>
where
    F: Fn(Tx) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<DbError>,
{
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

/// A transaction that is under way, alone or of a group. When it ends, the next group begins.
pub(crate) struct Turn {
    db: Db,
    subjects: Vec<SubjectId>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.db.group.state();
        state.leading -= 1;
        for subject in &self.subjects {
            state.busy.remove(subject);
        }
        drop(state);
        begin(&self.db);
    }
}

/// Begins a transaction of this person alone, if that keeps nobody waiting; otherwise the person has to join a group.
pub(crate) fn alone(db: &Db, subject: SubjectId) -> Option<Turn> {
    let mut state = db.group.state();
    if state.leading >= state.slots || !state.waiting.is_empty() || !state.busy.insert(subject) {
        return None;
    }
    state.leading += 1;
    Some(Turn { db: db.clone(), subjects: vec![subject] })
}

/// Joins the next group.
pub(crate) fn join(db: &Db, joining: Joining) {
    let mut state = db.group.state();
    if state.waiting.len() % MOST == MOST - 1 {
        // While all slots are taken, only this forgets requests that have ended.
        state.waiting.retain(|waiting| !waiting.wish.is_closed());
    }
    state.waiting.push_back(joining);
    drop(state);
    begin(db);
}

/// Begins as many groups as may run, of those who wait.
fn begin(db: &Db) {
    loop {
        let members = db.group.state().next();
        let Some(first) = members.first() else { return };
        let role = first.role;
        let subjects = members.iter().map(|member| member.gate.subject).collect();
        let turn = Turn { db: db.clone(), subjects };
        tokio::spawn(async move { lead(&turn, role, members).await });
    }
}

/// What members are told when the last flight of their group failed. A COMMIT that was not answered may have stored what
/// they did, and a full disk would refuse each of them too; otherwise nothing is stored, and each runs again alone.
fn told(error: &DbError) -> DbError {
    match error {
        DbError::Unreachable(_) | DbError::StorageFull { .. } | DbError::OutOfOrder { .. } => error.clone(),
        _ => again(),
    }
}

/// Notes why a group failed; its members say only that they run again.
fn note_failed(error: &DbError, members: usize) {
    if matches!(error, DbError::Fault { .. } | DbError::Refused) {
        tracing::error!(%error, members, "a shared transaction failed");
    } else {
        tracing::warn!(%error, members, "a shared transaction failed");
    }
}

/// Waits for a flight, and no longer than the database lets its statements run.
async fn in_time<T>(flight: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    let late = |_| DbError::Unreachable("it does not answer".to_owned());
    tokio::time::timeout(FLIGHT_TIMEOUT, flight).await.map_err(late)?
}

/// Takes a transaction back. If the database does not answer, the connection is closed when the transaction is dropped.
async fn give_up(tx: &Tx) {
    if tokio::time::timeout(FLIGHT_TIMEOUT, tx.roll_back()).await.is_err() {
        tracing::warn!("a shared transaction could not be taken back");
    }
}

/// Runs the transaction of a group, whose members all have the same kind of wish.
async fn lead(turn: &Turn, role: Role, members: Vec<Joining>) {
    let gates: Vec<Gate> = members.iter().map(|member| member.gate).collect();
    let (mut openings, mut storings) = (Vec::new(), Vec::new());
    for Joining { gate, wish, .. } in members {
        match wish {
            Wish::Open(queries, answer) => openings.push(((gate.subject, queries), answer)),
            Wish::Store(query, answer) => storings.push((query, answer)),
        }
    }
    let (queries, answers) = openings.into_iter().unzip();
    let (stores, stored): (Vec<Query>, Vec<_>) = storings.into_iter().unzip();
    match stores.into_iter().reduce(Query::merge) {
        Some(store) => lead_at_once(turn, role, gates, &store, stored).await,
        None => lead_in_two(turn, role, gates, queries, answers).await,
    }
}

/// Answers all that wait.
fn answer_all<T>(answers: Vec<oneshot::Sender<Result<T, DbError>>>, error: &DbError) {
    answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
}

/// Stores what all members want to be stored, by one statement.
async fn lead_at_once(
    turn: &Turn,
    role: Role,
    gates: Vec<Gate>,
    store: &Query,
    answers: Vec<oneshot::Sender<Result<bool, DbError>>>,
) {
    let tx = match turn.db.own_tx(role, Opening::Group(gates.clone())).await {
        Ok(tx) => tx,
        // Each of them would wait for a connection too.
        Err(error) => return answer_all(answers, &error),
    };
    let stored = in_time(tx.at_once(store)).await;
    // A connection that has not answered is closed.
    drop(tx);
    match stored {
        Ok(stored) => {
            for (gate, answer) in gates.iter().zip(answers) {
                drop(answer.send(Ok(stored.contains(&gate.subject.0))));
            }
        }
        Err(error) => {
            note_failed(&error, gates.len());
            answer_all(answers, &told(&error));
        }
    }
}

/// Reads what all members want to read in one flight, and stores what they decide in another one.
async fn lead_in_two(
    turn: &Turn,
    role: Role,
    gates: Vec<Gate>,
    queries: Vec<(SubjectId, Vec<Query>)>,
    answers: Vec<oneshot::Sender<Result<Opened, DbError>>>,
) {
    let reads = Merged::of(queries);
    let tx = match turn.db.own_tx(role, Opening::Group(gates.clone())).await {
        Ok(tx) => tx,
        // Each of them would wait for a connection too.
        Err(error) => return answer_all(answers, &error),
    };
    let opened = in_time(tx.open_group(reads.queries)).await;
    let opened = opened.and_then(|(stay, rows)| Ok((stay, split(&gates, &reads.places, rows)?)));
    let (stay, rows) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            note_failed(&error, gates.len());
            // Nothing is stored. Before they run again alone, the locks and claims are free.
            give_up(&tx).await;
            return answer_all(answers, &again());
        }
    };
    let (mut parts, mut left_out) = (Vec::new(), Vec::new());
    for (at, (answer, rows)) in answers.into_iter().zip(rows).enumerate() {
        let stays = stay.contains(&gates[at].subject.0);
        match rows {
            // A member that has gone meanwhile drops its link.
            Some(rows) if stays => {
                let (link, part) = oneshot::channel();
                parts.push((gates[at].subject, part));
                drop(answer.send(Ok(Opened { rows, link })));
            }
            None if stays => left_out.push(answer),
            _ => drop(answer.send(Err(again()))),
        }
    }
    let decided = parts.iter_mut().map(|(_, part)| tokio::time::timeout(PATIENCE, part));
    let decided = future::join_all(decided).await;
    let subjects = parts.iter().map(|(subject, _)| *subject);
    let sent = subjects.zip(decided).filter_map(|(subject, part)| Some((subject, part.ok()?.ok()?)));
    let (queries, done): (Vec<_>, Vec<_>) = sent.map(|(subject, part)| ((subject, part.queries), part.done)).unzip();
    let writes = Merged::of(queries);
    let nothing = writes.queries.is_empty();
    let stored = if nothing { Ok(Vec::new()) } else { in_time(tx.finish_all(writes.queries)).await };
    if let Err(error) = &stored {
        note_failed(error, done.len());
    }
    if nothing || stored.is_err() {
        give_up(&tx).await;
    }
    drop(tx);
    for (done, places) in done.into_iter().zip(writes.places) {
        let outcome = match &stored {
            _ if places.is_none() => Err(again()),
            Ok(_) => Ok(()),
            Err(error) => Err(told(error)),
        };
        drop(done.send(outcome));
    }
    // Their claims are free now.
    answer_all(left_out, &again());
    for (_, mut late) in parts {
        if let Ok(part) = late.try_recv() {
            drop(part.done.send(Err(again())));
        }
    }
}
