//! Deletion: asking for it, confirming it, cancelling it, seeing where it stands, and carrying it out. Whole erasures are
//! carried out by `erasure.rs`.

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, DeletionId, SubjectId, crash_point};
use db::{Gate, Query, Row, Tx};
use domain::{
    Fault,
    filter::Filter,
    kinds::{CONTACT, kind},
    rights::deletion::{Deletion, DeletionCommand, DeletionError, DeletionEvent, DeletionState, Open, Scope},
};
use event_log::{Event, Unit, cqrs_es::Aggregate};
use projections::{
    INLINE,
    identity::account::{SwitchesRow, switches_get},
    log::audit::newest,
    operation::job::{job_add, job_drop},
    records::record::{RecordRow, record_ages, record_all, record_list},
    rights::{
        deletion::{DeletionRow, deletion_by_token, deletion_get, deletion_list},
        erasure::subject_erased,
    },
};
use serde::{Deserialize, Serialize};
use vault::{Aad, Sealed, SubjectKeys, record_register};

use crate::{
    app::{
        App, AppError, Standing, letter,
        log::access,
        operation::job::Next,
        read,
        reason::hold_reason,
        records::{opened::open, record},
        rights::erasure,
        stream::{self, newest_of},
    },
    data::{ledger::Entry, random::random_text},
    mail::Letter,
};

/// How long a request can be confirmed.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// The kind of job that carries deletions out.
pub const DELETION_JOB: &str = "deletion";

/// What somebody asks to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Which records.
    pub filter: Filter,
    /// Why, where the person says so.
    pub reason: Option<String>,
}

/// A request that was just made.
pub struct Asked {
    /// The request.
    pub deletion: DeletionId,
    /// What to type to confirm.
    pub phrase: &'static str,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// How long it can be cancelled after that.
    pub grace: TimeDelta,
    /// How many records of each kind would go.
    pub goes: Vec<(&'static str, usize)>,
    /// Until when a legal hold defers it.
    pub held_until: Option<DateTime<Utc>>,
}

/// A request as it stands, and what it is about.
pub struct DeletionRequest {
    /// The request.
    pub row: DeletionRow,
    /// What was asked for.
    pub wish: Wish,
}

/// The place that what was asked for belongs to.
fn place(deletion: DeletionId) -> Aad {
    Aad::of("deletion").and(deletion.0.as_bytes())
}

fn unseal(keys: &SubjectKeys, row: &DeletionRow) -> Result<Wish, AppError> {
    let text = keys.open_trail(&place(row.deletion), &Sealed::from_base64(&row.sealed)?)?;
    serde_json::from_slice(&text).map_err(|_| AppError::Corrupt("a request does not load".to_owned()))
}

/// The filter of a request, or what is wrong with it.
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

/// Whether a record is meant by a request. What signing in needs goes with the whole account only.
fn means(keys: &SubjectKeys, scope: Scope, filter: &Filter, row: &RecordRow) -> Result<bool, AppError> {
    if scope == Scope::Full {
        return Ok(true);
    }
    let Some(kind) = kind(&row.entry.kind).filter(|kind| kind.open_to_clients()) else { return Ok(false) };
    Ok(filter.may_mean(kind) && filter.means(kind, &open(keys, row)?.body))
}

/// The records that a request means.
fn meant<'r>(
    keys: &SubjectKeys,
    scope: Scope,
    filter: &Filter,
    records: &'r [RecordRow],
) -> Result<Vec<&'r RecordRow>, AppError> {
    let judged = records.iter().map(|row| Ok(means(keys, scope, filter, row)?.then_some(row)));
    Ok(judged.collect::<Result<Vec<_>, AppError>>()?.into_iter().flatten().collect())
}

/// Whether the newest event of a person's requests left one that can still be confirmed.
fn waits_for_confirmation(ctx: &Ctx, newest: Option<&Event>) -> bool {
    let event = newest.map(|event| serde_json::from_str(&event.payload));
    matches!(event, Some(Ok(DeletionEvent::Requested { open, .. })) if ctx.now() < open.expires_at)
}

fn token_hash(app: &App, token: &str) -> [u8; 32] {
    app.vault.ring().lookup("deletion token", token.as_bytes()).0
}

