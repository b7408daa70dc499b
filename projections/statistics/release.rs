//! Published statistics: what a release reads about people, what it stores, and what everybody may read of it. Not
//! rebuildable, because a second draw would be another release. The published tables are about nobody; an erasure does
//! not touch them.

use chrono::{DateTime, NaiveDate, Utc};
use context::SubjectId;
use db::{FromRow, Query, Row, sql};
use domain::{
    Choice,
    kinds::WorkProfile,
    statistics::{roll_up::Cell, table::Table},
};
use noise::{Delta, Epsilon, Figure, Figures, Interval, Mechanism};
use serde::Serialize;
use uuid::Uuid;
use vault::WrappedSubject;

use crate::records::record::RecordRow;

/// Somebody who is counted.
#[derive(FromRow)]
pub struct PersonRow {
    #[row(sql = "s.subject_id", with = SubjectId)]
    pub subject: SubjectId,
    #[row(flatten)]
    pub keys: WrappedSubject,
}

/// An account, counted or not.
pub struct AccountRow {
    pub subject: SubjectId,
    /// `None` where the account is not counted.
    pub keys: Option<WrappedSubject>,
}

impl FromRow for AccountRow {
    const COLUMNS: &'static str = sql!(WrappedSubject::COLUMNS, ", a.subject_id");

    fn from_row(row: &Row) -> Self {
        let is_counted = row.get::<_, Option<i32>>("ring_version").is_some();
        Self { subject: SubjectId(row.get("subject_id")), keys: is_counted.then(|| WrappedSubject::from_row(row)) }
    }
}

/// The ids and keys of people who are counted, in the order of their ids: at most `most` people after `after`. The
/// policies leave out people whose data is restricted or who wait for a deletion.
pub fn release_people(after: SubjectId, notice_version: &'static str, most: i64) -> Query {
    Query::new(sql!(
        "-- release_people
        SELECT ",
        PersonRow::COLUMNS,
        "
        FROM read.consents c JOIN vault.subjects s ON s.subject_id = c.subject_id
        WHERE c.subject_id > $1 AND c.purpose = 'statistics' AND c.granted AND NOT c.objected AND c.notice_version = $2
        ORDER BY c.subject_id LIMIT $3"
    ))
    .bind(after.0)
    .bind(notice_version)
    .bind(most)
}

/// The ids of all accounts, in the order of the ids: at most `most` after `after`. Accounts of people who are counted
/// come with their keys.
pub fn release_accounts(after: SubjectId, notice_version: &'static str, most: i64) -> Query {
    Query::new(sql!(
        "-- release_accounts
        SELECT ",
        AccountRow::COLUMNS,
        "
        FROM read.accounts a
        LEFT JOIN (read.consents c JOIN vault.subjects s ON s.subject_id = c.subject_id)
               ON c.subject_id = a.subject_id AND c.purpose = 'statistics' AND c.granted AND NOT c.objected
                  AND c.notice_version = $2
        WHERE a.subject_id > $1 ORDER BY a.subject_id LIMIT $3"
    ))
    .bind(after.0)
    .bind(notice_version)
    .bind(most)
}

