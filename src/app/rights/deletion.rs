//! Deletion: asking for it, confirming it, cancelling it, seeing its state, and carrying it out. `erasure.rs` carries
//! out the erasure of a whole person.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, DeletionId, SubjectId, crash_point};
use db::{FromRow, Gate, Query, Row};
use domain::{
    Fault,
    filter::Filter,
    kinds::{CONTACT, kind},
    rights::deletion::{Deletion, DeletionCommand, DeletionError, DeletionEvent, DeletionState, Open, Scope},
};
use event_log::{Event, cqrs_es::Aggregate};
use projections::{
    identity::account::{SwitchesRow, switches_get},
    log::audit::stream_newest,
    operation::job::{job_add, job_drop},
    page::{Page, TimedPlace},
    records::{
        list::{record_filed, record_kinds},
        record::{RecordRow, record_ages},
    },
    rights::{
        deletion::{DeletionRow, deletion_by_token, deletion_get, deletion_list},
        erasure::subject_erased,
    },
};
use serde::{Deserialize, Serialize};
use vault::{IndexKey, Place, Sealed, SubjectKeys, record_register};

use crate::{
    app::{
        App, AppError,
        frame::{self, Claim, Frame, IdempotentRequest, Once, Standing, Work, newest_of},
        identity::limit,
        letter::{self, contact},
        log::access,
        operation::job::Next,
        reason::hold_reason,
        records::{filed::Filed, opened::open, record},
        rights::erasure,
    },
    data::{ledger::Entry, random::random_text},
    mail::Letter,
};

/// How long a request can be confirmed after it was made.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// The kind of job that carries out deletions.
pub const DELETION_JOB: &str = "deletion";

/// What a person asks to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Which records.
    pub filter: Filter,
    /// The person's reason; `None` if they give none.
    pub reason: Option<String>,
}

/// A request that was just made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Requested {
    pub deletion: DeletionId,
    /// Until when the request can be confirmed.
    pub expires_at: DateTime<Utc>,
    /// How long the deletion can be cancelled after it was confirmed, in seconds.
    pub grace_s: i64,
    /// How many records of each kind would go.
    pub goes: Vec<(String, usize)>,
    /// The end of a legal hold that defers the deletion; `None` if there is none.
    pub held_until: Option<DateTime<Utc>>,
}

/// A request in its present state, and what it asks to delete.
#[derive(Serialize, Deserialize)]
pub struct DeletionRequest {
    pub row: DeletionRow,
    pub wish: Wish,
}

/// The place of the sealed wish of a request.
fn place(deletion: DeletionId) -> Place {
    Place::of("deletion").and(deletion.0.as_bytes())
}

fn unseal(keys: &SubjectKeys, row: &DeletionRow) -> Result<Wish, AppError> {
    let text = keys.open_trail(&place(row.deletion), &Sealed::from_base64(&row.sealed)?)?;
    serde_json::from_slice(&text).map_err(|_| AppError::Corrupt("a request does not load".to_owned()))
}

/// The filter of a request; refuses if its fields are wrong.
fn filter_of(scope: Scope, filter: Filter) -> Result<Filter, AppError> {
    let names = filter.kinds.iter().flatten().enumerate().filter(|(_, name)| *name == CONTACT.name());
    let fault = |(number, _): (usize, &String)| {
        Fault::new(format!("filters.kinds[{number}]"), "goes with the whole account only: signing in needs it")
    };
    let faults: Vec<Fault> = names.map(fault).collect();
    match filter.settled(scope) {
        Err(found) => Err(AppError::Invalid(found.into_iter().chain(faults).collect())),
        Ok(_) if !faults.is_empty() => Err(AppError::Invalid(faults)),
        Ok(filter) => Ok(filter),
    }
}

/// The statement that finds the records which a request may ask to delete.
fn candidates(ctx: &Ctx, index: &IndexKey, filter: &Filter) -> Query {
    match Filed::of(index, filter, ctx.now()) {
        Filed::Kinds(kinds) => record_kinds(ctx.subject, kinds),
        Filed::Buckets(buckets) => record_filed(ctx.subject, buckets),
    }
}

