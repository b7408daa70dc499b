//! Consents: showing, giving and withdrawing them.

use chrono::{DateTime, Utc};
use context::{Ctx, EventId};
use db::Gate;
use domain::{
    kinds::CONTACT,
    rights::consent::{Consent, ConsentCommand, ConsentEvent, Purpose},
};
use event_log::{Event, Unit};
use projections::{
    INLINE,
    log::audit::newest,
    records::record::record_list,
    rights::consent::{ConsentRow, consent_history, consent_list, stream_id},
};
use vault::SubjectKeys;

use crate::{
    app::{
        App, AppError, Standing,
        identity::known::{self, user_get},
        letter::address_of,
        read,
        rights::{decision, receipt},
        stream::{self, newest_of},
    },
    data::ledger::Entry,
};

/// One decision of the past.
pub struct PastDecision {
    /// The decision's event, by which its receipt is found.
    pub event: EventId,
    /// Given or withdrawn.
    pub granted: bool,
    /// Whether it was an objection to the purpose.
    pub objected: bool,
    /// Whether a consent lapsed, since its notice had changed.
    pub lapsed: bool,
    /// On which notice.
    pub notice_version: String,
    /// The notice's hash.
    pub notice_hash: String,
    /// When.
    pub decided_at: DateTime<Utc>,
}

/// Gives or withdraws consent to a purpose. Deciding the same again changes nothing.
pub async fn decide(
    app: &App,
    ctx: &Ctx,
    purpose: Purpose,
    granted: bool,
    version: Option<&str>,
) -> Result<(), AppError> {
    decide_on(app, "consent_decide", ctx, purpose, granted, &|| decision::command(purpose, granted, version)).await
}

/// Objects to a purpose (GDPR Art. 21), or takes the objection back. Doing the same again changes nothing.
pub async fn objection_decide(app: &App, ctx: &Ctx, purpose: Purpose, objected: bool) -> Result<(), AppError> {
    let decide = move || {
        let decision = decision::current(purpose);
        if objected { ConsentCommand::Object { decision } } else { ConsentCommand::LiftObjection { decision } }
    };
    decide_on(app, "objection_decide", ctx, purpose, !objected, &decide).await
}

/// One decision on a purpose. What `loosens` allows more than before and is an act; to withdraw and to object are rights.
async fn decide_on(
    app: &App,
    name: &'static str,
    ctx: &Ctx,
    purpose: Purpose,
    loosens: bool,
    command: &(dyn Fn() -> ConsentCommand + Sync),
) -> Result<(), AppError> {
    app.db
        .api
        .run_tx(name, ctx, Gate::shared(ctx), move |tx| async move {
            let id = stream_id(ctx.subject, purpose);
            let [standing, rows, contact, user] = tx
                .flight([
                    Standing::query(ctx, None),
                    newest(ctx.subject, "consent", &id),
                    record_list(ctx.subject, CONTACT.name(), None),
                    user_get(ctx.subject),
                ])
                .await?;
            let standing = Standing::take_right(app, ctx, &standing)?;
            if loosens {
                standing.require_acting()?;
            }
            let keys = standing.keys;
            let unit = Unit::new(ctx, Some(&keys));
            stream::command::<Consent>(ctx, &unit, &id, newest_of(&rows).as_ref(), command()).await?;
            if let Some(event) = unit.newest() {
                note_withdrawal(app, ctx, purpose, &event).await?;
                let user = known::user_id(app, ctx.subject, user.first().ok_or(AppError::SignedOut)?)?;
                match address_of(&keys, &contact) {
                    Ok(to) => receipt::post(app, ctx, &tx, &to, &event, user)?,
                    // Damaged data must not keep anybody from withdrawing.
                    Err(error) => tracing::error!(%error, "a receipt can't be addressed"),
                }
            }
            unit.flush(&tx, INLINE);
            Ok(())
        })
        .await
}

/// Notes in the ledger that a consent ended, so that no restored backup brings it back.
async fn note_withdrawal(app: &App, ctx: &Ctx, purpose: Purpose, event: &Event) -> Result<(), AppError> {
    let objected = match event.event_type.as_str() {
        "consent.withdrawn" => false,
        "objection.raised" => true,
        _ => return Ok(()),
    };
    Ok(app.ledger.append(Entry::Withdrawn { subject: ctx.subject, purpose, objected, at: ctx.now() }).await?)
}

/// The decisions that stand.
pub async fn list(app: &App, ctx: &Ctx) -> Result<(Vec<ConsentRow>, SubjectKeys), AppError> {
    let (rows, keys) = read::own(app, ctx, "consent_list", &|| consent_list(ctx.subject)).await?;
    Ok((rows.iter().map(ConsentRow::from_row).collect(), keys))
}

/// All decisions on a purpose, newest first.
pub async fn history(app: &App, ctx: &Ctx, purpose: Purpose) -> Result<(Vec<PastDecision>, SubjectKeys), AppError> {
    let (rows, keys) = read::own(app, ctx, "consent_history", &|| consent_history(ctx.subject, purpose)).await?;
    let past = rows.iter().map(|row| past(&Event::from_row(row, 0))).collect::<Result<_, _>>()?;
    Ok((past, keys))
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
