//! Published statistics. Anyone may call, without a sign-in, because what is published is about nobody.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, NaiveDate, Utc};
use context::{Ctx, RequestId};
use domain::{
    Choice, Specialty, StateCode,
    quarter::Quarter,
    statistics::{plan::Plan, table::Table},
};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi, ResponseContent,
    param::Query,
    payload::{Json, PlainText},
};
use projections::statistics::release::{PaidRelease, Published, PublishedFilter, ReleaseRow};

use crate::{
    app::{
        App, AppError,
        statistics::{hospital, release},
    },
    http::{
        problem::Refusal,
        request::text::{QuarterOrDate, Text},
        statistics::parameters::Parameters,
        table,
        tag::Tag,
        types::{OneOf, TableFormat, in_utc, name},
    },
};

/// For how long an answer may be cached; published figures change once a quarter.
const CACHED: &str = "public, max-age=3600";

/// A published cell: means per day over the people in it, with noise. Each interval holds the true value with a
/// probability of 95 %, over the noise.
#[derive(Object)]
#[oai(rename = "PublishedStatistic")]
pub struct Statistic {
    /// The country, ISO 3166-1 alpha-3; absent if the table has none.
    #[oai(skip_serializing_if_is_none)]
    country_code: Option<String>,
    /// The federal state, such as `BY`; absent if the table has none.
    #[oai(skip_serializing_if_is_none)]
    state_code: Option<String>,
    /// The specialty; absent if the table has none.
    #[oai(skip_serializing_if_is_none)]
    specialty: Option<String>,
    /// The role level; absent if the table has none.
    #[oai(skip_serializing_if_is_none)]
    role_level: Option<String>,
    /// The id of the hospital; absent if the table has none.
    #[oai(skip_serializing_if_is_none)]
    hospital_id: Option<String>,
    /// The group of roles: `doctor`, `nurse` or `other`; absent if the table has none.
    #[oai(skip_serializing_if_is_none)]
    role_group: Option<String>,
    /// The quarter, such as `2025-Q1`.
    period: String,
    /// The quarter's first day.
    period_start: NaiveDate,
    /// The quarter's last day.
    period_end: NaiveDate,
    /// 0 for the first release; 1 if a scheduled revision replaced it.
    revision: i32,
    /// The number of people, with noise.
    n_users: i64,
    /// The lower end of the interval of the number of people.
    n_users_low: i64,
    /// The upper end of the interval of the number of people.
    n_users_high: i64,
    /// Mean planned hours per day, with noise.
    avg_planned_hours_noised: f64,
    /// The lower end of the interval of planned hours.
    avg_planned_hours_low: f64,
    /// The upper end of the interval of planned hours.
    avg_planned_hours_high: f64,
    /// Mean actual hours per day, with noise.
    avg_actual_hours_noised: f64,
    /// The lower end of the interval of actual hours.
    avg_actual_hours_low: f64,
    /// The upper end of the interval of actual hours.
    avg_actual_hours_high: f64,
    /// Mean overtime per day, in hours, with noise.
    avg_overtime_hours_noised: f64,
    /// The lower end of the interval of overtime.
    avg_overtime_hours_low: f64,
    /// The upper end of the interval of overtime.
    avg_overtime_hours_high: f64,
    /// The least number of people in a published cell.
    k_min_threshold: i32,
    /// What the table cost of each person's privacy budget, ε.
    noise_epsilon: f64,
    /// When the noise was drawn.
    #[oai(serialize_with = "in_utc")]
    computed_at: DateTime<Utc>,
}

/// A cell of which nothing is published, because it has too few people or none. Its name tells nothing, because every
/// cell is listed that the table can have.
#[derive(Object)]
pub struct SuppressedCell {
    /// The quarter, such as `2025-Q1`.
    period: String,
    /// The name of the cell, such as `BY/surgery/nurse`.
    cell: String,
}

/// The release of a quarter that an answer shows.
#[derive(Object)]
pub struct AnsweredRelease {
    /// The quarter, such as `2025-Q1`.
    period: String,
    /// 0 for the first release; 1 if a scheduled revision replaced it, even if the revision does not publish a cell
    /// that the first release did.
    revision: i32,
}

/// Published cells; for each quarter only those of its newest release.
#[derive(Object)]
pub struct Statistics {
    /// The cells, in the order of quarter and cell.
    stats: Vec<Statistic>,
    /// The release of each quarter that the cells belong to, in the order of the quarters.
    releases: Vec<AnsweredRelease>,
    /// The cells that are not published; absent if they were not asked for.
    #[oai(skip_serializing_if_is_none)]
    suppressed: Option<Vec<SuppressedCell>>,
}

