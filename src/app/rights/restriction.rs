//! Restriction of processing (GDPR Art. 18), and the switches of an account as its holder sees them.

use chrono::{DateTime, Utc};
use context::Ctx;
use db::Gate;
use domain::rights::restriction::{Restriction, RestrictionCommand};
use event_log::{Unit, cqrs_es::Aggregate};
use projections::{
    INLINE,
    identity::account::{SwitchesRow, switches_get},
    log::audit::newest,
};
use vault::SubjectKeys;

use crate::{
    app::{
        App, AppError, Standing, read,
        reason::hold_reason,
        stream::{self, newest_of},
    },
    data::ledger::Entry,
};

/// A person's switches, open.
pub struct Switches {
    /// Since when processing is restricted.
    pub restricted_at: Option<DateTime<Utc>>,
    /// The end of a legal hold that stands, and its reason.
    pub hold: Option<(DateTime<Utc>, String)>,
}

/// A person's switches.
pub async fn get(app: &App, ctx: &Ctx) -> Result<(Switches, SubjectKeys), AppError> {
    let (rows, keys) = read::own(app, ctx, "restriction_get", &|| switches_get(ctx.subject)).await?;
    let row = SwitchesRow::of(&rows);
    let reason = hold_reason(&keys, ctx.subject, &row)?;
    let hold = row.held(ctx.now()).map(|until| (until, reason.unwrap_or_default()));
    Ok((Switches { restricted_at: row.restricted_at, hold }, keys))
}

/// Restricts processing of the person's data, or lifts the restriction. Doing the same again changes nothing.
pub async fn decide(app: &App, ctx: &Ctx, restricted: bool) -> Result<(), AppError> {
    let changed = app
        .db
        .api
        .run_tx("restriction_decide", ctx, Gate::alone(ctx), move |tx| async move {
            let id = ctx.subject.to_string();
            let [standing, rows] =
                tx.flight([Standing::query(ctx, None), newest(ctx.subject, Restriction::TYPE, &id)]).await?;
            let standing = Standing::take_right(app, ctx, &standing)?;
            // To restrict is a right; to lift the restriction is an act, which a suspension bars.
            if !restricted {
                standing.require_acting()?;
            }
            let keys = standing.keys;
            let unit = Unit::new(ctx, Some(&keys));
            let command = if restricted { RestrictionCommand::Set } else { RestrictionCommand::Lift };
            stream::command::<Restriction>(ctx, &unit, &id, newest_of(&rows).as_ref(), command).await?;
            let changed = !unit.is_empty();
            if changed && restricted {
                note_restriction(app, ctx, restricted).await?;
            }
            unit.flush(&tx, INLINE);
            Ok::<_, AppError>(changed)
        })
        .await?;
    // A restriction is written to the ledger before the commit and its end after it, so that no restore is looser than what the
    // person was told.
    if changed && !restricted { note_restriction(app, ctx, restricted).await } else { Ok(()) }
}

async fn note_restriction(app: &App, ctx: &Ctx, restricted: bool) -> Result<(), AppError> {
    Ok(app.ledger.append(Entry::Restricted { subject: ctx.subject, restricted, at: ctx.now() }).await?)
}
