//! Published statistics: drawn once, whoever asks and whatever happens later; only about people who consent; within the
//! budget; and nothing else is visible to a dashboard.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate, TimeDelta};
use context::{Clock, Ctx, RequestId, SubjectId};
use db::{Login, Lookup};
use domain::{
    RoleLevel, Source, Specialty, StateCode,
    kinds::{Shape, WORK_DAY, WORK_PROFILE, WorkDay, WorkProfile},
    quarter::Quarter,
    rights::consent::Purpose,
    statistics::plan::{GRACE_DAYS, Plan, Policy, Revision},
};
use lethe::{
    app::{
        App, AppError,
        identity::account::{self, Registration},
        records::record::{self, Batch, Submission},
        rights::{consent, restriction},
        statistics::{hospital, release},
    },
    auth::codes::Proof,
    data::home::Folder,
    jobs::{plan, run_due},
    server::{self, Settings},
};
use poem::http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::{
    isolation::property,
    program::{DataFolder, Program},
    steps::{Answer, erase, fields, let_pass, problem, sign_in, subject_of},
    support::{Person, World, expect},
};

const HOSPITAL: &str = "klinikum-am-see";
const TABLES: [&str; 7] = [
    "stats.releases",
    "stats.spending",
    "stats.ledger",
    "stats.stats_by_state_specialty",
    "stats.stats_by_hospital_role",
    "stats.stats_by_state_role",
    "stats.hospitals",
];

/// The newest quarter whose grace is over.
pub fn closed(world: &World) -> Quarter {
    Quarter::last_closed_before(world.clock.now().date_naive() - Days::new(u64::from(GRACE_DAYS) + 1))
}

fn work(specialty: Specialty, role_level: RoleLevel) -> WorkProfile {
    WorkProfile { specialty, role_level, state_code: Some(StateCode::Bavaria), ..WorkProfile::example() }
}

/// Registers a person and submits days of eight planned hours; returns the subject.
async fn worker(
    app: &App,
    name: &str,
    work: WorkProfile,
    consents: &[Purpose],
    days: &[(NaiveDate, u16)],
) -> SubjectId {
    let anonymous = Ctx::anonymous(app.clock.clone(), context::Client::default(), RequestId::random());
    let registration =
        Registration { email: format!("{name}@klinik.example"), work: Some(work), consents: consents.to_vec() };
    let grant = account::register(app, &anonymous, &registration, &Proof::Operator).await.expect("registered");
    let subject = grant.claims.subject;
    submit(app, subject, days).await.expect("submitted");
    subject
}

async fn submit(app: &App, subject: SubjectId, days: &[(NaiveDate, u16)]) -> Result<(), AppError> {
    let ctx = &Ctx::system(app.clock.clone()).for_subject(subject, None);
    let day = |(date, actual): &(NaiveDate, u16)| Submission {
        body: WorkDay { date: *date, planned_minutes: 480, actual_minutes: *actual, source: Source::Manual }.to_body(),
        expected: None,
        within: None,
    };
    let submissions: Vec<Submission> = days.iter().map(day).collect();
    let batch = Batch {
        operation: "record_submit",
        kind: WORK_DAY,
        submissions: &submissions,
        today: ctx.now().date_naive(),
        faults: Vec::new(),
    };
    record::submit(app, ctx, &batch, None).await.map(drop)
}

const BOTH: [Purpose; 2] = [Purpose::WorkHours, Purpose::Statistics];

/// A number of people of one cell, each with three days of half an hour's overtime on average.
async fn staff(app: &App, name: &str, count: usize, work: WorkProfile, period: Quarter) -> Vec<SubjectId> {
    staff_of(app, name, count, &work, &[period]).await
}

/// The same people with such days in several quarters.
async fn staff_of(app: &App, name: &str, count: usize, work: &WorkProfile, periods: &[Quarter]) -> Vec<SubjectId> {
    let days = |first: NaiveDate| [(first, 500), (first + Days::new(1), 510), (first + Days::new(2), 520)];
    let days: Vec<(NaiveDate, u16)> = periods.iter().flat_map(|period| days(period.first_day())).collect();
    let mut staff = Vec::new();
    for number in 0..count {
        staff.push(worker(app, &format!("{name}{number}"), work.clone(), &BOTH, &days).await);
    }
    staff
}

async fn stored(client: &Client) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for table in TABLES {
        let rows = client.query(&format!("SELECT t::text FROM {table} t"), &[]).await.expect("read");
        all.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    all
}

async fn get(world: &World, path: &str) -> Answer {
    Answer::of(world.client().get(path).send().await).await
}

