//! Published statistics. Called by anyone, without a sign-in: what is published is about nobody.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use context::{Ctx, RequestId};
use domain::{
    Choice, Specialty, StateCode,
    quarter::Quarter,
    statistics::release::{Plan, Table},
};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::Query,
    payload::{Json, PlainText},
    types::Example,
};
use projections::statistics::release::{Asked, PaidRelease, Published, ReleaseRow};

use crate::{
    app::{
        App, AppError,
        statistics::{hospital, release},
    },
    http::{problem::Refusal, statistics::parameters::Parameters, tag::Tag, types::OneOf},
};

/// Published figures change once a quarter.
const CACHED: &str = "public, max-age=3600";

/// A published cell: means a day over the people in it, with noise, and where the true mean lies with 95 % probability over the
/// noise.
#[derive(Object)]
#[oai(example, rename = "PublishedStatistic")]
pub struct Statistic {
    /// The country, ISO 3166-1 alpha-3.
    #[oai(skip_serializing_if_is_none)]
    country_code: Option<String>,
    /// The federal state.
    #[oai(skip_serializing_if_is_none)]
    state_code: Option<String>,
    /// The specialty; absent where the table has none.
    #[oai(skip_serializing_if_is_none)]
    specialty: Option<String>,
    /// The role level.
    #[oai(skip_serializing_if_is_none)]
    role_level: Option<String>,
    /// The hospital.
    #[oai(skip_serializing_if_is_none)]
    hospital_id: Option<String>,
    /// The group of roles: `doctor`, `nurse` or `other`.
    #[oai(skip_serializing_if_is_none)]
    role_group: Option<String>,
    /// The quarter, such as `2025-Q1`.
    period: String,
    /// Its first day.
    period_start: NaiveDate,
    /// Its last day.
    period_end: NaiveDate,
    /// 0; 1 where a scheduled revision replaced it.
    revision: i32,
    /// How many people, with noise.
    n_users: i64,
    /// The lower end of its interval.
    n_users_low: i64,
    /// The upper end.
    n_users_high: i64,
    /// Planned hours a day.
    avg_planned_hours_noised: f64,
    /// The lower end of its interval.
    avg_planned_hours_low: f64,
    /// The upper end.
    avg_planned_hours_high: f64,
    /// Actual hours a day.
    avg_actual_hours_noised: f64,
    /// The lower end of its interval.
    avg_actual_hours_low: f64,
    /// The upper end.
    avg_actual_hours_high: f64,
    /// Overtime a day, in hours.
    avg_overtime_hours_noised: f64,
    /// The lower end of its interval.
    avg_overtime_hours_low: f64,
    /// The upper end.
    avg_overtime_hours_high: f64,
    /// No published cell has fewer people.
    k_min_threshold: i32,
    /// What the table cost of each person's budget, ε.
    noise_epsilon: f64,
    /// When it was drawn.
    computed_at: DateTime<Utc>,
}

/// A cell of which nothing is published: too few people, or perhaps none. It says no more, since all cells are listed that the
/// table can have.
#[derive(Object)]
pub struct SuppressedCell {
    /// The quarter.
    period: String,
    /// The cell, as `BY/surgery/nurse`.
    cell: String,
}

/// Of which release of a quarter an answer is.
#[derive(Object)]
pub struct AnsweredRelease {
    /// The quarter.
    period: String,
    /// 0; 1 where a scheduled revision replaced it, also where the revision does not publish a cell that the first release did.
    revision: i32,
}

/// Published cells, of each quarter those of its newest release and of no other.
#[derive(Object)]
#[oai(example)]
pub struct Statistics {
    /// In order of quarter and cell.
    stats: Vec<Statistic>,
    /// Of which release of each quarter the cells are, in order of the quarters.
    releases: Vec<AnsweredRelease>,
    /// Where they were asked for: the cells that are not published.
    #[oai(skip_serializing_if_is_none)]
    suppressed: Option<Vec<SuppressedCell>>,
}

