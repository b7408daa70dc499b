//! Jobs: work that a server leases. Not rebuildable, because the requests, which are events, say what is to be done.
//! Holds random ids, kinds, states and times. An erasure removes a person's jobs except its own job, which is removed
//! later.

use chrono::{DateTime, TimeDelta, Utc};
use context::{JobId, SubjectId};
use db::{FromRow, Query, sql};
use domain::{Choice, Kind, kinds::KINDS};
use uuid::Uuid;

use crate::{
    choice::choice,
    page::{Moment, Page, TimedPlace},
    rights::retention::limit,
};

/// How long a server may go without renewing its lease before another server takes the job.
pub const LEASE: TimeDelta = TimeDelta::seconds(30);

/// A job that this server has leased.
#[derive(Clone, Debug, FromRow)]
pub struct Leased {
    /// The person whom the job is about; nil for the system's own jobs.
    #[row(sql = "j.subject_id", with = SubjectId)]
    pub subject: SubjectId,
    /// The job.
    #[row(sql = "j.job_id", with = JobId)]
    pub job: JobId,
    pub kind: String,
    /// The id of the request that the job carries out.
    #[row(sql = "request_id")]
    pub request: Uuid,
    /// How often the job was tried, this time included.
    pub attempts: i32,
    /// The id of the lease. Only a server that knows it can renew, end or put back the job.
    pub lease: Uuid,
}

/// Adds a job. If a job of the same kind is open for the same request, nothing is added.
pub fn job_add(
    subject: SubjectId,
    kind: &'static str,
    request: Uuid,
    due_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Query {
    Query::new(
        "-- job_add
        INSERT INTO jobs.jobs (subject_id, job_id, kind, request_id, state, due_at, created_at)
        SELECT $1, $2, $3, $4, 'waiting', $5, $6
        WHERE NOT EXISTS (SELECT FROM jobs.jobs WHERE subject_id = $1 AND kind = $3 AND request_id = $4
                          AND state IN ('waiting', 'running'))",
    )
    .bind(subject.0)
    .bind(JobId::random().0)
    .bind(kind)
    .bind(request)
    .bind(due_at)
    .bind(now)
}

/// Adds a job of the system's own that comes again and again. The id of the job follows from its kind, so that all
/// servers together add one.
pub fn job_plan(kind: &'static str, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- job_plan
        INSERT INTO jobs.jobs (subject_id, job_id, kind, request_id, state, due_at, created_at)
        SELECT $1, substr(encode(sha256(convert_to($2, 'UTF8')), 'hex'), 1, 32)::uuid, $2, $1, 'waiting', $3, $3
        WHERE NOT EXISTS (SELECT FROM jobs.jobs WHERE subject_id = $1 AND kind = $2 AND state IN ('waiting', 'running'))
        ON CONFLICT DO NOTHING",
    )
    .bind(SubjectId::NIL.0)
    .bind(kind)
    .bind(now)
}

/// Adds a job for every confirmed deletion that has none. A restored database has no jobs, because backups hold none.
pub fn job_plan_deletions(kind: &'static str, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- job_plan_deletions
        INSERT INTO jobs.jobs (subject_id, job_id, kind, request_id, state, due_at, created_at)
        SELECT subject_id, deletion_id, $1, deletion_id, 'waiting', grace_ends_at, $2
        FROM read.deletions d WHERE state = 'confirmed' AND grace_ends_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM jobs.jobs j WHERE j.subject_id = d.subject_id AND j.request_id = d.deletion_id
                          AND j.state IN ('waiting', 'running'))
        ON CONFLICT DO NOTHING",
    )
    .bind(kind)
    .bind(now)
}

/// Adds a job for each person with a record whose retention is over, by the rule that counts now: the person's own
/// rule, the rule before it while the new rule waits, or the kind's rule. Old rules that were set before shorter rules
/// had to wait count once they are older than `grace`. The job itself decides which records are removed.
pub fn job_plan_retention(kind: &'static str, now: DateTime<Utc>, grace: TimeDelta) -> Query {
    let rule = |kind: &&Kind| Some((kind.name().to_owned(), limit(now, kind.retention_days()?)));
    let (kinds, limits): (Vec<String>, Vec<DateTime<Utc>>) = KINDS.iter().filter_map(rule).unzip();
    Query::new(
        "-- job_plan_retention
        INSERT INTO jobs.jobs (subject_id, job_id, kind, request_id, state, due_at, created_at)
        SELECT subject_id, gen_random_uuid(), $1, $3, 'waiting', $2, $2 FROM (
            SELECT r.subject_id FROM unnest($4::text[], $5::timestamptz[]) AS k (kind, bound)
            JOIN read.records r ON r.recorded_at < k.bound AND r.kind = k.kind
            WHERE NOT EXISTS (SELECT FROM read.retention o WHERE o.subject_id = r.subject_id AND o.kind = r.kind
                              AND CASE WHEN o.counts_from > $2 THEN o.before_days ELSE o.days END IS NOT NULL)
            UNION
            SELECT o.subject_id FROM read.retention o
            JOIN read.records r ON r.subject_id = o.subject_id AND r.kind = o.kind
            WHERE r.recorded_at < $2::timestamptz
                                  - make_interval(days => CASE WHEN o.counts_from > $2 THEN o.before_days ELSE o.days END)
              AND (o.counts_from IS NOT NULL OR o.changed_at <= $6)) due
        WHERE NOT EXISTS (SELECT FROM jobs.jobs j WHERE j.subject_id = due.subject_id AND j.kind = $1
                          AND j.state IN ('waiting', 'running'))",
    )
    .bind(kind)
    .bind(now)
    .bind(Uuid::nil())
    .bind(kinds)
    .bind(limits)
    .bind(now - grace)
}

