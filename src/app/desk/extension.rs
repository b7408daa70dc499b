//! More time to answer a person's request (GDPR Art. 12(3)).

use chrono::{DateTime, Utc};
use context::{Ctx, Role};
use db::FromRow;
use domain::desk::extension::{Extend, Extension, due_at};
use event_log::cqrs_es::Aggregate;
use projections::{
    desk::compliance::{OpenRequest, request_list},
    log::audit::stream_newest,
};
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        desk::opening::by_staff,
        frame::{self, Frame, IdempotentRequest, Once},
        letter::{address_of, contact},
        reason,
    },
    mail::Letter,
};

/// Extends the time to answer a request by two months, and tells the person why (GDPR Art. 12(3)); returns the new end.
pub async fn extend(
    app: &App,
    staff: &Ctx,
    request: Uuid,
    reason: &str,
    repeatable: Option<&IdempotentRequest<'_>>,
) -> Result<Once<DateTime<Utc>>, AppError> {
    let reason = reason::parse(reason)?;
    let reason = reason.as_str();
    let claim = frame::staff_claim(app, staff, "request_extend", repeatable).await?;
    if let Some(answer) = frame::answered(app, Frame::act("request_extend", staff), claim.as_ref()).await? {
        return Ok(answer);
    }
    let [rows] = frame::system_query(app, "request_get", || [request_list(Some(request), staff.now())]).await?;
    let open = rows.first().map(OpenRequest::from_row).ok_or(AppError::NotFound("open request"))?;
    let until = due_at(open.received_at, true);
    let ctx = &staff.for_subject(open.subject, None).acting_as(Role::Job);
    let received_at = open.received_at;
    let (id, author, details) = (&request.to_string(), by_staff(staff, ctx.subject), format!("reason: {reason}"));
    let reads = || [contact(ctx.subject), stream_newest(ctx.subject, Extension::TYPE, id)];
    let frame = Frame::act("request_extend", ctx).recorded_for(&author, &details).alone();
    frame::command_once(app, frame, claim, reads, move |work, standing, [contact, rows]| async move {
        work.command::<Extension>(id, &rows, Extend { received_at, now: ctx.now() }).await?;
        work.post(&Letter::request_extended(&address_of(&standing.keys, &contact)?, reason, until))?;
        Ok(until)
    })
    .await
}
