//! Work days: submitting one or many, seeing them, deleting all. Called by a person on their own data.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Fault, Source,
    filter::Days,
    kinds::{Shape, WORK_DAY, WorkDay},
};
use poem::{Request, web::Data};
use poem_openapi::{ApiResponse, Object, OpenApi, param::Query, payload::Json, types::Example};
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        log::access,
        records::{
            idempotency::IdempotentRequest,
            opened::OpenRecord,
            record::{self, Batch, Change, Expected, Submission, Submitted},
        },
    },
    http::{
        problem::Refusal,
        request::{
            caller::{Caller, Subject},
            cursor::{self, Page},
            etag::{Conditions, tag},
            header_field::{HeaderList, HeaderText},
            input::{Body, Fields, Input, days, idempotency_key},
            number::Whole,
        },
        tag::Tag,
        types::{Hours, OneOf},
    },
};

const BATCH_DAYS: usize = 366;

/// One confirmed day. Planned and actual time are given in hours or in minutes; if both are given, they must agree.
#[derive(Object)]
#[oai(rename = "WorkDay", example)]
pub struct WorkDayInput {
    /// The date of the day; it must not lie in the future in the person's time zone.
    date: NaiveDate,
    /// Planned work in hours, 0 to 24, rounded to the minute; required if `planned_minutes` is absent.
    #[oai(skip_serializing_if_is_none)]
    planned_hours: Option<Hours>,
    /// Actual work in hours, 0 to 24, rounded to the minute; required if `actual_minutes` is absent.
    #[oai(skip_serializing_if_is_none)]
    actual_hours: Option<Hours>,
    /// Planned work in minutes, 0 to 1440; required if `planned_hours` is absent.
    #[oai(skip_serializing_if_is_none, validator(maximum(value = "1440")))]
    planned_minutes: Option<u16>,
    /// Actual work in minutes, 0 to 1440; required if `actual_hours` is absent.
    #[oai(skip_serializing_if_is_none, validator(maximum(value = "1440")))]
    actual_minutes: Option<u16>,
    /// How the time was measured.
    source: OneOf<Source>,
}

/// Days that are stored together: all of them or none.
#[derive(Object)]
#[oai(example)]
pub struct WorkDayBatch {
    /// One to 366 days, each date once.
    #[oai(validator(min_items = 1, max_items = 366))]
    events: Vec<WorkDayInput>,
    /// The index of each of `events` in the list that was sent; `faults` are those of the other entries.
    #[oai(skip)]
    places: Vec<usize>,
    #[oai(skip)]
    faults: Vec<Fault>,
}

/// A stored day.
#[derive(Object)]
#[oai(example)]
pub struct WorkDayAnswer {
    /// The id of the day's record.
    event_id: Uuid,
    /// When it was submitted first.
    submitted_at: DateTime<Utc>,
    /// When it was changed last.
    updated_at: DateTime<Utc>,
    /// The date of the day.
    date: NaiveDate,
    /// Planned work in hours, rounded to the minute.
    planned_hours: Hours,
    /// Actual work in hours, rounded to the minute.
    actual_hours: Hours,
    /// Planned work in minutes.
    planned_minutes: u16,
    /// Actual work in minutes.
    actual_minutes: u16,
    /// How the time was measured.
    source: OneOf<Source>,
}

/// What a batch changed.
#[derive(Object)]
#[oai(example)]
pub struct BatchAnswer {
    /// Days that are new.
    created_count: u32,
    /// Days that were amended.
    updated_count: u32,
    /// Days that were stored already with the same values.
    unchanged_count: u32,
}

