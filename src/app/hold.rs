//! Legal holds (GDPR Art. 17(3)): placed and lifted by the controller, with the command line. While one stands nothing of the
//! person is deleted; the person sees why, and until when.

use chrono::{DateTime, Utc};
use context::{Ctx, SubjectId};
use db::Gate;
use domain::{
    deletion::DeletionState,
    hold::{Hold, HoldCommand},
};
use event_log::{Unit, cqrs_es::Aggregate};
use projections::{
    INLINE,
    account::SwitchesRow,
    audit::newest,
    deletion::{DeletionRow, deletion_list},
    job::{job_add, job_drop},
};
use vault::{Aad, Sealed, SubjectKeys};

use crate::{
    app::{
        App, AppError, Standing,
        deletion::DELETION_JOB,
        opening::reason_of,
        sign_in,
        stream::{self, newest_of},
    },
    ledger::Entry,
};

fn place(subject: SubjectId) -> Aad {
    Aad::of("hold").and(subject.0.as_bytes())
}

/// The reason of the hold that stands, if one was placed.
pub(super) fn hold_reason(
    keys: &SubjectKeys,
    subject: SubjectId,
    switches: &SwitchesRow,
) -> Result<Option<String>, AppError> {
    let Some(sealed) = &switches.hold_sealed else { return Ok(None) };
    let text = keys.open_trail(&place(subject), &Sealed::from_base64(sealed)?)?;
    String::from_utf8(text.to_vec()).map(Some).map_err(|_| AppError::Corrupt("a reason does not load".to_owned()))
}

/// Places a legal hold on the data behind an address, with its end and its reason, or lifts it. A deletion that waits is looked
/// at again.
pub async fn decide(app: &App, email: &str, hold: Option<(DateTime<Utc>, &str)>) -> Result<(), AppError> {
    let hold = hold.map(|(until, reason)| Ok::<_, AppError>((until, reason_of(reason)?))).transpose()?;
    let hold = &hold;
    let ctx = &Ctx::system(app.clock.clone());
    let known = sign_in::account_of(app, ctx, email).await?.ok_or(AppError::Missing("account"))?;
    let ctx = &Ctx::job(app.clock.clone(), known.subject);
    let lifted = hold.is_none();
    app.db
        .api
        .run_tx("hold_decide", ctx, Gate::alone(ctx), move |tx| async move {
            let id = ctx.subject.to_string();
            let [standing, rows, requests] = tx
                .flight([Standing::query(ctx, None), newest(ctx.subject, Hold::TYPE, &id), deletion_list(ctx.subject)])
                .await?;
            let keys = Standing::take(app, ctx, &standing)?.keys;
            let seal = |reason: &str| keys.seal_trail(&place(ctx.subject), reason.as_bytes()).to_base64();
            let hold = hold.as_ref().map(|(until, reason)| (*until, seal(reason.as_str())));
            let command = match hold.clone() {
                Some((until, sealed)) => HoldCommand::Place { until, sealed, now: ctx.now() },
                None => HoldCommand::Lift,
            };
            let unit = Unit::new(ctx, Some(&keys));
            stream::command::<Hold>(ctx, &unit, &id, newest_of(&rows).as_ref(), command).await?;
            if hold.is_some() {
                app.ledger.append(Entry::Held { subject: ctx.subject, hold, at: ctx.now() }).await?;
            }
            unit.flush(&tx, INLINE);
            let waits = |row: &DeletionRow| row.state == DeletionState::Confirmed;
            for row in requests.iter().filter_map(DeletionRow::from_row).filter(waits) {
                let due_at = row.grace_ends_at.unwrap_or(ctx.now());
                tx.queue(job_drop(ctx.subject, row.deletion.0));
                tx.queue(job_add(ctx.subject, DELETION_JOB, row.deletion.0, due_at, ctx.now()));
            }
            Ok::<_, AppError>(())
        })
        .await?;
    // What loosens is noted behind the commit.
    if lifted {
        app.ledger.append(Entry::Held { subject: ctx.subject, hold: None, at: ctx.now() }).await?;
    }
    Ok(())
}
