//! Work days: submitting one or many, seeing them, deleting all. Called by a person on their own data.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Fault, Source,
    filter::Days,
    kinds::{DAY_MINUTES, Shape, WORK_DAY, WorkDay},
};
use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, param::Query, payload::Json};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        frame::{IdempotentRequest, Once},
        log::access,
        records::{
            list::{self, Records},
            opened::OpenRecord,
            record::{self, Batch, Change, Submission, Submitted},
            version::Expected,
        },
    },
    http::{
        problem::Refusal,
        records::record::address,
        repeatable::Repeatable,
        request::{
            caller::{Caller, Subject},
            cursor,
            etag::{Conditions, tag},
            header_field::{HeaderList, IdempotencyKey},
            input::{Body, Input, days, parse},
            number::Whole,
        },
        tag::Tag,
        types::{Hours, OneOf, in_utc},
    },
};

/// Minutes of a day.
type Minutes = Whole<0, { DAY_MINUTES as u64 }>;

/// The fields of planned and of actual time. One of both must be there; if both are, they must agree.
const TIMES: [[&str; 2]; 2] = [["planned_hours", "planned_minutes"], ["actual_hours", "actual_minutes"]];

/// One confirmed day. Planned and actual time are given in hours or in minutes; if both are given, they must agree.
#[derive(Object)]
#[oai(rename = "WorkDay")]
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
    #[oai(skip_serializing_if_is_none)]
    planned_minutes: Option<Minutes>,
    /// Actual work in minutes, 0 to 1440; required if `actual_hours` is absent.
    #[oai(skip_serializing_if_is_none)]
    actual_minutes: Option<Minutes>,
    /// How the time was measured.
    source: OneOf<Source>,
}

/// Days that are stored together: all of them or none.
#[derive(Object)]
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
pub struct WorkDayAnswer {
    /// The id of the day's record.
    event_id: Uuid,
    /// When it was submitted first.
    #[oai(serialize_with = "in_utc")]
    submitted_at: DateTime<Utc>,
    /// When it was changed last.
    #[oai(serialize_with = "in_utc")]
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
pub struct DeletedAnswer {
    /// How many days were deleted.
    deleted_count: u32,
}

impl WorkDayInput {
    fn day(&self) -> WorkDay {
        let time = |hours: Option<Hours>, minutes: Option<Minutes>| {
            minutes.map(Minutes::fit).or(hours.map(|hours| hours.minutes)).unwrap_or_default()
        };
        let planned_minutes = time(self.planned_hours, self.planned_minutes);
        let actual_minutes = time(self.actual_hours, self.actual_minutes);
        WorkDay { date: self.date, planned_minutes, actual_minutes, source: self.source.0 }
    }
}

impl Input for WorkDayInput {
    fn faults(day: &Value) -> Vec<Fault> {
        let fault = |[hours, minutes]: [&str; 2]| {
            if day[hours].is_null() && day[minutes].is_null() {
                return Some(Fault::new(hours, format!("or `{minutes}` is required")));
            }
            let both = Hours::parse(&day[hours]).zip(day[minutes].as_u64());
            let differ = both.is_some_and(|(hours, minutes)| u64::from(hours.minutes) != minutes);
            differ.then(|| Fault::new(minutes, format!("does not agree with `{hours}`")))
        };
        TIMES.into_iter().filter_map(fault).collect()
    }
}

impl Input for WorkDayBatch {
    fn faults(batch: &Value) -> Vec<Fault> {
        let days = batch["events"].as_array().into_iter().flatten().enumerate();
        let of_day = |(place, day)| {
            let within = move |fault: Fault| fault.within(&format!("events[{place}]"));
            WorkDayInput::faults(day).into_iter().map(within)
        };
        days.filter(|(_, day)| day.is_object()).flat_map(of_day).collect()
    }

