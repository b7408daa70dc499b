//! Legal holds (GDPR Art. 17(3)). The controller places and lifts them with the command line. While a hold is in force,
//! nothing of the person is deleted, and the person sees why and until when.

use chrono::{DateTime, Utc};
use context::Ctx;
use db::FromRow;
use domain::rights::{
    deletion::DeletionState,
    hold::{Hold, HoldCommand},
};
use event_log::cqrs_es::Aggregate;
use projections::{
    log::audit::stream_newest,
    operation::job::{job_add, job_drop},
    page::Page,
    rights::deletion::{DeletionRow, deletion_list},
};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        identity::known,
        reason,
        rights::deletion::DELETION_JOB,
    },
    data::ledger::Entry,
};

/// Places a legal hold on the data of the person with this address, given its end and its reason; `None` lifts the
/// hold. Waiting deletions are scheduled again.
pub async fn decide(app: &App, email: &str, hold: Option<(DateTime<Utc>, &str)>) -> Result<(), AppError> {
    let hold = hold.map(|(until, reason)| Ok::<_, AppError>((until, reason::parse(reason)?))).transpose()?;
    let hold = &hold;
    let ctx = &Ctx::system(app.clock.clone());
    let known = known::account_of(app, ctx, email).await?.ok_or(AppError::NotFound("account"))?;
    let ctx = &Ctx::job(app.clock.clone(), known.subject);
    let lifted = hold.is_none();
    let id = &ctx.subject.to_string();
    let reads = || [stream_newest(ctx.subject, Hold::TYPE, id), deletion_list(ctx.subject, &Page::all())];
    let frame = Frame::act("hold_decide", ctx).alone();
    frame::command(app, frame, reads, move |work, standing, [rows, requests]| async move {
        let place = reason::hold_place(ctx.subject);
        let seal = |reason: &str| standing.keys.seal_trail(&place, reason.as_bytes()).to_base64();
        let hold = hold.as_ref().map(|(until, reason)| (*until, seal(reason.as_str())));
        let command = match hold.clone() {
            Some((until, sealed)) => HoldCommand::Place { until, sealed, now: ctx.now() },
            None => HoldCommand::Lift,
        };
        work.command::<Hold>(id, &rows, command).await?;
        if hold.is_some() {
            app.ledger.append(Entry::Held { subject: ctx.subject, hold, at: ctx.now() }).await?;
        }
        let waits = |row: &DeletionRow| row.state == DeletionState::Confirmed;
        for row in requests.iter().map(DeletionRow::from_row).filter(waits) {
            let due_at = row.grace_ends_at.unwrap_or(ctx.now());
            work.queue(job_drop(ctx.subject, row.deletion.0));
            work.queue(job_add(ctx.subject, DELETION_JOB, row.deletion.0, due_at, ctx.now()));
        }
        Ok(())
    })
    .await?;
    // Lifting a hold is written to the ledger after the commit: a crash in between makes a restore keep too much, never
    // too little.
    if lifted {
        app.ledger.append(Entry::Held { subject: ctx.subject, hold: None, at: ctx.now() }).await?;
    }
    Ok(())
}
