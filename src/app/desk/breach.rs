//! The breach desk. Each breach is a stream of the log that is about nobody in particular (GDPR Art. 33(5)).

use context::{Ctx, SubjectId};
use db::FromRow;
use domain::desk::breach::{Breach, BreachCommand, BreachEvent, Progress};
use event_log::{Event, cqrs_es::Aggregate};
use projections::{
    desk::alert::{newest_of_type, newest_place},
    log::audit::stream_newest,
    page::{Page, TimedPlace},
};
use uuid::Uuid;

use crate::app::{
    App, AppError,
    frame::{self, IdempotentRequest, Once, newest_of},
};

/// Runs a command on a breach in the name of a member of staff; returns the breach's id and state.
pub async fn decide(
    app: &App,
    staff: &Ctx,
    operation: &'static str,
    (breach, command): (Uuid, BreachCommand),
    request: Option<&IdempotentRequest<'_>>,
) -> Result<Once<(Uuid, Progress)>, AppError> {
    let claim = frame::staff_claim(app, staff, operation, request).await?;
    let answer = |newest: Option<Event>| Ok((breach, progress(&newest.ok_or(AppError::NotFound("breach"))?)?));
    let id = breach.to_string();
    frame::system_command_once::<Breach, _>(app, operation, staff, (&id, command), claim, answer).await
}

/// The state of one breach.
pub async fn get(app: &App, breach: Uuid) -> Result<Progress, AppError> {
    let id = breach.to_string();
    let [rows] = frame::system_query(app, "breach_get", || [stream_newest(SubjectId::NIL, Breach::TYPE, &id)]).await?;
    progress(&newest_of(&rows).ok_or(AppError::NotFound("breach"))?)
}

/// A page of the breaches; the one that changed last comes first.
pub async fn list(app: &App, page: &Page<TimedPlace>) -> Result<(Vec<(Uuid, Progress)>, Option<TimedPlace>), AppError> {
    let [rows] = frame::system_query(app, "breach_list", || [newest_of_type(Breach::TYPE, None, page)]).await?;
    let (events, next) = page.cut(Event::from_rows(&rows), newest_place);
    let read = |event: &Event| {
        let id = event.aggregate_id.parse().map_err(|_| AppError::Corrupt("a breach without an id".to_owned()))?;
        Ok((id, progress(event)?))
    };
    Ok((events.iter().map(read).collect::<Result<_, AppError>>()?, next))
}

fn progress(event: &Event) -> Result<Progress, AppError> {
    let event: Result<BreachEvent, _> = serde_json::from_str(&event.payload);
    event.map(|event| event.progress().clone()).map_err(|_| AppError::Corrupt("a breach does not load".to_owned()))
}
