//! Alerts and suspensions. A pattern that a rule finds in the log raises one alert; if the rule says so, the account
//! that did it is suspended for a while. `jobs/deliver_alerts.rs` tells the people who must know.

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, SessionId, SubjectId};
use db::FromRow;
use domain::{
    desk::alert::{Alert, AlertCommand, AlertEvent, Pattern, Severity},
    identity::suspension::{Suspend, Suspension},
    rights::deletion::Deletion,
};
use event_log::{Event, cqrs_es::Aggregate};
use projections::{
    desk::alert::{
        DeliveryPlace, DeliveryRow, DeliveryState, Found, PatternQuery, RAISED, deliveries_replay, delivery_list,
        newest_of_type, newest_place, pattern_find, session_subject, suspension_put,
    },
    log::audit::stream_newest,
    page::{Page, TimedPlace},
};
use uuid::Uuid;

use crate::app::{
    App, AppError,
    desk::alert_rules::{By, Count, Rule},
    frame::{self, Frame, IdempotentRequest, Once, newest_of},
    letter::contact,
    rights::deletion,
};

/// For how long an alarm of the server itself is not raised again.
const QUIET: TimeDelta = TimeDelta::minutes(15);

/// One alert, as the desk sees it.
pub struct Raised {
    /// The id of the alert's stream, by which it is acknowledged.
    pub alert_id: String,
    /// The newest event of the alert.
    pub event: AlertEvent,
}

