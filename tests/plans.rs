//! Plans of the statements whose cost could grow with a person's data, or with everybody's, on a filled database.
//!
//! A plan is checked for what matters on every version of PostgreSQL: which tables are scanned as a whole, which
//! indexes are used, and how many rows are visited for those that are needed. The plan's text is not compared, because
//! it differs between minor versions.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use context::{Ctx, EventId, RecordId, Role, SubjectId};
use db::{Login, Query, Session};
use domain::kinds::WORK_DAY;
use event_log::Event;
use projections::{
    REBUILDS,
    desk::{
        alert::{delivery_list, newest_of_type},
        compliance::request_list,
        trail::{TrailFilter, trail_list},
    },
    identity::standing::standing,
    log::audit::{AuditFilter, audit_list, stream_newest},
    operation::job::job_list,
    page::Page,
    rebuild::Rebuild,
    records::{
        list::{Bucket, Expiry, record_buckets, record_expired, record_expiry, record_filed, record_list, record_page},
        record::{record_amended, record_get, record_newest},
    },
    rights::export::{After, export_events, export_ids, export_ids_filed, export_records},
    statistics::release::{release_days, release_people, release_profiles},
};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;
use vault::{record_register, record_rewrap};

use crate::support::World;

/// A person with many records and about 50,000 events, and a town of people with few.
const BUSY: Uuid = Uuid::from_u128(0xbeef);
const RECORDS: i64 = 3_642;
const VERSIONS: i64 = 13;
const TOWN: i64 = 5_000;

/// Fills a database with rows that nobody can open, because a plan depends on their number and not on their content.
async fn fill(client: &Client, (records, people): (i64, i64)) {
    let settings = format!(
        "SET fill.records = {records}; SET fill.versions = {VERSIONS}; SET fill.people = {people}; SET fill.each = 3"
    );
    client.batch_execute(&settings).await.expect("set");
    client.batch_execute(concat!(include_str!("fill.sql"), "ANALYZE")).await.expect("filled");
}

/// A statement, the values that it runs with, and the most that it may cost.
struct Case {
    query: Query,
    /// The types of its parameters. `values` holds their values as SQL.
    types: &'static str,
    values: String,
    /// The most rows of each large table that may be visited.
    visits: &'static [(&'static str, i64)],
}