/// The work days of a quarter: for each person, those in one bucket. The columns are those that `RecordRow` reads. Each
/// `OFFSET 0` keeps the planner from turning the loop over people into a scan over everybody's records, whatever it
/// believes about the sizes of the tables.
pub fn release_days(subjects: Vec<Uuid>, buckets: Vec<Vec<u8>>) -> Query {
    Query::new(
        sql!("-- release_days
        SELECT ", RecordRow::COLUMNS, "
        FROM unnest($1::uuid[], $2::bytea[]) AS q (id, quarter)
        CROSS JOIN LATERAL (SELECT * FROM vault.records v
                            WHERE v.subject_id = q.id AND v.kind = 'work_day' AND v.bucket = q.quarter OFFSET 0) v
        CROSS JOIN LATERAL (SELECT sequence, event_type, event_version, payload, submitted_at, recorded_at FROM read.records r
                            WHERE r.subject_id = v.subject_id AND r.record_id = v.record_id OFFSET 0) r"),
    )
    .bind(subjects)
    .bind(buckets)
}

/// All versions of people's work profiles, oldest first, because a day counts where the profile of that time said that
/// the person worked.
pub fn release_profiles(subjects: Vec<Uuid>) -> Query {
    Query::new(
        sql!("-- release_profiles
        SELECT ", RecordRow::COLUMNS, "
        FROM unnest($1::uuid[]) AS q (id)
        CROSS JOIN LATERAL (SELECT *, v.record_id::text AS stream FROM vault.records v
                            WHERE v.subject_id = q.id AND v.kind = 'work_profile' OFFSET 0) v
        CROSS JOIN LATERAL (SELECT sequence, event_type, event_version, payload, recorded_at, recorded_at AS submitted_at
                            FROM log.events e
                            WHERE e.subject_id = v.subject_id AND e.aggregate_type = 'record'
                              AND e.aggregate_id = v.stream OFFSET 0) e
        ORDER BY v.subject_id, e.sequence"),
    )
    .bind(subjects)
}

/// A release, as it is stored.
#[derive(Clone, Debug, FromRow)]
pub struct ReleaseRow {
    /// The first day of the quarter.
    pub period_start: NaiveDate,
    /// The last day of the quarter.
    pub period_end: NaiveDate,
    /// 0 for the first release, 1 for the revision.
    pub revision: i32,
    pub plan: String,
    /// When the release was drawn.
    pub computed_at: DateTime<Utc>,
    /// SHA-256 of what was published, hexadecimal.
    pub sha256: String,
    /// SHA-256 of the list of hospitals that had cells; absent in releases from before lists were fixed.
    pub hospitals_sha256: Option<String>,
}

/// A release and what it spent.
#[derive(FromRow)]
pub struct PaidRelease {
    #[row(flatten)]
    pub release: ReleaseRow,
    #[row(flatten)]
    pub cost: Cost,
}

/// What a release spent on a person who is in every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Cost {
    /// ε.
    #[row(with = epsilon_of)]
    pub epsilon: Epsilon,
    /// δ.
    #[row(with = delta_of)]
    pub delta: Delta,
}

fn epsilon_of(micros: i64) -> Epsilon {
    Epsilon::from_micros(u32::try_from(micros).unwrap_or(u32::MAX))
}

fn delta_of(picos: i64) -> Delta {
    Delta::from_picos(u64::try_from(picos).unwrap_or(u64::MAX))
}

/// All releases with what each spent: the newest quarter first, and of each quarter the newest revision first.
pub fn release_list() -> Query {
    Query::new(
        sql!("-- release_list
        SELECT ", PaidRelease::COLUMNS, "
        FROM stats.releases r
        CROSS JOIN LATERAL (SELECT coalesce(sum(epsilon_users + epsilon_overtime + epsilon_planned), 0)::bigint AS epsilon,
                                   coalesce(sum(delta), 0)::bigint AS delta
                            FROM stats.spending s WHERE s.period_start = r.period_start AND s.revision = r.revision) s
        ORDER BY r.period_start DESC, r.revision DESC"),
    )
}

/// A cell that an earlier release published.
#[derive(FromRow)]
pub struct EarlierRow {
    pub is_coarser: bool,
    pub cell: String,
}

/// What earlier releases of a quarter published of a table and of its coarser table. The first column says whether a
/// row is of the coarser table; the second is the cell.
pub fn release_earlier(period_start: NaiveDate, revision: i32, table: Table) -> Query {
    Query::new(
        "-- release_earlier
        SELECT false AS is_coarser, cell FROM stats.ledger
        WHERE period_start = $1 AND revision < $2 AND table_name = $3 AND published
        UNION ALL
        SELECT true, state_code || '/' || role_level FROM stats.stats_by_state_role
        WHERE period_start = $1 AND revision < $2",
    )
    .bind(period_start)
    .bind(revision)
    .bind(table.as_str())
}

/// Waits until no other transaction makes a release. The lock is released at the end of the transaction.
pub fn release_alone() -> Query {
    Query::new("-- release_alone\nSELECT stats.alone()")
}

pub fn release_insert(row: &ReleaseRow) -> Query {
    Query::new(
        "-- release_insert
        INSERT INTO stats.releases (period_start, period_end, revision, plan, computed_at, sha256, hospitals_sha256)
        VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(row.period_start)
    .bind(row.period_end)
    .bind(row.revision)
    .bind(row.plan.clone())
    .bind(row.computed_at)
    .bind(row.sha256.clone())
    .bind(row.hospitals_sha256.clone())
}

/// Stores what a table of a release spends. The database refuses a row that exceeds the budget of the quarter.
pub fn spending_insert(release: &ReleaseRow, table: Table, mechanism: &Mechanism) -> Query {
    let micros = |epsilon: noise::Epsilon| i32::try_from(epsilon.micros()).unwrap_or(i32::MAX);
    Query::new(
        "-- spending_insert
        INSERT INTO stats.spending (period_start, revision, table_name, epsilon_users, epsilon_overtime, epsilon_planned,
                                    delta, k_min, threshold)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(release.period_start)
    .bind(release.revision)
    .bind(table.as_str())
    .bind(micros(mechanism.users))
    .bind(micros(mechanism.overtime))
    .bind(micros(mechanism.planned))
    .bind(i64::try_from(mechanism.all_delta().picos()).unwrap_or(i64::MAX))
    .bind(i32::try_from(mechanism.k_min).unwrap_or(i32::MAX))
    .bind(mechanism.threshold())
}

/// Stores the noisy numbers of all cells of a table, published or not.
pub fn ledger_insert(release: &ReleaseRow, table: Table, drawn: &[Cell]) -> Query {
    Query::new(
        "-- ledger_insert
        INSERT INTO stats.ledger (period_start, revision, table_name, cell, noisy_users, noisy_overtime, noisy_planned, published)
        SELECT $1, $2, $3, d.* FROM unnest($4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::boolean[]) AS d",
    )
    .bind(release.period_start)
    .bind(release.revision)
    .bind(table.as_str())
    .bind(drawn.iter().map(|drawn| drawn.name.clone()).collect::<Vec<_>>())
    .bind(drawn.iter().map(|drawn| drawn.noisy.users).collect::<Vec<_>>())
    .bind(drawn.iter().map(|drawn| drawn.noisy.overtime).collect::<Vec<_>>())
    .bind(drawn.iter().map(|drawn| drawn.noisy.planned).collect::<Vec<_>>())
    .bind(drawn.iter().map(|drawn| drawn.published).collect::<Vec<_>>())
}

/// Which cell a published row is of; what its table has no column for is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, FromRow)]
pub struct CellKey {
    /// The country, ISO 3166-1 alpha-3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specialty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hospital_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_group: Option<String>,
}

impl CellKey {
    /// The columns that the name of a cell stands for.
    pub fn of(table: Table, cell: &str) -> Self {
        let mut parts = cell.split('/').map(str::to_owned);
        let mut next = || parts.next();
        let country_code = Some(WorkProfile::DEFAULT_COUNTRY.to_owned());
        match table {
            Table::StateSpecialty => {
                Self { country_code, state_code: next(), specialty: next(), role_level: next(), ..Self::default() }
            }
            Table::StateRole => Self { country_code, state_code: next(), role_level: next(), ..Self::default() },
            Table::HospitalRole => Self { hospital_id: next(), role_group: next(), ..Self::default() },
        }
    }
}

/// A published figure in hours, rounded to hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hours {
    /// The noisy figure.
    pub noised: f64,
    /// The lower end of the interval around the figure.
    pub low: f64,
    /// The upper end of the interval around the figure.
    pub high: f64,
}

impl Hours {
    /// The interval is rounded outwards.
    fn of(figure: &Figure) -> Self {
        let hundredths = |minutes: f64, round: fn(f64) -> f64| round(minutes / 0.6) / 100.0;
        let Interval { low, high } = figure.interval;
        Self {
            noised: hundredths(figure.mean, f64::round),
            low: hundredths(low, f64::floor),
            high: hundredths(high, f64::ceil),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Published {
    #[serde(flatten)]
    pub key: CellKey,
    /// The first day of the quarter.
    pub period_start: NaiveDate,
    /// The last day of the quarter.
    pub period_end: NaiveDate,
    /// 0 for the first release, 1 for the revision.
    pub revision: i32,
    /// The noisy number of people.
    pub n_users: i64,
    /// The lower end of its interval.
    pub n_users_low: i64,
    /// The upper end of its interval.
    pub n_users_high: i64,
    /// Planned work in hours a day.
    pub planned: Hours,
    /// Actual work in hours a day.
    pub actual: Hours,
    /// Overtime in hours a day.
    pub overtime: Hours,
    /// The smallest number of people in a published cell.
    pub k_min_threshold: i32,
    /// What the row cost, as ε.
    pub noise_epsilon: f64,
    /// When the release was drawn.
    pub computed_at: DateTime<Utc>,
}

impl Published {
    pub fn new(
        release: &ReleaseRow,
        table: Table,
        mechanism: &Mechanism,
        cell: &str,
        users: i64,
        figures: &Figures,
    ) -> Self {
        Self {
            key: CellKey::of(table, cell),
            period_start: release.period_start,
            period_end: release.period_end,
            revision: release.revision,
            n_users: users.max(0),
            n_users_low: figures.users.low as i64,
            n_users_high: figures.users.high as i64,
            planned: Hours::of(&figures.planned),
            actual: Hours::of(&figures.actual),
            overtime: Hours::of(&figures.overtime),
            k_min_threshold: i32::try_from(mechanism.k_min).unwrap_or(i32::MAX),
            noise_epsilon: (mechanism.epsilon().value() * 100.0).round() / 100.0,
            computed_at: release.computed_at,
        }
    }
}

/// Makes the statement that inserts published rows of a table: the columns of the key, then the columns that all tables
/// share.
macro_rules! insert {
    ($table:literal, $keys:literal, $selected:literal) => {
        concat!(
            "-- published_insert\nINSERT INTO stats.",
            $table,
            " (",
            $keys,
            ", period_start, period_end, revision, n_users,
             n_users_low, n_users_high, avg_planned_hours_noised, avg_planned_hours_low, avg_planned_hours_high,
             avg_actual_hours_noised, avg_actual_hours_low, avg_actual_hours_high, avg_overtime_hours_noised,
             avg_overtime_hours_low, avg_overtime_hours_high, k_min_threshold, noise_epsilon, computed_at)
             SELECT ",
            $selected,
            ", (r->>'period_start')::date, (r->>'period_end')::date, (r->>'revision')::int,
             (r->>'n_users')::int, (r->>'n_users_low')::int, (r->>'n_users_high')::int,
             (r#>>'{planned,noised}')::numeric, (r#>>'{planned,low}')::numeric, (r#>>'{planned,high}')::numeric,
             (r#>>'{actual,noised}')::numeric, (r#>>'{actual,low}')::numeric, (r#>>'{actual,high}')::numeric,
             (r#>>'{overtime,noised}')::numeric, (r#>>'{overtime,low}')::numeric, (r#>>'{overtime,high}')::numeric,
             (r->>'k_min_threshold')::int, (r->>'noise_epsilon')::numeric, (r->>'computed_at')::timestamptz
             FROM json_array_elements($1::text::json) AS rows (r)"
        )
    };
}

/// Stores the published rows of a table. `rows` is a list of [`Published`] as JSON.
pub fn published_insert(table: Table, rows: String) -> Query {
    Query::new(match table {
        Table::StateSpecialty => insert!(
            "stats_by_state_specialty",
            "country_code, state_code, specialty, role_level",
            "r->>'country_code', r->>'state_code', r->>'specialty', r->>'role_level'"
        ),
        Table::StateRole => insert!(
            "stats_by_state_role",
            "country_code, state_code, role_level",
            "r->>'country_code', r->>'state_code', r->>'role_level'"
        ),
        Table::HospitalRole => {
            insert!("stats_by_hospital_role", "hospital_id, role_group", "r->>'hospital_id', r->>'role_group'")
        }
    })
    .bind(rows)
}

/// Which published rows are asked for. An absent field narrows nothing.
#[derive(Clone, Debug, Default)]
pub struct PublishedFilter {
    pub state_code: Option<String>,
    pub specialty: Option<String>,
    pub hospital_id: Option<String>,
    /// Quarters that begin on this day or later.
    pub from: Option<NaiveDate>,
    /// Quarters that end on this day or earlier.
    pub to: Option<NaiveDate>,
}

/// A row of any published table, `NULL` where the table lacks a column.
#[derive(FromRow)]
struct Columns {
    #[row(flatten)]
    key: CellKey,
    period_start: NaiveDate,
    period_end: NaiveDate,
    revision: i32,
    #[row(sql = "n_users::bigint")]
    n_users: i64,
    #[row(sql = "n_users_low::bigint")]
    n_users_low: i64,
    #[row(sql = "n_users_high::bigint")]
    n_users_high: i64,
    #[row(sql = "avg_planned_hours_noised::float8")]
    planned: f64,
    #[row(sql = "avg_planned_hours_low::float8")]
    planned_low: f64,
    #[row(sql = "avg_planned_hours_high::float8")]
    planned_high: f64,
    #[row(sql = "avg_actual_hours_noised::float8")]
    actual: f64,
    #[row(sql = "avg_actual_hours_low::float8")]
    actual_low: f64,
    #[row(sql = "avg_actual_hours_high::float8")]
    actual_high: f64,
    #[row(sql = "avg_overtime_hours_noised::float8")]
    overtime: f64,
    #[row(sql = "avg_overtime_hours_low::float8")]
    overtime_low: f64,
    #[row(sql = "avg_overtime_hours_high::float8")]
    overtime_high: f64,
    k_min_threshold: i32,
    #[row(sql = "noise_epsilon::float8")]
    noise_epsilon: f64,
    computed_at: DateTime<Utc>,
}

macro_rules! select {
    ($table:literal, $absent:literal, $filter:literal, $order:literal) => {
        sql!(
            "-- published_list\nSELECT ",
            Published::COLUMNS,
            " FROM (SELECT *, ",
            $absent,
            " FROM stats.",
            $table,
            ") published
             JOIN unnest($1::date[], $2::int[]) AS chosen (period_start, revision) USING (period_start, revision)
             WHERE ",
            $filter,
            "
             ORDER BY period_start, ",
            $order
        )
    };
}

/// The published rows of these releases. A release is named by the first day of its quarter and its revision.
pub fn published_list(table: Table, asked: &PublishedFilter, releases: &[(NaiveDate, i32)]) -> Query {
    let (starts, revisions): (Vec<NaiveDate>, Vec<i32>) = releases.iter().copied().unzip();
    let query = Query::new(match table {
        Table::StateSpecialty => select!(
            "stats_by_state_specialty",
            "NULL::text AS hospital_id, NULL::text AS role_group",
            "($3::text IS NULL OR state_code = $3) AND ($4::text IS NULL OR specialty = $4)",
            "country_code, state_code, specialty, role_level"
        ),
        Table::StateRole => select!(
            "stats_by_state_role",
            "NULL::text AS specialty, NULL::text AS hospital_id, NULL::text AS role_group",
            "($3::text IS NULL OR state_code = $3) AND $4::text IS NULL",
            "country_code, state_code, role_level"
        ),
        Table::HospitalRole => select!(
            "stats_by_hospital_role",
            "NULL::text AS country_code, NULL::text AS state_code, NULL::text AS specialty, NULL::text AS role_level",
            "($3::text IS NULL OR hospital_id = $3) AND $4::text IS NULL",
            "hospital_id, role_group"
        ),
    });
    let first = if table == Table::HospitalRole { &asked.hospital_id } else { &asked.state_code };
    query.bind(starts).bind(revisions).bind(first.clone()).bind(asked.specialty.clone())
}

impl FromRow for Published {
    const COLUMNS: &'static str = Columns::COLUMNS;

    fn from_row(row: &Row) -> Self {
        let row = Columns::from_row(row);
        Self {
            key: row.key,
            period_start: row.period_start,
            period_end: row.period_end,
            revision: row.revision,
            n_users: row.n_users,
            n_users_low: row.n_users_low,
            n_users_high: row.n_users_high,
            planned: Hours { noised: row.planned, low: row.planned_low, high: row.planned_high },
            actual: Hours { noised: row.actual, low: row.actual_low, high: row.actual_high },
            overtime: Hours { noised: row.overtime, low: row.overtime_low, high: row.overtime_high },
            k_min_threshold: row.k_min_threshold,
            noise_epsilon: row.noise_epsilon,
            computed_at: row.computed_at,
        }
    }
}

/// How many rows a release published, in all tables together.
pub fn published_count(period_start: NaiveDate, revision: i32) -> Query {
    Query::new(
        "-- published_count
        SELECT (SELECT count(*) FROM stats.stats_by_state_specialty WHERE period_start = $1 AND revision = $2)
             + (SELECT count(*) FROM stats.stats_by_hospital_role WHERE period_start = $1 AND revision = $2)
             + (SELECT count(*) FROM stats.stats_by_state_role WHERE period_start = $1 AND revision = $2) AS rows",
    )
    .bind(period_start)
    .bind(revision)
}

/// Whether the log has ever held an event about a person: one row if so. The nil id, which stands for nobody, is the
/// smallest id.
pub fn log_has_people() -> Query {
    Query::new(
        "-- log_has_people
        SELECT true FROM log.events WHERE subject_id > '00000000-0000-0000-0000-000000000000'
        ORDER BY subject_id LIMIT 1",
    )
}

/// When the first event of the log was recorded.
pub fn log_begin() -> Query {
    Query::new("-- log_begin\nSELECT recorded_at FROM log.events ORDER BY txid, position LIMIT 1")
}