/// Looks for the pattern of a rule and raises an alert for each find; returns how many alerts it raised.
pub async fn look(app: &App, rule: &Rule) -> Result<usize, AppError> {
    let now = app.clock.now();
    let wanted = PatternQuery {
        event_type: rule.event.clone(),
        kind: rule.kind.clone(),
        roles: rule.roles.clone(),
        by_session: rule.by == By::Session,
        people: rule.count == Count::People,
        at_least: i64::from(rule.at_least),
        since: now - rule.within(),
    };
    let [rows] = frame::system_query(app, "pattern_find", || [pattern_find(wanted.clone())]).await?;
    let found = Found::from_rows(&rows);
    let mut raised = 0;
    for found in found {
        if is_quiet(app, &rule.name, &found.actor, rule.within()).await? {
            continue;
        }
        // The account is suspended before the alert says so; if the server dies in between, the next look does both
        // again.
        let suspended_until = match rule.suspend_s {
            Some(seconds) => {
                suspend_actor(app, rule, &found.actor, now + TimeDelta::seconds(i64::from(seconds))).await?
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
        raised += usize::from(raise(app, pattern, rule.within()).await?);
    }
    Ok(raised)
}

/// Suspends the account behind an actor; returns the end, or `None` if there is no account.
async fn suspend_actor(
    app: &App,
    rule: &Rule,
    actor: &str,
    until: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, AppError> {
    let Ok(actor) = actor.parse() else { return Ok(None) };
    let subject = match rule.by {
        By::Subject => Some(SubjectId(actor)),
        By::Session => subject_of_session(app, SessionId(actor)).await?,
    };
    match subject.filter(|subject| *subject != SubjectId::NIL) {
        Some(subject) => Ok(suspend(app, subject, &rule.name, until).await?.then_some(until)),
        None => Ok(None),
    }
}

/// Whether the same alert was raised so recently that it is not raised again.
async fn is_quiet(app: &App, rule: &str, actor: &str, quiet: TimeDelta) -> Result<bool, AppError> {
    let id = stream_of(rule, actor);
    let [rows] = frame::system_query(app, "alert_get", || [stream_newest(SubjectId::NIL, Alert::TYPE, &id)]).await?;
    let event = newest_of(&rows).and_then(|event| serde_json::from_str(&event.payload).ok());
    let (Some(AlertEvent::Raised { raised_at, .. }) | Some(AlertEvent::Acknowledged { raised_at, .. })) = event else {
        return Ok(false);
    };
    Ok(app.clock.now() < raised_at + quiet)
}

async fn subject_of_session(app: &App, session: SessionId) -> Result<Option<SubjectId>, AppError> {
    let [rows] = frame::system_query(app, "session_subject", || [session_subject(session.0)]).await?;
    Ok(rows.first().map(|row| SubjectId(row.get("subject_id"))))
}

/// Raises an alert, unless the same was raised within `quiet`; returns whether it did.
pub async fn raise(app: &App, pattern: Pattern, quiet: TimeDelta) -> Result<bool, AppError> {
    let (ctx, id) = (&Ctx::system(app.clock.clone()), stream_of(&pattern.rule, &pattern.actor));
    let command = AlertCommand::Raise { pattern: pattern.clone(), now: ctx.now(), quiet };
    let (_, raised) = frame::system_command::<Alert>(app, "alert_raise", ctx, &id, command).await?;
    if raised {
        tracing::warn!(rule = pattern.rule, actor = pattern.actor, count = pattern.count, "an alert was raised");
    }
    Ok(raised)
}

/// Raises an alarm of the server itself. If that fails, the failure is at least traced.
pub async fn alarm(app: &App, rule: &str, severity: Severity, count: u64) {
    alarm_about(app, "server", rule, severity, count).await;
}

/// The same about a login at the database.
pub async fn alarm_about(app: &App, login: &str, rule: &str, severity: Severity, count: u64) {
    let (actor, since) = (login.to_owned(), app.clock.now());
    let pattern = Pattern { rule: rule.to_owned(), severity, actor, count, since, suspended_until: None };
    if let Err(error) = raise(app, pattern, QUIET).await {
        tracing::error!(%error, rule, "an alarm can't be raised");
    }
}

/// Suspends an account until a time; returns whether the account exists. A confirmed deletion pauses until then.
async fn suspend(app: &App, subject: SubjectId, rule: &str, until: DateTime<Utc>) -> Result<bool, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let id = &subject.to_string();
    let reads =
        || [stream_newest(subject, Suspension::TYPE, id), stream_newest(subject, Deletion::TYPE, id), contact(subject)];
    let frame = Frame::act("account_suspend", ctx).alone();
    let suspend = frame::command(app, frame, reads, move |work, standing, [rows, requests, contact]| async move {
        let command = Suspend { rule: rule.to_owned(), until };
        work.command::<Suspension>(id, &rows, command).await?;
        deletion::pause(&work, &standing.keys, until, (&requests, &contact)).await?;
        work.queue(suspension_put(subject, until));
        Ok(())
    });
    match suspend.await {
        // An erased person can't act anyway.
        Err(AppError::SignedOut) => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// A page of the alerts, newest first; with `open` only those that nobody has acknowledged.
pub async fn list(
    app: &App,
    open: bool,
    page: &Page<TimedPlace>,
) -> Result<(Vec<Raised>, Option<TimedPlace>), AppError> {
    let reads = || [newest_of_type(Alert::TYPE, open.then_some(RAISED), page)];
    let [rows] = frame::system_query(app, "alert_list", reads).await?;
    let (events, next) = page.cut(Event::from_rows(&rows), newest_place);
    let read = |event: Event| {
        let alert = serde_json::from_str(&event.payload).ok()?;
        Some(Raised { alert_id: event.aggregate_id, event: alert })
    };
    Ok((events.into_iter().filter_map(read).collect(), next))
}

/// Records that a member of staff looks after an alert.
pub async fn acknowledge(app: &App, ctx: &Ctx, alert: &str) -> Result<(), AppError> {
    let command = AlertCommand::Acknowledge { now: ctx.now() };
    frame::system_command::<Alert>(app, "alert_acknowledge", ctx, alert, command).await.map(drop)
}

/// A page of the deliveries of alerts, newest first; only those in one state, if a state is given.
pub async fn deliveries(
    app: &App,
    state: Option<DeliveryState>,
    page: &Page<DeliveryPlace>,
) -> Result<(Vec<DeliveryRow>, Option<DeliveryPlace>), AppError> {
    let [rows] = frame::system_query(app, "delivery_list", || [delivery_list(state, page)]).await?;
    Ok(page.cut(DeliveryRow::from_rows(&rows), DeliveryRow::place))
}

/// Sends again the deliveries that were given up, or those of one alert's event in any state; returns how many. Refuses
/// an endpoint to which no alert is sent.
pub async fn delivery_replay(
    app: &App,
    staff: &Ctx,
    endpoint: Option<String>,
    event: Option<Uuid>,
    request: Option<&IdempotentRequest<'_>>,
) -> Result<Once<usize>, AppError> {
    let claim = frame::staff_claim(app, staff, "delivery_replay", request).await?;
    if endpoint.as_ref().is_some_and(|endpoint| !app.alerts.names().contains(endpoint)) {
        return Err(AppError::parameter("endpoint", "is not one to which alerts are sent"));
    }
    let (system, endpoint) = (&Ctx::system(app.clock.clone()), &endpoint);
    frame::system_work_once(app, "delivery_replay", system, claim, move |work| async move {
        let [rows] = work.tx.flight([deliveries_replay(endpoint.clone(), event, system.now())]).await?;
        Ok(rows.len())
    })
    .await
}

/// The id of the stream of a rule and an actor.
fn stream_of(rule: &str, actor: &str) -> String {
    hex::encode(&transparency::record_hash(format!("{rule}\n{actor}").as_bytes()).0[..16])
}