/// Those of the found records that a request asks to delete. Records that signing in needs go only with the whole
/// account.
fn meant(keys: &SubjectKeys, filter: &Filter, found: &[Row]) -> Result<Vec<RecordRow>, AppError> {
    let mut meant = Vec::new();
    for row in RecordRow::from_rows(found) {
        let kind = kind(&row.entry.kind).filter(|kind| kind.open_to_clients());
        if let Some(kind) = kind
            && filter.matches(kind, &open(keys, &row)?.body)
        {
            meant.push(row);
        }
    }
    Ok(meant)
}

/// Whether the newest event of a person's requests is a request that can still be confirmed.
fn waits_for_confirmation(ctx: &Ctx, newest: Option<&Event>) -> bool {
    let event = newest.map(|event| serde_json::from_str(&event.payload));
    matches!(event, Some(Ok(DeletionEvent::Requested { open, .. })) if ctx.now() < open.expires_at)
}

fn token_hash(app: &App, token: &str) -> [u8; 32] {
    app.vault.ring().lookup("deletion token", token.as_bytes()).0
}

/// Asks for a deletion; nothing is deleted yet. Mails a token, which confirms or cancels the deletion.
pub async fn request(
    app: &App,
    ctx: &Ctx,
    scope: Scope,
    filter: Filter,
    reason: Option<String>,
    request: Option<&IdempotentRequest<'_>>,
) -> Result<Once<Requested>, AppError> {
    let wish = &Wish { filter: filter_of(scope, filter)?, reason };
    let frame = Frame::act("deletion_request", ctx).alone();
    let claim = frame::claim(app, ctx, "deletion_request", request).await?;
    if let Some(answer) = frame::answered(app, frame, claim.as_ref()).await? {
        return Ok(answer);
    }
    limit::count_letter(app, ctx).await?;
    let (id, is_full) = (&ctx.subject.to_string(), scope == Scope::Full);
    let index = &frame::index_key(app, ctx).await?;
    let records = || if is_full { record_ages(ctx.subject) } else { candidates(ctx, index, &wish.filter) };
    let stream = || stream_newest(ctx.subject, Deletion::TYPE, id);
    let reads = || [stream(), records(), contact(ctx.subject), switches_get(ctx.subject)];
    let asked = frame::command_once(app, frame, claim, reads, move |work, standing, rows| async move {
        let [stream, records, contact, switches] = rows;
        let keys = &standing.keys;
        let goes = match scope {
            Scope::Full => erasure::counts_of(&records),
            Scope::Partial | Scope::SessionsOnly => erasure::count(&meant(keys, &wish.filter, &records)?),
        };
        if goes.is_empty() {
            return Err(AppError::parameter("filters", "match no record of yours"));
        }
        let (deletion, expires_at) = (DeletionId::random(), ctx.now() + TOKEN_LIFETIME);
        let text = serde_json::to_vec(wish).expect("a wish can be written as JSON");
        let token = random_text(32);
        let command = DeletionCommand::Request {
            open: Open { deletion, scope, expires_at, grace_ends_at: None, paused_until: None },
            token_hash: hex::encode(token_hash(app, &token)),
            sealed: keys.seal_trail(&place(deletion), &text).to_base64(),
            now: ctx.now(),
        };
        work.command::<Deletion>(id, &stream, command).await?;
        let to = letter::address_of(keys, &contact)?;
        // The token of an earlier request no longer confirms it, so the letter tells the person that the request was
        // replaced.
        let replaces = waits_for_confirmation(ctx, newest_of(&stream).as_ref());
        let letter = if replaces { Letter::deletion_requested_anew } else { Letter::deletion_requested };
        work.post(&letter(&to, &token, scope.phrase(), expires_at))?;
        Ok(Requested {
            deletion,
            expires_at,
            grace_s: app.grace.num_seconds(),
            goes: goes.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            held_until: SwitchesRow::of(&switches).held(ctx.now()),
        })
    })
    .await;
    if let Err(AppError::Invalid(_)) = &asked {
        // Recorded, because records were opened to decide this.
        access::note_refusal(app, ctx, Deletion::TYPE, 422, "filters that match nothing").await?;
    }
    asked
}

