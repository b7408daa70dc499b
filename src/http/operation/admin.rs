//! The state of the service, for staff: projections and the activity of the log, about nobody. Called by the compliance
//! desk and by auditors.

use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, Utc};
use context::Role;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Query, payload::Json};
use projections::operation::{activity::ActivityRow, dead_letter::DeadLetter, lag::LagRow};

use crate::{
    app::{App, AppError, log::access, operation::projection},
    http::{
        problem::Refusal,
        request::{caller::Staff, cursor, number::Whole},
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// How many days of activity are shown if no range is given, and how many at most.
const USUAL_DAYS: u64 = 30;
const MOST_DAYS: u64 = 366;

/// How far a projection has come that follows the log.
#[derive(Object)]
pub struct ProjectionAnswer {
    /// The name of the projection.
    name: String,
    /// The number of the generation that is shown.
    active_generation: i64,
    /// The number of the generation that is being built beside it; absent if none is.
    #[oai(skip_serializing_if_is_none)]
    building_generation: Option<i64>,
    /// The version of the code that keeps the generation that is shown.
    code_version: i32,
    /// The position in the log up to which it has read.
    position: i64,
    /// When it last moved on.
    #[oai(serialize_with = "in_utc")]
    moved_at: DateTime<Utc>,
    /// How many committed events wait for it, counted up to 100000.
    lag_events: i64,
    /// For how long the oldest of these events has been waiting, in milliseconds; 0 if none waits.
    lag_ms: i64,
    /// How many events it could not apply; `lethe projections retry` tries them again.
    dead_letters: i64,
}

/// An event that a projection could not apply.
#[derive(Object)]
pub struct DeadLetterAnswer {
    /// The name of the projection.
    projection: String,
    /// The event's position in the log.
    position: i64,
    /// Why it could not be applied: `unknown_type`, `unknown_role` or `refused_by_database`.
    reason: String,
    /// How often it was tried.
    attempts: i32,
    /// When it was tried last.
    #[oai(serialize_with = "in_utc")]
    tried_at: DateTime<Utc>,
}

/// All projections.
#[derive(Object)]
pub struct ProjectionsAnswer {
    /// One entry for each projection.
    projections: Vec<ProjectionAnswer>,
    /// The first 100 events that could not be applied.
    dead_letters: Vec<DeadLetterAnswer>,
    /// The process ids of PostgreSQL's backends whose open transactions hold all projections back.
    held_by: Vec<i32>,
}

/// How often something happened on a day.
#[derive(Object)]
pub struct ActivityCount {
    /// The day, in UTC.
    date: NaiveDate,
    /// The type of the events, such as `record.submitted`.
    event_type: String,
    /// The role in which somebody acted.
    role: OneOf<Role>,
    /// How many events of this type and role there were on the day.
    events: i64,
}

/// A page of the activity of a range of days.
#[derive(Object)]
pub struct ActivityAnswer {
    /// The first day, in UTC.
    from: NaiveDate,
    /// The last day, in UTC, included.
    to: NaiveDate,
    /// The counts, oldest first; a day on which nothing happened has no entry.
    counts: Vec<ActivityCount>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

impl ProjectionAnswer {
    fn new(standing: LagRow, now: DateTime<Utc>) -> Self {
        Self {
            name: standing.name,
            active_generation: standing.active,
            building_generation: standing.building,
            code_version: standing.code_version,
            position: standing.position.position,
            moved_at: standing.moved_at,
            lag_events: standing.lag_events,
            lag_ms: standing.waiting_since.map_or(0, |since| (now - since).num_milliseconds().max(0)),
            dead_letters: standing.dead_letters,
        }
    }
}

impl From<DeadLetter> for DeadLetterAnswer {
    fn from(letter: DeadLetter) -> Self {
        Self {
            projection: letter.projection,
            position: letter.position.position,
            reason: letter.reason,
            attempts: letter.attempts,
            tried_at: letter.tried_at,
        }
    }
}

impl From<ActivityRow> for ActivityCount {
    fn from(row: ActivityRow) -> Self {
        Self { date: row.day, event_type: row.event_type, role: OneOf(row.role), events: row.events }
    }
}

pub struct AdminApi;

#[OpenApi(prefix_path = "/v1/admin", tag = "Tag::Admin")]
impl AdminApi {
    /// See the projections
    ///
    /// How far each read model that follows the log has come, how far it lags behind, what it could not apply, and
    /// which open transactions hold it back.
    #[oai(path = "/projections", method = "get", operation_id = "projection_list")]
    async fn projections(&self, app: Data<&Arc<App>>, caller: Staff) -> Result<Json<ProjectionsAnswer>, Refusal> {
        let overview = projection::list(&app).await?;
        access::note_session_read(&app, caller.ctx(), "admin", overview.projections.len(), "projections".to_owned())
            .await?;
        let now = caller.ctx().now();
        Ok(Json(ProjectionsAnswer {
            projections: overview.projections.into_iter().map(|it| ProjectionAnswer::new(it, now)).collect(),
            dead_letters: overview.dead_letters.into_iter().map(DeadLetterAnswer::from).collect(),
            held_by: overview.held_by,
        }))
    }

    /// See the activity
    ///
    /// How many events of each type there were on each day, and in which role somebody acted; nothing about who. At
    /// most 366 days.
    #[oai(path = "/activity", method = "get", operation_id = "activity_list")]
    async fn activity(
        &self,
        app: Data<&Arc<App>>,
        caller: Staff,
        /// The first day, in UTC; if absent, 29 days before the last.
        from: Query<Option<NaiveDate>>,
        /// The last day, in UTC, included; if absent, today.
        to: Query<Option<NaiveDate>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many counts at most, 1 to 5000; if absent, 1000.
        limit: Query<Option<Whole<1, 5000>>>,
    ) -> Result<Json<ActivityAnswer>, Refusal> {
        let page = cursor::page(&cursor, &limit, 1000)?;
        let (from, to) = days(from.0, to.0, caller.ctx().now().date_naive())?;
        let (counts, next) = projection::activity(&app, from, to, &page).await?;
        access::note_session_read(&app, caller.ctx(), "admin", counts.len(), format!("activity {from} to {to}"))
            .await?;
        let counts = counts.into_iter().map(ActivityCount::from).collect();
        Ok(Json(ActivityAnswer { from, to, counts, next_cursor: next.map(cursor::make) }))
    }
}

/// The range of days that is asked for; refuses one that is empty or too long.
fn days(from: Option<NaiveDate>, to: Option<NaiveDate>, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), AppError> {
    let to = to.unwrap_or(today);
    let back = |days: u64| to.checked_sub_days(Days::new(days - 1)).unwrap_or(NaiveDate::MIN);
    let from = from.unwrap_or(back(USUAL_DAYS));
    if from > to {
        return Err(AppError::parameter("from", "must not lie after `to`"));
    }
    if from < back(MOST_DAYS) {
        return Err(AppError::parameter("from", &format!("must lie less than {MOST_DAYS} days before `to`")));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: Option<&str>, to: Option<&str>) -> Result<(String, String), ()> {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a day");
        let range = days(from.map(day), to.map(day), day("2026-03-31"));
        range.map(|(from, to)| (from.to_string(), to.to_string())).map_err(drop)
    }

    #[test]
    fn a_range_of_days_is_bounded() {
        let range = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
        assert_eq!(asked(None, None), range("2026-03-02", "2026-03-31"));
        assert_eq!(asked(None, Some("2026-02-01")), range("2026-01-03", "2026-02-01"));
        assert_eq!(asked(Some("2026-03-31"), None), range("2026-03-31", "2026-03-31"));
        assert_eq!(asked(Some("2025-03-31"), None), range("2025-03-31", "2026-03-31"));
        assert_eq!(asked(Some("2025-03-30"), None), Err(()));
        assert_eq!(asked(Some("2026-04-01"), None), Err(()));
    }
}
