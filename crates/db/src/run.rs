//! Running transactions: alone, and again after a conflict, or as a member of a group.

use std::time::{Duration, Instant};

use context::{Ctx, Role, SubjectId};
use futures_util::future;
use tokio::sync::oneshot;

use crate::{
    Db, DbError, Transient,
    gate::{Gate, SHARED},
    group::{Joining, LEADERS, Merged, Opened, again, split},
    tx::{Opening, Tx},
};

const ATTEMPTS: u32 = 5;
/// How long a leader waits for a member to decide.
const PATIENCE: Duration = Duration::from_secs(5);

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
            let gate = if attempt > 1 && gate.lock == SHARED { gate.and_alone() } else { gate };
            let outcome = self.attempt(ctx, gate, &work).await;
            match outcome {
                Err(error) if attempt < ATTEMPTS && error.is_transient() => {
                    tracing::debug!(tx = name, attempt, %error, "trying again");
                    attempt += 1;
                }
                outcome => {
                    note(name, attempt, started, outcome.is_ok());
                    return outcome;
                }
            }
        }
    }

    /// Like [`Db::run_tx`], for a transaction that others may share: it sends one flight, all of whose statements have
    /// only lists as parameters ([`Query::list`]), and queues no others. If it can't be done so, or if the shared
    /// transaction fails, it runs again alone.
    pub async fn run_shared<T, E, F, Fut>(&self, name: &'static str, ctx: &Ctx, gate: Gate, work: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<DbError> + Transient + std::fmt::Display,
    {
        if gate.is_common() {
            let started = Instant::now();
            let outcome = match alone(self, gate.subject) {
                Some(_turn) => self.attempt(ctx, gate, &work).await,
                None => {
                    let db = self.clone();
                    let join = move |joining| join(&db, joining);
                    end(Tx::joined(gate, ctx.role, join), &work).await
                }
            };
            match outcome {
                Err(error) if error.is_transient() => tracing::debug!(tx = name, %error, "trying again alone"),
                outcome => {
                    note(name, 1, started, outcome.is_ok());
                    return outcome;
                }
            }
        }
        self.run_tx(name, ctx, gate, work).await
    }

    async fn attempt<T, E, F, Fut>(&self, ctx: &Ctx, gate: Gate, work: &F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<DbError>,
    {
        end(self.own_tx(ctx.role, Opening::One(gate)).await?, work).await
    }
}

/// Notes a transaction that is over.
fn note(name: &'static str, attempt: u32, started: Instant, ok: bool) {
    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(tx = name, attempt, elapsed_us, ok, "transaction");
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
    if state.leading == LEADERS || !state.waiting.is_empty() || !state.busy.insert(subject) {
        return None;
    }
    state.leading += 1;
    Some(Turn { db: db.clone(), subjects: vec![subject] })
}

/// Joins the next group.
pub(crate) fn join(db: &Db, joining: Joining) {
    db.group.state().waiting.push_back(joining);
    begin(db);
}

/// Begins as many groups as may run, of those who wait.
fn begin(db: &Db) {
    loop {
        let members = db.group.state().next();
        let Some(first) = members.first() else { return };
        let role = first.role;
        let subjects = members.iter().map(|member| member.gate.subject()).collect();
        let turn = Turn { db: db.clone(), subjects };
        tokio::spawn(async move { lead(&turn, role, members).await });
    }
}

/// What a member is told when its group's transaction failed. If the database is out of reach or full it would fail
/// alone too; and where a COMMIT was not answered, nobody may assume that nothing is stored.
fn told(error: &DbError) -> DbError {
    match error {
        DbError::Unreachable(_)
        | DbError::LoginRefused { .. }
        | DbError::StorageFull { .. }
        | DbError::OutOfOrder { .. } => error.clone(),
        _ => again(),
    }
}

/// Runs the transaction of a group.
async fn lead(turn: &Turn, role: Role, members: Vec<Joining>) {
    let gates: Vec<Gate> = members.iter().map(|member| member.gate).collect();
    let (queries, answers): (Vec<_>, Vec<_>) =
        members.into_iter().map(|member| (member.queries, member.opened)).unzip();
    let reads = Merged::of(queries);
    let opened = async {
        let (tx, locks, rows) = turn.db.open_group(role, gates.clone(), reads.queries).await?;
        let rows = split(&gates, &reads.places, rows)?;
        Ok::<_, DbError>((tx, locks, rows))
    };
    let (tx, locks, rows) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return answers.into_iter().for_each(|answer| drop(answer.send(Err(told(&error))))),
    };
    let mut parts = Vec::new();
    for (at, (answer, rows)) in answers.into_iter().zip(rows).enumerate() {
        let sent = match rows {
            Some(rows) if locks.locked[at] => {
                let (link, part) = oneshot::channel();
                parts.push(part);
                answer.send(Ok(Opened { rows, claimed: locks.claimed[at], link }))
            }
            _ => answer.send(Err(again())),
        };
        // Who has gone meanwhile has dropped its link too.
        drop(sent);
    }
    let decided = future::join_all(parts.into_iter().map(|part| tokio::time::timeout(PATIENCE, part))).await;
    let parts = decided.into_iter().filter_map(|part| part.ok()?.ok());
    let (queries, done): (Vec<_>, Vec<_>) = parts.map(|part| (part.queries, part.done)).unzip();
    let writes = Merged::of(queries);
    let stored = if writes.queries.is_empty() {
        tx.roll_back().await;
        Ok(Vec::new())
    } else {
        tx.finish_all(writes.queries).await
    };
    for (done, places) in done.into_iter().zip(writes.places) {
        let outcome = match &stored {
            _ if places.is_none() => Err(again()),
            Ok(_) => Ok(()),
            Err(error) => Err(told(error)),
        };
        drop(done.send(outcome));
    }
}
