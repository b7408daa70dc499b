//! A changed notice asks again (requirements R6.5, R8.4): a consent on an older text does not count from the first moment; here
//! it is noted in the log, and the person is written to, once for each change.

use chrono::TimeDelta;
use context::{Ctx, SubjectId};
use db::Gate;
use domain::{
    Choice,
    kinds::CONTACT,
    rights::consent::{Consent, ConsentCommand, Notice, Purpose},
};
use event_log::{Unit, cqrs_es::Aggregate};
use projections::{
    INLINE,
    log::audit::newest,
    records::record::record_list,
    rights::consent::{ConsentRow, consent_list, job_plan_lapses, stream_id},
};

use crate::{
    app::{
        App, AppError, Standing,
        letter::{self, address_of},
        operation::job::Next,
        rights::decision::{current, title},
        stream::{self, newest_of},
    },
    mail::Letter,
};

/// The kind of job that tells a person which consents have lapsed.
pub const CONSENT_LAPSE_JOB: &str = "consent_lapse";
/// The kind of job that looks, once a day, for whom there is such work.
pub const NOTICE_SWEEP_JOB: &str = "notice_sweep";

/// Adds a job for each person with a consent on a notice that no longer counts. Comes again in a day.
pub(crate) async fn sweep(app: &App) -> Result<Next, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    app.db
        .system
        .run_tx("notice_sweep", ctx, Gate::read(ctx), move |tx| async move {
            tx.queue(job_plan_lapses(CONSENT_LAPSE_JOB, ctx.now()));
            Ok::<_, AppError>(())
        })
        .await?;
    Ok(Next::Later(ctx.now() + TimeDelta::days(1)))
}

/// Notes which of a person's consents have lapsed, and tells the person, a letter a purpose.
pub(crate) async fn lapse(app: &App, subject: SubjectId) -> Result<Next, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let work = app.db.api.run_tx("consent_lapse", ctx, Gate::alone(ctx), move |tx| async move {
        let [standing, consents, contact] = tx
            .flight([Standing::query(ctx, None), consent_list(subject), record_list(subject, CONTACT.name(), None)])
            .await?;
        let keys = Standing::take(app, ctx, &standing)?.keys;
        let outdated = |row: &ConsentRow| row.granted && !row.counts_today();
        let unit = Unit::new(ctx, Some(&keys));
        for row in consents.iter().map(ConsentRow::from_row).filter(outdated) {
            let Some(purpose) = Purpose::parse(&row.purpose) else { continue };
            let id = stream_id(subject, purpose);
            let [rows] = tx.flight([newest(subject, Consent::TYPE, &id)]).await?;
            let before = unit.len();
            let lapse = ConsentCommand::Lapse { decision: current(purpose) };
            stream::command::<Consent>(ctx, &unit, &id, newest_of(&rows).as_ref(), lapse).await?;
            if unit.len() == before {
                continue;
            }
            let notice = Notice::current(purpose);
            match address_of(&keys, &contact) {
                Ok(to) => letter::post(app, ctx, &tx, &Letter::notice_changed(&to, title(notice), notice.text))?,
                // Damaged data must not keep what counts from being on record.
                Err(error) => tracing::error!(%error, "a changed notice can't be addressed"),
            }
        }
        unit.flush(&tx, INLINE);
        Ok(())
    });
    match work.await {
        // Erased since the job was added.
        Err(AppError::SignedOut) => Ok(Next::Done),
        outcome => outcome.map(|()| Next::Done),
    }
}
