//! Delivering alerts to webhooks and by mail: at least once each, retried with growing pauses for about three days,
//! then given up until somebody asks for a replay. Deliveries are planned from the log, so that none is lost with a
//! server.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use context::Ctx;
use db::FromRow;
use domain::desk::alert::AlertEvent;
use event_log::Event;
use futures_util::future::join_all;
use projections::desk::alert::{Delivery, deliveries_plan, delivery_settle, delivery_take};
use serde_json::{Value, json};

use crate::{
    app::{Alerts, App, AppError, desk::webhook::Endpoint, frame},
    mail::Letter,
};

const PAUSE: Duration = Duration::from_secs(2);
/// How long an endpoint may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// The pauses that Standard Webhooks recommends; a delivery that fails after the last one is dead.
const PAUSES_S: [i64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Delivers every two seconds until the task is ended.
pub async fn deliver_alerts(app: Arc<App>) {
    let client = client();
    loop {
        if let Err(error) = deliver_alerts_once(&app, &client).await {
            tracing::error!(%error, "alerts can't be delivered");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A client that follows no redirects.
pub fn client() -> reqwest::Client {
    let client =
        reqwest::Client::builder().timeout(REQUEST_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
    client.expect("a client with these settings can be built")
}

/// Plans deliveries of new alerts and tries all deliveries that are due. Returns how many it tried.
pub async fn deliver_alerts_once(app: &App, client: &reqwest::Client) -> Result<usize, AppError> {
    let endpoints = app.alerts.names();
    if endpoints.is_empty() {
        return Ok(0);
    }
    let now = app.clock.now();
    frame::system_query(app, "deliveries_plan", || [deliveries_plan(endpoints.clone(), now)]).await?;
    // All endpoints at once, so that a slow one keeps no other waiting.
    let tried = join_all(endpoints.iter().map(|endpoint| deliver_all(app, client, endpoint))).await;
    tried.into_iter().sum()
}

/// Tries all due deliveries of one endpoint, and returns how many there were.
async fn deliver_all(app: &App, client: &reqwest::Client, endpoint: &str) -> Result<usize, AppError> {
    let mut tried = 0;
    loop {
        let now = app.clock.now();
        let [rows] = frame::system_query(app, "delivery_take", || [delivery_take(endpoint, now, LEASE)]).await?;
        let delivery = rows.first().map(Delivery::from_row);
        let Some(Delivery { endpoint, attempts, event: Some(event) }) = delivery else { return Ok(tried) };
        tried += 1;
        let outcome = deliver(app, client, &endpoint, &event).await;
        let settled = outcome.map_err(|failure| {
            tracing::warn!(endpoint, failure, "an alert was not delivered");
            (next(attempts, app.clock.now()), failure)
        });
        let now = app.clock.now();
        let settle = || [delivery_settle(&endpoint, event.event_id.0, settled.clone(), now)];
        frame::system_query(app, "delivery_settle", settle).await?;
    }
}

/// When a delivery is tried again; `None` after the last try.
fn next(attempts: i32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let pause = PAUSES_S.get(usize::try_from(attempts - 1).ok()?)?;
    Some(now + TimeDelta::seconds(*pause))
}

async fn deliver(app: &App, client: &reqwest::Client, endpoint: &str, event: &Event) -> Result<(), String> {
    let message = message(event)?;
    if endpoint == Alerts::MAIL {
        return by_mail(app, &message).await;
    }
    let known = app.alerts.endpoints.iter().find(|known| known.name == endpoint);
    let endpoint = known.ok_or("this server does not know the endpoint")?;
    send(client, endpoint, event, &message, app.clock.now()).await
}

/// The message of a delivery: type, time, and the alert as it stands in the log.
fn message(event: &Event) -> Result<Value, String> {
    let alert: AlertEvent = serde_json::from_str(&event.payload).map_err(|_| "the alert does not load")?;
    let (AlertEvent::Raised { pattern, raised_at } | AlertEvent::Acknowledged { pattern, raised_at, .. }) = alert;
    Ok(
        json!({ "type": "alert.raised", "timestamp": raised_at, "data": { "alert_id": event.aggregate_id, "alert": pattern } }),
    )
}

async fn send(
    client: &reqwest::Client,
    endpoint: &Endpoint,
    event: &Event,
    message: &Value,
    now: DateTime<Utc>,
) -> Result<(), String> {
    let (id, timestamp, body) = (format!("msg_{}", event.event_id.0.simple()), now.timestamp(), message.to_string());
    let request = client
        .post(&endpoint.url)
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", endpoint.sign(&id, timestamp, &body))
        .body(body);
    let answer = request.send().await.map_err(|error| format!("not reached: {}", error.without_url()))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("answered {}", status.as_u16())) }
}

async fn by_mail(app: &App, message: &Value) -> Result<(), String> {
    let to = app.alerts.mail.as_deref().ok_or("no address is named")?;
    let alert = &message["data"]["alert"];
    let text = |name: &str| alert[name].as_str().map_or_else(|| alert[name].to_string(), str::to_owned);
    let letter = Letter::alert(to, &text("rule"), &text("severity"), &text("actor"), &text("count"), &text("since"));
    let (ctx, letter) = (&Ctx::system(app.clock.clone()), &letter);
    let mail = frame::system_work(app, &app.db.system, "alert_mail", ctx, move |work| async move { work.post(letter) });
    mail.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_given_up_after_three_days() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(next(1, now), Some(now + TimeDelta::seconds(5)));
        assert_eq!(next(9, now), Some(now + TimeDelta::days(1)));
        assert_eq!(next(10, now), None);
        let all: i64 = PAUSES_S.iter().sum();
        assert!((3..4).contains(&(all / 86_400)), "{all}");
    }
}