/// Confirms a deletion with the mailed token and the phrase. Its grace begins.
pub async fn confirm(
    app: &App,
    ctx: &Ctx,
    token: &str,
    phrase: &str,
    request: Option<&IdempotentRequest<'_>>,
) -> Result<Once<DeletionRequest>, AppError> {
    let confirm = |row: &DeletionRow| {
        if phrase.trim().to_lowercase() != row.scope.phrase() {
            return Err(AppError::parameter("phrase", &format!("must be: {}", row.scope.phrase())));
        }
        Ok(DeletionCommand::Confirm { deletion: row.deletion, grace: app.grace, now: ctx.now() })
    };
    let claim = frame::claim(app, ctx, "deletion_confirm", request).await?;
    match step(app, Frame::act("deletion_confirm", ctx), token, claim, &confirm).await {
        Ok(confirmed) => {
            app.wake.notify_one();
            Ok(confirmed)
        }
        Err(error @ AppError::Invalid(_)) => {
            // Recorded, because somebody with the token and without the phrase was one step away from a deletion.
            access::note_refusal(app, ctx, Deletion::TYPE, 422, "a wrong phrase").await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Cancels a deletion with the mailed token, as long as its grace runs. A right, so a suspended account can do it too.
pub async fn cancel(app: &App, ctx: &Ctx, token: &str) -> Result<DeletionRequest, AppError> {
    let cancel = |row: &DeletionRow| Ok(DeletionCommand::Cancel { deletion: row.deletion, now: ctx.now() });
    Ok(step(app, Frame::right("deletion_cancel", ctx), token, None, &cancel).await?.value)
}

/// Takes one step on the request of a token, and queues the job and the letter that follow.
async fn step<'a>(
    app: &'a App,
    frame: Frame<'a>,
    token: &str,
    claim: Option<Claim<'a>>,
    step: &(dyn Fn(&DeletionRow) -> Result<DeletionCommand, AppError> + Sync),
) -> Result<Once<DeletionRequest>, AppError> {
    let ctx = frame.ctx();
    let (hash, id) = (token_hash(app, token), &ctx.subject.to_string());
    let reads =
        || [deletion_by_token(ctx.subject, hash), stream_newest(ctx.subject, Deletion::TYPE, id), contact(ctx.subject)];
    frame::command_once(app, frame.alone(), claim, reads, move |work, standing, [found, stream, contact]| async move {
        let keys = standing.keys;
        let mut row = found.first().map(DeletionRow::from_row).ok_or(AppError::NotFound("request"))?;
        let command = step(&row)?;
        let to = letter::address_of(&keys, &contact)?;
        let confirmed = matches!(command, DeletionCommand::Confirm { .. });
        work.command::<Deletion>(id, &stream, command).await?;
        if confirmed {
            let end = ctx.now() + app.grace;
            (row.state, row.grace_ends_at) = (DeletionState::Confirmed, Some(end));
            work.queue(job_add(ctx.subject, DELETION_JOB, row.deletion.0, end, ctx.now()));
            work.post(&Letter::deletion_confirmed(&to, end))?;
        } else {
            (row.state, row.ended_at) = (DeletionState::Cancelled, Some(ctx.now()));
            let entry = Entry::Cancelled { subject: ctx.subject, request: row.deletion, at: ctx.now() };
            app.ledger.append(entry).await?;
            work.queue(job_drop(ctx.subject, row.deletion.0));
            work.post(&Letter::deletion_cancelled(&to))?;
        }
        Ok(DeletionRequest { wish: unseal(&keys, &row)?, row })
    })
    .await
}

/// A page of a person's requests, newest first; the place of its last one, if another page follows; and the keys.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    page: &Page<TimedPlace>,
) -> Result<(Vec<DeletionRequest>, Option<TimedPlace>, Arc<SubjectKeys>), AppError> {
    let (found, keys) = deletions(app, "deletion_list", ctx, &|| deletion_list(ctx.subject, page)).await?;
    let (requests, next) = page.cut(found, |request| request.row.place());
    Ok((requests, next, keys))
}

/// One of a person's requests.
pub async fn get(app: &App, ctx: &Ctx, deletion: DeletionId) -> Result<(DeletionRequest, Arc<SubjectKeys>), AppError> {
    let (mut found, keys) = deletions(app, "deletion_get", ctx, &|| deletion_get(ctx.subject, deletion)).await?;
    Ok((found.pop().ok_or(AppError::NotFound("request"))?, keys))
}

async fn deletions(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    query: &(dyn Fn() -> Query + Sync),
) -> Result<(Vec<DeletionRequest>, Arc<SubjectKeys>), AppError> {
    let (Standing { keys, .. }, [rows]) = frame::query(app, Frame::right(operation, ctx), || [query()]).await?;
    let rows = rows.iter().map(DeletionRow::from_row);
    let requests =
        rows.map(|row| Ok(DeletionRequest { wish: unseal(&keys, &row)?, row })).collect::<Result<_, AppError>>()?;
    Ok((requests, keys))
}

/// Carries out a confirmed deletion, once its grace is over and no legal hold is in force. A second run repeats nothing
/// that is done.
pub async fn execute(app: &App, subject: SubjectId, deletion: DeletionId) -> Result<Next, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let queries = || [deletion_get(subject, deletion), subject_erased(subject), switches_get(subject)];
    let [request, fence, switches] = frame::ticket_query(app, "deletion_due", ctx, Gate::read(ctx), queries).await?;
    let (row, switches) = (request.first().map(DeletionRow::from_row), SwitchesRow::of(&switches));
    if !fence.is_empty() {
        // The person is erased, perhaps by a run that was killed before it could note that in the ledger.
        return erasure::finish(app, ctx).await;
    }
    let Some(row) = row.filter(|row| row.state == DeletionState::Confirmed) else {
        erasure::refused(app, subject, deletion).await?;
        return Ok(Next::Done);
    };
    if let Some(until) = switches.held(ctx.now()) {
        erasure::refused(app, subject, deletion).await?;
        defer(app, ctx, &switches, until).await?;
        return Ok(Next::Later(until));
    }
    if let Some(end) = row.grace_ends_at.filter(|end| *end > ctx.now()) {
        // The job is older than a pause that prolonged the grace.
        erasure::refused(app, subject, deletion).await?;
        return Ok(Next::Later(end));
    }
    match row.scope {
        Scope::Full => erasure::erase(app, ctx, deletion).await,
        Scope::Partial | Scope::SessionsOnly => run(app, ctx, &row).await,
    }
}