/// A release.
#[derive(Object)]
pub struct Period {
    /// The quarter.
    period: String,
    /// Its first day.
    period_start: NaiveDate,
    /// Its last day.
    period_end: NaiveDate,
    /// 0 for the first release, 1 for the scheduled revision.
    revision: i32,
    /// Which tables were drawn: `full` or `small`.
    plan: OneOf<Plan>,
    /// When it was drawn.
    computed_at: DateTime<Utc>,
    /// SHA-256 over what was published, as the log's event `stats.released` says it too.
    sha256: String,
    /// What it cost each person at most, ε.
    epsilon: f64,
    /// What it cost each person at most, δ.
    delta: f64,
    /// SHA-256 of the list of hospitals that there were cells for, as the log's events say it too; absent of releases from before
    /// lists were fixed.
    #[oai(skip_serializing_if_is_none)]
    hospitals_sha256: Option<String>,
}

/// All releases.
#[derive(Object)]
pub struct Periods {
    /// Newest first.
    periods: Vec<Period>,
}

impl Example for Statistic {
    fn example() -> Self {
        let date = |month, day| NaiveDate::from_ymd_opt(2025, month, day).expect("a date");
        Self {
            country_code: Some("DEU".to_owned()),
            state_code: Some("BY".to_owned()),
            specialty: Some("surgery".to_owned()),
            role_level: Some("assistant".to_owned()),
            hospital_id: None,
            role_group: None,
            period: "2025-Q1".to_owned(),
            period_start: date(1, 1),
            period_end: date(3, 31),
            revision: 0,
            n_users: 131,
            n_users_low: 120,
            n_users_high: 142,
            avg_planned_hours_noised: 8.41,
            avg_planned_hours_low: 8.0,
            avg_planned_hours_high: 8.86,
            avg_actual_hours_noised: 9.04,
            avg_actual_hours_low: 8.61,
            avg_actual_hours_high: 9.5,
            avg_overtime_hours_noised: 0.63,
            avg_overtime_hours_low: 0.48,
            avg_overtime_hours_high: 0.78,
            k_min_threshold: 10,
            noise_epsilon: 0.65,
            computed_at: DateTime::UNIX_EPOCH,
        }
    }
}