/// A page of days.
#[derive(Object)]
pub struct WorkDaysAnswer {
    /// The days, oldest first.
    events: Vec<WorkDayAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// What was deleted.
#[derive(Object)]
#[oai(example)]
pub struct DeletedAnswer {
    /// How many days were deleted.
    deleted_count: u32,
}

impl Example for WorkDayInput {
    fn example() -> Self {
        Self {
            date: NaiveDate::from_ymd_opt(2025, 12, 8).expect("a date"),
            planned_hours: Some(Hours { minutes: 510 }),
            actual_hours: Some(Hours { minutes: 552 }),
            planned_minutes: None,
            actual_minutes: None,
            source: OneOf(Source::Geofence),
        }
    }
}

impl Example for WorkDayBatch {
    fn example() -> Self {
        Self { events: vec![WorkDayInput::example()], places: vec![0], faults: Vec::new() }
    }
}

impl Example for WorkDayAnswer {
    fn example() -> Self {
        let day = WorkDay {
            date: WorkDayInput::example().date,
            planned_minutes: 510,
            actual_minutes: 552,
            source: Source::Geofence,
        };
        Self::new(Uuid::nil(), DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH, &day)
    }
}

impl Example for BatchAnswer {
    fn example() -> Self {
        Self { created_count: 6, updated_count: 1, unchanged_count: 0 }
    }
}

impl Example for DeletedAnswer {
    fn example() -> Self {
        Self { deleted_count: 42 }
    }
}

/// Reads a time in hours or in minutes; if both are given, they must agree.
fn minutes(fields: &mut Fields, what: &str) -> Option<u16> {
    let (in_hours, in_minutes) = (format!("{what}_hours"), format!("{what}_minutes"));
    let hours = match fields.take(&in_hours) {
        None => None,
        Some(value) => Some(fields.check(&in_hours, value, |value| {
            Hours::parse(&value).ok_or_else(|| "must be hours, a number from 0 to 24".into())
        })?),
    };
    let minutes = match fields.take(&in_minutes) {
        None => None,
        Some(value) => Some(fields.check(&in_minutes, value, |value| {
            let whole =
                value.as_u64().and_then(|minutes| u16::try_from(minutes).ok()).filter(|minutes| *minutes <= 1440);
            whole.ok_or_else(|| "must be minutes, a whole number from 0 to 1440".into())
        })?),
    };
    match (hours.map(|hours| hours.minutes), minutes) {
        (Some(hours), Some(minutes)) if hours != minutes => {
            fields.fault(&in_minutes, format!("does not agree with {in_hours}"));
            None
        }
        (None, None) => {
            fields.fault(&in_hours, format!("or {in_minutes} is required"));
            None
        }
        (hours, minutes) => minutes.or(hours),
    }
}

impl Input for WorkDayInput {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (date, source) = (fields.date("date"), fields.choice("source"));
        let (planned, actual) = (minutes(fields, "planned"), minutes(fields, "actual"));
        Some(Self {
            date: date?,
            planned_hours: None,
            actual_hours: None,
            planned_minutes: Some(planned?),
            actual_minutes: Some(actual?),
            source: OneOf(source?),
        })
    }
}

impl Input for WorkDayBatch {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (places, events) = fields.objects("events", BATCH_DAYS, WorkDayInput::read)?.into_iter().unzip();
        Some(Self { events, places, faults: Vec::new() })
    }

    /// Keeps the days without a fault, because they may still break a rule or be repeated, and all faults are named at
    /// once.
    fn with_faults(self, faults: Vec<Fault>) -> Result<Self, Vec<Fault>> {
        Ok(Self { faults, ..self })
    }
}

impl WorkDayInput {
    fn day(&self) -> WorkDay {
        WorkDay {
            date: self.date,
            planned_minutes: self.planned_minutes.unwrap_or_default(),
            actual_minutes: self.actual_minutes.unwrap_or_default(),
            source: self.source.0,
        }
    }
}

impl WorkDayAnswer {
    fn new(event_id: Uuid, submitted_at: DateTime<Utc>, updated_at: DateTime<Utc>, day: &WorkDay) -> Self {
        Self {
            event_id,
            submitted_at,
            updated_at,
            date: day.date,
            planned_hours: Hours { minutes: day.planned_minutes },
            actual_hours: Hours { minutes: day.actual_minutes },
            planned_minutes: day.planned_minutes,
            actual_minutes: day.actual_minutes,
            source: OneOf(day.source),
        }
    }

    fn of(record: &OpenRecord) -> Result<Self, AppError> {
        let day =
            WorkDay::from_body(&record.body).ok_or_else(|| AppError::Corrupt("a day has another shape".to_owned()))?;
        Ok(Self::new(record.record.0, record.submitted_at, record.recorded_at, &day))
    }
}

