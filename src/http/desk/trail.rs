//! The list of everybody's events in a span of time, which the API calls the trail: searched and exported. Called by
//! the compliance desk and by auditors. Shows random ids and clear fields only.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use context::Role;
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi, ResponseContent,
    param::Query,
    payload::{Json, PlainText},
};
use projections::desk::trail::TrailFilter;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::{App, AppError, desk::compliance, log::access, operation::projection},
    http::{
        log::action::Action,
        problem::Refusal,
        request::{caller::Staff, cursor, number::Whole},
        table,
        tag::Tag,
        types::{ClearPayload, OneOf, TableFormat, name},
    },
};

/// The longest span of time, in days, that is searched if no person is named.
const MOST_DAYS: i64 = 366;
/// One event of the list.
#[derive(Object)]
pub struct TrailEntry {
    /// The id of the event.
    event_id: Uuid,
    /// When it was recorded, in UTC, to the microsecond.
    recorded_at: String,
    /// The type of the event, such as `consent.granted`.
    action: String,
    /// What it happened to: a kind of record, or the type of the stream.
    kind: String,
    /// The type of the stream.
    stream_type: String,
    /// The id of the stream.
    stream_id: String,
    /// The number of the event in its stream, from 1.
    sequence: i64,
    /// The log's own id of the person whom it is about; the nil id if it is about nobody.
    subject_id: Uuid,
    /// The role in which somebody acted; absent if the event does not say it.
    #[oai(skip_serializing_if_is_none)]
    role: Option<OneOf<Role>>,
    /// The id of the request.
    request_id: String,
    /// The id of the session; absent if there was none.
    #[oai(skip_serializing_if_is_none)]
    session_id: Option<String>,
    /// The event's payload; absent if it is sealed.
    #[oai(skip_serializing_if_is_none)]
    payload: Option<ClearPayload>,
}

/// A page of events.
#[derive(Object)]
pub struct TrailPage {
    /// The events, in the order of the log.
    entries: Vec<TrailEntry>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// A page of events, as JSON or as CSV.
#[derive(ResponseContent)]
pub enum TrailContent {
    Json(Json<TrailPage>),
    #[oai(content_type = "text/csv")]
    Csv(PlainText<String>),
}

/// A page of events, in one of two forms.
#[derive(ApiResponse)]
pub enum TrailAnswer {
    /// The events; as CSV, with the columns' names in the first line.
    #[oai(status = 200)]
    Ok(
        TrailContent,
        /// The `cursor` that asks for the next page; absent on the last page.
        #[oai(header = "X-Next-Cursor")]
        Option<String>,
    ),
}

impl TrailEntry {
    fn new(event: event_log::Event) -> Self {
        let metadata: Value = serde_json::from_str(&event.metadata).unwrap_or_default();
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        Self {
            event_id: event.event_id.0,
            recorded_at: event.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            action: event.event_type,
            kind: event.kind,
            stream_type: event.aggregate_type,
            stream_id: event.aggregate_id,
            sequence: event.sequence,
            subject_id: event.subject_id.0,
            role: Role::parse(&text("role")).map(OneOf),
            request_id: text("request"),
            session_id: Some(text("session")).filter(|session| !session.is_empty()),
            payload: serde_json::from_str(&event.payload).ok().map(ClearPayload),
        }
    }
}

pub struct TrailApi;

#[OpenApi(prefix_path = "/v1/compliance", tag = "Tag::Compliance")]
impl TrailApi {
    /// Search and export the trail
    ///
    /// Every event of a span of time, in the order of the log, with random ids and clear fields only. For a span that
    /// is over, the same question gives the same bytes. Each look is an event too.
    #[oai(path = "/trail", method = "get", operation_id = "trail_list")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn trail(
        &self,
        app: Data<&Arc<App>>,
        caller: Staff,
        /// The beginning, included; if absent, a day before `to`. If no person is named, at most 366 days before `to`.
        from: Query<Option<DateTime<Utc>>>,
        /// The end, excluded; if absent, now.
        to: Query<Option<DateTime<Utc>>>,
        /// Only this action, such as `consent.granted`, or a family of them, such as `consent`; absent: all.
        action: Query<Option<Action>>,
        /// Only events about this person, by the log's own id; absent: about anybody.
        subject_id: Query<Option<Uuid>>,
        /// Only events whose actor has this role; absent: any role.
        role: Query<Option<OneOf<Role>>>,
        /// If absent, `json`.
        format: Query<Option<OneOf<TableFormat>>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many events at most, 1 to 5000; if absent, 500.
        limit: Query<Option<Whole<1, 5000>>>,
    ) -> Result<TrailAnswer, Refusal> {
        let page = cursor::page(&cursor, &limit, 500)?;
        let to = to.0.unwrap_or(caller.ctx().now());
        let from = from.0.unwrap_or(to - TimeDelta::days(1));
        if from > to {
            return Err(AppError::parameter("from", "must not lie after `to`").into());
        }
        if subject_id.0.is_none() && to - from > TimeDelta::days(MOST_DAYS) {
            let message = format!("must lie within {MOST_DAYS} days before `to`, where no person is named");
            return Err(AppError::parameter("from", &message).into());
        }
        let action = action.0.map(|action| action.0);
        let filter = TrailFilter { from, to, action, subject: subject_id.0, role: role.0.map(name) };
        projection::staff_standing(&app, caller.ctx()).await?;
        let (found, next) = compliance::trail(&app, &filter, &page).await?;
        let next = next.map(cursor::make);
        let asked = format!("{from} to {to} {:?} {:?} {:?}", filter.action, filter.subject, filter.role);
        access::note_session_read(&app, caller.ctx(), "trail", found.len(), asked).await?;
        let entries: Vec<TrailEntry> = found.into_iter().map(|row| TrailEntry::new(row.event)).collect();
        let content = match format.0 {
            Some(OneOf(TableFormat::Csv)) => TrailContent::Csv(PlainText(table::csv(&entries, csv::Terminator::CRLF)?)),
            _ => TrailContent::Json(Json(TrailPage { entries, next_cursor: next.clone() })),
        };
        Ok(TrailAnswer::Ok(content, next))
    }
}
