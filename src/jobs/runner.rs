//! The runner: leases jobs that are due, does them, and stores how each ended. Several servers may run it: one server
//! leases a job at a time, and another takes the job over when a dead server no longer renews its lease. So a job may
//! begin twice, and each kind of work bears that. Work for a person runs under a ticket of role `job` for that person
//! only.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use context::{DeletionId, ExportId, JobId};
use db::{FromRow, Query};
use projections::operation::job::{Leased, job_lease, job_plan, job_plan_deletions};
use tokio::{task::JoinSet, time::Instant};
use tracing::{Instrument, field::Empty};

use crate::app::{
    App, AppError, frame,
    operation::job::Next,
    rights::{
        consent_lapse::{self, CONSENT_LAPSE_JOB, NOTICE_SWEEP_JOB},
        deletion::{self, DELETION_JOB},
        export::EXPORT_JOB,
        export_run,
        retention::{self, RETENTION_JOB, SWEEP_JOB},
    },
    statistics::release::{self, RELEASE_JOB},
};

/// How many jobs a server does at the same time.
const AT_ONCE: usize = 4;
/// How often the runner looks for jobs that other servers added. Jobs added by this server wake it.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// The longest pause before a failed job is tried again.
const LONGEST_PAUSE_S: i64 = 600;

/// Does jobs until the task is ended.
pub async fn run_jobs(app: Arc<App>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            () = app.wake.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            // A job has ended, so that another can be taken. The branch is off while no job runs.
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
        let free = AT_ONCE.saturating_sub(running.len());
        match lease(&app, free).await {
            Ok(jobs) => jobs.into_iter().for_each(|job| drop(running.spawn(work(app.clone(), job)))),
            Err(error) => tracing::error!(%error, "jobs can't be leased"),
        }
    }
}

/// Does all jobs that are due, one after the other, and returns how many there were.
pub async fn run_due(app: &Arc<App>) -> Result<usize, AppError> {
    let mut done = 0;
    loop {
        match run_some(app, AT_ONCE).await? {
            0 => return Ok(done),
            more => done += more,
        }
    }
}

/// Leases up to `most` jobs that are due, does them one after the other, and returns how many there were.
pub async fn run_some(app: &Arc<App>, most: usize) -> Result<usize, AppError> {
    let jobs = lease(app, most).await?;
    let count = jobs.len();
    for job in jobs {
        work(app.clone(), job).await;
    }
    Ok(count)
}

/// Adds the jobs that no request adds: the daily sweeps for retention and for changed notices, due releases, and
/// confirmed deletions, whose jobs a restored database does not have.
pub async fn plan(app: &App) -> Result<(), AppError> {
    let now = app.clock.now();
    let daily = |kind| job_plan(kind, now);
    let deletions = || job_plan_deletions(DELETION_JOB, now);
    let queries = || [daily(SWEEP_JOB), daily(NOTICE_SWEEP_JOB), daily(RELEASE_JOB), deletions()];
    frame::system_query(app, "job_plan", queries).await.map(drop)
}

async fn lease(app: &App, most: usize) -> Result<Vec<Leased>, AppError> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let (lease, now) = (JobId::random().0, app.clock.now());
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let [rows] = frame::system_query(app, "job_lease", || [job_lease(lease, now, most)]).await?;
    Ok(Leased::from_rows(&rows))
}

/// Does one job in its own span, which records the outcome.
async fn work(app: Arc<App>, job: Leased) {
    let started = Instant::now();
    let (operation, attempts) = (job.kind.clone(), job.attempts);
    let span = tracing::info_span!("job", operation, job = %job.job, attempts, outcome = Empty, elapsed_us = Empty);
    let outcome = do_job(&app, &job).instrument(span.clone()).await;
    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    span.record("outcome", outcome).record("elapsed_us", elapsed_us);
}

/// Does one job while its lease is renewed, and returns how it ended.
async fn do_job(app: &App, job: &Leased) -> &'static str {
    let outcome = tokio::select! {
        outcome = dispatch(app, job) => outcome,
        () = keep_lease(app, job) => {
            tracing::warn!("the lease was lost; another server goes on");
            return "lease_lost";
        }
    };
    let now = app.clock.now();
    let end = || match &outcome {
        Ok(Next::Done) => job.end(None, now),
        Ok(Next::Failed(reason)) => job.end(Some(reason), now),
        Ok(Next::Later(due_at)) => job.later(*due_at, None),
        Err(_) => job.later(now + pause(job.attempts), Some("failed")),
    };
    if let Err(error) = &outcome {
        tracing::error!(%error, "the job failed, and comes again");
    }
    if let Err(error) = on_jobs(app, "job_end", &end).await {
        // The lease will end, and the job is done again.
        tracing::error!(%error, "the end of the job can't be stored");
    }
    match outcome {
        Ok(Next::Done) => "done",
        Ok(Next::Failed(reason)) => reason,
        Ok(Next::Later(_)) => "later",
        Err(_) => "failed",
    }
}

async fn dispatch(app: &App, job: &Leased) -> Result<Next, AppError> {
    match job.kind.as_str() {
        DELETION_JOB => deletion::execute(app, job.subject, DeletionId(job.request)).await,
        EXPORT_JOB => export_run::run(app, job.subject, ExportId(job.request), job.attempts).await,
        RETENTION_JOB => retention::run(app, job.subject).await,
        SWEEP_JOB => retention::sweep(app).await,
        CONSENT_LAPSE_JOB => consent_lapse::lapse(app, job.subject).await,
        NOTICE_SWEEP_JOB => consent_lapse::sweep(app).await,
        RELEASE_JOB => release::due(app).await,
        _ => Ok(Next::Failed("unknown_kind")),
    }
}

/// Renews a lease; returns once it is lost.
async fn keep_lease(app: &App, job: &Leased) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        match on_jobs(app, "job_renew", &|| job.renew(app.clock.now())).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the lease can't be renewed"),
        }
    }
}

/// Runs one statement on the jobs, and returns how many rows it gave.
async fn on_jobs(app: &App, name: &'static str, query: &(dyn Fn() -> Query + Sync)) -> Result<usize, AppError> {
    let [rows] = frame::system_query(app, name, || [query()]).await?;
    Ok(rows.len())
}

/// How long a failed job waits: twice as long each time, up to [`LONGEST_PAUSE_S`].
fn pause(attempts: i32) -> TimeDelta {
    let doublings = u32::try_from(attempts.clamp(1, 10)).unwrap_or(1);
    TimeDelta::seconds(2_i64.pow(doublings).min(LONGEST_PAUSE_S))
}