/// The answer to the submission of one day.
#[derive(ApiResponse)]
pub enum DaySubmitted {
    /// The day existed already: it was amended, or it stays as it was.
    #[oai(status = 200)]
    Amended(
        Json<WorkDayAnswer>,
        /// The day's version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
    /// The day is new.
    #[oai(status = 201)]
    Created(
        Json<WorkDayAnswer>,
        /// The day's version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
}

pub struct WorkDayApi;

#[OpenApi(prefix_path = "/v1/work-events", tag = "Tag::WorkDays")]
impl WorkDayApi {
    /// Submit a day
    ///
    /// A second submission of a day amends it; the same values again change nothing. Needs consent to `work_hours`.
    #[oai(path = "/daily", method = "post", operation_id = "work_day_submit")]
    async fn submit(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// Tags of versions, one of which the day must have, or `*` for any; otherwise nothing is changed and the
        /// answer is 412.
        #[oai(name = "If-Match")]
        if_match: HeaderList,
        /// Tags of versions that the day must not have; with `*` a day can be created, but none is changed.
        #[oai(name = "If-None-Match")]
        if_none_match: HeaderList,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: HeaderText,
        body: Body<WorkDayInput>,
    ) -> Result<DaySubmitted, Refusal> {
        let expected = Conditions::read(&if_match, &if_none_match)?.expected();
        let day = body.0.day();
        let days = DayBatch { days: &[(None, day.clone())], expected: Some(expected), faults: Vec::new() };
        let outcomes = submit(&app, &caller, "work_day_submit", key.0.as_deref(), days).await?;
        let outcome = outcomes.first().ok_or_else(|| AppError::Corrupt("a stored answer is empty".to_owned()))?;
        let answer = Json(WorkDayAnswer::new(outcome.record.0, outcome.submitted_at, outcome.recorded_at, &day));
        let etag = tag(outcome.version);
        Ok(if outcome.change == Change::Created {
            DaySubmitted::Created(answer, etag)
        } else {
            DaySubmitted::Amended(answer, etag)
        })
    }

    /// Submit many days
    ///
    /// Up to 366 days in one transaction: either all are stored, or none is and every fault is named.
    #[oai(path = "/batch", method = "post", operation_id = "work_day_submit_batch")]
    async fn submit_batch(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: HeaderText,
        body: Body<WorkDayBatch>,
    ) -> Result<Json<BatchAnswer>, Refusal> {
        let WorkDayBatch { events, places, faults } = body.0;
        let named = |(event, place): (&WorkDayInput, usize)| (Some(format!("events[{place}]")), event.day());
        let days: Vec<_> = events.iter().zip(places).map(named).collect();
        let days = DayBatch { days: &days, expected: None, faults };
        let outcomes = submit(&app, &caller, "work_day_submit_batch", key.0.as_deref(), days).await?;
        let count = |change| {
            u32::try_from(outcomes.iter().filter(|outcome| outcome.change == change).count()).unwrap_or(u32::MAX)
        };
        Ok(Json(BatchAnswer {
            created_count: count(Change::Created),
            updated_count: count(Change::Amended),
            unchanged_count: count(Change::Unchanged),
        }))
    }

    /// See own days
    ///
    /// The caller's days from `from` to `to`, both included, oldest first.
    #[oai(path = "/me", method = "get", operation_id = "work_day_list")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// The first day; absent: no bound.
        from: Query<Option<NaiveDate>>,
        /// The last day, included; absent: no bound.
        to: Query<Option<NaiveDate>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many days at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<u32>>>,
    ) -> Result<Json<WorkDaysAnswer>, Refusal> {
        let page = Page::read(cursor.0.as_deref(), limit.0.map(|limit| limit.0), 100, 1000)?;
        let (range, asked) = days(from.0, to.0)?;
        let range = range.map(|(first, last)| Days { first, last, zone: caller.zone() });
        let (records, keys) = record::list(&app, caller.ctx(), "work_day_list", WORK_DAY, range).await?;
        let mut days = records.iter().map(WorkDayAnswer::of).collect::<Result<Vec<_>, _>>()?;
        days.sort_by_key(|day| day.date);
        let after: Option<NaiveDate> = page.after.as_deref().map(cursor::part).transpose()?;
        days.retain(|day| after.is_none_or(|after| day.date > after));
        let more = days.len() > page.limit;
        days.truncate(page.limit);
        let next_cursor = days.last().filter(|_| more).map(|day| cursor::make(&day.date.to_string()));
        access::note_read(&app, caller.ctx(), keys, WORK_DAY.name(), days.len(), asked).await?;
        Ok(Json(WorkDaysAnswer { events: days, next_cursor }))
    }

    /// Delete all own days
    ///
    /// Destroys the keys of all days at once and for good, so that nothing can read them any more. A copy of the
    /// database that still holds a wrapped key becomes useless when the server's own key is rotated and its old version
    /// destroyed. A letter tells the person. `POST /v1/privacy/delete-data` asks for a confirmation first.
    #[oai(path = "/me", method = "delete", operation_id = "work_day_delete_all")]
    async fn delete_all(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        request: &Request,
    ) -> Result<Json<DeletedAnswer>, Refusal> {
        // A caller who asks to delete some days must not lose all of them.
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(AppError::parameter("", "takes no parameters: it deletes all days").into());
        }
        caller.count_letter(&app).await?;
        let count = record::remove_all(&app, caller.ctx(), "work_day_delete_all", WORK_DAY).await?;
        Ok(Json(DeletedAnswer { deleted_count: u32::try_from(count).unwrap_or(u32::MAX) }))
    }
}

/// Days that are submitted together.
struct DayBatch<'a> {
    /// Each day, with its name in faults.
    days: &'a [(Option<String>, WorkDay)],
    /// What the caller demands of the version that is stored; `None`: nothing.
    expected: Option<Expected>,
    /// Faults that were found before.
    faults: Vec<Fault>,
}

async fn submit(
    app: &App,
    caller: &Caller,
    operation: &'static str,
    key: Option<&str>,
    DayBatch { days, expected, faults }: DayBatch<'_>,
) -> Result<Vec<Submitted>, Refusal> {
    let key = idempotency_key(key)?;
    let submission = |(within, day): &(Option<String>, WorkDay)| Submission {
        body: day.to_body(),
        expected: expected.clone(),
        within: within.clone(),
    };
    let submissions: Vec<Submission> = days.iter().map(submission).collect();
    let body = || {
        let days: Vec<&WorkDay> = days.iter().map(|(_, day)| day).collect();
        serde_json::to_vec(&days).expect("days can be written as JSON")
    };
    // A request with faults is not stored under its Idempotency-Key, so that the client may correct it and use the key
    // again.
    let request = key.filter(|_| faults.is_empty()).map(|key| IdempotentRequest { key, body: body() });
    let batch = Batch { operation, kind: WORK_DAY, submissions: &submissions, today: caller.today(), faults };
    Ok(record::submit(app, caller.ctx(), &batch, request.as_ref()).await?)
}
