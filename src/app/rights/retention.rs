//! Retention: how long each kind of record is kept, a person's own rules, what will be removed next, and the daily work
//! that removes expired records. Nothing is removed while processing is restricted, a legal hold is in force, or the
//! account is suspended.
//!
//! A rule that keeps records for a shorter time takes effect only after the grace of a deletion. A letter tells the
//! person, who can set the rule back until then.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, SubjectId};
use db::FromRow;
use domain::{
    Kind,
    kinds::KINDS,
    rights::retention::{Retention, RetentionCommand, RetentionEvent, Waits},
};
use event_log::{Event, cqrs_es::Aggregate};
use projections::{
    identity::account::{SwitchesRow, switches_get},
    log::audit::stream_newest,
    operation::job::job_plan_retention,
    records::{
        list::{Expiry, ExpiryRow, record_expired, record_expiry},
        record::RecordRow,
    },
    rights::retention::{RetentionRow, days_of, limit, retention_list, stream_id},
};
use vault::{SubjectKeys, record_register};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        identity::limit,
        letter::{address_of, contact},
        operation::job::Next,
        records::record,
    },
    mail::Letter,
};

/// The kind of job that removes a person's expired records.
pub const RETENTION_JOB: &str = "retention";
/// The kind of job that looks once a day for people with expired records.
pub const SWEEP_JOB: &str = "retention_sweep";

/// The rule of one kind for one person, and what it will remove next.
pub struct Rule {
    pub kind: &'static Kind,
    /// How many days a record is kept after its last change, as it counts now; `None`: as long as the account.
    pub days: Option<u32>,
    /// Whether the person set the rule.
    pub own: bool,
    /// A shorter rule that waits: its days, and the time when it takes effect.
    pub waiting: Option<(Option<u32>, DateTime<Utc>)>,
    /// How many records the next daily run will remove.
    pub due: usize,
    /// When the next record that is not due yet expires; `None` if there is none.
    pub next_at: Option<DateTime<Utc>>,
}

/// The result of setting a rule.
enum Setting {
    /// The rule is set, or was set before.
    Done,
    /// The rule is shorter. Nothing was changed, because the letter about it must be counted first.
    NeedsLetter,
}

/// By which time a record of each kind must have been changed last, so as not to have outlived its time. Kinds whose
/// records never do are left out: those that signing in needs, and those that are kept as long as the account. A shorter
/// rule that waits does not count yet. Rules that were set before shorter rules had to wait remove nothing until they
/// are older than the grace.
fn expiries(app: &App, own: &[RetentionRow], now: DateTime<Utc>) -> Vec<Expiry> {
    let young = |rule: &RetentionRow| rule.waits.is_none() && rule.changed_at > now - app.grace;
    let kinds = KINDS.iter().filter(|kind| kind.open_to_clients());
    let settled = kinds.filter(|kind| !own.iter().any(|rule| rule.kind == kind.name() && young(rule)));
    settled
        .filter_map(|kind| Some(Expiry { kind: kind.name(), before: limit(now, days_of(kind, own, now)?) }))
        .collect()
}

/// The rule of each kind, and what it will remove next.
pub async fn get(app: &App, ctx: &Ctx) -> Result<(Vec<Rule>, Arc<SubjectKeys>), AppError> {
    let reads = || [switches_get(ctx.subject), retention_list(ctx.subject)];
    let frame = Frame::right("retention_get", ctx).shared();
    frame::command(app, frame, reads, move |work, standing, [switches, own]| async move {
        let own = RetentionRow::from_rows(&own);
        let [rows] = work.tx.flight([record_expiry(ctx.subject, &expiries(app, &own, ctx.now()))]).await?;
        let records = ExpiryRow::from_rows(&rows);
        let mut rules: Vec<Rule> = KINDS.iter().map(|kind| rule_of(app, kind, &own, &records, ctx.now())).collect();
        if SwitchesRow::of(&switches).keeps(ctx.now()) {
            rules.iter_mut().for_each(|rule| rule.due = 0);
        }
        Ok((rules, standing.keys))
    })
    .await
}

/// Sets a person's own rule for a kind; `None` takes it back. A shorter rule waits for the grace, and a letter tells
/// the person.
pub async fn set(app: &App, ctx: &Ctx, kind: &'static Kind, days: Option<u32>) -> Result<(), AppError> {
    if !kind.open_to_clients() {
        return Err(AppError::NotFound("kind of record with a retention of its own"));
    }
    match step(app, ctx, kind, days, false).await? {
        Setting::Done => Ok(()),
        Setting::NeedsLetter => {
            // Only a change that sends a letter is counted, so that nobody can keep the person from setting a rule back
            // by using up the letters.
            limit::count_letter(app, ctx).await?;
            step(app, ctx, kind, days, true).await.map(drop)
        }
    }
}

