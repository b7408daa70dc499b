//! Restriction of processing (GDPR Art. 18), and the switches of an account as its holder sees them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::Ctx;
use domain::rights::restriction::{Restriction, RestrictionCommand};
use event_log::cqrs_es::Aggregate;
use projections::{
    identity::account::{SwitchesRow, switches_get},
    log::audit::stream_newest,
};
use vault::SubjectKeys;

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, Standing},
        reason::hold_reason,
    },
    data::ledger::Entry,
};

/// A person's switches, with the reason of a hold opened.
pub struct Switches {
    /// Since when processing is restricted; `None` if it is not.
    pub restricted_at: Option<DateTime<Utc>>,
    /// The end and the reason of a legal hold that is in force; `None` if there is none.
    pub hold: Option<(DateTime<Utc>, String)>,
}

pub async fn get(app: &App, ctx: &Ctx) -> Result<(Switches, Arc<SubjectKeys>), AppError> {
    let reads = || [switches_get(ctx.subject)];
    let (Standing { keys, .. }, [rows]) = frame::query(app, Frame::right("restriction_get", ctx), reads).await?;
    let row = SwitchesRow::of(&rows);
    let reason = hold_reason(&keys, ctx.subject, &row)?;
    let hold = row.held(ctx.now()).map(|until| (until, reason.unwrap_or_default()));
    Ok((Switches { restricted_at: row.restricted_at, hold }, keys))
}

/// Restricts processing of the person's data, or lifts the restriction. A decision that changes nothing adds no event.
pub async fn decide(app: &App, ctx: &Ctx, restricted: bool) -> Result<(), AppError> {
    let id = &ctx.subject.to_string();
    // To restrict is a right; to lift the restriction is an act, which a suspension bars.
    let frame = Frame::act_if(!restricted, "restriction_decide", ctx).alone();
    let reads = || [stream_newest(ctx.subject, Restriction::TYPE, id)];
    let changed = frame::command(app, frame, reads, move |work, _, [rows]| async move {
        let command = if restricted { RestrictionCommand::Set } else { RestrictionCommand::Lift };
        let changed = work.command::<Restriction>(id, &rows, command).await?.is_some();
        if changed && restricted {
            note_restriction(app, ctx, restricted).await?;
        }
        Ok(changed)
    })
    .await?;
    // A restriction is written to the ledger before the commit, and its end after the commit, so that a restore is
    // never looser than what the person was told.
    if changed && !restricted { note_restriction(app, ctx, restricted).await } else { Ok(()) }
}

async fn note_restriction(app: &App, ctx: &Ctx, restricted: bool) -> Result<(), AppError> {
    Ok(app.ledger.append(Entry::Restricted { subject: ctx.subject, restricted, at: ctx.now() }).await?)
}
