//! The breach desk. Each breach is a stream of the log that is about nobody in particular (GDPR Art. 33(5)).

use context::{Ctx, SubjectId};
use db::FromRow;
use domain::desk::breach::{Breach, BreachCommand, BreachEvent, Progress};
use event_log::{Event, cqrs_es::Aggregate};
use projections::{desk::alert::newest_of_type, log::audit::stream_newest};
use uuid::Uuid;

use crate::app::{
    App, AppError,
    frame::{self, newest_of},
};

/// The most breaches that are shown.
const SHOWN: i64 = 500;

/// Runs a command on a breach in the name of a member of staff; returns the breach's state.
pub async fn decide(
    app: &App,
    staff: &Ctx,
    operation: &'static str,
    breach: Uuid,
    command: BreachCommand,
) -> Result<Progress, AppError> {
    let outcome = frame::system_command::<Breach>(app, operation, staff, &breach.to_string(), command).await?;
    progress(&outcome.0.ok_or(AppError::NotFound("breach"))?)
}

/// The state of one breach.
pub async fn get(app: &App, breach: Uuid) -> Result<Progress, AppError> {
    let id = breach.to_string();
    let [rows] = frame::system_query(app, "breach_get", || [stream_newest(SubjectId::NIL, Breach::TYPE, &id)]).await?;
    progress(&newest_of(&rows).ok_or(AppError::NotFound("breach"))?)
}

/// All breaches, newest first.
pub async fn list(app: &App) -> Result<Vec<(Uuid, Progress)>, AppError> {
    let [rows] = frame::system_query(app, "breach_list", || [newest_of_type(Breach::TYPE, SHOWN)]).await?;
    let read = |row| {
        let event = Event::from_row(row);
        let id = event.aggregate_id.parse().map_err(|_| AppError::Corrupt("a breach without an id".to_owned()))?;
        Ok((id, progress(&event)?))
    };
    rows.iter().map(read).collect()
}

fn progress(event: &Event) -> Result<Progress, AppError> {
    let event: Result<BreachEvent, _> = serde_json::from_str(&event.payload);
    event.map(|event| event.progress().clone()).map_err(|_| AppError::Corrupt("a breach does not load".to_owned()))
}
