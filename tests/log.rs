//! The log: nobody changes it, stock tools read it, readers miss nothing, and a failed command leaves no trace.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use auditor::fold::Dimension;
use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, EventId, SubjectId};
use db::{Db, DbError, Gate, Login, Query, Tx};
use domain::{
    aggregates::{AGGREGATES, Description},
    desk::{
        alert::Severity,
        breach::{BreachCommand, Facts, Nature, Risk},
        drill::DrillResult,
    },
    filter::Filter,
    quarter::Quarter,
    rights::deletion::Scope,
    statistics::plan::{Plan, Policy},
};
use event_log::{Event, PlacedEvent, Position, Reader, event_append, log_holders};
use futures_util::future::join_all;
use lethe::{
    app::{
        desk::{
            alert,
            alert_rules::{By, Rule, Rules},
            breach, compliance, extension, opening,
        },
        log::{origin, published},
        operation::keys,
        rights::{deletion, hold},
        statistics::release,
    },
    data::{home::write_secret, ledger::Entry},
    jobs::run_due,
};
use poem::http::StatusCode;
use projections::{REBUILDS, page::Page};
use rand::RngExt;
use serde_json::json;
use tokio_postgres::error::SqlState;

use crate::{
    release::closed,
    steps::{erase, number_transactions, subject_of, submit_day},
    support::{World, day, expect},
    tree::covered,
};

/// A minimal event, made by hand.
pub fn event_of(
    subject: SubjectId,
    aggregate_type: &str,
    stream: &str,
    sequence: i64,
    recorded_at: DateTime<Utc>,
) -> Event {
    Event {
        aggregate_type: aggregate_type.to_owned(),
        aggregate_id: stream.to_owned(),
        sequence,
        event_type: "record.submitted".to_owned(),
        event_version: "1.0".to_owned(),
        payload: "{}".to_owned(),
        metadata: "{}".to_owned(),
        event_id: EventId::random(),
        subject_id: subject,
        kind: "work_day".to_owned(),
        recorded_at,
    }
}

/// Every way to change the log. None of them may get as far as looking for rows.
const CHANGES: [&str; 6] = [
    "UPDATE log.events SET kind = 'other'",
    "UPDATE log.events SET payload = payload WHERE false",
    "DELETE FROM log.events",
    "DELETE FROM log.events WHERE false",
    "TRUNCATE log.events",
    "MERGE INTO log.events e USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
];