    /// Keeps the days without a fault, because they may still break a rule or be repeated, and all faults are named at
    /// once.
    fn read(mut value: Value, faults: Vec<Fault>) -> Result<Self, Vec<Fault>> {
        let Some(Value::Array(days)) = value.get_mut("events").map(Value::take) else { return Err(faults) };
        if faults.iter().any(|fault| !fault.field.starts_with("events[")) {
            return Err(faults);
        }
        let is_sound = |place: usize| faults.iter().all(|fault| !fault.field.starts_with(&format!("events[{place}]")));
        let sound = days.into_iter().enumerate().filter(|(place, _)| is_sound(*place));
        // What is beyond the faults that are named is left out too.
        let read = sound.filter_map(|(place, day)| Some((parse(day).ok()?, place)));
        let (events, places) = read.unzip();
        Ok(Self { events, places, faults })
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
        /// Where it is found.
        #[oai(header = "Location")]
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
        key: IdempotencyKey,
        body: Body<WorkDayInput>,
    ) -> Result<Repeatable<DaySubmitted>, Refusal> {
        let expected = Conditions::read(&if_match, &if_none_match)?.expected();
        let day = body.0.day();
        let days = DayBatch { days: &[(None, day.clone())], expected: Some(expected), faults: Vec::new() };
        let request = key.request(&(&day, &if_match.0, &if_none_match.0));
        let Once { value: outcomes, replayed, .. } = submit(&app, &caller, "work_day_submit", request, days).await?;
        let outcome = outcomes.first().ok_or_else(|| AppError::Corrupt("a stored answer is empty".to_owned()))?;
        let answer = Json(WorkDayAnswer::new(outcome.record.0, outcome.submitted_at, outcome.recorded_at, &day));
        let etag = tag(outcome.record, outcome.version);
        let answer = if outcome.change == Change::Created {
            DaySubmitted::Created(answer, etag, address(WORK_DAY.name(), outcome.record.0))
        } else {
            DaySubmitted::Amended(answer, etag)
        };
        Ok(Repeatable { answer, replayed })
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
        key: IdempotencyKey,
        body: Body<WorkDayBatch>,
    ) -> Result<Repeatable<Json<BatchAnswer>>, Refusal> {
        let WorkDayBatch { events, places, faults } = body.0;
        let named = |(event, place): (&WorkDayInput, usize)| (Some(format!("events[{place}]")), event.day());
        let days: Vec<_> = events.iter().zip(places).map(named).collect();
        let request = key.request(&days.iter().map(|(_, day)| day).collect::<Vec<_>>());
        let days = DayBatch { days: &days, expected: None, faults };
        let outcomes = submit(&app, &caller, "work_day_submit_batch", request, days).await?;
        Ok(Repeatable::of(outcomes, |outcomes, _| {
            let count = |change| {
                u32::try_from(outcomes.iter().filter(|outcome| outcome.change == change).count()).unwrap_or(u32::MAX)
            };
            Json(BatchAnswer {
                created_count: count(Change::Created),
                updated_count: count(Change::Amended),
                unchanged_count: count(Change::Unchanged),
            })
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
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<WorkDaysAnswer>, Refusal> {
        let page = cursor::page(&cursor, &limit, 100)?;
        let (range, asked) = days(from.0, to.0)?;
        let range = range.map(|(first, last)| Days { first, last, zone: caller.zone() });
        let Records { records, next, keys } =
            list::of_kind(&app, caller.ctx(), "work_day_list", WORK_DAY, range, &page).await?;
        let days = records.iter().map(WorkDayAnswer::of).collect::<Result<Vec<_>, _>>()?;
        access::note_read(&app, caller.ctx(), keys, WORK_DAY.name(), days.len(), asked).await?;
        Ok(Json(WorkDaysAnswer { events: days, next_cursor: next.map(cursor::make) }))
    }

    /// Delete all own days
    ///
    /// Destroys the keys of all days at once and for good, so that nothing can read them any more. A copy of the
    /// database that still holds a wrapped key becomes useless when the server's own key is rotated and its old version
    /// destroyed. A letter tells the person. `POST /v1/privacy/delete-data` asks for a confirmation first.
    #[oai(path = "/me", method = "delete", operation_id = "work_day_delete_all")]
    async fn delete_all(&self, app: Data<&Arc<App>>, caller: Subject) -> Result<Json<DeletedAnswer>, Refusal> {
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
    request: Option<IdempotentRequest<'_>>,
    DayBatch { days, expected, faults }: DayBatch<'_>,
) -> Result<Once<Vec<Submitted>>, Refusal> {
    let submission = |(within, day): &(Option<String>, WorkDay)| Submission {
        body: day.to_body(),
        expected: expected.clone(),
        within: within.clone(),
    };
    let submissions: Vec<Submission> = days.iter().map(submission).collect();
    // A request with faults is not stored under its Idempotency-Key, so that the client may correct it and use the key
    // again.
    let request = request.filter(|_| faults.is_empty());
    let batch = Batch { operation, kind: WORK_DAY, submissions: &submissions, today: caller.today(), faults };
    Ok(record::submit(app, caller.ctx(), &batch, request.as_ref()).await?)
}
