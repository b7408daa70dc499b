//! A changed notice asks again (requirements R6.5, R8.4): a consent on an older text does not count from the first moment; here
//! it is noted in the log, and the person is written to, once for each change.

use chrono::TimeDelta;
use context::{Ctx, SubjectId};
use db::FromRow;
use domain::{
    Choice,
    kinds::CONTACT,
    rights::consent::{Consent, ConsentCommand, Notice, Purpose},
};
use event_log::cqrs_es::Aggregate;
use projections::{
    log::audit::newest,
    records::record::record_list,
    rights::consent::{ConsentRow, consent_list, job_plan_lapses, stream_id},
};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        letter::address_of,
        operation::job::Next,
        rights::decision::{current, title},
    },
    mail::Letter,
};

/// The kind of job that tells a person which consents have lapsed.
pub const CONSENT_LAPSE_JOB: &str = "consent_lapse";
/// The kind of job that looks, once a day, for whom there is such work.
pub const NOTICE_SWEEP_JOB: &str = "notice_sweep";

/// Adds a job for each person with a consent on a notice that no longer counts. Comes again in a day.
pub(crate) async fn sweep(app: &App) -> Result<Next, AppError> {
    let now = app.clock.now();
    frame::system_query(app, "notice_sweep", || [job_plan_lapses(CONSENT_LAPSE_JOB, now)]).await?;
    Ok(Next::Later(now + TimeDelta::days(1)))
}

/// Notes which of a person's consents have lapsed, and tells the person, a letter a purpose.
pub(crate) async fn lapse(app: &App, subject: SubjectId) -> Result<Next, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let reads = || [consent_list(subject), record_list(subject, CONTACT.name(), None)];
    let frame = Frame::act("consent_lapse", ctx).alone();
    match frame::command(app, frame, reads, move |work, standing, [consents, contact]| async move {
        let outdated = |row: &ConsentRow| row.granted && !row.counts_today();
        for row in consents.iter().map(ConsentRow::from_row).filter(outdated) {
            let Some(purpose) = Purpose::parse(&row.purpose) else { continue };
            let id = stream_id(subject, purpose);
            let [rows] = work.tx.flight([newest(subject, Consent::TYPE, &id)]).await?;
            let lapse = ConsentCommand::Lapse { decision: current(purpose) };
            if work.command::<Consent>(&id, &rows, lapse).await?.is_none() {
                continue;
            }
            let notice = Notice::current(purpose);
            match address_of(&standing.keys, &contact) {
                Ok(to) => work.post(&Letter::notice_changed(&to, title(notice), notice.text))?,
                // Damaged data must not keep what counts from being on record.
                Err(error) => tracing::error!(%error, "a changed notice can't be addressed"),
            }
        }
        Ok(())
    })
    .await
    {
        // Erased since the job was added.
        Err(AppError::SignedOut) => Ok(Next::Done),
        outcome => outcome.map(|()| Next::Done),
    }
}
