//! Alerts and suspensions: what the rules find in the log is raised once, the account that did it is suspended for a while where a
//! rule says so, and whoever must know is told (`jobs/deliver_alerts.rs`).

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, SessionId, SubjectId};
use db::{Gate, Tx};
use domain::{
    alert::{Alert, AlertCommand, AlertEvent, Pattern, Severity},
    deletion::Deletion,
    kinds::CONTACT,
    suspension::{Suspend, Suspension},
};
use event_log::{Event, Unit, cqrs_es::Aggregate};
use projections::{
    INLINE,
    alert::{
        DeliveryRow, Found, Wanted, deliveries_replay, delivery_list, found_row, newest_of_type, pattern_find,
        session_subject, suspension_put,
    },
    audit::newest,
    record::record_list,
};
use uuid::Uuid;

use super::{
    App, AppError, Standing,
    stream::{self, newest_of},
};
use crate::alert_rules::{By, Count, Rule};

/// So many alerts are shown.
const SHOWN: i64 = 500;
/// An alarm of the server itself is not raised again for so long.
const QUIET: TimeDelta = TimeDelta::minutes(15);

/// One alert, as the desk sees it.
pub struct Raised {
    /// Its stream, by which it is acknowledged.
    pub alert_id: String,
    /// Its newest event.
    pub event: AlertEvent,
}

impl App {
    /// Looks for the pattern of a rule and raises what it finds; says how many alerts it raised.
    pub async fn alert_look(&self, rule: &Rule) -> Result<usize, AppError> {
        let now = self.clock.now();
        let wanted = Wanted {
            event_type: rule.event.clone(),
            kind: rule.kind.clone(),
            roles: rule.roles.clone(),
            by_session: rule.by == By::Session,
            people: rule.count == Count::People,
            at_least: i64::from(rule.at_least),
            since: now - rule.within(),
        };
        let found: Vec<Found> = self
            .read_as_system("pattern_find", &|| pattern_find(wanted.clone()))
            .await?
            .iter()
            .map(found_row)
            .collect();
        let mut raised = 0;
        for found in found {
            if self.alert_is_quiet(&rule.name, &found.actor, rule.within()).await? {
                continue;
            }
            // First what an alert then says was done; a server that dies in between does it again.
            let suspended_until = match rule.suspend_s {
                Some(seconds) => {
                    self.suspend_actor(rule, &found.actor, now + TimeDelta::seconds(i64::from(seconds))).await?
                }
                None => None,
            };
            let pattern = Pattern {
                rule: rule.name.clone(),
                severity: rule.severity,
                actor: found.actor,
                count: found.count,
                since: found.since,
                suspended_until,
            };
            raised += usize::from(self.alert_raise(pattern, rule.within()).await?);
        }
        Ok(raised)
    }

