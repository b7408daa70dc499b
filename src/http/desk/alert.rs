//! Alerts and their deliveries, and openings of a person's data. Called by the compliance desk; auditors see alerts and
//! deliveries too.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Fault,
    desk::alert::{AlertEvent, Severity},
    kinds,
};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::ToJSON,
};
use projections::{
    desk::alert::{DeliveryRow, DeliveryState},
    page::{Page, TimedPlace},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        desk::{
            alert::{self, Raised},
            opening::{self, Whom},
        },
        log::access,
        operation::projection,
    },
    http::{
        problem::Refusal,
        records::record::RecordBody,
        repeatable::Repeatable,
        request::{
            caller::{Compliance, Staff},
            cursor,
            header_field::IdempotencyKey,
            input::{Body, Input},
            number::Whole,
            text::{Email, StatedReason, Text},
        },
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// An alert.
#[derive(Object)]
pub struct AlertAnswer {
    /// The id by which it is acknowledged; one for each rule and actor.
    alert_id: String,
    /// The rule that found a pattern.
    rule: String,
    /// How bad it is.
    severity: OneOf<Severity>,
    /// Who did it: a session or a person, by the log's own ids, or `server`, or a login of the database.
    actor: String,
    /// How many events, or how many people, the rule counted.
    count: u64,
    /// When the first counted event was recorded.
    #[oai(serialize_with = "in_utc")]
    since: DateTime<Utc>,
    /// When the alert was last raised.
    #[oai(serialize_with = "in_utc")]
    raised_at: DateTime<Utc>,
    /// Until when the account was suspended; absent if it was not.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    suspended_until: Option<DateTime<Utc>>,
    /// When somebody began to look after it; absent if nobody has.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    acknowledged_at: Option<DateTime<Utc>>,
}

/// A page of alerts.
#[derive(Object)]
pub struct AlertsAnswer {
    /// The alerts, newest first.
    alerts: Vec<AlertAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// A delivery of an alert to an endpoint.
#[derive(Object)]
pub struct DeliveryAnswer {
    /// The endpoint's name, or `mail`.
    endpoint: String,
    /// The id of the event that raised the alert.
    event_id: Uuid,
    /// The state; a delivery that is `dead` was given up.
    state: OneOf<DeliveryState>,
    /// How often it was tried.
    attempts: i32,
    /// When the next try is due, if the delivery waits.
    #[oai(serialize_with = "in_utc")]
    next_at: DateTime<Utc>,
    /// Why the last try failed; absent if it did not.
    #[oai(skip_serializing_if_is_none)]
    failure: Option<String>,
    /// When the delivery was added.
    #[oai(serialize_with = "in_utc")]
    created_at: DateTime<Utc>,
}

/// A page of deliveries.
#[derive(Object)]
pub struct DeliveriesAnswer {
    /// The deliveries, newest first.
    deliveries: Vec<DeliveryAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// Which deliveries are to be sent again.
#[derive(Object)]
pub struct ReplayWish {
    /// Only deliveries to this endpoint; absent: to all.
    #[oai(skip_serializing_if_is_none)]
    endpoint: Option<String>,
    /// Only this alert's event, delivered or not; absent: all deliveries that were given up.
    #[oai(skip_serializing_if_is_none)]
    event_id: Option<Uuid>,
}

/// The deliveries that are sent again.
#[derive(Object)]
pub struct ReplayAnswer {
    /// How many deliveries are sent again.
    deliveries: usize,
}

/// The person whose data is to be opened, and why.
#[derive(Object)]
pub struct OpeningWish {
    /// The log's own id of the person; either this or `email` must be given.
    #[oai(skip_serializing_if_is_none)]
    subject_id: Option<Uuid>,
    /// The person's address; either this or `subject_id` must be given.
    #[oai(skip_serializing_if_is_none)]
    email: Option<Text<Email>>,
    /// The reason, in 10 to 500 characters; the person can read it.
    reason: Text<StatedReason>,
}

/// An opening of a person's data.
#[derive(Object)]
pub struct OpeningAnswer {
    /// The id by which records are asked for.
    opening_id: Uuid,
    /// When the opening ends.
    #[oai(serialize_with = "in_utc")]
    expires_at: DateTime<Utc>,
}

/// A record of the person whose data is open.
#[derive(Object)]
pub struct OpenedRecord {
    /// The id of the record.
    record_id: Uuid,
    /// The body of the record.
    body: RecordBody,
    /// When it was submitted first.
    #[oai(serialize_with = "in_utc")]
    submitted_at: DateTime<Utc>,
    /// When it was changed last.
    #[oai(serialize_with = "in_utc")]
    recorded_at: DateTime<Utc>,
}

/// A page of the records of one kind.
#[derive(Object)]
pub struct OpenedRecords {
    /// The records, oldest first: by date, or by first submission if their kind has no dates.
    records: Vec<OpenedRecord>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

impl Input for ReplayWish {}

impl Input for OpeningWish {
    fn faults(wish: &Value) -> Vec<Fault> {
        let is_one = wish["subject_id"].is_null() != wish["email"].is_null();
        if is_one { Vec::new() } else { vec![Fault::new("subject_id", "or `email` must be there, and not both")] }
    }
}

impl AlertAnswer {
    fn new(raised: Raised) -> Self {
        let (pattern, raised_at, acknowledged_at) = match raised.event {
            AlertEvent::Raised { raised_at, pattern } => (pattern, raised_at, None),
            AlertEvent::Acknowledged { raised_at, pattern, acknowledged_at } => {
                (pattern, raised_at, Some(acknowledged_at))
            }
        };
        Self {
            alert_id: raised.alert_id,
            rule: pattern.rule,
            severity: OneOf(pattern.severity),
            actor: pattern.actor,
            count: pattern.count,
            since: pattern.since,
            raised_at,
            suspended_until: pattern.suspended_until,
            acknowledged_at,
        }
    }
}

impl AlertsAnswer {
    async fn read(app: &App, open: bool, page: &Page<TimedPlace>) -> Result<Self, AppError> {
        let (alerts, next) = alert::list(app, open, page).await?;
        let alerts = alerts.into_iter().map(AlertAnswer::new).collect();
        Ok(Self { alerts, next_cursor: next.map(cursor::make) })
    }
}

impl From<DeliveryRow> for DeliveryAnswer {
    fn from(row: DeliveryRow) -> Self {
        Self {
            endpoint: row.endpoint,
            event_id: row.event,
            state: OneOf(row.state),
            attempts: row.attempts,
            next_at: row.next_at,
            failure: row.failure,
            created_at: row.created_at,
        }
    }
}

pub struct AlertApi;

#[OpenApi(prefix_path = "/v1/compliance", tag = "Tag::Compliance")]
impl AlertApi {
    /// See the alerts
    ///
    /// What the rules found in the log; one entry for each rule and actor.
    #[oai(path = "/alerts", method = "get", operation_id = "alert_list")]
    async fn alerts(
        &self,
        app: Data<&Arc<App>>,
        caller: Staff,
        /// True: only alerts that nobody looks after; false or absent: all.
        open: Query<Option<bool>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many alerts at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<AlertsAnswer>, Refusal> {
        let page = cursor::page(&cursor, &limit, 100)?;
        access::note_session_read(&app, caller.ctx(), "compliance", 1, "alerts".to_owned()).await?;
        Ok(Json(AlertsAnswer::read(&app, open.0.unwrap_or(false), &page).await?))
    }

    /// Look after an alert
    ///
    /// Records that somebody looks after it; a new find of the same rule and actor opens it again. Answers with the
    /// first hundred alerts that are open still; the next page is one of `GET /v1/compliance/alerts?open=true`.
    #[oai(path = "/alerts/:id/acknowledge", method = "post", operation_id = "alert_acknowledge")]
    async fn acknowledge(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The id of the alert.
        #[oai(validator(max_length = 64))]
        id: Path<String>,
    ) -> Result<Json<AlertsAnswer>, Refusal> {
        projection::staff_standing(&app, caller.ctx()).await?;
        if id.0.len() != 32 || !id.0.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(AppError::NotFound("alert").into());
        }
        alert::acknowledge(&app, caller.ctx(), &id.0).await?;
        Ok(Json(AlertsAnswer::read(&app, true, &Page { after: None, limit: Some(100) }).await?))
    }

    /// See deliveries of alerts
    ///
    /// To webhooks and by mail. A delivery that is `dead` was given up after three days.
    #[oai(path = "/deliveries", method = "get", operation_id = "delivery_list")]
    async fn deliveries(
        &self,
        app: Data<&Arc<App>>,
        caller: Staff,
        /// Only deliveries in this state; absent: in any state.
        state: Query<Option<OneOf<DeliveryState>>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many deliveries at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<DeliveriesAnswer>, Refusal> {
        let page = cursor::page(&cursor, &limit, 100)?;
        access::note_session_read(&app, caller.ctx(), "compliance", 1, "deliveries".to_owned()).await?;
        let (deliveries, next) = alert::deliveries(&app, state.0.map(|state| state.0), &page).await?;
        let deliveries = deliveries.into_iter().map(DeliveryAnswer::from).collect();
        Ok(Json(DeliveriesAnswer { deliveries, next_cursor: next.map(cursor::make) }))
    }

    /// Send alerts again
    ///
    /// Deliveries that were given up, or those of one alert, delivered or not.
    #[oai(path = "/deliveries/replay", method = "post", operation_id = "delivery_replay")]
    async fn replay(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        wish: Body<ReplayWish>,
    ) -> Result<Repeatable<Json<ReplayAnswer>>, Refusal> {
        let request = key.request(&json!([wish.0.to_json()]));
        access::note_session_read(&app, caller.ctx(), "compliance", 1, "replay of deliveries".to_owned()).await?;
        let ReplayWish { endpoint, event_id } = wish.0;
        let again = alert::delivery_replay(&app, caller.ctx(), endpoint, event_id, request.as_ref()).await?;
        Ok(Repeatable::of(again, |deliveries, _| Json(ReplayAnswer { deliveries })))
    }

    /// Open a person's data
    ///
    /// For a reason that the person can read, and for a quarter of an hour. Each read is an event of the person too.
    #[oai(path = "/openings", method = "post", operation_id = "data_open")]
    async fn open(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        wish: Body<OpeningWish>,
    ) -> Result<Repeatable<Json<OpeningAnswer>>, Refusal> {
        let request = key.request(&json!([wish.0.to_json()]));
        let OpeningWish { subject_id, email, reason } = wish.0;
        let whom = match subject_id {
            Some(subject) => Whom::Subject(context::SubjectId(subject)),
            None => Whom::Address(email.map(|email| email.text).unwrap_or_default()),
        };
        let opened = opening::open(&app, caller.ctx(), whom, &reason, request.as_ref()).await?;
        Ok(Repeatable::of(opened, |(opening_id, expires_at), _| Json(OpeningAnswer { opening_id, expires_at })))
    }

    /// Read opened records
    ///
    /// The records of one kind of the person whose data was opened. Each page is an event of the person too.
    #[oai(path = "/openings/:id/records", method = "get", operation_id = "opening_records")]
    async fn records(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The id of the opening.
        id: Path<Uuid>,
        /// The kind of records, such as `work_day`.
        #[oai(validator(max_length = 64))]
        kind: Query<String>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many records at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<OpenedRecords>, Refusal> {
        let page = cursor::page(&cursor, &limit, 100)?;
        let kind = kinds::kind(&kind.0).ok_or(AppError::NotFound("kind"))?;
        let (records, next) = opening::records(&app, caller.ctx(), id.0, kind, &page).await?;
        let opened = records.into_iter().map(|it| OpenedRecord {
            record_id: it.record.0,
            body: RecordBody(it.body),
            submitted_at: it.submitted_at,
            recorded_at: it.recorded_at,
        });
        Ok(Json(OpenedRecords { records: opened.collect(), next_cursor: next.map(cursor::make) }))
    }
}
