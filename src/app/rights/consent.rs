//! Consents: showing, giving and withdrawing them, and objecting to a purpose.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::{Ctx, EventId};
use db::FromRow;
use domain::rights::consent::{Consent, ConsentCommand, ConsentEvent, Purpose};
use event_log::{Event, cqrs_es::Aggregate};
use projections::{
    log::audit::stream_newest,
    page::Page,
    rights::consent::{ConsentRow, consent_history, consent_list, stream_id},
};
use vault::SubjectKeys;

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        identity::known,
        letter::{address_of, contact},
        rights::{decision, receipt},
    },
    auth::accounts::user_get,
    data::ledger::Entry,
};

/// A decision of the past.
pub struct PastDecision {
    /// The event of the decision, by which its receipt is found.
    pub event: EventId,
    /// Whether consent was given.
    pub granted: bool,
    pub objected: bool,
    /// Whether a consent lapsed, because its notice had changed.
    pub lapsed: bool,
    /// The version of the notice that the decision was made on.
    pub notice_version: String,
    /// The SHA-256 of that notice's text, in hexadecimal.
    pub notice_hash: String,
    pub decided_at: DateTime<Utc>,
}

/// Gives or withdraws consent to a purpose. A decision that changes nothing adds no event.
pub async fn decide(
    app: &App,
    ctx: &Ctx,
    purpose: Purpose,
    granted: bool,
    version: Option<&str>,
) -> Result<(), AppError> {
    decide_on(app, "consent_decide", ctx, purpose, granted, &|| decision::command(purpose, granted, version)).await
}

/// Objects to a purpose (GDPR Art. 21), or lifts the objection. A decision that changes nothing adds no event.
pub async fn objection_decide(app: &App, ctx: &Ctx, purpose: Purpose, objected: bool) -> Result<(), AppError> {
    let command = move || {
        let decision = decision::current(purpose);
        if objected { ConsentCommand::Object { decision } } else { ConsentCommand::LiftObjection { decision } }
    };
    decide_on(app, "objection_decide", ctx, purpose, !objected, &command).await
}

/// Decides on a purpose. A decision that `loosens` allows more than before and is an act; withdrawing and objecting are
/// rights.
async fn decide_on(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    purpose: Purpose,
    loosens: bool,
    command: &(dyn Fn() -> ConsentCommand + Sync),
) -> Result<(), AppError> {
    let id = &stream_id(ctx.subject, purpose);
    let reads = || [stream_newest(ctx.subject, Consent::TYPE, id), contact(ctx.subject), user_get(ctx.subject)];
    let frame = Frame::act_if(loosens, operation, ctx);
    // Nothing that relies on the consent is under way any more when a withdrawal is stored.
    let frame = if loosens { frame.shared() } else { frame.alone() };
    frame::command(app, frame, reads, move |work, standing, [rows, contact, user]| async move {
        if let Some(event) = work.command::<Consent>(id, &rows, command()).await? {
            note_withdrawal(app, ctx, purpose, &event).await?;
            let user = known::user_id(app, ctx.subject, &user)?;
            match address_of(&standing.keys, &contact) {
                Ok(to) => receipt::post(&work, &to, &event, user)?,
                // A damaged contact must not keep anybody from withdrawing.
                Err(error) => tracing::error!(%error, "a receipt can't be addressed"),
            }
        }
        Ok(())
    })
    .await
}

/// Notes in the ledger that a consent was withdrawn or a purpose objected to, so that no restored backup undoes it.
async fn note_withdrawal(app: &App, ctx: &Ctx, purpose: Purpose, event: &Event) -> Result<(), AppError> {
    let objected = match event.event_type.as_str() {
        "consent.withdrawn" => false,
        "objection.raised" => true,
        _ => return Ok(()),
    };
    Ok(app.ledger.append(Entry::Withdrawn { subject: ctx.subject, purpose, objected, at: ctx.now() }).await?)
}

/// The current decision on each purpose.
pub async fn list(app: &App, ctx: &Ctx) -> Result<(Vec<ConsentRow>, Arc<SubjectKeys>), AppError> {
    let reads = || [consent_list(ctx.subject)];
    let (standing, [rows]) = frame::query(app, Frame::right("consent_list", ctx), reads).await?;
    Ok((ConsentRow::from_rows(&rows), standing.keys))
}

/// A page of the decisions on a purpose, newest first; the sequence of its last one, if another page follows; and the
/// keys.
pub async fn history(
    app: &App,
    ctx: &Ctx,
    purpose: Purpose,
    page: &Page<i64>,
) -> Result<(Vec<PastDecision>, Option<i64>, Arc<SubjectKeys>), AppError> {
    let reads = || [consent_history(ctx.subject, purpose, page)];
    let (standing, [rows]) = frame::query(app, Frame::right("consent_history", ctx), reads).await?;
    let (events, next) = page.cut(Event::from_rows(&rows), |event| event.sequence);
    Ok((events.iter().map(past).collect::<Result<_, _>>()?, next, standing.keys))
}

fn past(event: &Event) -> Result<PastDecision, AppError> {
    let decided = decision::decided(event)?;
    let decision = decided.decision();
    Ok(PastDecision {
        event: event.event_id,
        granted: matches!(decided, ConsentEvent::Granted(_)),
        objected: matches!(decided, ConsentEvent::Objected(_)),
        lapsed: matches!(decided, ConsentEvent::Lapsed(_)),
        notice_version: decision.notice_version.clone(),
        notice_hash: decision.notice_hash.clone(),
        decided_at: event.recorded_at,
    })
}