async fn stats(world: &World, path: &str) -> Vec<Value> {
    let answer = get(world, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["stats"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_quarter_is_drawn_once_and_nothing_changes_it_any_more() {
    let world = World::new().await;
    let period = closed(&world);
    assert_eq!(hospital::add(&world.app, &[HOSPITAL.to_owned()]).await.expect("added").count, 1);
    // So many people that the table with the most noise, by hospital, suppresses them once in fifty million releases.
    let many = staff(&world.app, "many", 220, work(Specialty::Surgery, RoleLevel::Assistant), period).await;
    staff(&world.app, "few", 8, work(Specialty::Urology, RoleLevel::Nurse), period).await;
    // Two servers at the same moment: one draws, and both return the same release.
    let settings = Settings::new(world.folder.clone(), world.clock.clone());
    let other = world.another(&settings).await;
    let (one, two) =
        futures_util::future::join(release::make(&world.app, period, 0), release::make(&other, period, 0)).await;
    let (one, two) = (one.expect("released"), two.expect("released"));
    assert_eq!([one.is_new, two.is_new].iter().filter(|new| **new).count(), 1);
    assert_eq!(
        (&one.row.sha256, one.published, one.row.computed_at),
        (&two.row.sha256, two.published, two.row.computed_at)
    );
    let client = world.superuser().await;
    let before = stored(&client).await;
    assert_eq!(before["stats.releases"].len(), 1);
    assert_eq!(before["stats.ledger"].len(), 16 * 21 * 6 + 3, "every cell is drawn, empty ones too");

    let shown = stats(&world, "/v1/analytics/by-state").await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    let row = &shown[0];
    assert_eq!(
        (&row["state_code"], &row["specialty"], &row["role_level"]),
        (&json!("BY"), &json!("surgery"), &json!("assistant"))
    );
    assert_eq!(
        (&row["period"], &row["k_min_threshold"], &row["noise_epsilon"]),
        (&json!(period.to_string()), &json!(10), &json!(0.65))
    );
    // The interval misses the true value once in twenty releases; an interval three times as wide never does.
    let near = |name: &str, truth: f64| {
        let number = |end: &str| row[format!("{name}{end}")].as_f64().expect("a number");
        let (low, high) = (number("_low"), number("_high"));
        let width = high - low;
        assert!((low - width..=high + width).contains(&truth), "{name}: {row}");
    };
    near("avg_overtime_hours", 0.5);
    near("avg_planned_hours", 8.0);
    near("avg_actual_hours", 8.5);
    near("n_users", 220.0);
    let hospital = stats(&world, "/v1/analytics/by-hospital").await;
    assert_eq!((&hospital[0]["hospital_id"], &hospital[0]["role_group"]), (&json!(HOSPITAL), &json!("doctor")));
    let hidden = get(&world, "/v1/analytics/by-state?suppressed=true&state=BY").await.json();
    let hidden = hidden["suppressed"].as_array().expect("a list").clone();
    assert_eq!(hidden.len(), 21 * 6 - 1);
    for cell in ["BY/urology/nurse", "BY/dermatology/chief"] {
        assert!(hidden.iter().any(|hidden| hidden["cell"] == cell), "few and none look alike: {cell}");
    }

    // All but one specialty of this roll-up are suppressed, because too few people are in them. The roll-up is not
    // published, because without the published specialty it would be theirs alone.
    assert_eq!(stats(&world, "/v1/analytics/by-state-role").await, [Value::Null; 0]);

    // A rerun, an erasure, a correction, a late day and new people change no byte of a published release.
    let again = release::make(&world.app, period, 0).await.expect("given");
    assert_eq!((again.is_new, again.row.sha256), (false, one.row.sha256));
    let person = sign_in(&world, "many0@klinik.example").await;
    erase(&world, &person).await;
    submit(&world.app, many[1], &[(period.first_day(), 1200), (period.last_day(), 700)]).await.expect("submitted");
    staff(&world.app, "late", 3, work(Specialty::Surgery, RoleLevel::Assistant), period).await;
    assert!(!release::make(&world.app, period, 0).await.expect("given").is_new);
    plan(&world.app).await.expect("planned");
    run_due(&world.app).await.expect("jobs run");
    assert_eq!(stored(&client).await, before);
    assert!(release::make(&world.app, period, 1).await.is_err(), "no revision was scheduled");
    for table in TABLES {
        for change in ["UPDATE {} SET revision = revision", "DELETE FROM {}", "TRUNCATE {} CASCADE"] {
            if table != "stats.hospitals" || !change.starts_with("UPDATE") {
                let refused = client.batch_execute(&change.replace("{}", table)).await.expect_err("refused");
                let message = refused.as_db_error().expect("by the database").message().to_owned();
                assert!(message.contains("never changed"), "{table}: {message}");
            }
        }
    }
    let spend = "INSERT INTO stats.releases SELECT period_start, 7, period_end, plan, computed_at, sha256 FROM stats.releases;
                 INSERT INTO stats.spending SELECT period_start, 7, table_name, 1, 1, 1, 1, k_min, threshold FROM stats.spending
                 WHERE revision = 0";
    hospital::add(&world.app, &["klinik-von-morgen".to_owned()]).await.expect("added");
    let hidden = get(&world, "/v1/analytics/by-hospital?suppressed=true").await.json();
    let hidden = hidden["suppressed"].as_array().expect("a list").clone();
    assert_eq!(hidden.len(), 2, "of a hospital that was listed later nothing was drawn: {hidden:?}");
    let refused = client.batch_execute(spend).await.expect_err("refused");
    assert!(refused.as_db_error().expect("by the database").message().contains("budget"), "{refused}");
}

#[tokio::test]
async fn only_who_consents_and_is_not_restricted_is_read_and_each_read_is_on_record() {
    let world = World::new().await;
    let period = closed(&world);
    let profile = || work(Specialty::Surgery, RoleLevel::Nurse);
    let days = [(period.first_day(), 500), (period.last_day(), 500)];
    let counted = worker(&world.app, "anna", profile(), &BOTH, &days).await;
    worker(&world.app, "ben", profile(), &[Purpose::WorkHours], &days).await;
    let withdrew = worker(&world.app, "carla", profile(), &BOTH, &days).await;
    let restricted = worker(&world.app, "dora", profile(), &BOTH, &days).await;
    worker(&world.app, "emil", profile(), &BOTH, &[(period.next().first_day(), 500)]).await;
    let of = |subject| Ctx::system(world.clock.clone()).for_subject(subject, None);
    consent::decide(&world.app, &of(withdrew), Purpose::Statistics, false, None).await.expect("withdrawn");
    restriction::decide(&world.app, &of(restricted), true).await.expect("restricted");
    let released = release::make(&world.app, period, 0).await.expect("released");
    assert_eq!(released.published, 0, "one person is no statistic");
    let client = world.superuser().await;
    // Only the owner of an entry can tell who was counted: all entries look alike, in the order of the accounts.
    let entries = async |period: Quarter| {
        let sql = "SELECT subject_id, aggregate_id, sequence, event_type, payload::text, length(metadata::text), recorded_at::text,
                          metadata->>'role'
                   FROM log.events WHERE kind = 'statistics' AND payload->>'period' = $1 ORDER BY position";
        let rows = world.superuser().await.query(sql, &[&period.to_string()]).await.expect("read");
        let alike = |row: &tokio_postgres::Row| {
            let text = |at: usize| row.get::<_, String>(at);
            (text(1), text(3), text(4), row.get::<_, i32>(5), text(6), text(7))
        };
        let kinds: BTreeSet<_> = rows.iter().map(alike).collect();
        assert_eq!(kinds.len(), 1, "{kinds:?}");
        let places: Vec<(uuid::Uuid, i64)> = rows.iter().map(|row| (row.get(0), row.get(2))).collect();
        assert!(
            places.is_sorted() && places.iter().map(|(_, sequence)| *sequence).eq(1..=places.len() as i64),
            "{places:?}"
        );
        places.into_iter().map(|(subject, _)| subject).collect::<BTreeSet<_>>()
    };
    let accounts = "SELECT subject_id FROM read.accounts";
    let accounts =
        client.query(accounts, &[]).await.expect("read").iter().map(|row| row.get(0)).collect::<BTreeSet<_>>();
    assert_eq!(accounts.len(), 5);
    assert_eq!(entries(period).await, accounts);
    let before = Quarter::last_closed_before(period.first_day());
    release::make(&world.app, before, 0).await.expect("released");
    assert_eq!(entries(before).await, accounts, "as many where nobody took part");
    for (name, quarter, told) in [
        ("anna", period, (true, 2, 1)),
        ("anna", before, (false, 0, 0)),
        ("ben", period, (false, 0, 0)),
        ("carla", period, (false, 0, 0)),
        ("dora", period, (false, 0, 0)),
        ("emil", period, (false, 0, 0)),
    ] {
        let person = sign_in(&world, &format!("{name}@klinik.example")).await;
        let answer = world.get(&person, "/v1/privacy/audit-log?action=stats.considered").await;
        let found = expect(answer, StatusCode::OK).await;
        let own = found["entries"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|entry| entry["details"]["period"] == quarter.to_string());
        let details = &own.expect("an entry of that release")["details"];
        assert_eq!(
            (&details["counted"], &details["work_days"], &details["profiles"]),
            (&json!(told.0), &json!(told.1), &json!(told.2)),
            "{name}, {quarter}"
        );
    }
    assert!(accounts.contains(&counted.0));
    // The policy hides the keys of all others, not only the statement.
    let stats = world.login(Login::Stats).await;
    let (session, now) = db::Session::begin(&stats).await.expect("a session");
    let key = world.app.vault.ring().ticket_key();
    for (role, seen) in [(context::Role::Statistics, 2), (context::Role::System, 0), (context::Role::Subject, 0)] {
        let ticket = key.mint(SubjectId::NIL, None::<Lookup>, role, now, &session);
        stats.execute("SELECT lethe.show($1, false)", &[&ticket]).await.expect("shown");
        let keys: i64 = stats.query_one("SELECT count(*) FROM vault.subjects", &[]).await.expect("counted").get(0);
        assert_eq!(keys, seen, "{role:?}: anna's and emil's");
    }
}

#[tokio::test]
async fn statistics_by_state_counts_people_who_moved_where_most_days_were() {
    let world = World::new().await;
    let period = closed(&world);
    // Everybody has a newer profile by now; the days are older than it.
    for subject in staff(&world.app, "mover", 120, work(Specialty::Surgery, RoleLevel::Nurse), period).await {
        let ctx = &Ctx::system(world.clock.clone()).for_subject(subject, None);
        let body = work(Specialty::Cardiology, RoleLevel::Nurse).to_body();
        let submissions = [Submission { body, expected: None, within: None }];
        let today = ctx.now().date_naive();
        let batch = Batch {
            operation: "record_submit",
            kind: WORK_PROFILE,
            submissions: &submissions,
            today,
            faults: Vec::new(),
        };
        record::submit(&world.app, ctx, &batch, None).await.expect("amended");
    }
    // A profile counts from the day it was submitted, so the first version is dated back to the days.
    let client = world.superuser().await;
    let older = format!(
        "SET session_replication_role = replica; ALTER TABLE log.events DISABLE TRIGGER events_append_only;
         UPDATE log.events SET recorded_at = '{}' WHERE kind = 'work_profile' AND sequence = 1;
         ALTER TABLE log.events ENABLE ALWAYS TRIGGER events_append_only; RESET session_replication_role",
        period.first_day()
    );
    client.batch_execute(&older).await.expect("made older");
    release::make(&world.app, period, 0).await.expect("released");
    let shown = stats(&world, "/v1/analytics/by-state").await;
    assert_eq!(shown.iter().map(|row| row["specialty"].clone()).collect::<Vec<_>>(), [json!("surgery")]);
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_with_the_field() {
    let world = World::new().await;
    world.person("anna").await;
    let today = world.clock.now().date_naive();
    let (open, future) = (Quarter::of(today), Quarter::of(today).next());
    let of = |refused: AppError| match refused {
        AppError::Invalid(faults) => faults[0].field.clone(),
        other => panic!("{other}"),
    };
    for period in [open, future] {
        assert_eq!(of(release::make(&world.app, period, 0).await.expect_err("refused")), "period", "{period}");
        assert_eq!(stats(&world, &format!("/v1/analytics/by-state?from={period}")).await.len(), 0, "{period}");
    }
    for (query, field) in [
        ("by-state?state=XX", "state"),
        ("by-state?specialty=astrology", "specialty"),
        ("by-state?from=2025-Q5", "from"),
        ("by-hospital?to=yesterday", "to"),
        ("by-state?from=2025-Q2&to=2025-Q1", "from"),
        ("by-state-role?format=xml", "format"),
    ] {
        let refused = world.client().get(format!("/v1/analytics/{query}")).send().await;
        let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        assert_eq!(fields(&refused), [field], "{query}");
    }
    let small = Policy { plan: Plan::Small, revision: None };
    assert_eq!(of(release::plan(&world.app, open, small).await.expect_err("it has begun")), "from");
    let greedy = Policy { revision: Some(Revision { percent: 80, after_days: 90 }), ..small };
    assert_eq!(of(release::plan(&world.app, future, greedy).await.expect_err("too much")), "revision");
    release::plan(&world.app, future, small).await.expect("planned");
    assert_eq!(stats(&world, "/v1/analytics/by-state").await.len(), 0);
}

#[tokio::test]
async fn statistics_periods_lists_a_planned_quarter_that_is_released_by_night_and_revised_as_scheduled() {
    let world = World::new().await;
    let next = Quarter::of(world.clock.now().date_naive()).next();
    let revision = Some(Revision { percent: 40, after_days: 60 });
    release::plan(&world.app, next, Policy { plan: Plan::Small, revision }).await.expect("planned");
    let until = |date: NaiveDate| (date - world.clock.now().date_naive()) + TimeDelta::days(1);
    let_pass(&world, until(next.last_day())).await;
    staff(&world.app, "many", 150, work(Specialty::Surgery, RoleLevel::Nurse), next).await;
    plan(&world.app).await.expect("planned");
    run_due(&world.app).await.expect("jobs run");
    let rows = async || stats(&world, &format!("/v1/analytics/by-state?from={next}")).await;
    assert_eq!(rows().await.len(), 0, "late days are still taken");
    let_pass(&world, TimeDelta::days(i64::from(GRACE_DAYS) + 1)).await;
    run_due(&world.app).await.expect("jobs run");
    let first = rows().await;
    assert_eq!(
        (first.len(), &first[0]["revision"], &first[0]["noise_epsilon"]),
        (1, &json!(0), &json!(0.6)),
        "{first:?}"
    );
    assert!(first[0].get("specialty").is_none(), "the small plan has none");
    let_pass(&world, TimeDelta::days(61)).await;
    run_due(&world.app).await.expect("jobs run");
    let revised = rows().await;
    assert_eq!((revised.len(), &revised[0]["revision"], &revised[0]["noise_epsilon"]), (1, &json!(1), &json!(0.4)));
    let periods = get(&world, "/v1/analytics/periods").await;
    assert_eq!(periods.header("cache-control"), Some("public, max-age=3600"));
    let periods = periods.json();
    let mine: Vec<&Value> =
        periods["periods"].as_array().expect("a list").iter().filter(|p| p["period"] == next.to_string()).collect();
    assert_eq!(mine.iter().map(|period| &period["revision"]).collect::<Vec<_>>(), [&json!(1), &json!(0)]);
    // The log holds the same hashes as the table.
    let logged =
        "SELECT payload#>>'{Released,sha256}' FROM log.events WHERE event_type = 'stats.released' AND aggregate_id = $1
                  ORDER BY sequence DESC";
    let logged = world.superuser().await.query(logged, &[&next.to_string()]).await.expect("read");
    assert_eq!(
        logged.iter().map(|row| json!(row.get::<_, String>(0))).collect::<Vec<_>>(),
        [mine[0]["sha256"].clone(), mine[1]["sha256"].clone()]
    );
}

/// The nightly job makes a revision that is due more than a year later. It replaces the release as a whole: an answer
/// never mixes cells of two releases of a quarter.
#[tokio::test]
async fn a_late_revision_is_made_by_night_and_replaces_the_release_as_a_whole() {
    let world = World::new().await;
    let next = Quarter::of(world.clock.now().date_naive()).next();
    let revision = Some(Revision { percent: 30, after_days: 400 });
    release::plan(&world.app, next, Policy { plan: Plan::Full, revision }).await.expect("planned");
    let sheet = get(&world, "/v1/analytics/parameters").await.json();
    let planned = &sheet["planned"][1];
    assert_eq!((&planned["from"], &planned["plan"]), (&json!(next.to_string()), &json!("full")));
    let told = |revision: usize| {
        let release = &planned["releases"][revision];
        ["revision", "percent", "days_after_quarter", "epsilon", "delta"].map(|name| release[name].clone())
    };
    assert_eq!(told(0), [json!(0), json!(70), json!(15), json!(0.7), json!(7e-7)]);
    assert_eq!(told(1), [json!(1), json!(30), json!(415), json!(0.3), json!(3e-7)]);
    assert!(
        planned["releases"][1]["tables"][0]["threshold"].as_i64() > Some(100),
        "a part of the budget has a higher threshold"
    );

    let until = |date: NaiveDate| (date - world.clock.now().date_naive()) + TimeDelta::days(1);
    let_pass(&world, until(next.last_day())).await;
    let many = staff(&world.app, "many", 160, work(Specialty::Surgery, RoleLevel::Nurse), next).await;
    plan(&world.app).await.expect("planned");
    let_pass(&world, TimeDelta::days(i64::from(GRACE_DAYS) + 1)).await;
    run_due(&world.app).await.expect("jobs run");
    let path = format!("/v1/analytics/by-state?from={next}&to={next}&suppressed=true");
    let first = get(&world, &path).await.json();
    let hidden = |answer: &Value| answer["suppressed"].as_array().expect("a list").len();
    assert_eq!((first["stats"].as_array().map(Vec::len), hidden(&first)), (Some(1), 16 * 21 * 6 - 1));
    assert_eq!(first["releases"], json!([{ "period": next.to_string(), "revision": 0 }]));
    for subject in many {
        let ctx = &Ctx::system(world.clock.clone()).for_subject(subject, None);
        consent::decide(&world.app, ctx, Purpose::Statistics, false, None).await.expect("withdrawn");
    }
    let_pass(&world, TimeDelta::days(401)).await;
    run_due(&world.app).await.expect("jobs run");
    let revised = get(&world, &path).await.json();
    assert_eq!(revised["releases"], json!([{ "period": next.to_string(), "revision": 1 }]));
    assert_eq!((revised["stats"].as_array().map(Vec::len), hidden(&revised)), (Some(0), 16 * 21 * 6));
    let csv = get(&world, &path.replace("suppressed=true", "format=csv")).await.text;
    assert_eq!(csv.lines().count(), 1, "{csv}");
    let periods = get(&world, "/v1/analytics/periods").await.json();
    let mine = periods["periods"].as_array().expect("a list").iter().filter(|row| row["period"] == next.to_string());
    let costs: Vec<(&Value, &Value)> = mine.map(|row| (&row["revision"], &row["epsilon"])).collect();
    assert_eq!(costs, [(&json!(1), &json!(0.3)), (&json!(0), &json!(0.7))]);
}

/// The list of hospitals with cells is fixed before the quarter begins, and is on record.
#[tokio::test]
async fn statistics_parameters_lists_a_hospital_from_the_next_quarter_on_as_the_log_does() {
    let world = World::new().await;
    let period = closed(&world);
    let first = hospital::add(&world.app, &[HOSPITAL.to_owned(), HOSPITAL.to_owned()]).await.expect("added");
    assert_eq!(
        (first.count, first.from.to_string().as_str()),
        (1, "1970-Q1"),
        "nobody is here of whom it could depend"
    );
    world.person("anna").await;
    let later = hospital::add(&world.app, &["klinik-von-morgen".to_owned(), HOSPITAL.to_owned()]).await.expect("added");
    assert_eq!((later.count, later.from), (1, Quarter::of(world.clock.now().date_naive()).next()));
    assert_eq!(hospital::add(&world.app, &[HOSPITAL.to_owned()]).await.expect("known").count, 0);
    release::make(&world.app, period, 0).await.expect("released");
    let client = world.superuser().await;
    let cells = "SELECT cell FROM stats.ledger WHERE table_name = 'stats_by_hospital_role' ORDER BY cell";
    let cells: Vec<String> = client.query(cells, &[]).await.expect("read").iter().map(|row| row.get(0)).collect();
    assert_eq!(cells, ["doctor", "nurse", "other"].map(|group| format!("{HOSPITAL}/{group}")));
    // The log holds both lists, and names the one that the release used.
    let hash = "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')";
    let hash = client.query_one(hash, &[&format!("{HOSPITAL}\n")]).await.expect("hashed").get::<_, String>(0);
    let lists =
        "SELECT payload->'Listed' FROM log.events WHERE event_type = 'stats.hospitals_listed' ORDER BY sequence";
    let lists: Vec<Value> = client.query(lists, &[]).await.expect("read").iter().map(|row| row.get(0)).collect();
    assert_eq!(lists.len(), 2, "{lists:?}");
    assert_eq!(lists[0], json!([{ "from": "1970-Q1", "count": 1, "sha256": hash }]));
    assert_eq!((&lists[1][0], &lists[1][1]["count"]), (&lists[0][0], &json!(2)));
    let used = "SELECT payload#>>'{Released,hospitals,sha256}' FROM log.events WHERE event_type = 'stats.released'";
    assert_eq!(client.query_one(used, &[]).await.expect("read").get::<_, String>(0), hash);
    let periods = get(&world, "/v1/analytics/periods").await.json();
    assert_eq!(periods["periods"][0]["hospitals_sha256"], hash);
    let sheet = get(&world, "/v1/analytics/parameters").await.json();
    assert_eq!(sheet["hospital_lists"], lists[1]);
    // A list that was changed without the log is not used.
    let forged = "INSERT INTO stats.hospitals (hospital_id, added_at, counts_from) VALUES ('klinik-nachtrag', now(), '1970-01-01')";
    client.batch_execute(forged).await.expect("a superuser may");
    let before = Quarter::last_closed_before(period.first_day());
    let refused = release::make(&world.app, before, 0).await.expect_err("another list");
    assert!(refused.to_string().contains("not the one that the log has on record"), "{refused}");
}

#[tokio::test]
async fn statistics_by_state_has_the_same_rows_as_csv_and_the_sheet_says_what_holds() {
    let world = World::new().await;
    let period = closed(&world);
    staff(&world.app, "many", 120, work(Specialty::Surgery, RoleLevel::Nurse), period).await;
    release::make(&world.app, period, 0).await.expect("released");
    let json = stats(&world, "/v1/analytics/by-state").await;
    let answer = get(&world, "/v1/analytics/by-state?format=csv").await;
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/csv")), "{:?}", answer.headers);
    let mut csv = csv::Reader::from_reader(answer.text.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = csv.deserialize().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), json.len());
    assert_eq!(rows[0]["avg_overtime_hours_noised"].parse::<f64>().ok(), json[0]["avg_overtime_hours_noised"].as_f64());
    assert_eq!((rows[0]["specialty"].as_str(), rows[0]["hospital_id"].as_str()), ("surgery", ""));
    let sheet = get(&world, "/v1/analytics/parameters").await.json();
    assert_eq!((&sheet["epsilon"], &sheet["delta"], &sheet["k_min"]), (&json!(1.0), &json!(1e-6), &json!(10)));
    let thresholds: Vec<&Value> = sheet["tables"].as_array().expect("a list").iter().map(|t| &t["threshold"]).collect();
    assert_eq!(thresholds[..2], [&json!(66), &json!(103)]);
    let moved = get(&world, "/analytics/by-state?state=BY").await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (StatusCode::PERMANENT_REDIRECT, Some("/v1/analytics/by-state?state=BY"))
    );
}

#[tokio::test]
async fn statistics_by_state_role_shows_the_table_that_the_small_plan_draws() {
    let world = World::new().await;
    let period = closed(&world);
    // As long as nobody has registered, a plan may begin with a quarter that is over.
    let small = Policy { plan: Plan::Small, revision: None };
    release::plan(&world.app, period, small).await.expect("planned");
    staff(&world.app, "many", 120, work(Specialty::Surgery, RoleLevel::Nurse), period).await;
    release::make(&world.app, period, 0).await.expect("released");
    let shown = stats(&world, "/v1/analytics/by-state-role").await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!((&shown[0]["state_code"], &shown[0]["role_level"]), (&json!("BY"), &json!("nurse")));
    assert_eq!(shown[0].get("specialty"), None, "over all specialties");
    assert_eq!(stats(&world, "/v1/analytics/by-state-role?state=BY").await, shown);
    assert_eq!(stats(&world, "/v1/analytics/by-state-role?state=HH").await, [Value::Null; 0]);
    let hidden = get(&world, "/v1/analytics/by-state-role?suppressed=true").await.json();
    assert_eq!(hidden["suppressed"].as_array().map(Vec::len), Some(16 * 6 - 1));
}

#[tokio::test]
async fn statistics_by_hospital_names_the_cells_of_listed_hospitals_only() {
    let world = World::new().await;
    let period = closed(&world);
    hospital::add(&world.app, &[HOSPITAL.to_owned(), "klinik-im-tal".to_owned()]).await.expect("added");
    release::make(&world.app, period, 0).await.expect("released");
    let hidden = async |more: &str| {
        let answer = get(&world, &format!("/v1/analytics/by-hospital?suppressed=true{more}")).await.json();
        assert_eq!(answer["stats"], json!([]), "nobody works there");
        let hidden = answer["suppressed"].as_array().expect("a list").clone();
        hidden.iter().map(|hidden| hidden["cell"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let of = |hospital: &str| ["doctor", "nurse", "other"].map(|group| format!("{hospital}/{group}"));
    assert_eq!(hidden("").await, [of("klinik-im-tal"), of(HOSPITAL)].concat());
    assert_eq!(hidden(&format!("&hospital_id={HOSPITAL}")).await, of(HOSPITAL));
    assert_eq!(hidden("&hospital_id=klinik-von-morgen").await, [""; 0]);
}

#[tokio::test]
async fn a_dashboard_reads_what_is_published_and_nothing_else() {
    let world = World::new().await;
    release::make(&world.app, closed(&world), 0).await.expect("released");
    let (dashboard, superuser) = (world.login(Login::Dashboard).await, world.superuser().await);
    let open = ["releases", "spending", "stats_by_state_specialty", "stats_by_hospital_role", "stats_by_state_role"];
    let tables = "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    let (mut seen, mut refused) = (0, 0);
    for row in superuser.query(tables, &[]).await.expect("the catalogue is read") {
        let (schema, name): (String, String) = (row.get(0), row.get(1));
        let answer = dashboard.query(&format!("SELECT * FROM {schema}.{name} LIMIT 1"), &[]).await;
        let is_open = schema == "stats" && open.contains(&name.as_str());
        assert_eq!(answer.is_ok(), is_open, "{schema}.{name}");
        for change in [format!("DELETE FROM {schema}.{name}"), format!("INSERT INTO {schema}.{name} DEFAULT VALUES")] {
            assert!(dashboard.batch_execute(&change).await.is_err(), "{change}");
        }
        if is_open { seen += 1 } else { refused += 1 }
    }
    assert!(seen == open.len() && refused > 20);
    let functions = "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                     WHERE n.nspname IN ('lethe', 'log', 'vault', 'auth', 'read', 'jobs', 'stats')
                       AND has_function_privilege('lethe_dashboard', p.oid, 'EXECUTE')";
    let functions = superuser.query(functions, &[]).await.expect("the catalogue is read");
    assert!(functions.is_empty(), "{:?}", functions.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>());
}

/// The points where a release is killed; whether all its entries about accounts are in the log then, or none; and
/// whether it is stored.
const POINTS: [(&str, bool, bool); 4] = [
    ("release: added up", false, false),
    ("release: on record", true, false),
    ("release: drawn", true, false),
    ("release: stored", true, true),
];

#[tokio::test]
async fn a_release_that_dies_is_there_whole_or_not_at_all() {
    const PEOPLE: i64 = 140;
    let data = DataFolder::new("");
    let (store, vault) = data.cluster(&[("fsync", "off")]).await;
    let url = store.database.url(&store.database.admin, None);
    let client = db::admin(&store.database.address, &store.database.admin, None).await.expect("connected");
    let newest = Quarter::last_closed_before(Clock::system().now().date_naive() - Days::new(u64::from(GRACE_DAYS) + 1));
    let before = |quarter: &Quarter| Some(Quarter::last_closed_before(quarter.first_day()));
    let periods: Vec<Quarter> = std::iter::successors(Some(newest), before).take(POINTS.len()).collect();
    let folder = Folder::open(data.path()).expect("the folder opens");
    let settings = Settings::new(folder.clone(), Clock::system());
    let passwords = folder.passwords().expect("passwords");
    let app = server::open(&settings, &store.database, vault, &passwords).await.expect("the application opens");
    let profile = work(Specialty::Surgery, RoleLevel::Nurse);
    staff_of(&app, "many", usize::try_from(PEOPLE).expect("few"), &profile, &periods).await;
    drop(app);
    for ((point, is_on_record, is_stored), period) in POINTS.into_iter().zip(periods) {
        let name = period.to_string();
        let args = ["stats", "release", "--data", data.text(), "--database", &url, "--period", &name];
        Program::start_to_crash(&args, "info", point).wait_for("killed at");
        let stored = "SELECT count(*), (SELECT count(*) FROM stats.ledger l WHERE l.period_start = $1),
                             (SELECT count(*) FROM log.events WHERE aggregate_id = $2 AND event_type = 'stats.released'),
                             (SELECT count(*) FROM stats.stats_by_state_specialty s WHERE s.period_start = $1),
                             (SELECT count(*) FROM log.events WHERE event_type = 'stats.considered' AND payload->>'period' = $2)
                      FROM stats.releases r WHERE r.period_start = $1";
        let counts = async || {
            let row = client.query_one(stored, &[&period.first_day(), &name]).await.expect("counted");
            [0, 1, 2, 3, 4].map(|at| row.get::<_, i64>(at))
        };
        let whole = |entries: i64| [1, 16 * 21 * 6, 1, 1, entries];
        let entries = if is_on_record { PEOPLE } else { 0 };
        assert_eq!(counts().await, if is_stored { whole(entries) } else { [0, 0, 0, 0, entries] }, "{point}");
        Program::start(&args, "info").wait_for(if is_stored { "was released before" } else { "released now" });
        assert_eq!(counts().await, whole(if is_stored { entries } else { entries + PEOPLE }), "{point}");
    }
    store.stop().await.expect("stopped");
}

/// The number of quarters that the property uses, each with a release and a revision.
const QUARTERS: usize = 8;

/// A step that may happen around releases.
#[derive(Clone, Debug)]
enum Step {
    Submit(usize, u8, u64),
    Erase,
    Release(usize, u32),
    Both(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..QUARTERS, 0..4_u8, 0..80_u64).prop_map(|(quarter, person, day)| Step::Submit(quarter, person, day)),
        1 => Just(Step::Erase),
        4 => (0..QUARTERS, 0..3_u32).prop_map(|(quarter, revision)| Step::Release(quarter, revision)),
        2 => (0..QUARTERS).prop_map(Step::Both),
    ]
}

/// **Feature: published-statistics, Property 2: any interleaving of submissions, erasures, releases and reruns spends
/// at most the period's ε and never changes a published row**
///
/// There are enough people from the start that releases and revisions publish cells.
#[test]
fn no_interleaving_spends_more_or_changes_what_is_published() {
    let runtime = Runtime::new().expect("a runtime");
    let (world, other, quarters) = runtime.block_on(async {
        let world = World::new().await;
        let first = Quarter::of(world.clock.now().date_naive()).next();
        let revision = Some(Revision { percent: 30, after_days: 30 });
        release::plan(&world.app, first, Policy { plan: Plan::Small, revision }).await.expect("planned");
        let settings = Settings::new(world.folder.clone(), world.clock.clone());
        let other = world.another(&settings).await;
        let quarters: Vec<Quarter> =
            std::iter::successors(Some(first), |quarter| Some(quarter.next())).take(QUARTERS).collect();
        let_pass(&world, TimeDelta::days(QUARTERS as i64 * 92 + 180)).await;
        staff_of(&world.app, "many", 260, &work(Specialty::Surgery, RoleLevel::Nurse), &quarters).await;
        (world, other, quarters)
    });
    let client = runtime.block_on(world.superuser());
    let number = std::sync::atomic::AtomicUsize::new(0);
    // The first answer for each release while it was the newest of its quarter.
    let answered = std::sync::Mutex::new(BTreeMap::<String, Vec<Value>>::new());
    property(100, &runtime, prop::collection::vec(step(), 1..8), async |steps: Vec<Step>| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut people: Vec<SubjectId> = Vec::new();
        for step in &steps {
            let before = stored(&client).await;
            match step {
                Step::Submit(quarter, person, day) => {
                    let name = format!("case{number}x{}", people.len());
                    let profile = work(Specialty::Surgery, RoleLevel::Nurse);
                    let date = quarters[*quarter].first_day() + Days::new(*day);
                    match people.get(usize::from(*person)) {
                        Some(known) => submit(&world.app, *known, &[(date, 500)]).await.expect("submitted"),
                        None => people.push(worker(&world.app, &name, profile, &BOTH, &[(date, 500)]).await),
                    }
                }
                Step::Erase => {
                    if let Some(last) = people.len().checked_sub(1) {
                        let person: Person = sign_in(&world, &format!("case{number}x{last}@klinik.example")).await;
                        prop_assert_eq!(SubjectId(subject_of(&world, &person).await), people[last]);
                        erase(&world, &person).await;
                        people.pop();
                    }
                }
                Step::Release(quarter, revision) => {
                    drop(release::make(&world.app, quarters[*quarter], *revision).await)
                }
                Step::Both(quarter) => {
                    let period = quarters[*quarter];
                    let (one, two) = futures_util::future::join(
                        release::make(&world.app, period, 0),
                        release::make(&other, period, 0),
                    )
                    .await;
                    prop_assert_eq!(one.expect("released").row.sha256, two.expect("released").row.sha256);
                }
            }
            let after = stored(&client).await;
            for table in TABLES {
                prop_assert!(before[table].is_subset(&after[table]), "{} changed", table);
            }
            let spent = "SELECT coalesce(max(sum), 0)::bigint FROM (SELECT sum(epsilon_users + epsilon_overtime + epsilon_planned) AS sum
                         FROM stats.spending GROUP BY period_start) s";
            let spent: i64 = client.query_one(spent, &[]).await.expect("read").get(0);
            prop_assert!(spent <= 1_000_000);
            let answer = get(&world, "/v1/analytics/by-state").await.json();
            for release in answer["releases"].as_array().expect("a list") {
                let of = |row: &&Value| row["period"] == release["period"];
                let rows: Vec<Value> = answer["stats"].as_array().expect("a list").iter().filter(of).cloned().collect();
                prop_assert!(
                    rows.iter().all(|row| row["revision"] == release["revision"]),
                    "of two releases: {:?}",
                    rows
                );
                let mut answered = answered.lock().expect("no one panics while holding it");
                let first = answered.entry(release.to_string()).or_insert_with(|| rows.clone());
                prop_assert_eq!(&*first, &rows, "{} is answered otherwise", release);
            }
        }
        Ok(())
    });
    let answered = answered.into_inner().expect("no one panicked");
    let published = |revision: &str| {
        let of = |(release, rows): &(&String, &Vec<Value>)| release.contains(revision) && rows.len() == 1;
        answered.iter().filter(of).count()
    };
    let (first, revised) = (published("\"revision\":0"), published("\"revision\":1"));
    assert!(
        first >= QUARTERS / 2 && revised >= QUARTERS / 4,
        "{first} published, {revised} revised: {:?}",
        answered.keys()
    );
}