/// Tells the person by letter that a legal hold defers the deletion, until when and why.
async fn defer(app: &App, ctx: &Ctx, switches: &SwitchesRow, until: DateTime<Utc>) -> Result<(), AppError> {
    let reads = || [contact(ctx.subject)];
    let frame = Frame::act("deletion_defer", ctx).shared();
    frame::command(app, frame, reads, move |work, Standing { keys, .. }, [contact]| async move {
        let reason = hold_reason(&keys, ctx.subject, switches)?.unwrap_or_default();
        work.post(&Letter::deletion_deferred(&letter::address_of(&keys, &contact)?, &reason, until))
    })
    .await
}

/// Pauses the grace of a confirmed deletion until a suspension of the account ends, in the transaction that suspends.
/// The job becomes due later, and a letter tells the person. `stream` and `contact` are the rows of the person's
/// requests and contact.
pub(crate) async fn pause(
    work: &Work<'_>,
    keys: &SubjectKeys,
    until: DateTime<Utc>,
    (stream, contact): (&[Row], &[Row]),
) -> Result<(), AppError> {
    let ctx = work.ctx;
    let command = DeletionCommand::Pause { until, now: ctx.now() };
    let event = work.command::<Deletion>(&ctx.subject.to_string(), stream, command).await?;
    let Some(Ok(DeletionEvent::Paused { open, .. })) = event.map(|event| serde_json::from_str(&event.payload)) else {
        return Ok(());
    };
    let end = open.grace_ends_at.unwrap_or(until);
    let entry = Entry::Paused {
        subject: ctx.subject,
        request: open.deletion,
        paused_until: until,
        grace_ends_at: end,
        at: ctx.now(),
    };
    work.app.ledger.append(entry).await?;
    work.queue(job_drop(ctx.subject, open.deletion.0));
    work.queue(job_add(ctx.subject, DELETION_JOB, open.deletion.0, end, ctx.now()));
    match letter::address_of(keys, contact) {
        Ok(to) => work.post(&Letter::deletion_paused(&to, until, end)),
        // A damaged contact must not keep an account from being suspended.
        Err(error) => {
            tracing::error!(%error, request = %open.deletion, "a pause can't be told");
            Ok(())
        }
    }
}

