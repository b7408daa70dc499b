//! Whether the server can do its work, which `/ready` tells.
//!
//! Promises: the server tries instead of assuming. A fresh backend reads the log and commits a write, so that missing
//! files, a full disk or a lost right show even while older connections still work. There is one look at a time, and
//! its result is kept for some seconds, so that many callers do not load the database. Refuses to tell callers the
//! reason, because anybody may ask; the reason is written to the server's log once.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use context::{Clock, Ctx, NodeId};
use db::{Db, Gate, Query};
use projections::operation::readiness::{ready_answer, ready_read, ready_write};

use crate::{app::AppError, supervisor::Cluster};

/// How long the result of a look is kept; a bad one is kept for less time, so that the server is ready as soon as its
/// database is.
const KEPT_GOOD: Duration = Duration::from_secs(5);
const KEPT_BAD: Duration = Duration::from_secs(1);
/// How long one look at the database may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// How old the last growth of the tree may be; the tree is checked once a second.
const TREE_LIMIT: Duration = Duration::from_secs(30);

/// A condition that must be true for the server to do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The server's own PostgreSQL runs, if it has one.
    OwnPostgres,
    /// The database can be read.
    Read,
    /// The database can be written.
    Write,
    /// The tree over the log was brought up to date within the last half minute.
    Tree,
    /// No reads wait in the local journal for the database.
    Journal,
}

impl Need {
    /// The name of this need in the answer of `/ready`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnPostgres => "own_postgres",
            Self::Read => "read",
            Self::Write => "write",
            Self::Tree => "tree",
            Self::Journal => "journal",
        }
    }
}

/// What the server knows about its own state.
pub struct Readiness {
    api: Db,
    probe: Db,
    clock: Clock,
    journal: PathBuf,
    cluster: OnceLock<Weak<Cluster>>,
    tree_grew: Mutex<Option<Instant>>,
    look: tokio::sync::Mutex<Option<Look>>,
}

/// The result of a look at the database: what is lacking, and when it was found.
#[derive(Clone)]
struct Look {
    at: Instant,
    lacking: Vec<Need>,
    reason: Option<String>,
}

impl Readiness {
    /// Knows nothing yet. `api` is the pool of requests; `probe` is a pool with one connection of the system's login,
    /// which is used for nothing else.
    pub fn new(api: Db, probe: Db, clock: Clock, journal: PathBuf) -> Self {
        let (cluster, tree_grew, look) = Default::default();
        Self { api, probe, clock, journal, cluster, tree_grew, look }
    }

    /// Also checks the server's own PostgreSQL from now on.
    pub fn watch_cluster(&self, cluster: &Arc<Cluster>) {
        // An error means that the cluster was set before; a server has only one, so it is the same.
        let _ = self.cluster.set(Arc::downgrade(cluster));
    }

    /// Notes that the tree is up to date.
    pub fn tree_grew(&self) {
        *self.tree_grew.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn tree_grows(&self) -> bool {
        let grew = *self.tree_grew.lock().unwrap_or_else(PoisonError::into_inner);
        grew.is_some_and(|at| at.elapsed() < TREE_LIMIT)
    }

    fn cluster_runs(&self) -> bool {
        let Some(cluster) = self.cluster.get() else { return true };
        cluster.upgrade().is_some_and(|cluster| cluster.is_seen_running())
    }

    /// Whether reads wait in the journal, which is removed when they are stored.
    async fn journal_waits(&self) -> bool {
        tokio::fs::metadata(&self.journal).await.is_ok_and(|found| found.len() > 0)
    }
}

/// Everything that is lacking; empty if the server can do its work.
pub async fn lacking(readiness: &Readiness) -> Vec<Need> {
    let look = look_kept(readiness).await;
    let now = [
        (Need::OwnPostgres, readiness.cluster_runs()),
        (Need::Tree, readiness.tree_grows()),
        (Need::Journal, !readiness.journal_waits().await),
    ];
    let now = now.into_iter().filter(|(_, holds)| !holds).map(|(need, _)| need);
    look.into_iter().chain(now).collect()
}

/// What the database lacked at the last look; looks again if that is too old.
async fn look_kept(readiness: &Readiness) -> Vec<Need> {
    let mut last = readiness.look.lock().await;
    let kept = |look: &Look| if look.lacking.is_empty() { KEPT_GOOD } else { KEPT_BAD };
    if let Some(look) = last.as_ref().filter(|look| look.at.elapsed() < kept(look)) {
        return look.lacking.clone();
    }
    let look = look(readiness).await;
    if last.as_ref().and_then(|last| last.reason.as_ref()) != look.reason.as_ref() {
        match &look.reason {
            Some(reason) => tracing::error!(lacking = ?look.lacking, reason, "the server is not ready"),
            None => tracing::info!("the database can be read and written"),
        }
    }
    last.insert(look).lacking.clone()
}

async fn look(readiness: &Readiness) -> Look {
    let readable = within_limit(probe_read(readiness)).await;
    let writable = match &readable {
        Ok(()) => within_limit(probe_write(readiness)).await,
        Err(_) => Ok(()),
    };
    let lacking = match (&readable, &writable) {
        (Err(_), _) => vec![Need::Read, Need::Write],
        (_, Err(_)) => vec![Need::Write],
        _ => Vec::new(),
    };
    // Closed, so that the next look gets a fresh backend again.
    readiness.probe.close_idle();
    Look { at: Instant::now(), lacking, reason: readable.and(writable).err() }
}

/// Reads once with the pool of requests and once with a fresh backend.
async fn probe_read(readiness: &Readiness) -> Result<(), AppError> {
    probe(readiness, &readiness.api, "ready_answer", &|| [ready_answer()]).await?;
    probe(readiness, &readiness.probe, "ready_read", &|| [ready_read()]).await
}

/// Commits the insertion and removal of a row, which no other transaction ever sees.
async fn probe_write(readiness: &Readiness) -> Result<(), AppError> {
    let node = NodeId::random();
    probe(readiness, &readiness.probe, "ready_write", &|| ready_write(node)).await
}

async fn probe<const N: usize>(
    readiness: &Readiness,
    pool: &Db,
    operation: &'static str,
    queries: &(dyn Fn() -> [Query; N] + Sync),
) -> Result<(), AppError> {
    let ctx = &Ctx::system(readiness.clock.clone());
    let work = move |tx: db::Tx| async move { Ok(tx.finish(queries()).await.map(drop)?) };
    pool.run_tx(operation, ctx, Gate::read(ctx), work).await
}

/// The outcome of `work`, or a reason for the log if it takes longer than a look may.
async fn within_limit(work: impl Future<Output = Result<(), AppError>>) -> Result<(), String> {
    match tokio::time::timeout(LOOK_LIMIT, work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} seconds", LOOK_LIMIT.as_secs())),
    }
}