impl Example for Statistics {
    fn example() -> Self {
        Self {
            stats: vec![Statistic::example()],
            releases: vec![AnsweredRelease { period: "2025-Q1".to_owned(), revision: 0 }],
            suppressed: None,
        }
    }
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

/// Published cells, in the format that was asked for.
#[derive(ApiResponse)]
pub enum StatisticsAnswer {
    /// As JSON.
    #[oai(status = 200)]
    Json(
        Json<Statistics>,
        /// How long it may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// As CSV, with the columns' names in the first line.
    #[oai(status = 200, content_type = "text/csv")]
    Csv(
        PlainText<String>,
        /// How long it may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// An answer that may be kept.
#[derive(ApiResponse)]
pub enum Cached<T: poem_openapi::types::ToJSON> {
    /// The answer.
    #[oai(status = 200)]
    Ok(
        Json<T>,
        /// How long it may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl StatisticsAnswer {
    fn new(answer: Statistics, as_csv: bool) -> Result<Self, AppError> {
        let cached = CACHED.to_owned();
        if as_csv { Ok(Self::Csv(PlainText(csv(&answer)?), cached)) } else { Ok(Self::Json(Json(answer), cached)) }
    }
}

/// The columns of CSV, which are those of JSON.
fn csv(answer: &Statistics) -> Result<String, AppError> {
    use poem_openapi::types::ToJSON;
    const COLUMNS: [&str; 25] = [
        "country_code",
        "state_code",
        "specialty",
        "role_level",
        "hospital_id",
        "role_group",
        "period",
        "period_start",
        "period_end",
        "revision",
        "n_users",
        "n_users_low",
        "n_users_high",
        "avg_planned_hours_noised",
        "avg_planned_hours_low",
        "avg_planned_hours_high",
        "avg_actual_hours_noised",
        "avg_actual_hours_low",
        "avg_actual_hours_high",
        "avg_overtime_hours_noised",
        "avg_overtime_hours_low",
        "avg_overtime_hours_high",
        "k_min_threshold",
        "noise_epsilon",
        "computed_at",
    ];
    let failed = || AppError::Corrupt("statistics could not be written as CSV".to_owned());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(|_| failed())?;
    for row in &answer.stats {
        let row = row.to_json().unwrap_or_default();
        let text = |name: &&str| match &row[*name] {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => crate::export::spreadsheet::guarded(text).into_owned(),
            other => other.to_string(),
        };
        writer.write_record(COLUMNS.iter().map(text)).map_err(|_| failed())?;
    }
    let bytes = writer.into_inner().map_err(|_| failed())?;
    String::from_utf8(bytes).map_err(|_| failed())
}

/// What is asked for, as the parameters say it.
struct Wish {
    from: Option<String>,
    to: Option<String>,
    format: Option<String>,
    suppressed: bool,
}

impl Wish {
    /// A quarter or a date. A quarter that is not over has nothing published, and is a mistake.
    fn bound(name: &str, text: Option<&str>, today: NaiveDate, is_end: bool) -> Result<Option<NaiveDate>, AppError> {
        let Some(text) = text else { return Ok(None) };
        let quarter: Option<Quarter> = text.parse().ok();
        if quarter.is_some_and(|quarter| quarter.last_day() >= today) {
            return Err(AppError::parameter(name, "is a quarter that is not over"));
        }
        let of_quarter = |quarter: Quarter| if is_end { quarter.last_day() } else { quarter.first_day() };
        let date = quarter.map(of_quarter).or_else(|| text.parse().ok());
        let date = date.filter(|date| (1970..=9999).contains(&date.year()));
        date.map(Some).ok_or_else(|| AppError::parameter(name, "must be a quarter such as 2025-Q1, or a date"))
    }

    fn asked(&self, today: NaiveDate) -> Result<(Asked, bool), AppError> {
        let from = Self::bound("from", self.from.as_deref(), today, false)?;
        let to = Self::bound("to", self.to.as_deref(), today, true)?;
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(AppError::parameter("from", "must not lie after `to`"));
        }
        let as_csv = match self.format.as_deref() {
            None | Some("json") => false,
            Some("csv") => true,
            Some(_) => return Err(AppError::parameter("format", "must be json or csv")),
        };
        Ok((Asked { from, to, ..Asked::default() }, as_csv))
    }
}

fn choice<C: Choice>(name: &str, text: Option<String>) -> Result<Option<String>, AppError> {
    let Some(text) = text else { return Ok(None) };
    match C::parse(&text) {
        Some(_) => Ok(Some(text)),
        None => Err(AppError::parameter(name, &format!("must be one of {}", C::NAMES.join(", ")))),
    }
}

fn nobody(app: &App) -> Ctx {
    Ctx::anonymous(app.clock.clone(), context::Client::default(), RequestId::random())
}

/// Of each quarter that is asked for the newest release, and no other, so that no answer mixes two of one quarter.
fn newest_of(releases: Vec<PaidRelease>, asked: &Asked) -> Vec<ReleaseRow> {
    let within = |row: &ReleaseRow| {
        asked.from.is_none_or(|from| row.period_start >= from) && asked.to.is_none_or(|to| row.period_end <= to)
    };
    // They come newest first.
    let mut rows: Vec<ReleaseRow> = releases.into_iter().map(|paid| paid.release).filter(within).collect();
    rows.dedup_by_key(|row| row.period_start);
    rows.reverse();
    rows
}

/// Reads published cells, and those that are not, where they are asked for.
async fn read(app: &App, tables: &[Table], wish: &Wish, more: Asked) -> Result<StatisticsAnswer, Refusal> {
    let ctx = &nobody(app);
    let (times, as_csv) = wish.asked(ctx.now().date_naive())?;
    let asked = Asked { from: times.from, to: times.to, ..more };
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
        // A table that a coarser one stands in for in the quarters whose plan draws that.
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
    Ok(StatisticsAnswer::new(answer, as_csv)?)
}

/// Published statistics.
pub struct AnalyticsApi;

#[OpenApi(prefix_path = "/v1/analytics", tag = "Tag::Statistics")]
impl AnalyticsApi {
    /// Statistics by federal state
    ///
    /// By state, specialty and role; of quarters with the small plan by state and role. Public.
    #[oai(path = "/by-state", method = "get", operation_id = "statistics_by_state")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn by_state(
        &self,
        app: Data<&Arc<App>>,
        /// Only this federal state, such as `BY`.
        state: Query<Option<String>>,
        /// Only this specialty.
        specialty: Query<Option<String>>,
        /// From this quarter on, such as `2025-Q1`, or from quarters that begin on this date or later.
        from: Query<Option<String>>,
        /// To this quarter, or quarters that end by this date.
        to: Query<Option<String>>,
        /// `json` or `csv`; `json` where absent.
        format: Query<Option<String>>,
        /// Whether to list the cells of which nothing is published.
        suppressed: Query<Option<bool>>,
    ) -> Result<StatisticsAnswer, Refusal> {
        let more = Asked {
            state_code: choice::<StateCode>("state", state.0)?,
            specialty: choice::<Specialty>("specialty", specialty.0)?,
            ..Asked::default()
        };
        let wish = Wish { from: from.0, to: to.0, format: format.0, suppressed: suppressed.0.unwrap_or(false) };
        read(&app, &[Table::StateSpecialty, Table::StateRole], &wish, more).await
    }

    /// Statistics by federal state and role
    ///
    /// Over all specialties: drawn by the small plan; by the full plan added up from the noisy numbers of the specialties.
    #[oai(path = "/by-state-role", method = "get", operation_id = "statistics_by_state_role")]
    async fn by_state_role(
        &self,
        app: Data<&Arc<App>>,
        /// Only this federal state, such as `BY`.
        state: Query<Option<String>>,
        /// From this quarter on, or from quarters that begin on this date or later.
        from: Query<Option<String>>,
        /// To this quarter, or quarters that end by this date.
        to: Query<Option<String>>,
        /// `json` or `csv`; `json` where absent.
        format: Query<Option<String>>,
        /// Whether to list the cells of which nothing is published.
        suppressed: Query<Option<bool>>,
    ) -> Result<StatisticsAnswer, Refusal> {
        let more = Asked { state_code: choice::<StateCode>("state", state.0)?, ..Asked::default() };
        let wish = Wish { from: from.0, to: to.0, format: format.0, suppressed: suppressed.0.unwrap_or(false) };
        read(&app, &[Table::StateRole], &wish, more).await
    }

    /// Statistics by hospital
    ///
    /// By hospital and group of roles, for the hospitals of the public list.
    #[oai(path = "/by-hospital", method = "get", operation_id = "statistics_by_hospital")]
    async fn by_hospital(
        &self,
        app: Data<&Arc<App>>,
        /// Only this hospital.
        #[oai(validator(max_length = 64))]
        hospital_id: Query<Option<String>>,
        /// From this quarter on, or from quarters that begin on this date or later.
        from: Query<Option<String>>,
        /// To this quarter, or quarters that end by this date.
        to: Query<Option<String>>,
        /// `json` or `csv`; `json` where absent.
        format: Query<Option<String>>,
        /// Whether to list the cells of which nothing is published.
        suppressed: Query<Option<bool>>,
    ) -> Result<StatisticsAnswer, Refusal> {
        let more = Asked { hospital_id: hospital_id.0, ..Asked::default() };
        let wish = Wish { from: from.0, to: to.0, format: format.0, suppressed: suppressed.0.unwrap_or(false) };
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
    /// What protects people in these statistics: the unit, the budget, the bounds, the thresholds, what is planned with what each
    /// release costs and when it is made, and what is not guaranteed.
    #[oai(path = "/parameters", method = "get", operation_id = "statistics_parameters")]
    async fn parameters(&self, app: Data<&Arc<App>>) -> Result<Cached<Parameters>, Refusal> {
        let sheet = Parameters::new(&release::plans(&app).await?, &hospital::lists(&app).await?);
        Ok(Cached::Ok(Json(sheet), CACHED.to_owned()))
    }
}