/// Asks for a deletion: nothing goes yet. A token is mailed, with which it is confirmed or cancelled.
pub async fn request(
    app: &App,
    ctx: &Ctx,
    scope: Scope,
    filter: Filter,
    reason: Option<String>,
) -> Result<Asked, AppError> {
    let wish = &Wish { filter: filter_of(scope, filter)?, reason };
    let asked = app
        .db
        .api
        .run_tx("deletion_request", ctx, Gate::alone(ctx), move |tx| async move {
            let records = if scope == Scope::Full { record_ages(ctx.subject) } else { record_all(ctx.subject) };
            let [standing, stream, records, contact, switches] = tx
                .flight([
                    Standing::query(ctx, None),
                    newest(ctx.subject, Deletion::TYPE, &ctx.subject.to_string()),
                    records,
                    record_list(ctx.subject, CONTACT.name(), None),
                    switches_get(ctx.subject),
                ])
                .await?;
            let keys = Standing::take(app, ctx, &standing)?.keys;
            let goes = match scope {
                Scope::Full => erasure::counts_of(&records),
                Scope::Partial | Scope::SessionsOnly => {
                    let records: Vec<RecordRow> = records.iter().map(RecordRow::from_row).collect();
                    erasure::count(meant(&keys, scope, &wish.filter, &records)?)
                }
            };
            if goes.is_empty() {
                return Ok(None);
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
            run_command(ctx, &tx, &keys, newest_of(&stream).as_ref(), command).await?;
            let to = letter::address_of(&keys, &contact)?;
            // An earlier token no longer confirms: whoever asked for that deletion must learn of it.
            let replaces = waits_for_confirmation(ctx, newest_of(&stream).as_ref());
            let letter = if replaces { Letter::deletion_requested_anew } else { Letter::deletion_requested };
            letter::post(app, ctx, &tx, &letter(&to, &token, scope.phrase(), expires_at))?;
            let held_until = SwitchesRow::of(&switches).held(ctx.now());
            Ok::<_, AppError>(Some(Asked {
                deletion,
                phrase: scope.phrase(),
                expires_at,
                grace: app.grace,
                goes,
                held_until,
            }))
        })
        .await?;
    if asked.is_none() {
        // Records were opened to tell.
        access::note_refusal(app, ctx, Deletion::TYPE, 422, "filters that match nothing").await?;
    }
    asked.ok_or_else(|| AppError::parameter("filters", "match no record of yours"))
}

/// Confirms a deletion with the mailed token and the phrase. From now on its grace runs.
pub async fn confirm(app: &App, ctx: &Ctx, token: &str, phrase: &str) -> Result<DeletionRequest, AppError> {
    let confirm = |row: &DeletionRow| {
        if phrase.trim().to_lowercase() != row.scope.phrase() {
            return Err(AppError::parameter("phrase", &format!("must be: {}", row.scope.phrase())));
        }
        Ok(DeletionCommand::Confirm { deletion: row.deletion, grace: app.grace, now: ctx.now() })
    };
    match step(app, "deletion_confirm", ctx, token, true, &confirm).await {
        Ok(confirmed) => {
            app.wake.notify_one();
            Ok(confirmed)
        }
        Err(error @ AppError::Invalid(_)) => {
            // Whoever has the token and not the phrase was one step from a deletion.
            access::note_refusal(app, ctx, Deletion::TYPE, 422, "a wrong phrase").await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Cancels a deletion with the mailed token, as long as its grace runs; a right, also while the account is suspended.
pub async fn cancel(app: &App, ctx: &Ctx, token: &str) -> Result<DeletionRequest, AppError> {
    let cancel = |row: &DeletionRow| Ok(DeletionCommand::Cancel { deletion: row.deletion, now: ctx.now() });
    step(app, "deletion_cancel", ctx, token, false, &cancel).await
}

/// One step on the request that a token belongs to, with the job and the letter that follow from it; `acts` says whether a
/// suspension bars it.
async fn step(
    app: &App,
    name: &'static str,
    ctx: &Ctx,
    token: &str,
    acts: bool,
    step: &(dyn Fn(&DeletionRow) -> Result<DeletionCommand, AppError> + Sync),
) -> Result<DeletionRequest, AppError> {
    let hash = token_hash(app, token);
    app.db
        .api
        .run_tx(name, ctx, Gate::alone(ctx), move |tx| async move {
            let [standing, found, stream, contact] = tx
                .flight([
                    Standing::query(ctx, None),
                    deletion_by_token(ctx.subject, hash),
                    newest(ctx.subject, Deletion::TYPE, &ctx.subject.to_string()),
                    record_list(ctx.subject, CONTACT.name(), None),
                ])
                .await?;
            let standing = Standing::take_right(app, ctx, &standing)?;
            if acts {
                standing.require_acting()?;
            }
            let keys = standing.keys;
            let mut row = found.first().and_then(DeletionRow::from_row).ok_or(AppError::Missing("request"))?;
            let command = step(&row)?;
            let to = letter::address_of(&keys, &contact)?;
            let confirmed = matches!(command, DeletionCommand::Confirm { .. });
            run_command(ctx, &tx, &keys, newest_of(&stream).as_ref(), command).await?;
            if confirmed {
                let end = ctx.now() + app.grace;
                (row.state, row.grace_ends_at) = (DeletionState::Confirmed, Some(end));
                tx.queue(job_add(ctx.subject, DELETION_JOB, row.deletion.0, end, ctx.now()));
                letter::post(app, ctx, &tx, &Letter::deletion_confirmed(&to, end))?;
            } else {
                (row.state, row.ended_at) = (DeletionState::Cancelled, Some(ctx.now()));
                let entry = Entry::Cancelled { subject: ctx.subject, request: row.deletion, at: ctx.now() };
                app.ledger.append(entry).await?;
                tx.queue(job_drop(ctx.subject, row.deletion.0));
                letter::post(app, ctx, &tx, &Letter::deletion_cancelled(&to))?;
            }
            Ok(DeletionRequest { wish: unseal(&keys, &row)?, row })
        })
        .await
}

async fn run_command(
    ctx: &Ctx,
    tx: &Tx,
    keys: &SubjectKeys,
    newest: Option<&Event>,
    command: DeletionCommand,
) -> Result<(), AppError> {
    let unit = Unit::new(ctx, Some(keys));
    stream::command::<Deletion>(ctx, &unit, &ctx.subject.to_string(), newest, command).await?;
    unit.flush(tx, INLINE);
    Ok(())
}

/// A person's requests, newest first.
pub async fn list(app: &App, ctx: &Ctx) -> Result<(Vec<DeletionRequest>, SubjectKeys), AppError> {
    deletions(app, "deletion_list", ctx, &|| deletion_list(ctx.subject)).await
}

/// One of a person's requests.
pub async fn get(app: &App, ctx: &Ctx, deletion: DeletionId) -> Result<(DeletionRequest, SubjectKeys), AppError> {
    let (mut found, keys) = deletions(app, "deletion_get", ctx, &|| deletion_get(ctx.subject, deletion)).await?;
    Ok((found.pop().ok_or(AppError::Missing("request"))?, keys))
}

async fn deletions(
    app: &App,
    name: &'static str,
    ctx: &Ctx,
    query: &(dyn Fn() -> Query + Sync),
) -> Result<(Vec<DeletionRequest>, SubjectKeys), AppError> {
    let (rows, keys) = read::own(app, ctx, name, query).await?;
    let rows = rows.iter().filter_map(DeletionRow::from_row);
    let requests =
        rows.map(|row| Ok(DeletionRequest { wish: unseal(&keys, &row)?, row })).collect::<Result<_, AppError>>()?;
    Ok((requests, keys))
}

/// Carries a confirmed deletion out, once its grace is over and no legal hold stands. What is done already is not done again.
pub async fn execute(app: &App, subject: SubjectId, deletion: DeletionId) -> Result<Next, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let (row, fenced, switches) = app
        .db
        .api
        .run_tx("deletion_due", ctx, Gate::read(ctx), move |tx| async move {
            let [request, fence, switches] =
                tx.finish([deletion_get(subject, deletion), subject_erased(subject), switches_get(subject)]).await?;
            let row = request.first().and_then(DeletionRow::from_row);
            Ok::<_, AppError>((row, !fence.is_empty(), SwitchesRow::of(&switches)))
        })
        .await?;
    if fenced {
        // Erased, perhaps by a run that was killed before it had told the ledger.
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
        // The job is older than a pause of the grace.
        erasure::refused(app, subject, deletion).await?;
        return Ok(Next::Later(end));
    }
    match row.scope {
        Scope::Full => erasure::erase(app, ctx, deletion).await,
        Scope::Partial | Scope::SessionsOnly => run(app, ctx, &row).await,
    }
}

/// Tells the person that a legal hold defers the deletion, why, and until when.
async fn defer(app: &App, ctx: &Ctx, switches: &SwitchesRow, until: DateTime<Utc>) -> Result<(), AppError> {
    app.db
        .api
        .run_tx("deletion_defer", ctx, Gate::shared(ctx), move |tx| async move {
            let contact = record_list(ctx.subject, CONTACT.name(), None);
            let [standing, contact] = tx.flight([Standing::query(ctx, None), contact]).await?;
            let keys = Standing::take(app, ctx, &standing)?.keys;
            let reason = hold_reason(&keys, ctx.subject, switches)?.unwrap_or_default();
            letter::post(
                app,
                ctx,
                &tx,
                &Letter::deletion_deferred(&letter::address_of(&keys, &contact)?, &reason, until),
            )
        })
        .await
}

/// Lets the grace of a confirmed deletion pause until a suspension of the account ends, in the transaction that suspends: the
/// job is due later, and the person is told. `stream` and `contact` are the rows of the person's requests and address.
pub(crate) async fn pause(
    app: &App,
    ctx: &Ctx,
    tx: &Tx,
    unit: &Unit<'_>,
    keys: &SubjectKeys,
    until: DateTime<Utc>,
    (stream, contact): (&[Row], &[Row]),
) -> Result<(), AppError> {
    let before = unit.len();
    let command = DeletionCommand::Pause { until, now: ctx.now() };
    let id = ctx.subject.to_string();
    stream::command::<Deletion>(ctx, unit, &id, newest_of(stream).as_ref(), command).await?;
    let event = unit.newest().filter(|_| unit.len() > before);
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
    app.ledger.append(entry).await?;
    tx.queue(job_drop(ctx.subject, open.deletion.0));
    tx.queue(job_add(ctx.subject, DELETION_JOB, open.deletion.0, end, ctx.now()));
    match letter::address_of(keys, contact) {
        Ok(to) => letter::post(app, ctx, tx, &Letter::deletion_paused(&to, until, end)),
        // Damaged data must not keep an account from being suspended.
        Err(error) => {
            tracing::error!(%error, request = %open.deletion, "a pause can't be told");
            Ok(())
        }
    }
}

/// Removes exactly the records that a request means.
async fn run(app: &App, ctx: &Ctx, row: &DeletionRow) -> Result<Next, AppError> {
    let work = app.db.api.run_tx("deletion_run", ctx, Gate::alone(ctx), move |tx| async move {
        let [standing, stream, records, register, contact] = tx
            .flight([
                Standing::query(ctx, None),
                newest(ctx.subject, Deletion::TYPE, &ctx.subject.to_string()),
                record_all(ctx.subject),
                record_register(ctx.subject),
                record_list(ctx.subject, CONTACT.name(), None),
            ])
            .await?;
        let standing = Standing::take(app, ctx, &standing)?;
        standing.require_unheld()?;
        if let Some(until) = standing.suspended_until() {
            return Err(AppError::Suspended { until });
        }
        let keys = &standing.keys;
        let wish = unseal(keys, row)?;
        let records: Vec<RecordRow> = records.iter().map(RecordRow::from_row).collect();
        let goes = meant(keys, row.scope, &wish.filter, &records)?;
        let counts = erasure::count(goes.iter().copied());
        let unit = Unit::new(ctx, Some(keys));
        let removed = record::remove_rows(app, ctx, &tx, &unit, &standing, &goes, &register).await?;
        let command =
            DeletionCommand::Execute { deletion: row.deletion, removed: removed.len() as u64, now: ctx.now() };
        let id = ctx.subject.to_string();
        stream::command::<Deletion>(ctx, &unit, &id, newest_of(&stream).as_ref(), command).await?;
        record::note_removed(app, ctx, &removed).await?;
        crash_point("deletion: in the ledger");
        unit.flush(&tx, INLINE);
        let certificate = erasure::certificate(app, ctx, row.deletion, row.scope, &counts)?;
        let to = letter::address_of(keys, &contact)?;
        letter::post(app, ctx, &tx, &Letter::records_deleted(&to, removed.len(), &certificate))
    });
    let outcome = work.await;
    crash_point("deletion: committed");
    match outcome {
        // A hold was placed, the account was suspended, or the request was cancelled, since the job began.
        Err(AppError::Held { until } | AppError::Suspended { until }) => Ok(Next::Later(until)),
        Err(AppError::Deletion(DeletionError::Closed)) => Ok(Next::Done),
        // The grace pauses since the job began; the pause has added a job of its own.
        Err(AppError::Deletion(DeletionError::GracePeriodRuns)) => Ok(Next::Done),
        outcome => outcome.map(|()| Next::Done),
    }
}

/// Goes on with erasures that a killed server left unfinished. Called before serving.
pub async fn resume(app: &App) -> Result<usize, AppError> {
    let unfinished = app.ledger.unfinished().await?;
    for (subject, deletion) in &unfinished {
        if let Err(error) = execute(app, *subject, *deletion).await {
            // Its job tries again; one erasure that can't end must not keep the server from everybody else.
            tracing::error!(%error, request = %deletion, "an erasure that was left unfinished can't be ended yet");
        }
    }
    Ok(unfinished.len())
}
