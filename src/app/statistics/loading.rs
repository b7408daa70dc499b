//! What releases of statistics and lists of hospitals have in common: the ticket under which they run, and how they are
//! loaded.

use chrono::{DateTime, NaiveDate, Utc};
use context::{Ctx, Role};
use db::Row;
use event_log::cqrs_es::Aggregate;
use projections::statistics::release::{log_begin, log_has_people};

use crate::app::{
    App, AppError,
    frame::{self, newest_of},
};

pub(crate) fn ctx(app: &App) -> Ctx {
    Ctx::system(app.clock.clone()).acting_as(Role::Statistics)
}

/// Whether the log has no event about anybody; a choice made then cannot depend on what people did.
pub(crate) async fn nobody_was_here(app: &App) -> Result<bool, AppError> {
    let [rows] = frame::system_query(app, "log_has_people", || [log_has_people()]).await?;
    Ok(rows.is_empty())
}

/// The day on which the log began; `None` if it is empty.
pub(crate) async fn begin_of_log(app: &App) -> Result<Option<NaiveDate>, AppError> {
    let [rows] = frame::system_query(app, "log_begin", || [log_begin()]).await?;
    Ok(rows.first().map(|row| row.get::<_, DateTime<Utc>>("recorded_at").date_naive()))
}

/// The aggregate in the state that the newest event of its stream carries.
pub(crate) fn of_rows<A: Aggregate>(rows: &[Row]) -> Result<A, AppError> {
    let mut aggregate = A::default();
    if let Some(event) = newest_of(rows) {
        let event = serde_json::from_str(&event.payload)
            .map_err(|_| AppError::Corrupt("an event has another shape".to_owned()))?;
        aggregate.apply(event);
    }
    Ok(aggregate)
}
