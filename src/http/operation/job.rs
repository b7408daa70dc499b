//! The jobs, for staff: what waits, what a server works on, what failed. Nobody whom a job is about is named. Called by
//! the compliance desk and by auditors.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Query, payload::Json};
use projections::operation::job::{JobRow, JobState};
use uuid::Uuid;

use crate::{
    app::{App, log::access, operation::job},
    http::{
        problem::Refusal,
        request::{caller::Staff, cursor, number::Whole},
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// One job.
#[derive(Object)]
pub struct JobAnswer {
    /// The job's id.
    job_id: Uuid,
    /// What the job does, such as `deletion`, `export`, `retention` or `retention_sweep`.
    kind: String,
    /// The state of the job.
    state: OneOf<JobState>,
    /// When it is due.
    #[oai(serialize_with = "in_utc")]
    due_at: DateTime<Utc>,
    /// How often a server has tried it.
    attempts: i32,
    /// Until when the server that works on the job holds it; absent if no server works on it.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    lease_until: Option<DateTime<Utc>>,
    /// Why the last try failed; absent if it did not.
    #[oai(skip_serializing_if_is_none)]
    failure: Option<String>,
    /// When it was added.
    #[oai(serialize_with = "in_utc")]
    created_at: DateTime<Utc>,
    /// When the job was done or failed for good; absent if it has not ended.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    ended_at: Option<DateTime<Utc>>,
}

/// A page of jobs.
#[derive(Object)]
pub struct JobsAnswer {
    /// The jobs, newest first.
    jobs: Vec<JobAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

impl From<JobRow> for JobAnswer {
    fn from(row: JobRow) -> Self {
        Self {
            job_id: row.job,
            kind: row.kind,
            state: OneOf(row.state),
            due_at: row.due_at,
            attempts: row.attempts,
            lease_until: row.lease_until,
            failure: row.failure,
            created_at: row.created_at,
            ended_at: row.ended_at,
        }
    }
}

pub struct JobApi;

#[OpenApi(prefix_path = "/v1/admin", tag = "Tag::Admin")]
impl JobApi {
    /// See the jobs
    ///
    /// The jobs of all servers, newest first; with `state`, only those in that state. Nobody whom a job is about is named.
    #[oai(path = "/jobs", method = "get", operation_id = "job_list")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: Staff,
        /// Only jobs in this state; absent: in any state.
        state: Query<Option<OneOf<JobState>>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many jobs at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<JobsAnswer>, Refusal> {
        let page = cursor::page(&cursor, &limit, 100)?;
        access::note_session_read(&app, caller.ctx(), "admin", 1, "jobs".to_owned()).await?;
        let (jobs, next) = job::list(&app, state.0.map(|state| state.0), &page).await?;
        let jobs = jobs.into_iter().map(JobAnswer::from).collect();
        Ok(Json(JobsAnswer { jobs, next_cursor: next.map(cursor::make) }))
    }
}