/// Sets a rule in one transaction. A shorter rule changes nothing unless its letter is `counted`.
async fn step(
    app: &App,
    ctx: &Ctx,
    kind: &'static Kind,
    days: Option<u32>,
    counted: bool,
) -> Result<Setting, AppError> {
    let command = &RetentionCommand {
        kind: kind.name().to_owned(),
        days,
        kind_days: kind.retention_days(),
        grace: app.grace,
        now: ctx.now(),
    };
    let id = &stream_id(ctx.subject, kind.name());
    let reads = || [stream_newest(ctx.subject, Retention::TYPE, id), contact(ctx.subject)];
    // To set a rule back is a right, because a thief may have shortened it; to shorten is an act, which is checked
    // below.
    let frame = Frame::right("retention_set", ctx).alone();
    frame::command(app, frame, reads, move |work, standing, [rows, contact]| async move {
        let set = work.command::<Retention>(id, &rows, command.clone()).await?;
        if let Some(Waits { before, until }) = set.and_then(|event| waits(&event)) {
            standing.require_acting()?;
            if !counted {
                work.undo();
                return Ok(Setting::NeedsLetter);
            }
            let (before, after) = (before.or(kind.retention_days()), days.or(kind.retention_days()));
            let to = address_of(&standing.keys, &contact)?;
            work.post(&Letter::retention_shortened(&to, kind.title(), before, after, until))?;
        }
        Ok(Setting::Done)
    })
    .await
}

/// Adds a job for each person with an expired record. Runs again in a day.
pub(crate) async fn sweep(app: &App) -> Result<Next, AppError> {
    let now = app.clock.now();
    frame::system_query(app, "retention_sweep", || [job_plan_retention(RETENTION_JOB, now, app.grace)]).await?;
    Ok(Next::Later(now + TimeDelta::days(1)))
}

/// Removes a person's expired records.
pub async fn run(app: &App, subject: SubjectId) -> Result<Next, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let reads = || [switches_get(subject), retention_list(subject)];
    let frame = Frame::act("retention_run", ctx).alone();
    match frame::command(app, frame, reads, move |work, standing, [switches, own]| async move {
        if SwitchesRow::of(&switches).keeps(ctx.now()) || standing.suspended_until().is_some() {
            return Ok(());
        }
        let expiries = expiries(app, &RetentionRow::from_rows(&own), ctx.now());
        let [gone, register] = work.tx.flight([record_expired(subject, &expiries), record_register(subject)]).await?;
        let gone = RecordRow::from_rows(&gone);
        let removed = record::remove_rows(&work, &standing, &gone, &register).await?;
        record::note_removed(app, ctx, &removed).await
    })
    .await
    {
        // The person was erased after the job was added.
        Err(AppError::SignedOut) => Ok(Next::Done),
        outcome => outcome.map(|()| Next::Done),
    }
}

fn rule_of(app: &App, kind: &'static Kind, own: &[RetentionRow], records: &[ExpiryRow], now: DateTime<Utc>) -> Rule {
    let records = records.iter().find(|row| row.kind == kind.name());
    let due = records.map_or(0, |row| usize::try_from(row.due).unwrap_or_default());
    let oldest = records.and_then(|row| row.unchanged_since);
    let mine = own.iter().find(|row| row.kind == kind.name());
    let days = days_of(kind, own, now).filter(|_| kind.open_to_clients());
    Rule {
        kind,
        days,
        own: mine.is_some_and(|row| row.in_force(now).is_some()),
        waiting: mine.and_then(|row| waiting(kind, row, now)),
        due,
        next_at: expires_at(app, kind, own, oldest, now),
    }
}

/// When a record with this last change expires, by the rule in force or by the shorter rule that waits; `None`
/// if never.
pub(crate) fn expires_at(
    app: &App,
    kind: &'static Kind,
    own: &[RetentionRow],
    changed_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let changed_at = changed_at.filter(|_| kind.open_to_clients())?;
    let after = |days: u32| changed_at.checked_add_signed(TimeDelta::days(i64::from(days)));
    let mine = own.iter().find(|row| row.kind == kind.name());
    let by_now = days_of(kind, own, now).and_then(after);
    let by_now = match mine.filter(|row| row.waits.is_none()) {
        Some(row) => by_now.map(|at| at.max(row.changed_at + app.grace)),
        None => by_now,
    };
    let waiting = mine.and_then(|row| waiting(kind, row, now));
    let by_then = waiting.and_then(|(days, from)| Some(after(days?)?.max(from)));
    by_now.into_iter().chain(by_then).min()
}

/// The rule that counts until the rule of this event takes effect, and the time until then; `None` if it takes effect
/// at once.
fn waits(event: &Event) -> Option<Waits> {
    let RetentionEvent::Set { waits, .. } = serde_json::from_str(&event.payload).ok()?;
    waits
}

/// The shorter rule that waits: its days (the kind's own if the person returns to them), and the time when it takes
/// effect.
fn waiting(kind: &Kind, row: &RetentionRow, now: DateTime<Utc>) -> Option<(Option<u32>, DateTime<Utc>)> {
    let until = row.waits.map(|waits| waits.until).filter(|until| now < *until)?;
    Some((row.days.or(kind.retention_days()), until))
}
