//! Erasing a person, in this order: ledger, keys and rows, files and caches, ledger. Each step can be repeated, and the
//! server may die between any two: another server then goes on, and the person is erased once.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use context::{Ctx, DeletionId, SubjectId, crash_point};
use db::{FromRow, Gate, Row};
use domain::{
    Choice,
    kinds::KINDS,
    rights::deletion::{Deletion, DeletionCommand, DeletionError, Scope},
};
use event_log::cqrs_es::Aggregate;
use projections::{
    log::audit::stream_newest,
    operation::job::job_drop_others,
    records::record::{AgesRow, RecordRow, record_ages},
    rights::erasure::{ErasedRow, subject_erase, subject_erased},
};
use serde_json::json;

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, Standing, Work},
        letter::{address_of, contact},
        operation::job::Next,
    },
    data::ledger::Entry,
    mail::Letter,
};

/// Why a person is erased.
#[derive(Clone, Copy)]
enum Cause {
    /// The person asked for it, and a letter says that it is done.
    Request,
    /// Nobody asked just now: the ledger says that the person was erased before, the drill made the person, or the
    /// person was a member of staff. No letter is sent.
    Repetition,
}

/// The result of an attempt to erase.
#[derive(PartialEq, Eq)]
enum Attempt {
    /// Keys and rows are gone.
    Erased,
    /// The person does not exist: erased before, or never known to this database.
    Nobody,
    /// Nothing was changed, because a legal hold was placed or the request has another state.
    Refused,
}

/// Erases a person whose deletion is confirmed and whose grace is over.
pub(crate) async fn erase(app: &App, ctx: &Ctx, deletion: DeletionId) -> Result<Next, AppError> {
    crash_point("erasure: leased");
    app.ledger.append(Entry::Erasing { subject: ctx.subject, request: deletion, at: ctx.now() }).await?;
    crash_point("erasure: in the ledger");
    match erase_subject(app, ctx, deletion, Cause::Request).await? {
        Attempt::Erased | Attempt::Nobody => finish(app, ctx).await,
        Attempt::Refused => {
            app.ledger.append(Entry::NotErased { subject: ctx.subject, at: ctx.now() }).await?;
            Ok(Next::Later(ctx.now() + TimeDelta::minutes(1)))
        }
    }
}

/// Erases a person whom the drill made or who was a member of staff, in the same transaction as everybody else, at once
/// and without a letter. Returns whether the person is erased: a legal hold keeps them.
pub async fn at_once(app: &App, subject: SubjectId) -> Result<bool, AppError> {
    let (ctx, request) = (&Ctx::job(app.clock.clone(), subject), DeletionId::random());
    app.ledger.append(Entry::Erasing { subject, request, at: ctx.now() }).await?;
    if erase_subject(app, ctx, request, Cause::Repetition).await? == Attempt::Refused {
        app.ledger.append(Entry::NotErased { subject, at: ctx.now() }).await?;
        return Ok(false);
    }
    finish(app, ctx).await?;
    Ok(true)
}

/// Erases a person whom a restored backup brought back; returns whether the person was there.
pub(crate) async fn again(app: &App, subject: SubjectId, deletion: DeletionId) -> Result<bool, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let attempt = erase_subject(app, ctx, deletion, Cause::Repetition).await?;
    app.forget(subject);
    Ok(attempt == Attempt::Erased)
}

/// The day on which the context's subject was erased; `None` if they were not.
pub async fn day_of(app: &App, ctx: &Ctx) -> Result<Option<NaiveDate>, AppError> {
    let queries = || [subject_erased(ctx.subject)];
    let [rows] = frame::ticket_query(app, "erasure_get", ctx, Gate::read(ctx), queries).await?;
    Ok(rows.first().map(|row| ErasedRow::from_row(row).erased_at.date_naive()))
}

async fn erase_subject(app: &App, ctx: &Ctx, deletion: DeletionId, cause: Cause) -> Result<Attempt, AppError> {
    let id = &ctx.subject.to_string();
    let stream = || stream_newest(ctx.subject, Deletion::TYPE, id);
    let reads = || [subject_erased(ctx.subject), stream(), record_ages(ctx.subject), contact(ctx.subject)];
    // Without a trail, because this transaction destroys its key.
    let frame = Frame::act("subject_erase", ctx).without_trail().alone().with_long_statements();
    let erase = frame::command(app, frame, reads, move |work, standing, rows| async move {
        erase_rows(&work, &standing, rows, deletion, cause).await
    });
    match erase.await {
        Err(AppError::SignedOut) => Ok(Attempt::Nobody),
        outcome => outcome,
    }
}