#[tokio::test]
async fn nobody_changes_the_log() {
    let world = World::new().await;
    world.person("anna").await;
    for login in Login::ALL {
        let client = world.login(login).await;
        for change in CHANGES {
            let error = client.batch_execute(change).await.expect_err(change);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{login:?} {change}: {error:?}");
        }
    }
    let client = world.superuser().await;
    let before: i64 = client.query_one("SELECT count(*) FROM log.events", &[]).await.expect("counted").get(0);
    let settings = [
        "SET ROLE lethe_owner",
        "RESET ROLE",
        "SET session_replication_role = 'replica'",
        "SET session_replication_role = 'local'",
    ];
    let upsert =
        "INSERT INTO log.events AS e (aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                                               metadata, event_id, subject_id, kind, recorded_at)
                  SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                         subject_id, kind, recorded_at FROM log.events
                  ON CONFLICT (subject_id, aggregate_type, aggregate_id, sequence) DO UPDATE SET kind = 'other'";
    for setting in settings {
        client.batch_execute(setting).await.expect("a superuser may");
        for change in CHANGES.into_iter().chain([upsert]) {
            let error = client.batch_execute(change).await.expect_err(change);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{setting}; {change}: {error:?}");
        }
    }
    let after = "SELECT count(*) FILTER (WHERE kind <> 'other') FROM log.events";
    assert_eq!(client.query_one(after, &[]).await.expect("counted").get::<_, i64>(0), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auditor_replays_every_sort_of_event_that_a_server_writes() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    submit_day(&world, &anna, "2025-12-08").await;
    expect(world.get(&anna, "/v1/work-events/me").await, StatusCode::OK).await;
    let rule = json!({ "data_retention_days": 400 });
    expect(world.put(&anna, "/v1/privacy/retention/work_day", &rule).await, StatusCode::OK).await;
    for restricted in [true, false] {
        let wish = json!({ "restricted": restricted });
        expect(world.put(&anna, "/v1/privacy/restriction", &wish).await, StatusCode::OK).await;
    }
    for hold in [Some((world.clock.now() + TimeDelta::days(3), "a court asked for it")), None] {
        hold::decide(&world.app, &ben.email, hold).await.expect("decided");
    }
    keys::rotate(&world.app, &|_| ControlFlow::Continue(())).await.expect("rotated");
    let wish = json!({ "request_type": "full", "format": "csv" });
    expect(world.post(&anna, "/v1/privacy/export-data", &wish).await, StatusCode::ACCEPTED).await;
    run_due(&world.app).await.expect("jobs run");
    let today = world.clock.now().date_naive();
    let policy = Policy { plan: Plan::Small, revision: None };
    release::plan(&world.app, Quarter::of(today).next(), policy).await.expect("planned");
    release::make(&world.app, closed(&world), 0).await.expect("released");
    erase(&world, &anna).await;

    every_sort_of_staff_event(&world).await;
    // A checkpoint of more events than the log holds, as a restore of an old backup finds it.
    let signed = covered(&world).await;
    let (key, ring) = (published::vkey(&world.app).await.expect("a key"), world.app.vault.ring());
    let ahead = transparency::sign_checkpoint(&key, signed.size + 1000, signed.root, |body| ring.sign_log(body));
    world.app.log.watermark.write(&ahead.expect("signed"), &key).await.expect("written");
    origin::reopen(&world.app).await.expect("reopened").expect("a new tree");

    let (login, password) = (Login::Auditor.as_str(), world.folder.join("auditor.password"));
    write_secret(&password, world.suite.passwords[login].as_bytes()).expect("written");
    let place =
        auditor::connection::connect_options(&world.database.url(login, None), Some(&password)).expect("a place");
    let report = auditor::replay::run(place, &[Dimension::Type], None).await.expect("the log is replayed");
    assert_eq!(report.findings, [""; 0]);
    let sql = "SELECT count(*), count(DISTINCT aggregate_type) FROM log.events";
    let row = world.superuser().await.query_one(sql, &[]).await.expect("counted");
    assert_eq!(row.get::<_, i64>(0), i64::try_from(report.events).expect("few"));
    assert_eq!(
        row.get::<_, i64>(1),
        i64::try_from(auditor::stream::TYPES.len()).expect("few"),
        "all of them took part"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_key_shows_one_persons_records_and_the_person_sees_that_it_was_granted() {
    let world = World::new().await;
    let [anna, ben] = [world.person("anna").await, world.person("ben").await];
    let record = submit_day(&world, &anna, "2025-12-08").await;
    submit_day(&world, &ben, "2025-12-09").await;
    let grant = opening::keys_grant(&world.app, &anna.email, "audit of the first quarter").await.expect("granted");
    let file = world.folder.join("anna.grant");
    write_secret(&file, grant.as_bytes()).expect("written");
    let (login, password) = (Login::Auditor.as_str(), world.folder.join("auditor.password"));
    write_secret(&password, world.suite.passwords[login].as_bytes()).expect("written");
    let place =
        auditor::connection::connect_options(&world.database.url(login, None), Some(&password)).expect("a place");
    let grant = auditor::grant::Grant::read(&file).expect("a grant");
    let report = auditor::replay::run(place, &[Dimension::Type], Some(&grant)).await.expect("replayed");
    let day = report.shown.iter().find(|shown| shown.record == record).expect("the day is shown");
    assert!(day.body.as_ref().expect("it opens").to_string().contains("2025-12-08"));
    assert!(report.shown.iter().all(|shown| shown.body.is_some()), "{:?}", report.shown);
    assert!(!report.table().contains("2025-12-09"), "nothing of anybody else");
    let log = expect(world.get(&anna, "/v1/privacy/audit-log?action=data.opened").await, StatusCode::OK).await;
    let asked = "keys granted to an auditor; reason: audit of the first quarter";
    assert_eq!(log["entries"][0]["details"]["asked_for"], asked, "{log}");
    std::fs::write(&file, "{}").expect("written");
    assert!(auditor::grant::Grant::read(&file).is_err());
}

/// The events that the compliance desk, the alert rules and the drill add.
async fn every_sort_of_staff_event(world: &World) {
    let carla = world.person("carla").await;
    alert::alarm(&world.app, "log_uncovered", Severity::Critical, 1).await;
    let rule = Rule {
        event: "account.registered".to_owned(),
        by: By::Subject,
        at_least: 1,
        ..Rules::built_in().rules[0].clone()
    };
    assert!(alert::look(&world.app, &rule).await.expect("looked") >= 1);
    let staff = &Ctx::system(world.clock.clone());
    let facts = Facts {
        reference: "INC-1".to_owned(),
        nature: vec![Nature::Integrity],
        kinds: Vec::new(),
        began_at: world.clock.now(),
        ended_at: None,
        risk: Risk::Unlikely,
        affected: None,
    };
    let open = BreachCommand::Open { aware_at: world.clock.now(), facts };
    breach::decide(&world.app, staff, "breach_open", (EventId::random().0, open), None).await.expect("opened");
    let outcome = DrillResult { at: world.clock.now(), holds: 1, fails: 0, not_examined: 0 };
    compliance::drill_record(&world.app, outcome).await.expect("recorded");
    let carla = subject_of(world, &carla).await;
    let ctx = Ctx::job(world.clock.clone(), SubjectId(carla));
    deletion::request(&world.app, &ctx, Scope::Full, Filter::default(), None, None).await.expect("asked");
    let (open, ..) = compliance::requests(&world.app, &Page::all()).await.expect("listed");
    let request = open.iter().find(|open| open.subject.0 == carla).expect("an open request").request;
    extension::extend(&world.app, staff, request, "three systems", None).await.expect("extended");
}

const WRITERS: i64 = 8;
const BATCHES: i64 = 125;
const BATCH: i64 = 50;

/// Appends batches for one person, each in a transaction that stays open for a while.
async fn write(api: &Db, clock: &context::Clock) -> Vec<EventId> {
    let subject = SubjectId::random();
    let ctx = &Ctx::system(clock.clone()).for_subject(subject, None);
    let mut written = Vec::new();
    for batch in 0..BATCHES {
        let sequences = batch * BATCH + 1..=(batch + 1) * BATCH;
        let events: Vec<Event> = sequences.map(|at| event_of(subject, "record", "day", at, ctx.now())).collect();
        let (held_us, events) = (rand::rng().random_range(0..20_000), &events);
        api.run_tx("write", ctx, Gate::shared(ctx), move |tx: Tx| async move {
            tx.flight([event_append(events.clone())]).await?;
            tokio::time::sleep(Duration::from_micros(held_us)).await;
            Ok::<_, DbError>(())
        })
        .await
        .expect("a batch is stored");
        written.extend(events.iter().map(|event| event.event_id));
    }
    written
}

/// Reads on until the writers have ended and nothing is left to read.
async fn read(system: &Db, clock: &context::Clock, ended: &AtomicBool) -> Vec<PlacedEvent> {
    let ctx = &Ctx::system(clock.clone());
    let (mut reader, mut read) = (Reader::new(Position::default(), 700), Vec::new());
    loop {
        let last = ended.load(Ordering::Acquire) && settled(system, ctx).await;
        let rows = page(system, ctx, &reader).await;
        let page = reader.take(&rows);
        if page.is_empty() {
            if last {
                return read;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        read.extend(page);
    }
}

/// Whether no event is hidden from readers. Transactions of other tests may hide some for a moment.
async fn settled(system: &Db, ctx: &Ctx) -> bool {
    const SETTLED: &str = "-- settled
        SELECT NOT EXISTS (SELECT FROM log.events WHERE txid >= pg_snapshot_xmin(pg_current_snapshot()))";
    let work = |tx: Tx| async move {
        let [rows] = tx.finish([Query::new(SETTLED)]).await?;
        Ok::<_, DbError>(rows[0].get(0))
    };
    system.run_tx("settled", ctx, Gate::read(ctx), work).await.expect("it is asked")
}

async fn page(system: &Db, ctx: &Ctx, reader: &Reader) -> Vec<db::Row> {
    let work = |tx: Tx| async move {
        let [rows] = tx.finish([reader.page()]).await?;
        Ok::<_, DbError>(rows)
    };
    system.run_tx("page", ctx, Gate::read(ctx), work).await.expect("a page is read")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_loses_repeats_and_reorders_nothing_while_eight_write() {
    let world = World::new().await;
    let ended = AtomicBool::new(false);
    let writing = async {
        let written = join_all((0..WRITERS).map(|_| write(&world.app.db.api, &world.clock))).await;
        ended.store(true, Ordering::Release);
        written
    };
    let reading = read(&world.app.db.system, &world.clock, &ended);
    let (written, read) =
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(writing, reading) }).await.expect("in time");
    assert!(read.is_sorted_by(|a, b| a.position < b.position), "in the order of positions, each once");
    let mut found: Vec<EventId> = read.iter().map(|read| read.event.event_id).collect();
    let mut written: Vec<EventId> = written.into_iter().flatten().collect();
    found.sort();
    written.sort();
    assert_eq!(found.len(), 50_000);
    assert_eq!(written.len(), found.len());
    assert!(found == written, "exactly what was written");
}

/// Transactions are compared as numbers, not as texts: 9 comes before 10, also where a page ends between them.
#[tokio::test]
async fn a_reader_pages_in_the_order_of_numbers() {
    let world = World::new().await;
    number_transactions(&world).await;
    let ctx = &Ctx::system(world.clock.clone());
    let (mut reader, mut found) = (Reader::new(Position::default(), 7), Vec::new());
    loop {
        let page = reader.take(&page(&world.app.db.system, ctx, &reader).await);
        if page.is_empty() {
            break;
        }
        found.extend(page.iter().map(|event| event.position.txid));
    }
    assert_eq!(found, (1..=120).map(|n| 2 * n).collect::<Vec<u64>>());
}

#[tokio::test]
async fn an_open_transaction_holds_a_reader_back_and_is_named() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let superuser = world.superuser().await;
    superuser.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.expect("a transaction that writes is open");
    let own: i32 = superuser.query_one("SELECT pg_backend_pid()", &[]).await.expect("a backend has a number").get(0);
    let body = day("2025-12-08", 8.0, 9.0);
    expect(anna.sign(world.client().post("/v1/work-events/daily").body_json(&body)).send().await, StatusCode::CREATED)
        .await;

    let ctx = &Ctx::system(world.clock.clone());
    let days = async || {
        let rows = page(&world.app.db.system, ctx, &Reader::new(Position::default(), 1000)).await;
        rows.iter().filter(|row| row.get::<_, &str>(11) == "work_day").count()
    };
    let held_by = async || {
        let work = |tx: Tx| async move {
            let [rows] = tx.finish([log_holders()]).await?;
            Ok::<_, DbError>(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>())
        };
        world.app.db.system.run_tx("holders", ctx, Gate::read(ctx), work).await.expect("holders are read")
    };
    // Another test's transaction may be older for a moment; ours stays open.
    for _ in 0..500 {
        if held_by().await == [own] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(held_by().await, [own]);
    assert_eq!(days().await, 0, "the day is behind the bound");
    superuser.batch_execute("ROLLBACK").await.expect("it ends");
    for _ in 0..500 {
        if days().await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(days().await, 1);
    assert!(!held_by().await.contains(&own));
}

/// The auditor depends on nothing of the server's, so its list of stream types is written by hand. A stream that is
/// missing there would never be replayed.
#[test]
fn the_auditor_replays_every_type_of_stream() {
    let streams: BTreeSet<&str> = AGGREGATES.iter().map(|aggregate| aggregate.stream).chain(["access"]).collect();
    assert_eq!(BTreeSet::from(auditor::stream::TYPES), streams);
}

/// What the ledger repeats after a restore and what can be rebuilt is said by the aggregates; nothing of it may be forgotten.
#[test]
fn the_ledger_and_the_rebuilds_are_what_the_aggregates_say() {
    let said = |of: &dyn Fn(&Description) -> &'static [&'static str]| -> BTreeSet<&str> {
        AGGREGATES.iter().flat_map(|aggregate| of(aggregate).iter().copied()).collect()
    };
    // Serde names all entries where it is asked for one that there is not.
    let unknown = serde_json::from_str::<Entry>(r#"{"entry":"?"}"#).expect_err("there is no such entry").to_string();
    let entries: BTreeSet<&str> = unknown.split('`').skip(1).step_by(2).filter(|name| *name != "?").collect();
    assert!(entries.contains("erasing"), "{unknown}");
    assert_eq!(said(&|aggregate| aggregate.ledger), entries, "left: the aggregates; right: the entries of the ledger");
    let rebuilds: BTreeSet<&str> = REBUILDS.iter().map(|rebuild| rebuild.name).collect();
    assert_eq!(said(&|aggregate| aggregate.rebuilt_in), rebuilds, "left: the aggregates; right: REBUILDS");
}
