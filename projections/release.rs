//! Published statistics: what a release reads of people, what it stores, and what everybody may read of it. Not rebuildable:
//! drawing again would be another release. The published tables are about nobody; an erasure does not touch them.

use chrono::{DateTime, NaiveDate, Utc};
use context::SubjectId;
use db::{Query, Row};
use domain::{Choice, release::Table};
use noise::{Figure, Figures, Interval, Mechanism, Noisy};
use serde::Serialize;
use uuid::Uuid;

/// Those who are counted, in order of their ids: the ids and keys of so many who come after one. The policies leave out who is
/// restricted or waits for a deletion.
pub fn release_people(after: SubjectId, notice_version: &'static str, most: i64) -> Query {
    Query::new(
        "-- release_people
        SELECT s.ring_version, s.wrapping_version, s.index_key, s.trail_key, s.wrapping_key, s.subject_id
        FROM read.consents c JOIN vault.subjects s ON s.subject_id = c.subject_id
        WHERE c.subject_id > $1 AND c.purpose = 'statistics' AND c.granted AND NOT c.objected AND c.notice_version = $2
        ORDER BY c.subject_id LIMIT $3",
    )
    .bind(after.0)
    .bind(notice_version)
    .bind(most)
}

/// Work days of a quarter: of each person those in one bucket. Columns as `RecordRow` reads them. Each `OFFSET 0` keeps the planner
/// from turning the loop over people into a scan over everybody's records, whatever it believes of the tables' sizes.
pub fn release_days(subjects: Vec<Uuid>, buckets: Vec<Vec<u8>>) -> Query {
    Query::new(
        "-- release_days
        SELECT v.subject_id, v.record_id, v.kind, r.sequence, r.event_type, r.event_version, r.payload::text, r.submitted_at,
               r.recorded_at, v.wrapped_key, v.key_hash, v.bucket
        FROM unnest($1::uuid[], $2::bytea[]) AS q (subject_id, bucket)
        CROSS JOIN LATERAL (SELECT * FROM vault.records v
                            WHERE v.subject_id = q.subject_id AND v.kind = 'work_day' AND v.bucket = q.bucket OFFSET 0) v
        CROSS JOIN LATERAL (SELECT * FROM read.records r
                            WHERE r.subject_id = v.subject_id AND r.record_id = v.record_id OFFSET 0) r",
    )
    .bind(subjects)
    .bind(buckets)
}

/// Every version of people's work profiles, oldest first: where somebody worked on a day is what the profile said then.
pub fn release_profiles(subjects: Vec<Uuid>) -> Query {
    Query::new(
        "-- release_profiles
        SELECT v.subject_id, v.record_id, v.kind, e.sequence, e.event_type, e.event_version, e.payload::text, e.recorded_at,
               e.recorded_at, v.wrapped_key, v.key_hash, v.bucket
        FROM unnest($1::uuid[]) AS q (subject_id)
        CROSS JOIN LATERAL (SELECT * FROM vault.records v
                            WHERE v.subject_id = q.subject_id AND v.kind = 'work_profile' OFFSET 0) v
        CROSS JOIN LATERAL (SELECT * FROM log.events e
                            WHERE e.subject_id = v.subject_id AND e.aggregate_type = 'record'
                              AND e.aggregate_id = v.record_id::text OFFSET 0) e
        ORDER BY v.subject_id, e.sequence",
    )
    .bind(subjects)
}

/// The public list of hospitals, as it was at a time.
pub fn hospital_list(at: DateTime<Utc>) -> Query {
    Query::new(
        "-- hospital_list\nSELECT hospital_id, added_at FROM stats.hospitals WHERE added_at <= $1 ORDER BY hospital_id",
    )
    .bind(at)
}

/// Adds hospitals to the public list; those that are there stay.
pub fn hospital_add(hospitals: Vec<String>, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- hospital_add
        INSERT INTO stats.hospitals (hospital_id, added_at) SELECT id, $2 FROM unnest($1::text[]) AS h (id)
        ON CONFLICT DO NOTHING RETURNING hospital_id",
    )
    .bind(hospitals)
    .bind(now)
}

/// A release, as it is stored.
#[derive(Clone, Debug)]
pub struct ReleaseRow {
    /// The quarter's first day.
    pub period_start: NaiveDate,
    /// Its last.
    pub period_end: NaiveDate,
    /// 0 for the first release.
    pub revision: i32,
    /// The plan's name.
    pub plan: String,
    /// When it was drawn.
    pub computed_at: DateTime<Utc>,
    /// SHA-256 of what was published, hexadecimal.
    pub sha256: String,
}