/// Decides on the erasure: checks the fence, queues the last event and the last letter; then keys and rows go.
async fn erase_rows(
    work: &Work<'_>,
    standing: &Standing,
    [fence, stream, ages, contact]: [Vec<Row>; 4],
    deletion: DeletionId,
    cause: Cause,
) -> Result<Attempt, AppError> {
    let (app, ctx) = (work.app, work.ctx);
    if !fence.is_empty() {
        return Ok(Attempt::Nobody);
    }
    let counts = counts_of(&ages);
    let removed = counts.iter().map(|(_, count)| *count as u64).sum();
    let command = match cause {
        Cause::Request => DeletionCommand::Execute { deletion, removed, now: ctx.now() },
        Cause::Repetition => DeletionCommand::Repeat { deletion, removed },
    };
    match work.command::<Deletion>(&ctx.subject.to_string(), &stream, command).await {
        Err(error) if matches!(error.rule(), Some(DeletionError::Closed | DeletionError::GracePeriodRuns)) => {
            return Ok(Attempt::Refused);
        }
        outcome => drop(outcome?),
    }
    // A hold was placed after the job began; or the account is suspended, and a thief may have confirmed the deletion
    // with a stolen session. A repetition skips the check of the suspension, because it was decided before.
    let suspended = matches!(cause, Cause::Request) && standing.suspended_until().is_some();
    if suspended || standing.require_unheld().is_err() {
        work.undo();
        return Ok(Attempt::Refused);
    }
    if let Cause::Request = cause {
        let certificate = certificate(app, ctx, deletion, Scope::Full, &counts)?;
        match address_of(&standing.keys, &contact) {
            Ok(to) => work.post(&Letter::erased(&to, &certificate))?,
            // A damaged contact must not keep a person from being erased.
            Err(error) => tracing::error!(%error, request = %deletion, "the last letter can't be addressed"),
        }
    }
    work.queue(job_drop_others(ctx.subject, deletion.0));
    // Flushed before the rows go, because an event of an erased person is refused.
    work.flush();
    subject_erase(ctx.subject, ctx.now()).into_iter().for_each(|query| work.queue(query));
    crash_point("erasure: decided");
    Ok(Attempt::Erased)
}

/// Does what is left once keys and rows are gone: files, caches, and the end in the ledger.
pub(crate) async fn finish(app: &App, ctx: &Ctx) -> Result<Next, AppError> {
    crash_point("erasure: committed");
    app.forget(ctx.subject);
    app.exports.remove_all(ctx.subject).await?;
    crash_point("erasure: files removed");
    app.ledger.append(Entry::Erased { subject: ctx.subject, at: ctx.now() }).await?;
    crash_point("erasure: ended in the ledger");
    Ok(Next::Done)
}

/// Notes in the ledger that an erasure which it announces will not be carried out.
pub(crate) async fn refused(app: &App, subject: SubjectId, deletion: DeletionId) -> Result<(), AppError> {
    if app.ledger.unfinished().await?.contains(&(subject, deletion)) {
        app.ledger.append(Entry::NotErased { subject, at: app.clock.now() }).await?;
    }
    Ok(())
}

/// A signed certificate of what was erased, when, and by when no backup can bring it back. It names nobody; the person
/// who asked knows the random id of the request.
pub(crate) fn certificate(
    app: &App,
    ctx: &Ctx,
    deletion: DeletionId,
    scope: Scope,
    goes: &[(&'static str, usize)],
) -> Result<String, AppError> {
    let ring = app.vault.ring();
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let removed: serde_json::Map<_, _> = goes.iter().map(|(kind, count)| ((*kind).to_owned(), json!(count))).collect();
    let certificate = json!({
        "@context": ["https://www.w3.org/ns/credentials/v2", { "@vocab": "https://w3id.org/dpv#" }],
        "type": "ErasureCertificate",
        "id": format!("urn:uuid:{deletion}"),
        "controller": app.controller.name,
        "scope": scope.as_str(),
        "erasedAt": time(ctx.now()),
        "recordsRemoved": removed,
        "unrecoverableBy": time(ring.unrecoverable_by(ctx.now())),
        "provided": "the controller rotates the key ring by then, and destroys the old version and its copies",
        "stays": stays(scope),
    });
    let signed = vault::seal_document(ring, certificate, ctx.now())?;
    Ok(serde_json::to_string_pretty(&signed).expect("a certificate can be written as JSON"))
}

/// What a deletion leaves, in the words of certificates.
fn stays(scope: Scope) -> &'static [&'static str] {
    match scope {
        Scope::Full => &[
            "the sealed log: kind, type, time and size of events beside a random id, which no key opens",
            "consents and their withdrawals, as evidence, beside the same random id (GDPR Art. 7(1))",
            "statistics that were published before",
        ],
        Scope::Partial | Scope::SessionsOnly => &[
            "the account and all other records",
            "the sealed log: kind, type, time and size of events, which no key opens",
            "statistics that were published before",
        ],
    }
}

/// How many of these records each kind has, in the order of the kinds; kinds without a record are left out.
pub(crate) fn count(records: &[RecordRow]) -> Vec<(&'static str, usize)> {
    let mut counts: Vec<(&'static str, usize)> = KINDS.iter().map(|kind| (kind.name(), 0)).collect();
    for row in records {
        if let Some((_, count)) = counts.iter_mut().find(|(name, _)| *name == row.entry.kind) {
            *count += 1;
        }
    }
    counts.retain(|(_, count)| *count > 0);
    counts
}

/// The same from the rows of [`record_ages`].
pub(crate) fn counts_of(ages: &[Row]) -> Vec<(&'static str, usize)> {
    let ages = AgesRow::from_rows(ages);
    let of = |name: &'static str| ages.iter().find(|row| row.kind == name).map(|row| row.count);
    KINDS.iter().filter_map(|kind| Some((kind.name(), usize::try_from(of(kind.name())?).ok()?))).collect()
}