fn case(query: Query, types: &'static str, values: String, visits: &'static [(&'static str, i64)]) -> Case {
    Case { query, types, values, visits }
}

/// The tables that grow with the number of people or of events.
const LARGE: &[&str] = &["events", "records", "subjects", "consents", "accounts", "deletions"];

/// The cost of a plan: the rows visited in each table, and the tables scanned as a whole.
#[derive(Debug, Default)]
pub struct Cost {
    visited: BTreeMap<String, i64>,
    whole: Vec<String>,
}

impl Cost {
    pub fn visited(&self, table: &str) -> i64 {
        self.visited.get(table).copied().unwrap_or_default()
    }

    /// Adds an executed node of a plan, and the nodes below it.
    pub fn add(&mut self, node: &Value) {
        let number = |name: &str| node[name].as_f64().unwrap_or_default();
        if let Some(table) = node["Relation Name"].as_str().filter(|_| node["Node Type"] != "ModifyTable") {
            let rows =
                number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
            #[expect(clippy::cast_possible_truncation, reason = "rows are few")]
            let visited = (rows * number("Actual Loops").max(1.0)).ceil() as i64;
            let name = format!("{}.{table}", node["Schema"].as_str().unwrap_or_default());
            *self.visited.entry(name.clone()).or_default() += visited;
            if node["Node Type"] == "Seq Scan" && LARGE.contains(&table) {
                self.whole.push(name);
            }
        }
        node["Plans"].as_array().into_iter().flatten().for_each(|plan| self.add(plan));
    }
}

/// Runs a statement with its generic plan, as the server does, and returns the cost. Its changes are rolled back.
async fn cost(client: &Client, case: &Case) -> Cost {
    let sql = case.query.sql();
    client.batch_execute(&format!("PREPARE looked_at ({}) AS {sql}", case.types)).await.expect(sql);
    let explain = format!("EXPLAIN (ANALYZE, VERBOSE, TIMING OFF, FORMAT JSON) EXECUTE looked_at ({})", case.values);
    client.batch_execute("BEGIN").await.expect("begun");
    let row = client.query_one(&explain, &[]).await.expect(sql);
    client.batch_execute("ROLLBACK; DEALLOCATE looked_at").await.expect("rolled back");
    let mut cost = Cost::default();
    cost.add(&row.get::<_, Value>(0)[0]["Plan"]);
    cost
}

/// Checks each case as a login with a ticket.
async fn check(world: &World, login: Login, role: Role, subject: SubjectId, cases: &[Case]) {
    let password = world.suite.passwords[login.as_str()].as_str();
    let client = db::session(&world.database.address, login, Some(password)).await.expect("as the server connects");
    let session = Session::begin(&client).await.expect("a session");
    let mut faults = Vec::new();
    for case in cases {
        let ticket = world.app.vault.ring().ticket_key().mint(subject, None, role, world.clock.now(), &session.0);
        client.execute("SELECT lethe.show($1, false)", &[&ticket]).await.expect("shown");
        let name = case.query.sql().lines().next().expect("a name");
        let cost = cost(&client, case).await;
        if !cost.whole.is_empty() {
            faults.push(format!("{name} scans as a whole: {:?}", cost.whole));
        }
        for (table, bound) in case.visits {
            let visited = cost.visited(table);
            assert!(visited > 0, "{name} does not read {table} here, so that its bound proves nothing: {cost:?}");
            if visited > *bound {
                faults.push(format!("{name} visits {visited} rows of {table}, and {bound} would do"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

const SUBJECT: &str = "'00000000-0000-0000-0000-00000000beef'";

/// The keyed hashes of days or quarters of the busy person.
fn hashes(numbers: std::ops::Range<i64>) -> String {
    let hash = |n: i64| format!("sha256('{n}')");
    format!("ARRAY[{}]", numbers.map(hash).collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn statements_about_a_person_visit_what_they_need_and_no_more() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    fill(&superuser, (RECORDS, TOWN)).await;
    let row = superuser
        .query_one(
            "SELECT array_agg(record_id), min(record_id::text) FROM (SELECT * FROM vault.records WHERE subject_id = $1 AND kind = 'work_day' LIMIT 50) r",
            &[&BUSY],
        )
        .await
        .expect("read");
    let (page, one): (Vec<Uuid>, String) = (row.get(0), row.get(1));
    let ids = page.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    let (busy, kind) = (SubjectId(BUSY), WORK_DAY.name());
    let records: Vec<RecordId> = page.iter().copied().map(RecordId).collect();
    let after = After { aggregate_type: "record".to_owned(), aggregate_id: String::new(), sequence: 0 };
    let cases = [
        case(
            record_newest(&[]),
            "uuid[], text[], bytea[]",
            format!(
                "array_fill({SUBJECT}::uuid, ARRAY[366]), array_fill('work_day'::text, ARRAY[366]), {}",
                hashes(100..466)
            ),
            &[("log.events", 366), ("vault.records", 366), ("read.records", 366)],
        ),
        case(
            standing(&Ctx::job(world.clock.clone(), busy), None),
            "uuid[], uuid[], text[]",
            format!("ARRAY[{SUBJECT}::uuid], ARRAY[NULL::uuid], ARRAY['work_hours']"),
            &[("vault.subjects", 1), ("read.accounts", 1)],
        ),
        case(
            record_get(busy, kind, RecordId(page[0])),
            "uuid, text, uuid",
            format!("{SUBJECT}, 'work_day', '{one}'"),
            &[("vault.records", 2), ("read.records", 1)],
        ),
        case(
            record_list(busy, kind),
            "uuid, text",
            format!("{SUBJECT}, 'work_day'"),
            &[("vault.records", RECORDS), ("read.records", RECORDS)],
        ),
        // A bucket of fill.sql holds ninety records, of which two buckets fill a page.
        case(
            record_page(busy, kind, Vec::<Bucket>::new(), None),
            "uuid, text, bytea[], boolean[], bigint",
            format!("{SUBJECT}, 'work_day', {}, array_fill(true, ARRAY[30]), 101", hashes(1..31)),
            &[("vault.records", 4 * 90), ("read.records", 2 * 90)],
        ),
        case(
            record_buckets(busy, kind),
            "uuid, text",
            format!("{SUBJECT}, 'work_day'"),
            &[("vault.records", RECORDS / 90 + 2)],
        ),
        case(
            record_filed(busy, Vec::new()),
            "uuid, text[], bytea[]",
            format!("{SUBJECT}, ARRAY['work_day', 'work_day'], ARRAY[sha256('3'), sha256('4')]"),
            &[("vault.records", 180), ("read.records", 180)],
        ),
        case(
            record_expired(busy, &Vec::<Expiry>::new()),
            "uuid, text[], timestamptz[]",
            format!("{SUBJECT}, ARRAY['work_day'], ARRAY[now() - interval '1 day']"),
            &[("read.records", RECORDS)],
        ),
        case(
            record_expiry(busy, &[]),
            "uuid, text[], timestamptz[]",
            format!("{SUBJECT}, ARRAY['work_day'], ARRAY[now() - interval '1 day']"),
            &[("read.records", RECORDS)],
        ),
        case(record_register(busy), "uuid", SUBJECT.to_owned(), &[("vault.records", RECORDS)]),
        case(
            stream_newest(busy, "record", &one),
            "uuid, text, text",
            format!("{SUBJECT}, 'record', '{one}'"),
            &[("log.events", 1)],
        ),
        case(
            audit_list(busy, AuditFilter::default(), &Page::all()),
            "uuid, bigint, text, timestamptz, timestamptz, bigint",
            format!("{SUBJECT}, {}, NULL, NULL, NULL, 51", i64::MAX),
            &[("log.events", 51)],
        ),
        case(
            export_events(busy, after, 500),
            "uuid, text, text, bigint, bigint",
            format!("{SUBJECT}, 'record', '', 0, 500"),
            &[("log.events", 500), ("vault.records", 500)],
        ),
        case(export_ids(busy, None), "uuid, text[]", format!("{SUBJECT}, NULL"), &[("read.records", RECORDS)]),
        case(
            export_ids_filed(busy, Vec::new()),
            "uuid, text[], bytea[]",
            format!("{SUBJECT}, ARRAY['work_day'], ARRAY[sha256('3')]"),
            &[("read.records", 90), ("vault.records", 90)],
        ),
        case(
            export_records(busy, &records),
            "uuid, uuid[]",
            format!("{SUBJECT}, ARRAY[{ids}]::uuid[]"),
            &[("vault.records", 50), ("read.records", 50)],
        ),
    ];
    check(&world, Login::Api, Role::Subject, busy, &cases).await;

    // Writing statements find their rows by key too.
    let event = Event {
        aggregate_type: "record".to_owned(),
        aggregate_id: one.clone(),
        sequence: VERSIONS + 1,
        event_type: "record.amended".to_owned(),
        event_version: "1.0".to_owned(),
        payload: "{}".to_owned(),
        metadata: "{}".to_owned(),
        event_id: EventId::random(),
        subject_id: busy,
        kind: kind.to_owned(),
        recorded_at: world.clock.now(),
    };
    let writes = [
        case(
            record_amended(&[&event]),
            "uuid[], uuid[], bigint[], text[], text[], text[], timestamptz[]",
            format!(
                "ARRAY[{SUBJECT}::uuid], ARRAY['{one}']::uuid[], ARRAY[{}], ARRAY['record.amended'], ARRAY['1.0'], ARRAY['{{}}'], ARRAY[now()]",
                event.sequence
            ),
            &[("read.records", 1)],
        ),
        case(
            record_rewrap(busy, Vec::new()),
            "uuid[], uuid[], bytea[]",
            format!("ARRAY[{SUBJECT}::uuid], ARRAY['{one}']::uuid[], ARRAY['\\x00'::bytea]"),
            &[("vault.records", 1)],
        ),
    ];
    check(&world, Login::Api, Role::Subject, busy, &writes).await;

    // A rebuild reads only the first and the newest event of each record, and all of a stream in clear.
    let visits = |name: &str| -> &'static [(&'static str, i64)] {
        if name == "records" { &[("log.events", 2 * RECORDS), ("vault.records", RECORDS)] } else { &[] }
    };
    let events = |rebuild: &Rebuild| match rebuild.name {
        "records" => ("uuid[]", format!("ARRAY[{SUBJECT}::uuid]")),
        _ => (
            "uuid[], text[]",
            format!(
                "ARRAY[{SUBJECT}::uuid], ARRAY['consent', 'account', 'restriction', 'hold', 'deletion', 'retention']"
            ),
        ),
    };
    let rebuilds: Vec<Case> = REBUILDS
        .iter()
        .map(|rebuild| {
            let (types, values) = events(rebuild);
            case((rebuild.events)(&[busy]), types, values, visits(rebuild.name))
        })
        .collect();
    assert!(rebuilds.len() >= 5);
    check(&world, Login::Api, Role::Job, busy, &rebuilds).await;
    for rebuild in &rebuilds {
        let client = superuser_cost(&superuser, rebuild).await;
        let most = if rebuild.query.sql().starts_with("-- rebuild_records") { 4 * RECORDS } else { 20 };
        let events = client.visited("log.events");
        assert!(events <= most, "{} visits {events} events", rebuild.query.sql().lines().next().unwrap_or_default());
    }
}

/// The values of a call that stores a new record of a person, whose standing has this version, as SQL.
pub fn new_record(subject: &str, version: i64, number: u32) -> [String; 21] {
    let hash = |name: &str| format!("sha256('{name} {number}')");
    let id = |last: u32| format!("'00000000-0000-4000-8000-{last:012}'::uuid");
    [
        format!("{}::bigint", 70_000 + number),
        "NULL::bigint".to_owned(),
        format!("{subject}::uuid"),
        format!("{version}::bigint"),
        "NULL::uuid".to_owned(),
        "'work_day'::text".to_owned(),
        hash("key"),
        id(number),
        hash("bucket"),
        "'\\x00'::bytea".to_owned(),
        id(1000 + number),
        "'1.0'::text".to_owned(),
        "'{}'::text".to_owned(),
        "'{}'::text".to_owned(),
        "clock_timestamp()".to_owned(),
        "NULL::timestamptz".to_owned(),
        hash("answer"),
        "1::bigint".to_owned(),
        hash("fingerprint"),
        "'sealed'::text".to_owned(),
        "now() + interval '1 day'".to_owned(),
    ]
}

/// The plans of a function's statements cannot be shown, so what they visit is counted.
#[tokio::test]
async fn a_new_record_is_stored_without_a_look_at_any_other() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    fill(&superuser, (RECORDS, TOWN)).await;
    let people = "SELECT subject_id, version FROM auth.standings ORDER BY subject_id <> $1, subject_id LIMIT 8";
    let people = superuser.query(people, &[&BUSY]).await.expect("read");
    let subjects: Vec<SubjectId> = people.iter().map(|row| SubjectId(row.get(0))).collect();
    assert_eq!((subjects.len(), subjects[0].0), (8, BUSY));
    let values: Vec<_> =
        (0..).zip(&people).map(|(n, row)| new_record(&format!("'{}'", row.get::<_, Uuid>(0)), row.get(1), n)).collect();
    let one = format!("SELECT ARRAY['{BUSY}'::uuid] WHERE lethe.store_record($1, {})", values[0].join(", "));
    let lists: Vec<String> = (0..values[0].len())
        .map(|at| format!("ARRAY[{}]", values.iter().map(|values| values[at].as_str()).collect::<Vec<_>>().join(", ")))
        .collect();
    let many = format!("SELECT lethe.store_records($1, {})", lists.join(", "));
    let password = world.suite.passwords[Login::Api.as_str()].as_str();
    for (sql, named) in [(one, &subjects[..1]), (many, &subjects[..])] {
        // A session of its own, because the counters are a session's.
        let client =
            db::session(&world.database.address, Login::Api, Some(password)).await.expect("as the server connects");
        let session = Session::begin(&client).await.expect("a session");
        let until = world.clock.now() + TimeDelta::minutes(1);
        let ticket = world.app.vault.ring().ticket_key().mint_until(named, None, Role::Subject, until, &session.0);
        client.batch_execute("BEGIN").await.expect("begun");
        let stored: Vec<Uuid> = client.query_one(&sql, &[&ticket]).await.expect(&sql).get(0);
        assert_eq!(stored.len(), named.len(), "{sql}");
        let visited =
            "SELECT schemaname || '.' || relname, coalesce(seq_scan, 0), coalesce(idx_tup_fetch, 0), n_tup_ins
                       FROM pg_stat_xact_user_tables WHERE relname = ANY ($1)";
        let visited = client.query(visited, &[&LARGE]).await.expect("read");
        let (mut written, most) = (0, 4 * i64::try_from(named.len()).expect("few"));
        for row in &visited {
            let (table, whole, found): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
            assert_eq!(whole, 0, "{table} is read as a whole");
            assert!(found <= most, "{found} rows of {table} are read");
            written += row.get::<_, i64>(3);
        }
        assert_eq!(written, 3 * i64::try_from(named.len()).expect("few"), "an event, an entry and a row each");
        client.batch_execute("ROLLBACK").await.expect("rolled back");
    }
}

/// The cost without row-level security. The difference shows which indexes a policy hides.
async fn superuser_cost(superuser: &Client, case: &Case) -> Cost {
    superuser.batch_execute("SET plan_cache_mode = force_generic_plan").await.expect("set");
    cost(superuser, case).await
}

#[tokio::test]
async fn a_release_visits_the_rows_of_its_page_and_no_more() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    fill(&superuser, (3, TOWN)).await;
    let page: Vec<Uuid> = superuser
        .query("SELECT subject_id FROM vault.subjects WHERE subject_id <> $1 ORDER BY subject_id LIMIT 50", &[&BUSY])
        .await
        .expect("read")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let ids = format!("ARRAY[{}]::uuid[]", page.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", "));
    let buckets = format!("ARRAY[{}]", vec!["sha256('0')"; page.len()].join(", "));
    let nil = SubjectId::NIL;
    let cases = [
        case(
            release_people(nil, "2", 50),
            "uuid, text, bigint",
            format!("'{}', '2', 50", Uuid::nil()),
            &[("vault.subjects", 51)],
        ),
        case(
            release_days(Vec::new(), Vec::new()),
            "uuid[], bytea[]",
            format!("{ids}, {buckets}"),
            &[("vault.records", 150), ("read.records", 150)],
        ),
        case(release_profiles(Vec::new()), "uuid[]", ids, &[("vault.records", 50), ("log.events", 100)]),
    ];
    check(&world, Login::Stats, Role::Statistics, nil, &cases).await;
}

#[tokio::test]
async fn the_desk_finds_requests_without_reading_a_persons_events() {
    let world = World::new().await;
    fill(&world.superuser().await, (RECORDS, TOWN)).await;
    let case = case(
        request_list(None, world.clock.now()),
        "uuid, timestamptz",
        "NULL, now()".to_owned(),
        &[("read.deletions", TOWN + 1)],
    );
    let client = world.login(Login::System).await;
    let session = Session::begin(&client).await.expect("a session");
    let ctx = Ctx::system(world.clock.clone());
    let ticket = world.app.vault.ring().ticket_key().mint(ctx.subject, None, ctx.role, ctx.now(), &session.0);
    client.execute("SELECT lethe.show($1, false)", &[&ticket]).await.expect("shown");
    let cost = cost(&client, &case).await;
    assert_eq!(cost.visited("log.events"), 0, "nobody's request was prolonged: {cost:?}");
}

#[tokio::test]
async fn a_page_of_the_trail_visits_its_rows_and_no_more() {
    let world = World::new().await;
    fill(&world.superuser().await, (RECORDS, TOWN)).await;
    let span = "now() - interval '1 day', now() + interval '1 day', NULL, NULL, '0', 0, 51";
    let filter = |subject| {
        let (from, to) = (world.clock.now(), world.clock.now());
        TrailFilter { from, to, action: None, subject, role: None }
    };
    let types = "timestamptz, timestamptz, text, text, text, bigint, bigint";
    let cases = [
        case(trail_list(filter(None), &Page::all()), types, span.to_owned(), &[("log.events", 51)]),
        case(
            trail_list(filter(Some(BUSY)), &Page::all()),
            "timestamptz, timestamptz, text, text, text, bigint, bigint, uuid",
            format!("{span}, {SUBJECT}"),
            &[("log.events", RECORDS * (VERSIONS + 1))],
        ),
    ];
    check(&world, Login::System, Role::System, SubjectId::NIL, &cases).await;
}

/// The desk's lists grow with the years, and a page costs as much as its rows.
#[tokio::test]
async fn a_page_of_the_desks_lists_visits_its_rows_and_no_more() {
    let world = World::new().await;
    let sql = "INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                                       subject_id, kind, recorded_at)
               SELECT 'alert', n::text, v, 'alert.raised', '1.0', '{}', '{}', gen_random_uuid(), '00000000-0000-0000-0000-000000000000',
                      'alert', now() - make_interval(mins => n)
               FROM generate_series(1, 5000) n, generate_series(1, 2) v;
               INSERT INTO jobs.jobs (subject_id, job_id, kind, request_id, state, due_at, created_at)
               SELECT gen_random_uuid(), gen_random_uuid(), 'export', gen_random_uuid(), 'done', now(), now() - make_interval(mins => n)
               FROM generate_series(1, 5000) n;
               INSERT INTO jobs.deliveries (endpoint, event_id, state, next_at, created_at)
               SELECT 'siem', gen_random_uuid(), 'delivered', now(), now() - make_interval(mins => n) FROM generate_series(1, 5000) n;
               ANALYZE";
    world.superuser().await.batch_execute(sql).await.expect("filled");
    let most = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let cases = [
        // Of each stream two events, the newer of which is looked for.
        case(
            newest_of_type("alert", None, &Page::all()),
            "text, text, timestamptz, uuid, bigint",
            format!("'alert', NULL, now() - interval '2 days', '{most}', 51"),
            &[("log.events", 4 * 51)],
        ),
        case(
            job_list(None, &Page::all()),
            "text, timestamptz, uuid, bigint",
            format!("NULL, now() - interval '2 days', '{most}', 51"),
            &[("jobs.jobs", 51)],
        ),
        case(
            delivery_list(None, &Page::all()),
            "text, timestamptz, uuid, text, bigint",
            format!("NULL, now() - interval '2 days', '{most}', '', 51"),
            &[("jobs.deliveries", 51)],
        ),
    ];
    check(&world, Login::System, Role::System, SubjectId::NIL, &cases).await;
}

/// The estimates of EXPLAIN do not tell how many rows a person has.
#[tokio::test]
async fn an_estimate_tells_nothing_of_a_person() {
    let world = World::new().await;
    fill(&world.superuser().await, (RECORDS, TOWN)).await;
    let client = world.login(Login::Api).await;
    let (nobody, somebody) = (Uuid::from_u128(7), Uuid::from_u128(1_000_001));
    for table in ["log.events", "vault.records", "read.records", "read.consents", "read.deletions", "vault.subjects"] {
        let mut estimates = Vec::new();
        for person in [BUSY, somebody, nobody] {
            for compared in ["=", ">"] {
                let sql = format!("EXPLAIN (FORMAT JSON) SELECT FROM {table} WHERE subject_id {compared} '{person}'");
                let row = client.query_one(&sql, &[]).await.expect("anybody who may read may ask");
                estimates.push((compared, row.get::<_, Value>(0)[0]["Plan"]["Plan Rows"].to_string()));
            }
        }
        let distinct = |compared: &str| {
            estimates
                .iter()
                .filter(|it| it.0 == compared)
                .map(|it| &it.1)
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        };
        assert_eq!((distinct("="), distinct(">")), (1, 1), "{table}: {estimates:?}");
    }
}

/// On some versions, row-level security keeps an index from being used when a column is compared with the cast of
/// another table's column, because the casting function could tell of a row that the policy hides. So no statement of
/// ours compares this way.
#[test]
fn no_statement_compares_a_column_with_the_cast_of_another() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut faults) = (0, Vec::new());
    let mut folders =
        ["projections", "src", "crates/vault/src", "crates/event_log/src"].map(|it| root.join(it)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // A restore works as the superuser. No policy hides rows from the superuser, so that any condition may
                // use an index.
                if !path.ends_with("src/backup") {
                    folders.push(path);
                }
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).expect("text");
            let casts = text.lines().filter(|line| compares_with_a_cast(line));
            faults.extend(casts.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
    assert!(files > 150, "{files} files were read");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(compares_with_a_cast("AND e.aggregate_id = v.record_id::text ORDER BY"));
    assert!(compares_with_a_cast("AND record_id = (e.aggregate_id)::uuid"));
    assert!(compares_with_a_cast("JOIN vault.records v ON v.record_id::text = e.aggregate_id"));
    assert!(!compares_with_a_cast("WHERE aggregate_id = $1::text AND v.record_id::text AS stream"));
}

/// Whether a line casts a table's column on either side of an equals sign.
fn compares_with_a_cast(line: &str) -> bool {
    let sides: Vec<&str> = line.split("= ").collect();
    let left = sides.iter().rev().skip(1).any(|left| {
        let word = left.split_whitespace().next_back().unwrap_or_default();
        let (column, _) = word.split_once("::").unwrap_or_default();
        column.contains('.') && ["::text", "::uuid", "::bigint"].iter().any(|to| word.ends_with(to))
    });
    left || sides.iter().skip(1).any(|right| {
        let right = right.trim_start_matches('(');
        let end = right.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(right.len());
        let (column, rest) = right.split_at(end);
        let cast = rest.trim_start_matches(')');
        column.contains('.') && ["::text", "::uuid", "::bigint"].iter().any(|to| cast.starts_with(to))
    })
}
