//! Reads of personal data are events: an answer leaves only once the read is on record.

use std::sync::Arc;

use context::{Ctx, EventId, Personal, SubjectId};
use domain::log::access::{ACCESS, ACCESS_REFUSED, DATA_ACCESSED};
use event_log::{Actor, Event, Trail};
use vault::SubjectKeys;

use crate::app::{App, AppError, frame, log::access_log::Read};

/// The event that `count` values of `what` about a person were read. The batch fills in stream, sequence and metadata.
pub(crate) fn access_event(ctx: &Ctx, subject: SubjectId, what: &str, count: usize) -> Event {
    Event {
        aggregate_type: ACCESS.to_owned(),
        aggregate_id: String::new(),
        sequence: 0,
        event_type: DATA_ACCESSED.to_owned(),
        event_version: "1.0".to_owned(),
        payload: serde_json::json!({ "what": what, "count": count }).to_string(),
        metadata: String::new(),
        event_id: EventId::random(),
        subject_id: subject,
        kind: what.to_owned(),
        recorded_at: ctx.now(),
    }
}

/// Records that the caller read `count` values of `what`; `details` (a range, a filter) are sealed.
pub async fn note_read(
    app: &App,
    ctx: &Ctx,
    keys: Arc<SubjectKeys>,
    what: &str,
    count: usize,
    details: String,
) -> Result<(), AppError> {
    let event = access_event(ctx, ctx.subject, what, count);
    record_access(app, ctx, event, keys, details).await
}

/// Records that a signed-in caller asked for something that does not exist or is not theirs. A session that has ended
/// leaves no entry.
pub async fn record_refusal(app: &App, ctx: &Ctx, status: u16, path: &str) -> Result<(), AppError> {
    // A refusal because of a suspension is not counted, because it must not lead to the next suspension.
    if status == 403 && matches!(frame::acting_keys(app, ctx).await, Err(AppError::Suspended { .. })) {
        return Ok(());
    }
    match note_refusal(app, ctx, ACCESS, status, path).await {
        Err(AppError::SignedOut) => Ok(()),
        outcome => outcome,
    }
}

/// Records that a request for `what` was refused with a status, because data was opened to decide so or because the
/// caller tried what they may not do; `details` are sealed.
pub(crate) async fn note_refusal(app: &App, ctx: &Ctx, what: &str, status: u16, details: &str) -> Result<(), AppError> {
    let keys = frame::right_keys(app, ctx).await?;
    let mut event = access_event(ctx, ctx.subject, what, 1);
    event.event_type = ACCESS_REFUSED.to_owned();
    event.payload = serde_json::json!({ "status": status }).to_string();
    record_access(app, ctx, event, keys, details.to_owned()).await
}

/// Records that a signed-in caller read `count` entries of `what` that are not sealed. Refuses if the session has ended
/// or is suspended.
pub async fn note_session_read(
    app: &App,
    ctx: &Ctx,
    what: &str,
    count: usize,
    details: String,
) -> Result<(), AppError> {
    let keys = frame::acting_keys(app, ctx).await?;
    note_read(app, ctx, keys, what, count, details).await
}

async fn record_access(
    app: &App,
    ctx: &Ctx,
    event: Event,
    keys: Arc<SubjectKeys>,
    details: String,
) -> Result<(), AppError> {
    let trail = Trail { details: Some(Personal::new(details)), ..Trail::of(&ctx.client) };
    app.access_log.record(Read { event, actor: Actor::of(ctx), trail, keys }).await
}
