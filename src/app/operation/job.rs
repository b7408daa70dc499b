//! Jobs, as staff see them. The system reads them, and nobody whom a job is about is named.

use chrono::{DateTime, Utc};
use db::FromRow;
use projections::{
    operation::job::{JobRow, JobState, job_list},
    page::{Page, TimedPlace},
};

use crate::app::{App, AppError, frame};

/// A page of the jobs, newest first; only those in one state, if a state is given.
pub async fn list(
    app: &App,
    state: Option<JobState>,
    page: &Page<TimedPlace>,
) -> Result<(Vec<JobRow>, Option<TimedPlace>), AppError> {
    let [rows] = frame::system_query(app, "job_list", || [job_list(state, page)]).await?;
    Ok(page.cut(JobRow::from_rows(&rows), JobRow::place))
}

/// What happens to a job after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The job is done.
    Done,
    /// The job cannot succeed, for a reason that contains no value of a person.
    Failed(&'static str),
    /// The job runs again at this time.
    Later(DateTime<Utc>),
}