impl ReleaseRow {
    /// Reads a row of [`release_list`].
    pub fn from_row(row: &Row) -> Self {
        Self {
            period_start: row.get(0),
            period_end: row.get(1),
            revision: row.get(2),
            plan: row.get(3),
            computed_at: row.get(4),
            sha256: row.get(5),
        }
    }
}

/// All releases, newest quarter first.
pub fn release_list() -> Query {
    Query::new(
        "-- release_list
        SELECT period_start, period_end, revision, plan, computed_at, sha256 FROM stats.releases
        ORDER BY period_start DESC, revision DESC",
    )
}

/// Waits until no other transaction of a release is open; it lets go at its end.
pub fn release_alone() -> Query {
    Query::new("-- release_alone\nSELECT stats.alone()")
}

/// Stores a release.
pub fn release_insert(row: &ReleaseRow) -> Query {
    Query::new(
        "-- release_insert
        INSERT INTO stats.releases (period_start, period_end, revision, plan, computed_at, sha256)
        VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(row.period_start)
    .bind(row.period_end)
    .bind(row.revision)
    .bind(row.plan.clone())
    .bind(row.computed_at)
    .bind(row.sha256.clone())
}

/// Stores what a table of a release spends. The database refuses what exceeds the quarter's budget.
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
    .bind(i64::try_from(mechanism.delta.picos()).unwrap_or(i64::MAX))
    .bind(i32::try_from(mechanism.k_min).unwrap_or(i32::MAX))
    .bind(mechanism.threshold())
}

/// What was drawn for a cell.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The cell.
    pub cell: String,
    /// The noisy numbers.
    pub noisy: Noisy,
    /// Whether it is published.
    pub published: bool,
}

/// Stores what was drawn for the cells of a table.
pub fn ledger_insert(release: &ReleaseRow, table: Table, drawn: &[Drawn]) -> Query {
    Query::new(
        "-- ledger_insert
        INSERT INTO stats.ledger (period_start, revision, table_name, cell, noisy_users, noisy_overtime, noisy_planned, published)
        SELECT $1, $2, $3, d.* FROM unnest($4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::boolean[]) AS d",
    )
    .bind(release.period_start)
    .bind(release.revision)
    .bind(table.as_str())
    .bind(drawn.iter().map(|drawn| drawn.cell.clone()).collect::<Vec<_>>())
    .bind(drawn.iter().map(|drawn| drawn.noisy.users).collect::<Vec<_>>())
    .bind(drawn.iter().map(|drawn| drawn.noisy.overtime).collect::<Vec<_>>())
    .bind(drawn.iter().map(|drawn| drawn.noisy.planned).collect::<Vec<_>>())
    .bind(drawn.iter().map(|drawn| drawn.published).collect::<Vec<_>>())
}

/// Which cell a published row is of; what its table has no column for is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CellKey {
    /// ISO 3166-1 alpha-3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_code: Option<String>,
    /// The federal state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_code: Option<String>,
    /// The specialty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specialty: Option<String>,
    /// The role level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_level: Option<String>,
    /// The hospital.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hospital_id: Option<String>,
    /// The group of roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_group: Option<String>,
}

