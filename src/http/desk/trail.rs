//! The trail: every event of a span of time, searched and exported. Called by the compliance desk and by auditors. Random ids and
//! clear fields only.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::Query,
    payload::{Json, PlainText},
};
use projections::desk::compliance::TrailFilter;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::{App, AppError, desk::compliance, log::access, operation::projection},
    export::spreadsheet::guarded,
    http::{
        log::audit::is_action,
        problem::Refusal,
        request::{
            caller::Staff,
            cursor::{self, Page},
            input::check_time,
            number::Whole,
        },
        tag::Tag,
    },
};

/// The longest span of time that is looked through at once.
const MOST_DAYS: i64 = 366;
/// One entry of the trail.
#[derive(Object)]
pub struct TrailEntry {
    /// The event.
    event_id: Uuid,
    /// When it was recorded, in UTC, to the microsecond.
    recorded_at: String,
    /// What happened.
    action: String,
    /// To what: a kind of record, or the type of the stream.
    kind: String,
    /// The stream's type.
    stream_type: String,
    /// The stream.
    stream_id: String,
    /// The event's place in it.
    sequence: i64,
    /// Whom it is about, by the log's own id; the nil id for nobody.
    subject_id: Uuid,
    /// In which capacity somebody acted.
    role: String,
    /// The request.
    request_id: String,
    /// The session, where there was one; empty otherwise.
    session_id: String,
    /// The event's payload where it stands in clear; empty where it is sealed.
    payload: String,
}

/// A page of the trail.
#[derive(Object)]
pub struct TrailPage {
    /// In the order of the log.
    entries: Vec<TrailEntry>,
    /// What the next page is asked for with, where there is one.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// A page of the trail, in one of two forms.
#[derive(ApiResponse)]
pub enum TrailAnswer {
    /// As JSON.
    #[oai(status = 200)]
    Json(Json<TrailPage>),
    /// As CSV, with the columns' names in the first line.
    #[oai(status = 200, content_type = "text/csv")]
    Csv(
        PlainText<String>,
        /// What the next page is asked for with; empty where there is none.
        #[oai(header = "X-Next-Cursor")]
        String,
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
            role: text("role"),
            request_id: text("request"),
            session_id: text("session"),
            payload: event.payload,
        }
    }
}

fn csv(entries: &[TrailEntry]) -> Result<String, AppError> {
    let fault = |_| AppError::Corrupt("a trail can't be written".to_owned());
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let columns = [
        "event_id",
        "recorded_at",
        "action",
        "kind",
        "stream_type",
        "stream_id",
        "sequence",
        "subject_id",
        "role",
        "request_id",
        "session_id",
        "payload",
    ];
    writer.write_record(columns).map_err(fault)?;
    for it in entries {
        let (event, sequence, subject) = (it.event_id.to_string(), it.sequence.to_string(), it.subject_id.to_string());
        let row: [&str; 12] = [
            &event,
            &it.recorded_at,
            &it.action,
            &it.kind,
            &it.stream_type,
            &it.stream_id,
            &sequence,
            &subject,
            &it.role,
            &it.request_id,
            &it.session_id,
            &it.payload,
        ];
        writer.write_record(row.map(|cell| guarded(cell).into_owned())).map_err(fault)?;
    }
    let bytes = writer.into_inner().map_err(|_| AppError::Corrupt("a trail can't be written".to_owned()))?;
    String::from_utf8(bytes).map_err(|_| AppError::Corrupt("a trail can't be written".to_owned()))
}

/// The trail.
pub struct TrailApi;

#[OpenApi(prefix_path = "/v1/compliance", tag = "Tag::Compliance")]
impl TrailApi {
    /// Search and export the trail
    ///
    /// Every event of a span of time, in the order of the log; random ids and clear fields only. For a span that is over, the same
    /// question gives the same bytes. Each look is an event.
    #[oai(path = "/trail", method = "get", operation_id = "trail_list")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn trail(
        &self,
        app: Data<&Arc<App>>,
        caller: Staff,
        /// From here on; a day before `to` where absent, and at most 366 days where no person is named.
        from: Query<Option<DateTime<Utc>>>,
        /// Before this; now where absent.
        to: Query<Option<DateTime<Utc>>>,
        /// Only this action, such as `consent.granted`, or a family of them, such as `consent`.
        #[oai(validator(max_length = 64))]
        action: Query<Option<String>>,
        /// Only about this person, by the log's own id.
        subject_id: Query<Option<Uuid>>,
        /// Only by somebody in this role.
        #[oai(validator(max_length = 16))]
        role: Query<Option<String>>,
        /// `json` or `csv`; `json` where absent.
        format: Query<Option<String>>,
        /// What the page before gave.
        cursor: Query<Option<String>>,
        /// How many entries at most, 1 to 5000; 500 where absent.
        limit: Query<Option<Whole<u32>>>,
    ) -> Result<TrailAnswer, Refusal> {
        let page = Page::read(cursor.0.as_deref(), limit.0.map(|limit| limit.0), 500, 5000)?;
        let as_csv = match format.0.as_deref().unwrap_or("json") {
            "json" => false,
            "csv" => true,
            _ => return Err(AppError::parameter("format", "must be `json` or `csv`").into()),
        };
        if action.0.as_deref().is_some_and(|action| !is_action(action)) {
            return Err(AppError::parameter("action", "is no type of event, nor a family of them").into());
        }
        if role.0.as_deref().is_some_and(|role| context::Role::parse(role).is_none()) {
            return Err(AppError::parameter("role", "is no role").into());
        }
        for (name, time) in [("from", from.0), ("to", to.0)] {
            check_time(name, time)?;
        }
        let to = to.0.unwrap_or(caller.ctx().now());
        let from = from.0.unwrap_or(to - TimeDelta::days(1));
        if from > to {
            return Err(AppError::parameter("from", "must not lie after `to`").into());
        }
        if subject_id.0.is_none() && to - from > TimeDelta::days(MOST_DAYS) {
            let message = format!("must lie within {MOST_DAYS} days before `to`, where no person is named");
            return Err(AppError::parameter("from", &message).into());
        }
        let after = match page.after.as_deref().map(|text| text.split_once('/')) {
            None => (0, 0),
            Some(Some((txid, position))) => (cursor::part(txid)?, cursor::part(position)?),
            Some(None) => return Err(AppError::parameter("cursor", "is not one that we gave").into()),
        };
        let filter = TrailFilter {
            from,
            to,
            action: action.0,
            subject: subject_id.0,
            role: role.0,
            after,
            limit: i64::try_from(page.limit).unwrap_or(i64::MAX) + 1,
        };
        projection::staff_standing(&app, caller.ctx()).await?;
        let mut found = compliance::trail(&app, &filter).await?;
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found
            .last()
            .filter(|_| more)
            .map(|row| cursor::make(&format!("{}/{}", row.position.txid, row.position.position)));
        let asked = format!("{from} to {to} {:?} {:?} {:?}", filter.action, filter.subject, filter.role);
        access::note_session_read(&app, caller.ctx(), "trail", found.len(), asked).await?;
        let entries: Vec<TrailEntry> = found.into_iter().map(|row| TrailEntry::new(row.event)).collect();
        if as_csv {
            return Ok(TrailAnswer::Csv(PlainText(csv(&entries)?), next.unwrap_or_default()));
        }
        Ok(TrailAnswer::Json(Json(TrailPage { entries, next_cursor: next })))
    }
}