    /// Suspends the account behind an actor, if there is one; gives the end.
    async fn suspend_actor(
        &self,
        rule: &Rule,
        actor: &str,
        until: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, AppError> {
        let Ok(actor) = actor.parse() else { return Ok(None) };
        let subject = match rule.by {
            By::Subject => Some(SubjectId(actor)),
            By::Session => self.session_subject(SessionId(actor)).await?,
        };
        match subject.filter(|subject| *subject != SubjectId::NIL) {
            Some(subject) => Ok(self.suspend(subject, &rule.name, until).await?.then_some(until)),
            None => Ok(None),
        }
    }

    /// Whether the same alert was raised so short a time ago that it is not raised again.
    async fn alert_is_quiet(&self, rule: &str, actor: &str, quiet: TimeDelta) -> Result<bool, AppError> {
        let id = stream_of(rule, actor);
        let rows = self.read_as_system("alert_get", &|| newest(SubjectId::NIL, Alert::TYPE, &id)).await?;
        let event = newest_of(&rows).and_then(|event| serde_json::from_str(&event.payload).ok());
        let (Some(AlertEvent::Raised { raised_at, .. }) | Some(AlertEvent::Acknowledged { raised_at, .. })) = event
        else {
            return Ok(false);
        };
        Ok(self.clock.now() < raised_at + quiet)
    }

    async fn session_subject(&self, session: SessionId) -> Result<Option<SubjectId>, AppError> {
        let rows = self.read_as_system("session_subject", &|| session_subject(session.0)).await?;
        Ok(rows.first().map(|row| SubjectId(row.get(0))))
    }

    /// Raises an alert, unless the same was raised a short time ago; says whether it did.
    pub async fn alert_raise(&self, pattern: Pattern, quiet: TimeDelta) -> Result<bool, AppError> {
        let (ctx, id) = (&Ctx::system(self.clock.clone()), stream_of(&pattern.rule, &pattern.actor));
        let command = AlertCommand::Raise { pattern: pattern.clone(), now: ctx.now(), quiet };
        let (_, raised) = self.system_command::<Alert>("alert_raise", ctx, &id, command).await?;
        if raised {
            tracing::warn!(rule = pattern.rule, actor = pattern.actor, count = pattern.count, "an alert was raised");
        }
        Ok(raised)
    }

    /// Raises an alarm of the server itself. What can't be raised is in the trace at least.
    pub async fn alarm(&self, rule: &str, severity: Severity, count: u64) {
        self.alarm_about("server", rule, severity, count).await;
    }

    /// The same about a login of the database.
    pub async fn alarm_about(&self, login: &str, rule: &str, severity: Severity, count: u64) {
        let (actor, since) = (login.to_owned(), self.clock.now());
        let pattern = Pattern { rule: rule.to_owned(), severity, actor, count, since, suspended_until: None };
        if let Err(error) = self.alert_raise(pattern, QUIET).await {
            tracing::error!(%error, rule, "an alarm can't be raised");
        }
    }

    /// Suspends an account until a time; says whether there was one. A confirmed deletion that waits pauses meanwhile.
    async fn suspend(&self, subject: SubjectId, rule: &str, until: DateTime<Utc>) -> Result<bool, AppError> {
        let ctx = &Ctx::job(self.clock.clone(), subject);
        let work = move |tx: Tx| async move {
            let id = subject.to_string();
            let [standing, rows, requests, contact] = tx
                .flight([
                    Standing::query(ctx, None),
                    newest(subject, Suspension::TYPE, &id),
                    newest(subject, Deletion::TYPE, &id),
                    record_list(subject, CONTACT.name(), None),
                ])
                .await?;
            let keys = Standing::take(self, ctx, &standing)?.keys;
            let unit = Unit::new(ctx, Some(&keys));
            let command = Suspend { rule: rule.to_owned(), until };
            stream::command::<Suspension>(ctx, &unit, &id, newest_of(&rows).as_ref(), command).await?;
            self.deletion_pause(ctx, &tx, &unit, &keys, until, (&requests, &contact)).await?;
            unit.flush(&tx, INLINE);
            tx.queue(suspension_put(subject, until));
            Ok(())
        };
        match self.db.api.run_tx("account_suspend", ctx, Gate::alone(ctx), work).await {
            // Who is gone can't act anyway.
            Err(AppError::SignedOut) => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    /// The alerts, newest first; only those that nobody looks after where `open` says so.
    pub async fn alert_list(&self, open: bool) -> Result<Vec<Raised>, AppError> {
        let rows = self.read_as_system("alert_list", &|| newest_of_type(Alert::TYPE, SHOWN)).await?;
        let read = |row| {
            let event = Event::from_row(row, 0);
            let alert: AlertEvent = serde_json::from_str(&event.payload).ok()?;
            let counts = !open || matches!(alert, AlertEvent::Raised { .. });
            counts.then_some(Raised { alert_id: event.aggregate_id, event: alert })
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Notes that a member of staff looks after an alert.
    pub async fn alert_acknowledge(&self, ctx: &Ctx, alert: &str) -> Result<(), AppError> {
        let command = AlertCommand::Acknowledge { now: ctx.now() };
        self.system_command::<Alert>("alert_acknowledge", ctx, alert, command).await.map(drop)
    }

    /// The newest deliveries of alerts.
    pub async fn delivery_list(&self, state: Option<String>) -> Result<Vec<DeliveryRow>, AppError> {
        let rows = self.read_as_system("delivery_list", &|| delivery_list(state.clone(), SHOWN)).await?;
        Ok(rows.iter().map(DeliveryRow::from_row).collect())
    }

    /// Sends again what was given up, or one alert; says how many deliveries.
    pub async fn delivery_replay(&self, endpoint: Option<String>, event: Option<Uuid>) -> Result<usize, AppError> {
        let now = self.clock.now();
        Ok(self.read_as_system("delivery_replay", &|| deliveries_replay(endpoint.clone(), event, now)).await?.len())
    }
}

/// One stream a rule and actor.
fn stream_of(rule: &str, actor: &str) -> String {
    hex::encode(&transparency::record_hash(format!("{rule}\n{actor}").as_bytes()).0[..16])
}
