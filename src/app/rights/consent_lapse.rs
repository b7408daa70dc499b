//! A changed notice asks for consent again (requirements R6.5, R8.4). A consent on an older text does not count from
//! the first moment. Here the lapse is recorded in the log and the person is told by letter, once for each change.

use chrono::TimeDelta;
use context::{Ctx, SubjectId};
use db::FromRow;
use domain::{
    Choice,
    rights::consent::{Consent, ConsentCommand, Notice, Purpose},
};
use event_log::cqrs_es::Aggregate;
use projections::{
    log::audit::stream_newest,
    rights::consent::{ConsentRow, consent_list, job_plan_lapses, stream_id},
};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        letter::{address_of, contact},
        operation::job::Next,
        rights::decision::{current, title},
    },
    mail::Letter,
};

/// The kind of job that tells a person which consents have lapsed.
pub const CONSENT_LAPSE_JOB: &str = "consent_lapse";
/// The kind of job that looks once a day for people whose consents have lapsed.
pub const NOTICE_SWEEP_JOB: &str = "notice_sweep";

/// Adds a job for each person with a consent on an outdated notice. Runs again in a day.
pub(crate) async fn sweep(app: &App) -> Result<Next, AppError> {
    let now = app.clock.now();
    frame::system_query(app, "notice_sweep", || [job_plan_lapses(CONSENT_LAPSE_JOB, now)]).await?;
    Ok(Next::Later(now + TimeDelta::days(1)))
}

/// Records which of a person's consents have lapsed, and sends the person a letter for each purpose.
pub(crate) async fn lapse(app: &App, subject: SubjectId) -> Result<Next, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let reads = || [consent_list(subject), contact(subject)];
    let frame = Frame::act("consent_lapse", ctx).alone();
    match frame::command(app, frame, reads, move |work, standing, [consents, contact]| async move {
        let outdated = |row: &ConsentRow| row.granted && !row.counts_today();
        for row in consents.iter().map(ConsentRow::from_row).filter(outdated) {
            let Some(purpose) = Purpose::parse(&row.purpose) else { continue };
            let id = stream_id(subject, purpose);
            let [rows] = work.tx.flight([stream_newest(subject, Consent::TYPE, &id)]).await?;
            let lapse = ConsentCommand::Lapse { decision: current(purpose) };
            if work.command::<Consent>(&id, &rows, lapse).await?.is_none() {
                continue;
            }
            let notice = Notice::current(purpose);
            match address_of(&standing.keys, &contact) {
                Ok(to) => work.post(&Letter::notice_changed(&to, title(notice), notice.text))?,
                // A damaged contact must not keep a lapse from being recorded.
                Err(error) => tracing::error!(%error, "a changed notice can't be addressed"),
            }
        }
        Ok(())
    })
    .await
    {
        // The person was erased after the job was added.
        Err(AppError::SignedOut) => Ok(Next::Done),
        outcome => outcome.map(|()| Next::Done),
    }
}