/// Removes the open jobs of a request.
pub fn job_drop(subject: SubjectId, request: Uuid) -> Query {
    Query::new(
        "-- job_drop
        DELETE FROM jobs.jobs WHERE subject_id = $1 AND request_id = $2 AND state IN ('waiting', 'running')",
    )
    .bind(subject.0)
    .bind(request)
}

/// Removes a person's jobs except those of one request.
pub fn job_drop_others(subject: SubjectId, request: Uuid) -> Query {
    Query::new(
        "-- job_drop_others
        DELETE FROM jobs.jobs WHERE subject_id = $1 AND request_id <> $2",
    )
    .bind(subject.0)
    .bind(request)
}

/// Leases up to `most` jobs that are due or whose lease has expired. A lease that ends later than a server could have
/// taken it for was taken while a clock was ahead. It does not count, because its job would wait until that time comes.
///
/// `MATERIALIZED` makes PostgreSQL choose the jobs once: a join may run a subquery with LIMIT and SKIP LOCKED again for
/// each row, and would get other jobs each time.
pub fn job_lease(lease: Uuid, now: DateTime<Utc>, most: i64) -> Query {
    Query::new(sql!(
        "-- job_lease
        WITH due AS MATERIALIZED (
            SELECT subject_id, job_id FROM jobs.jobs
            WHERE state IN ('waiting', 'running') AND due_at <= $2
              AND (lease_until IS NULL OR lease_until <= $2 OR lease_until > $5)
            ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
        UPDATE jobs.jobs j SET state = 'running', attempts = attempts + 1, lease = $1, lease_until = $3 FROM due
        WHERE j.subject_id = due.subject_id AND j.job_id = due.job_id
        RETURNING ",
        Leased::COLUMNS,
        ""
    ))
    .bind(lease)
    .bind(now)
    .bind(now + LEASE)
    .bind(most)
    .bind(now + LEASE + LEASE)
}

impl Leased {
    /// Renews the lease. Returns no row if the lease was lost.
    pub fn renew(&self, now: DateTime<Utc>) -> Query {
        Query::new(
            "-- job_renew
            UPDATE jobs.jobs SET lease_until = $4 WHERE subject_id = $1 AND job_id = $2 AND lease = $3 RETURNING true",
        )
        .bind(self.subject.0)
        .bind(self.job.0)
        .bind(self.lease)
        .bind(now + LEASE)
    }

    /// Ends the job: done, or failed for good with a reason that holds no value of a person.
    pub fn end(&self, failure: Option<&'static str>, now: DateTime<Utc>) -> Query {
        Query::new(
            "-- job_end
            UPDATE jobs.jobs
            SET state = CASE WHEN $4::text IS NULL THEN 'done' ELSE 'failed' END, failure = $4, ended_at = $5, lease = NULL,
                lease_until = NULL
            WHERE subject_id = $1 AND job_id = $2 AND lease = $3",
        )
        .bind(self.subject.0)
        .bind(self.job.0)
        .bind(self.lease)
        .bind(failure)
        .bind(now)
    }

    /// Puts the job back until `due_at`. Without a failure the job only waits for something, so its attempts count from
    /// 0 again.
    pub fn later(&self, due_at: DateTime<Utc>, failure: Option<&'static str>) -> Query {
        Query::new(
            "-- job_later
            UPDATE jobs.jobs
            SET state = 'waiting', due_at = $4, failure = $5, lease = NULL, lease_until = NULL,
                attempts = CASE WHEN $5::text IS NULL THEN 0 ELSE attempts END
            WHERE subject_id = $1 AND job_id = $2 AND lease = $3",
        )
        .bind(self.subject.0)
        .bind(self.job.0)
        .bind(self.lease)
        .bind(due_at)
        .bind(failure)
    }
}

domain::choice! {
    /// The state of a job.
    JobState { Waiting = "waiting", Running = "running", Done = "done", Failed = "failed" }
}

/// A job as an administrator sees it, without the person.
#[derive(FromRow)]
pub struct JobRow {
    /// The job.
    #[row(sql = "job_id")]
    pub job: Uuid,
    pub kind: String,
    #[row(with = choice)]
    pub state: JobState,
    pub due_at: DateTime<Utc>,
    /// How often the job was tried.
    pub attempts: i32,
    /// When the lease of a server ends.
    pub lease_until: Option<DateTime<Utc>>,
    /// Why the job failed last.
    pub failure: Option<String>,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl JobRow {
    /// Where the job stands in [`job_list`].
    pub fn place(&self) -> TimedPlace {
        (Moment(self.created_at), self.job)
    }
}

/// A page of the jobs, newest first; with a state, only those in this state.
pub fn job_list(state: Option<JobState>, page: &Page<TimedPlace>) -> Query {
    let (at, id) = page.before();
    Query::new(sql!(
        "-- job_list
        SELECT ",
        JobRow::COLUMNS,
        " FROM jobs.jobs
        WHERE ($1::text IS NULL OR state = $1)
          AND (created_at, job_id) < ($2, $3)
        ORDER BY created_at DESC, job_id DESC LIMIT $4"
    ))
    .bind(state.map(Choice::as_str))
    .bind(at)
    .bind(id)
    .bind(page.rows())
}