/// One release of a quarter's statistics.
#[derive(Object)]
pub struct Period {
    /// The quarter, such as `2025-Q1`.
    period: String,
    /// The quarter's first day.
    period_start: NaiveDate,
    /// The quarter's last day.
    period_end: NaiveDate,
    /// 0 for the first release, 1 for the scheduled revision.
    revision: i32,
    /// Which tables were drawn: `full` or `small`.
    plan: OneOf<Plan>,
    /// When the noise was drawn.
    #[oai(serialize_with = "in_utc")]
    computed_at: DateTime<Utc>,
    /// SHA-256 over what was published, in hexadecimal; the log's event `stats.released` says it too.
    sha256: String,
    /// What the release cost each person at most, ε.
    epsilon: f64,
    /// What the release cost each person at most, δ.
    delta: f64,
    /// SHA-256 of the list of hospitals that had cells, as the log's events say it too; absent for a release from
    /// before lists were fixed.
    #[oai(skip_serializing_if_is_none)]
    hospitals_sha256: Option<String>,
}

/// All releases.
#[derive(Object)]
pub struct Periods {
    /// The releases, newest first.
    periods: Vec<Period>,
}

impl Statistic {
    fn new(row: Published) -> Self {
        Self {
            country_code: row.key.country_code,
            state_code: row.key.state_code,
            specialty: row.key.specialty,
            role_level: row.key.role_level,
            hospital_id: row.key.hospital_id,
            role_group: row.key.role_group,
            period: Quarter::of(row.period_start).to_string(),
            period_start: row.period_start,
            period_end: row.period_end,
            revision: row.revision,
            n_users: row.n_users,
            n_users_low: row.n_users_low,
            n_users_high: row.n_users_high,
            avg_planned_hours_noised: row.planned.noised,
            avg_planned_hours_low: row.planned.low,
            avg_planned_hours_high: row.planned.high,
            avg_actual_hours_noised: row.actual.noised,
            avg_actual_hours_low: row.actual.low,
            avg_actual_hours_high: row.actual.high,
            avg_overtime_hours_noised: row.overtime.noised,
            avg_overtime_hours_low: row.overtime.low,
            avg_overtime_hours_high: row.overtime.high,
            k_min_threshold: row.k_min_threshold,
            noise_epsilon: row.noise_epsilon,
            computed_at: row.computed_at,
        }
    }

    /// The cell's name within its table.
    fn cell(&self) -> String {
        let parts = [&self.hospital_id, &self.role_group, &self.state_code, &self.specialty, &self.role_level];
        parts.into_iter().flatten().cloned().collect::<Vec<_>>().join("/")
    }
}

impl Period {
    fn new(PaidRelease { release: row, cost }: PaidRelease) -> Self {
        Self {
            period: Quarter::of(row.period_start).to_string(),
            period_start: row.period_start,
            period_end: row.period_end,
            revision: row.revision,
            plan: OneOf(Plan::parse(&row.plan).unwrap_or(Plan::Full)),
            computed_at: row.computed_at,
            sha256: row.sha256,
            epsilon: cost.epsilon.value(),
            delta: cost.delta.value(),
            hospitals_sha256: row.hospitals_sha256,
        }
    }
}

/// Published cells, as JSON or as CSV.
#[derive(ResponseContent)]
pub enum StatisticsContent {
    Json(Json<Statistics>),
    #[oai(content_type = "text/csv")]
    Csv(PlainText<String>),
}