/// Removes exactly the records that a request asks to delete.
async fn run(app: &App, ctx: &Ctx, row: &DeletionRow) -> Result<Next, AppError> {
    let id = &ctx.subject.to_string();
    let stream = || stream_newest(ctx.subject, Deletion::TYPE, id);
    let reads = || [stream(), record_register(ctx.subject), contact(ctx.subject)];
    let frame = Frame::act("deletion_run", ctx).unheld().alone();
    let work = frame::command(app, frame, reads, move |work, standing, [stream, register, contact]| async move {
        if let Some(until) = standing.suspended_until() {
            return Err(AppError::suspended(until, ctx.now()));
        }
        let keys = &standing.keys;
        let wish = unseal(keys, row)?;
        // Only the unsealed filter says where to look.
        let [found] = work.tx.flight([candidates(ctx, keys.index(), &wish.filter)]).await?;
        let goes = meant(keys, &wish.filter, &found)?;
        let counts = erasure::count(&goes);
        let removed = record::remove_rows(&work, &standing, &goes, &register).await?;
        let command =
            DeletionCommand::Execute { deletion: row.deletion, removed: removed.len() as u64, now: ctx.now() };
        work.command::<Deletion>(id, &stream, command).await?;
        record::note_removed(app, ctx, &removed).await?;
        crash_point("deletion: in the ledger");
        let certificate = erasure::certificate(app, ctx, row.deletion, row.scope, &counts)?;
        let to = letter::address_of(keys, &contact)?;
        work.post(&Letter::records_deleted(&to, removed.len(), &certificate))
    });
    let outcome = work.await;
    crash_point("deletion: committed");
    match outcome {
        // Since the job began, a hold was placed, the account was suspended, or the request was cancelled.
        Err(AppError::HoldStands { until } | AppError::Suspended { until, .. }) => Ok(Next::Later(until)),
        // A pause of the grace has added a job of its own.
        Err(error) if matches!(error.rule(), Some(DeletionError::Closed | DeletionError::GracePeriodRuns)) => {
            Ok(Next::Done)
        }
        outcome => outcome.map(|()| Next::Done),
    }
}

/// Finishes erasures that a killed server left unfinished; returns how many there were. Called before serving.
pub async fn resume(app: &App) -> Result<usize, AppError> {
    let unfinished = app.ledger.unfinished().await?;
    for (subject, deletion) in &unfinished {
        if let Err(error) = execute(app, *subject, *deletion).await {
            // The job tries again: one erasure that can't be finished must not keep the server from serving everybody
            // else.
            tracing::error!(%error, request = %deletion, "an erasure that was left unfinished can't be ended yet");
        }
    }
    Ok(unfinished.len())
}
