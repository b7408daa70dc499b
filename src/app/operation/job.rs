//! Jobs, as staff see them. What they are about is read by the system, and nobody is named.

use chrono::{DateTime, Utc};
use context::Ctx;
use db::FromRow;
use projections::operation::job::{JobRow, job_list};

use crate::app::{
    App, AppError,
    frame::{self},
};

/// The newest jobs, of one state where one is named.
pub async fn list(app: &App, state: Option<String>, limit: i64) -> Result<Vec<JobRow>, AppError> {
    let (ctx, state) = (&Ctx::system(app.clock.clone()), &state);
    frame::system_work(app, &app.db.system, "job_list", ctx, move |work| async move {
        let [rows] = work.tx.finish([job_list(state.clone(), limit)]).await?;
        Ok(rows.iter().map(JobRow::from_row).collect())
    })
    .await
}

/// What is to become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is done.
    Done,
    /// It cannot succeed, for a reason that names no value.
    Failed(&'static str),
    /// It comes again.
    Later(DateTime<Utc>),
}