/// Published cells, in the format that was asked for.
#[derive(ApiResponse)]
pub enum StatisticsAnswer {
    /// The cells; as CSV, with the columns' names in the first line.
    #[oai(status = 200)]
    Ok(
        StatisticsContent,
        /// For how long the answer may be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// An answer that may be cached.
#[derive(ApiResponse)]
pub enum Cached<T: poem_openapi::types::ToJSON> {
    /// The answer.
    #[oai(status = 200)]
    Ok(
        Json<T>,
        /// For how long the answer may be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl StatisticsAnswer {
    fn new(answer: Statistics, as_csv: bool) -> Result<Self, AppError> {
        let content = match as_csv {
            true => StatisticsContent::Csv(PlainText(table::csv(&answer.stats, csv::Terminator::Any(b'\n'))?)),
            false => StatisticsContent::Json(Json(answer)),
        };
        Ok(Self::Ok(content, CACHED.to_owned()))
    }
}

/// What the parameters ask for.
struct Wish {
    from: Option<Text<QuarterOrDate>>,
    to: Option<Text<QuarterOrDate>>,
    format: TableFormat,
    suppressed: bool,
}

impl Wish {
    /// The day that a bound means; a quarter means its first day or, as the end, its last.
    fn day(bound: &str, is_end: bool) -> Option<NaiveDate> {
        let of_quarter = |quarter: Quarter| if is_end { quarter.last_day() } else { quarter.first_day() };
        bound.parse().map(of_quarter).ok().or_else(|| bound.parse().ok())
    }

    fn asked(&self) -> Result<PublishedFilter, AppError> {
        let from = self.from.as_deref().and_then(|bound| Self::day(bound, false));
        let to = self.to.as_deref().and_then(|bound| Self::day(bound, true));
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(AppError::parameter("from", "must not lie after `to`"));
        }
        Ok(PublishedFilter { from, to, ..PublishedFilter::default() })
    }
}

fn table(format: Option<OneOf<TableFormat>>) -> TableFormat {
    format.map_or(TableFormat::Json, |format| format.0)
}

fn nobody(app: &App) -> Ctx {
    Ctx::anonymous(app.clock.clone(), context::Client::default(), RequestId::random())
}

/// Of each quarter that is asked for the newest release, and no other, so that no answer mixes two of one quarter.
fn newest_of(releases: Vec<PaidRelease>, asked: &PublishedFilter) -> Vec<ReleaseRow> {
    let within = |row: &ReleaseRow| {
        asked.from.is_none_or(|from| row.period_start >= from) && asked.to.is_none_or(|to| row.period_end <= to)
    };
    // They come newest first.
    let mut rows: Vec<ReleaseRow> = releases.into_iter().map(|paid| paid.release).filter(within).collect();
    rows.dedup_by_key(|row| row.period_start);
    rows.reverse();
    rows
}

/// Reads the published cells and, if they are asked for, the cells that are not published.
async fn read(app: &App, tables: &[Table], wish: &Wish, more: PublishedFilter) -> Result<StatisticsAnswer, Refusal> {
    let ctx = &nobody(app);
    let times = wish.asked()?;
    let asked = PublishedFilter { from: times.from, to: times.to, ..more };
    let (releases, hospitals) = release::releases(app, ctx).await?;
    let releases = newest_of(releases, &asked);
    let answered = |row: &ReleaseRow| AnsweredRelease {
        period: Quarter::of(row.period_start).to_string(),
        revision: row.revision,
    };
    let mut answer = Statistics {
        stats: Vec::new(),
        releases: releases.iter().map(answered).collect(),
        suppressed: wish.suppressed.then(Vec::new),
    };
    for table in tables {
        // If several tables are read, each quarter uses the one that its plan draws.
        let has_table = |release: &&ReleaseRow| {
            let plan = Plan::parse(&release.plan);
            tables.len() == 1 || plan.is_some_and(|plan| plan.tables().contains(table))
        };
        let releases: Vec<&ReleaseRow> = releases.iter().filter(has_table).collect();
        let chosen: Vec<(NaiveDate, i32)> = releases.iter().map(|row| (row.period_start, row.revision)).collect();
        let rows = release::published(app, ctx, *table, &asked, &chosen).await?;
        let rows: Vec<Statistic> = rows.into_iter().map(Statistic::new).collect();
        if let Some(suppressed) = &mut answer.suppressed {
            let shown: HashSet<(String, String)> = rows.iter().map(|row| (row.period.clone(), row.cell())).collect();
            let named = |cell: &String| {
                let wanted = [&asked.state_code, &asked.specialty, &asked.hospital_id];
                wanted.into_iter().flatten().all(|wanted| cell.split('/').any(|part| part == wanted))
            };
            for release in releases {
                let period = Quarter::of(release.period_start).to_string();
                let listed = hospitals.iter().filter(|hospital| hospital.was_in(release));
                let listed: Vec<String> = listed.map(|hospital| hospital.hospital_id.clone()).collect();
                let cells = table.cells(&listed).into_iter().filter(named);
                let hidden = cells.filter(|cell| !shown.contains(&(period.clone(), cell.clone())));
                suppressed.extend(hidden.map(|cell| SuppressedCell { period: period.clone(), cell }));
            }
        }
        answer.stats.extend(rows);
    }
    answer.stats.sort_by_cached_key(|row| (row.period_start, row.cell()));
    Ok(StatisticsAnswer::new(answer, wish.format == TableFormat::Csv)?)
}

pub struct AnalyticsApi;

#[OpenApi(prefix_path = "/v1/analytics", tag = "Tag::Statistics")]
impl AnalyticsApi {
    /// Statistics by federal state
    ///
    /// By state, specialty and role; for quarters with the small plan by state and role. Public.
    #[oai(path = "/by-state", method = "get", operation_id = "statistics_by_state")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn by_state(
        &self,
        app: Data<&Arc<App>>,
        /// Only this federal state, such as `BY`; absent: all.
        state: Query<Option<OneOf<StateCode>>>,
        /// Only this specialty; absent: all.
        specialty: Query<Option<OneOf<Specialty>>>,
        /// From this quarter on, such as `2025-Q1`, or from quarters that begin on this date or later; absent: no
        /// bound.
        from: Query<Option<Text<QuarterOrDate>>>,
        /// To this quarter, or to quarters that end on this date or earlier; absent: no bound.
        to: Query<Option<Text<QuarterOrDate>>>,
        /// If absent, `json`.
        format: Query<Option<OneOf<TableFormat>>>,
        /// Whether to list the cells of which nothing is published; if absent, they are not listed.
        suppressed: Query<Option<bool>>,
    ) -> Result<StatisticsAnswer, Refusal> {
        let more = PublishedFilter {
            state_code: state.0.map(name),
            specialty: specialty.0.map(name),
            ..PublishedFilter::default()
        };
        let wish = Wish { from: from.0, to: to.0, format: table(format.0), suppressed: suppressed.0.unwrap_or(false) };
        read(&app, &[Table::StateSpecialty, Table::StateRole], &wish, more).await
    }

    /// Statistics by federal state and role
    ///
    /// Over all specialties. The small plan draws this table; the full plan adds it up from the noisy numbers of the
    /// specialties.
    #[oai(path = "/by-state-role", method = "get", operation_id = "statistics_by_state_role")]
    async fn by_state_role(
        &self,
        app: Data<&Arc<App>>,
        /// Only this federal state, such as `BY`; absent: all.
        state: Query<Option<OneOf<StateCode>>>,
        /// From this quarter on, such as `2025-Q1`, or from quarters that begin on this date or later; absent: no
        /// bound.
        from: Query<Option<Text<QuarterOrDate>>>,
        /// To this quarter, or to quarters that end on this date or earlier; absent: no bound.
        to: Query<Option<Text<QuarterOrDate>>>,
        /// If absent, `json`.
        format: Query<Option<OneOf<TableFormat>>>,
        /// Whether to list the cells of which nothing is published; if absent, they are not listed.
        suppressed: Query<Option<bool>>,
    ) -> Result<StatisticsAnswer, Refusal> {
        let more = PublishedFilter { state_code: state.0.map(name), ..PublishedFilter::default() };
        let wish = Wish { from: from.0, to: to.0, format: table(format.0), suppressed: suppressed.0.unwrap_or(false) };
        read(&app, &[Table::StateRole], &wish, more).await
    }

    /// Statistics by hospital
    ///
    /// By hospital and group of roles, for the hospitals of the public list.
    #[oai(path = "/by-hospital", method = "get", operation_id = "statistics_by_hospital")]
    async fn by_hospital(
        &self,
        app: Data<&Arc<App>>,
        /// Only this hospital, by its id; absent: all.
        #[oai(validator(max_length = 64))]
        hospital_id: Query<Option<String>>,
        /// From this quarter on, such as `2025-Q1`, or from quarters that begin on this date or later; absent: no
        /// bound.
        from: Query<Option<Text<QuarterOrDate>>>,
        /// To this quarter, or to quarters that end on this date or earlier; absent: no bound.
        to: Query<Option<Text<QuarterOrDate>>>,
        /// If absent, `json`.
        format: Query<Option<OneOf<TableFormat>>>,
        /// Whether to list the cells of which nothing is published; if absent, they are not listed.
        suppressed: Query<Option<bool>>,
    ) -> Result<StatisticsAnswer, Refusal> {
        let more = PublishedFilter { hospital_id: hospital_id.0, ..PublishedFilter::default() };
        let wish = Wish { from: from.0, to: to.0, format: table(format.0), suppressed: suppressed.0.unwrap_or(false) };
        read(&app, &[Table::HospitalRole], &wish, more).await
    }

    /// Released quarters
    ///
    /// Every release, newest first.
    #[oai(path = "/periods", method = "get", operation_id = "statistics_periods")]
    async fn periods(&self, app: Data<&Arc<App>>) -> Result<Cached<Periods>, Refusal> {
        let (releases, _) = release::releases(&app, &nobody(&app)).await?;
        let periods = releases.into_iter().map(Period::new).collect();
        Ok(Cached::Ok(Json(Periods { periods }), CACHED.to_owned()))
    }

    /// The parameter sheet
    ///
    /// What protects people in these statistics: the unit of privacy, the budget, the bounds, the thresholds, the plans
    /// with the cost and the date of each release, and what is not guaranteed.
    #[oai(path = "/parameters", method = "get", operation_id = "statistics_parameters")]
    async fn parameters(&self, app: Data<&Arc<App>>) -> Result<Cached<Parameters>, Refusal> {
        let sheet = Parameters::new(&release::plans(&app).await?, &hospital::lists(&app).await?);
        Ok(Cached::Ok(Json(sheet), CACHED.to_owned()))
    }
}
