//! Jobs, as staff see them. The system reads them, and nobody whom a job is about is named.

use chrono::{DateTime, Utc};
use context::Ctx;
use db::FromRow;
use projections::operation::job::{JobRow, job_list};

use crate::app::{App, AppError, frame};

/// The newest jobs; only those in one state, if a state is given.
pub async fn list(app: &App, state: Option<String>, limit: i64) -> Result<Vec<JobRow>, AppError> {
    let (ctx, state) = (&Ctx::system(app.clock.clone()), &state);
    frame::system_work(app, &app.db.system, "job_list", ctx, move |work| async move {
        let [rows] = work.tx.finish([job_list(state.clone(), limit)]).await?;
        Ok(JobRow::from_rows(&rows))
    })
    .await
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
