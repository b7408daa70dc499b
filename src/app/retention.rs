//! Retention: how long each kind of record is kept, a person's own rules, what would go next, and the daily work that removes
//! what has outlived its time. While processing is restricted, or a legal hold stands, nothing is removed.

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, SubjectId};
use db::Gate;
use domain::{
    Kind,
    kinds::{KINDS, kind},
    retention::{Retention, RetentionCommand},
};
use event_log::{Unit, cqrs_es::Aggregate};
use projections::{
    INLINE,
    account::{SwitchesRow, switches_get},
    audit::newest,
    job::job_plan_retention,
    record::{RecordRow, record_all},
    retention::{RetentionRow, days_of, limit, retention_list, stream_id},
};
use vault::{SubjectKeys, record_register};

use super::{
    App, AppError, Standing,
    stream::{self, newest_of},
};
use crate::jobs::Next;

/// The kind of job that removes what a person's records have outlived.
pub const RETENTION_JOB: &str = "retention";
/// The kind of job that looks, once a day, for whom there is such work.
pub const SWEEP_JOB: &str = "retention_sweep";

/// The rule of one kind for one person, and what it does next.
pub struct Rule {
    /// The kind.
    pub kind: &'static dyn Kind,
    /// Days after the last change; none: as long as the account.
    pub days: Option<u32>,
    /// Whether the person set it.
    pub own: bool,
    /// How many records the next daily run removes.
    pub due: usize,
    /// When the next record that is still within its time will have outlived it.
    pub next_at: Option<DateTime<Utc>>,
}

impl App {
    /// Whether a record has outlived its time. What signing in needs never does; and a rule of the person's own removes nothing
    /// before it is as old as the grace of a deletion, in which it can be taken back.
    fn outlived(&self, row: &RecordRow, own: &[RetentionRow], now: DateTime<Utc>) -> bool {
        let Some(kind) = kind(&row.entry.kind).filter(|kind| kind.open_to_clients()) else { return false };
        let fresh = own.iter().any(|rule| rule.kind == kind.name() && rule.changed_at > now - self.grace);
        !fresh && days_of(kind, own).is_some_and(|days| row.event.recorded_at < limit(now, days))
    }

    /// The rule of each kind, and what it does next.
    pub async fn retention_get(&self, ctx: &Ctx) -> Result<(Vec<Rule>, SubjectKeys), AppError> {
        self.db
            .api
            .run_tx("retention_get", ctx, Gate::shared(ctx), move |tx| async move {
                let [standing, switches, own, records] = tx
                    .finish([
                        Standing::query(ctx, None),
                        switches_get(ctx.subject),
                        retention_list(ctx.subject),
                        record_all(ctx.subject),
                    ])
                    .await?;
                let keys = Standing::take_right(self, ctx, &standing)?.keys;
                let own: Vec<RetentionRow> = own.iter().map(RetentionRow::from_row).collect();
                let records: Vec<RecordRow> = records.iter().map(RecordRow::from_row).collect();
                let mut rules: Vec<Rule> =
                    KINDS.iter().map(|kind| self.rule(*kind, &own, &records, ctx.now())).collect();
                if SwitchesRow::of(&switches).keeps(ctx.now()) {
                    rules.iter_mut().for_each(|rule| rule.due = 0);
                }
                Ok((rules, keys))
            })
            .await
    }

    /// Sets a person's own rule for a kind, or takes it back.
    pub async fn retention_set(&self, ctx: &Ctx, kind: &'static dyn Kind, days: Option<u32>) -> Result<(), AppError> {
        if !kind.open_to_clients() {
            return Err(AppError::parameter("kind", "is kept as long as the account: signing in needs it"));
        }
        self.db
            .api
            .run_tx("retention_set", ctx, Gate::alone(ctx), move |tx| async move {
                let id = stream_id(ctx.subject, kind.name());
                let [standing, rows] =
                    tx.flight([Standing::query(ctx, None), newest(ctx.subject, Retention::TYPE, &id)]).await?;
                let keys = Standing::take(self, ctx, &standing)?.keys;
                let unit = Unit::new(ctx, Some(&keys));
                let command = RetentionCommand { kind: kind.name().to_owned(), days };
                stream::command::<Retention>(ctx, &unit, &id, newest_of(&rows).as_ref(), command).await?;
                unit.flush(&tx, INLINE);
                Ok(())
            })
            .await
    }

    /// Adds a job for each person with a record that has outlived its time. Comes again in a day.
    pub(crate) async fn retention_sweep(&self) -> Result<Next, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        self.db
            .system
            .run_tx("retention_sweep", ctx, Gate::read(ctx), move |tx| async move {
                tx.queue(job_plan_retention(RETENTION_JOB, ctx.now(), self.grace));
                Ok::<_, AppError>(())
            })
            .await?;
        Ok(Next::Later(ctx.now() + TimeDelta::days(1)))
    }

    /// Removes a person's records that have outlived their time.
    pub async fn retention_run(&self, subject: SubjectId) -> Result<Next, AppError> {
        let ctx = &Ctx::job(self.clock.clone(), subject);
        let work = self.db.api.run_tx("retention_run", ctx, Gate::alone(ctx), move |tx| async move {
            let [standing, switches, own, records, register] = tx
                .flight([
                    Standing::query(ctx, None),
                    switches_get(subject),
                    retention_list(subject),
                    record_all(subject),
                    record_register(subject),
                ])
                .await?;
            let standing = Standing::take(self, ctx, &standing)?;
            if SwitchesRow::of(&switches).keeps(ctx.now()) {
                return Ok(());
            }
            let own: Vec<RetentionRow> = own.iter().map(RetentionRow::from_row).collect();
            let records: Vec<RecordRow> = records.iter().map(RecordRow::from_row).collect();
            let unit = Unit::new(ctx, Some(&standing.keys));
            let gone: Vec<&RecordRow> = records.iter().filter(|row| self.outlived(row, &own, ctx.now())).collect();
            let removed = self.remove(ctx, &tx, &unit, &standing, &gone, &register).await?;
            self.note_removed(ctx, &removed).await?;
            unit.flush(&tx, INLINE);
            Ok(())
        });
        match work.await {
            // Erased since the job was added.
            Err(AppError::SignedOut) => Ok(Next::Done),
            outcome => outcome.map(|()| Next::Done),
        }
    }

    fn rule(&self, kind: &'static dyn Kind, own: &[RetentionRow], records: &[RecordRow], now: DateTime<Utc>) -> Rule {
        let (due, living): (Vec<_>, Vec<_>) =
            records.iter().filter(|row| row.entry.kind == kind.name()).partition(|row| self.outlived(row, own, now));
        let oldest = living.iter().map(|row| row.event.recorded_at).min();
        let is_own = own.iter().any(|row| row.kind == kind.name());
        let days = days_of(kind, own).filter(|_| kind.open_to_clients());
        Rule { kind, days, own: is_own, due: due.len(), next_at: self.outlived_at(kind, own, oldest) }
    }

    /// When a record that was changed last at a time will have outlived what counts for its kind.
    pub(super) fn outlived_at(
        &self,
        kind: &'static dyn Kind,
        own: &[RetentionRow],
        changed_at: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let days = days_of(kind, own).filter(|_| kind.open_to_clients())?;
        let at = changed_at?.checked_add_signed(TimeDelta::days(i64::from(days)))?;
        let mine = own.iter().find(|row| row.kind == kind.name());
        Some(mine.map_or(at, |rule| at.max(rule.changed_at + self.grace)))
    }
}