impl CellKey {
    /// The columns of a cell's name.
    pub fn of(table: Table, cell: &str) -> Self {
        let mut parts = cell.split('/').map(str::to_owned);
        let mut next = || parts.next();
        let country_code = Some("DEU".to_owned());
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
    /// The figure.
    pub noised: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end.
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

/// A published row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Published {
    /// Which cell.
    #[serde(flatten)]
    pub key: CellKey,
    /// The quarter's first day.
    pub period_start: NaiveDate,
    /// Its last.
    pub period_end: NaiveDate,
    /// 0 for the first release.
    pub revision: i32,
    /// The noisy count of people.
    pub n_users: i64,
    /// Its interval.
    pub n_users_low: i64,
    /// Its interval.
    pub n_users_high: i64,
    /// Planned work a day.
    pub planned: Hours,
    /// Actual work a day.
    pub actual: Hours,
    /// Overtime a day.
    pub overtime: Hours,
    /// The least people in a published cell.
    pub k_min_threshold: i32,
    /// What the row cost, ε.
    pub noise_epsilon: f64,
    /// When it was drawn.
    pub computed_at: DateTime<Utc>,
}

impl Published {
    /// The row of a cell.
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

/// The columns that the published tables share, after those of the key.
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

/// Stores the published rows of a table, given as the JSON of a list of [`Published`].
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

/// Which published rows are asked for; what is absent does not restrict.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// A federal state.
    pub state_code: Option<String>,
    /// A specialty.
    pub specialty: Option<String>,
    /// A hospital.
    pub hospital_id: Option<String>,
    /// Quarters that begin on this day or later.
    pub from: Option<NaiveDate>,
    /// Quarters that end on this day or earlier.
    pub to: Option<NaiveDate>,
}

macro_rules! select {
    ($table:literal, $keys:literal, $filter:literal) => {
        concat!(
            "-- published_list\nSELECT DISTINCT ON (period_start, ",
            $keys,
            ") ",
            $keys,
            ", period_start, period_end,
             revision, n_users::bigint, n_users_low::bigint, n_users_high::bigint,
             avg_planned_hours_noised::float8, avg_planned_hours_low::float8, avg_planned_hours_high::float8,
             avg_actual_hours_noised::float8, avg_actual_hours_low::float8, avg_actual_hours_high::float8,
             avg_overtime_hours_noised::float8, avg_overtime_hours_low::float8, avg_overtime_hours_high::float8,
             k_min_threshold, noise_epsilon::float8, computed_at
             FROM stats.",
            $table,
            "
             WHERE ($1::date IS NULL OR period_start >= $1) AND ($2::date IS NULL OR period_end <= $2) AND ",
            $filter,
            "
             ORDER BY period_start, ",
            $keys,
            ", revision DESC"
        )
    };
}

/// Published rows, of each quarter the newest revision.
pub fn published_list(table: Table, asked: &Asked) -> Query {
    let query = Query::new(match table {
        Table::StateSpecialty => select!(
            "stats_by_state_specialty",
            "country_code, state_code, specialty, role_level",
            "($3::text IS NULL OR state_code = $3) AND ($4::text IS NULL OR specialty = $4)"
        ),
        Table::StateRole => select!(
            "stats_by_state_role",
            "country_code, state_code, role_level",
            "($3::text IS NULL OR state_code = $3) AND $4::text IS NULL"
        ),
        Table::HospitalRole => select!(
            "stats_by_hospital_role",
            "hospital_id, role_group",
            "($3::text IS NULL OR hospital_id = $3) AND $4::text IS NULL"
        ),
    });
    let first = if table == Table::HospitalRole { &asked.hospital_id } else { &asked.state_code };
    query.bind(asked.from).bind(asked.to).bind(first.clone()).bind(asked.specialty.clone())
}

impl Published {
    /// Reads a row of [`published_list`].
    pub fn from_row(table: Table, row: &Row) -> Self {
        let text = |at: usize| Some(row.get::<_, String>(at));
        let (key, at) = match table {
            Table::StateSpecialty => (
                CellKey {
                    country_code: text(0),
                    state_code: text(1),
                    specialty: text(2),
                    role_level: text(3),
                    ..CellKey::default()
                },
                4,
            ),
            Table::StateRole => {
                (CellKey { country_code: text(0), state_code: text(1), role_level: text(2), ..CellKey::default() }, 3)
            }
            Table::HospitalRole => (CellKey { hospital_id: text(0), role_group: text(1), ..CellKey::default() }, 2),
        };
        let hours = |at: usize| Hours { noised: row.get(at), low: row.get(at + 1), high: row.get(at + 2) };
        Self {
            key,
            period_start: row.get(at),
            period_end: row.get(at + 1),
            revision: row.get(at + 2),
            n_users: row.get(at + 3),
            n_users_low: row.get(at + 4),
            n_users_high: row.get(at + 5),
            planned: hours(at + 6),
            actual: hours(at + 9),
            overtime: hours(at + 12),
            k_min_threshold: row.get(at + 15),
            noise_epsilon: row.get(at + 16),
            computed_at: row.get(at + 17),
        }
    }
}

/// How many rows a release published, over all tables.
pub fn published_count(period_start: NaiveDate, revision: i32) -> Query {
    Query::new(
        "-- published_count
        SELECT (SELECT count(*) FROM stats.stats_by_state_specialty WHERE period_start = $1 AND revision = $2)
             + (SELECT count(*) FROM stats.stats_by_hospital_role WHERE period_start = $1 AND revision = $2)
             + (SELECT count(*) FROM stats.stats_by_state_role WHERE period_start = $1 AND revision = $2)",
    )
    .bind(period_start)
    .bind(revision)
}

/// When the log begins.
pub fn log_begin() -> Query {
    Query::new("-- log_begin\nSELECT recorded_at FROM log.events ORDER BY txid, position LIMIT 1")
}
