//! Projections that follow the log: each event counts once, none is lost, none stops them; and they are rebuilt while
//! others read and write.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use chrono::Days;
use context::{Ctx, Role, SubjectId};
use db::{Db, DbError, Gate, Login, Query, Tx};
use event_log::{Event, PlacedEvent, event_append};
use futures_util::future::{join, join_all};
use lethe::{
    app::{
        App, AppError,
        operation::{
            catch_up::{self, Step},
            generation,
            projection::{self, Rebuilt},
        },
    },
    data::home::write_secret,
    jobs,
};
use poem::http::StatusCode;
use projections::{
    catch_up::{Applied, CatchUp},
    operation::activity::{ACTIVITY, UNKNOWN_TYPE},
    page::Page,
};
use rand::RngExt;
use serde_json::{Value, json};
use tokio_postgres::{Client, error::SqlState};

use crate::{
    log::event_of,
    program,
    steps::{problem, staff},
    support::{World, expect},
};

const PATIENCE: Duration = Duration::from_secs(300);

/// The activity computed from the log by a fold that shares no code with the projection.
const FOLD: &str =
    "SELECT (recorded_at AT TIME ZONE 'UTC')::date::text AS day, event_type, metadata->>'role' AS role, count(*)
                    FROM log.events GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
/// The activity as the projection shows it.
const SHOWN: &str = "SELECT a.day::text, a.event_type, a.role, a.events FROM read.activity a
                     JOIN read.projections p ON p.name = 'activity' AND p.active = a.generation ORDER BY 1, 2, 3";

async fn counts(client: &Client, sql: &str) -> Vec<(String, String, String, i64)> {
    let rows = client.query(sql, &[]).await.expect("counted");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

/// Applies all events. Waits for events that transactions of other tests hold back for a moment.
pub async fn caught_up(world: &World, superuser: &Client) {
    let all = async {
        loop {
            settled(superuser).await;
            if jobs::catch_up_once(&world.app).await.expect("caught up") == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("in time");
}

/// Waits until no open transaction, which may be another test's, keeps events from being read.
pub async fn settled(superuser: &Client) {
    let sql = "SELECT NOT EXISTS (SELECT FROM log.events WHERE txid >= pg_snapshot_xmin(pg_current_snapshot()))";
    while !superuser.query_one(sql, &[]).await.expect("it is asked").get::<_, bool>(0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Events made by hand, like those of a person's commands.
fn events(ctx: &Ctx, stream: &str, sequences: std::ops::RangeInclusive<i64>) -> Vec<Event> {
    let types = ["record.submitted", "record.amended", "record.removed"];
    let event = |(at, event_type): (i64, &str)| Event {
        event_type: event_type.to_owned(),
        metadata: r#"{"role":"subject","request":"by hand"}"#.to_owned(),
        ..event_of(ctx.subject, "record", stream, at, ctx.now())
    };
    sequences.zip(types.into_iter().cycle()).map(event).collect()
}

async fn store(api: &Db, ctx: &Ctx, events: &[Event], held_us: u64) {
    api.run_tx("write", ctx, Gate::shared(ctx), move |tx: Tx| async move {
        tx.flight([event_append(events.to_vec())]).await?;
        tokio::time::sleep(Duration::from_micros(held_us)).await;
        Ok::<_, DbError>(())
    })
    .await
    .expect("events are stored");
}

fn somebody(world: &World) -> Ctx {
    Ctx::system(world.clock.clone()).for_subject(SubjectId::random(), None)
}

const WRITERS: i64 = 4;
const BATCHES: i64 = 40;
const BATCH: i64 = 30;

/// Writes as four people at the same time, in transactions that stay open for different times.
async fn write(world: &World) {
    let writer = async |_| {
        let ctx = &somebody(world);
        for batch in 0..BATCHES {
            let events = events(ctx, "day", batch * BATCH + 1..=(batch + 1) * BATCH);
            let held_us = rand::rng().random_range(0..10_000);
            store(&world.app.db.api, ctx, &events, held_us).await;
        }
    };
    join_all((0..WRITERS).map(writer)).await;
}

/// How often the work was killed, and how often it lived to its end and achieved something.
#[derive(Default)]
struct Fates {
    killed: AtomicU32,
    lived: AtomicU32,
}

impl Fates {
    fn at_least(&self, each: u32) -> bool {
        self.killed.load(Ordering::Acquire) >= each && self.lived.load(Ordering::Acquire) >= each
    }

    /// Repeats the work until `ended`, and drops it after a random time, which is sometimes long enough to finish. A
    /// dropped transaction closes its connection, and the next one has to make one first. The time grows while nothing
    /// finishes, so that a busy machine gets there too.
    async fn meet(&self, ended: &AtomicBool, work: impl AsyncFn() -> Result<bool, AppError>) {
        let mut in_a_row = 0;
        while !ended.load(Ordering::Acquire) {
            let life = Duration::from_micros(rand::rng().random_range(0..60_000 + 6_000 * in_a_row));
            let fate = match tokio::time::timeout(life, work()).await {
                Ok(outcome) => {
                    in_a_row = 0;
                    outcome.expect("it works unless it is killed").then_some(&self.lived)
                }
                Err(_) => {
                    in_a_row += 1;
                    Some(&self.killed)
                }
            };
            if let Some(fate) = fate {
                fate.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_counts_once_whoever_reads_on_and_whoever_is_killed() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    jobs::enter_all(&world.app).await.expect("entered");
    let (ended, fates) = (AtomicBool::new(false), Fates::default());
    let writing = async {
        while !fates.at_least(30) {
            write(&world).await;
        }
        ended.store(true, Ordering::Release);
    };
    let run = async || Ok(jobs::catch_up_once(&world.app).await? > 0);
    let running = async { tokio::join!(fates.meet(&ended, run), fates.meet(&ended, run), fates.meet(&ended, run)) };
    tokio::time::timeout(PATIENCE, join(writing, running)).await.expect("in time");
    caught_up(&world, &superuser).await;
    assert_eq!(counts(&superuser, SHOWN).await, counts(&superuser, FOLD).await);
}

#[tokio::test]
async fn reading_the_same_page_twice_changes_nothing() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    jobs::enter_all(&world.app).await.expect("entered");
    world.person("anna").await;
    let before = generation::all(&world.app, &ACTIVITY).await.expect("asked").pop().expect("there is one");
    caught_up(&world, &superuser).await;
    let shown = counts(&superuser, SHOWN).await;
    assert_eq!(shown, counts(&superuser, FOLD).await);
    // Another server, which saw the position before it moved.
    assert_eq!(catch_up::step(&world.app, &ACTIVITY, &before).await.expect("tried"), Step::Elsewhere);
    assert_eq!(jobs::catch_up_once(&world.app).await.expect("caught up"), 0);
    jobs::enter_all(&world.app).await.expect("entered again");
    assert_eq!(counts(&superuser, SHOWN).await, shown);
}

#[tokio::test]
async fn an_event_that_commits_late_is_counted_and_who_holds_it_back_is_named() {
    let world = World::new().await;
    let (superuser, late) = (world.superuser().await, world.superuser().await);
    jobs::enter_all(&world.app).await.expect("entered");
    late.batch_execute("BEGIN").await.expect("a transaction begins");
    let insert = "INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                                          event_id, subject_id, kind, recorded_at)
                  VALUES ('record', 'late', 1, 'record.submitted', '1.0', '{}', '{\"role\":\"subject\",\"request\":\"late\"}',
                          gen_random_uuid(), gen_random_uuid(), 'work_day', now())";
    late.execute(insert, &[]).await.expect("an event is written");
    let pid: i32 = late.query_one("SELECT pg_backend_pid()", &[]).await.expect("a backend has a number").get(0);
    let ctx = &somebody(&world);
    store(&world.app.db.api, ctx, &events(ctx, "day", 1..=2), 0).await;
    // Another test's transaction may be older for a moment; ours stays open.
    let named = async {
        loop {
            let overview = projection::list(&world.app).await.expect("shown");
            if overview.held_by == [pid] {
                return overview;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let overview = tokio::time::timeout(PATIENCE, named).await.expect("in time");
    let activity = &overview.projections[0];
    assert_eq!((activity.name.as_str(), activity.lag_events), ("activity", 2), "what is committed is waited for");
    assert!(activity.waiting_since.is_some());
    assert_eq!(jobs::catch_up_once(&world.app).await.expect("nothing can be read yet"), 0);
    assert!(counts(&superuser, SHOWN).await.is_empty());
    late.batch_execute("COMMIT").await.expect("it commits after events that came later");
    caught_up(&world, &superuser).await;
    let shown = counts(&superuser, SHOWN).await;
    assert_eq!(shown.iter().map(|(_, _, _, events)| events).sum::<i64>(), 3);
    assert_eq!(shown, counts(&superuser, FOLD).await);
    let overview = projection::list(&world.app).await.expect("shown");
    assert_eq!((overview.projections[0].lag_events, overview.projections[0].waiting_since), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_beside_readers_and_writers_ends_equal_to_a_fold_of_the_log() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    jobs::enter_all(&world.app).await.expect("entered");
    write(&world).await;
    caught_up(&world, &superuser).await;
    let ended = AtomicBool::new(false);
    let today = world.clock.now().date_naive();
    let reading = async {
        let mut most = WRITERS * BATCHES * BATCH;
        while !ended.load(Ordering::Acquire) {
            let (from, to) = (today - Days::new(1), today + Days::new(1));
            let (rows, _) = projection::activity(&world.app, from, to, &Page::all()).await.expect("readable");
            let sum = rows.iter().map(|row| row.events).sum();
            // A reader never sees less than before: neither an empty generation, nor one that is behind.
            assert!(sum >= most, "{sum} after {most}");
            most = sum;
        }
    };
    let serving = async {
        while !ended.load(Ordering::Acquire) {
            jobs::catch_up_once(&world.app).await.expect("caught up");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let rebuilding = async {
        for wanted in 2..=3 {
            let rebuilt = projection::rebuild(&world.app, "activity").await.expect("rebuilt");
            assert_eq!(rebuilt, Rebuilt::Swapped { generation: wanted });
        }
    };
    let working = async {
        join(write(&world), rebuilding).await;
        ended.store(true, Ordering::Release);
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(working, reading, serving) }).await.expect("in time");
    caught_up(&world, &superuser).await;
    assert_eq!(counts(&superuser, SHOWN).await, counts(&superuser, FOLD).await);
    let left = "SELECT count(DISTINCT generation), max(generation), (SELECT count(*) FROM read.checkpoints) FROM read.activity";
    let left = superuser.query_one(left, &[]).await.expect("counted");
    assert_eq!(
        (left.get::<_, i64>(0), left.get::<_, i64>(1), left.get::<_, i64>(2)),
        (1, 3, 1),
        "the old ones are gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_again_and_again_goes_on() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    jobs::enter_all(&world.app).await.expect("entered");
    write(&world).await;
    caught_up(&world, &superuser).await;
    let (ended, fates) = (AtomicBool::new(false), Fates::default());
    let stopping = async {
        while !fates.at_least(10) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ended.store(true, Ordering::Release);
    };
    let rebuilding = fates.meet(&ended, async || projection::rebuild(&world.app, "activity").await.map(|_| true));
    tokio::time::timeout(PATIENCE, join(stopping, rebuilding)).await.expect("in time");
    assert!(matches!(projection::rebuild(&world.app, "activity").await.expect("rebuilt"), Rebuilt::Swapped { .. }));
    assert_eq!(counts(&superuser, SHOWN).await, counts(&superuser, FOLD).await);
    // Rows that were left between the swap and the removal of the old generation are removed at the next start.
    jobs::enter_all(&world.app).await.expect("entered");
    let left = "SELECT count(DISTINCT generation) FROM read.activity";
    assert_eq!(superuser.query_one(left, &[]).await.expect("counted").get::<_, i64>(0), 1);
}

static NEWER: CatchUp = CatchUp { version: ACTIVITY.version + 1, ..ACTIVITY };

#[tokio::test]
async fn newer_code_builds_its_own_generation_and_older_code_stands_still() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    jobs::enter_all(&world.app).await.expect("entered");
    world.person("anna").await;
    caught_up(&world, &superuser).await;
    generation::enter(&world.app, &NEWER).await.expect("entered");
    let all = generation::all(&world.app, &NEWER).await.expect("asked");
    assert_eq!(all.iter().map(|it| (it.generation, it.building)).collect::<Vec<_>>(), [(2, true)]);
    // Both versions keep their own generation, until the newer one has caught up.
    while catch_up::step(&world.app, &NEWER, &generation::all(&world.app, &NEWER).await.expect("asked")[0])
        .await
        .expect("read")
        != Step::Took(0)
    {}
    assert!(generation::swap(&world.app, &NEWER).await.expect("swapped"));
    assert_eq!(counts(&superuser, SHOWN).await, counts(&superuser, FOLD).await);
    assert!(generation::all(&world.app, &ACTIVITY).await.expect("asked").is_empty());
    jobs::enter_all(&world.app).await.expect("older code changes nothing");
    let refused = projection::rebuild(&world.app, "activity").await;
    assert!(matches!(refused, Err(AppError::OutdatedCode)), "older code rebuilds nothing: {refused:?}");
    assert_eq!(projection::list(&world.app).await.expect("shown").projections[0].code_version, NEWER.version);
}

/// Code that does not know amendments yet.
static OLDER: CatchUp = CatchUp { apply: apply_older, ..ACTIVITY };

fn apply_older(generation: i64, events: &[PlacedEvent]) -> Applied {
    let (unknown, known): (Vec<PlacedEvent>, _) =
        events.iter().cloned().partition(|read| read.event.event_type == "record.amended");
    let mut applied = (ACTIVITY.apply)(generation, &known);
    applied.unapplied.extend(unknown.iter().map(|event| (event.position, UNKNOWN_TYPE)));
    applied
}

/// Code whose statement the database refuses if there is an amendment.
static WRONG: CatchUp = CatchUp { apply: apply_wrong, ..ACTIVITY };

fn apply_wrong(generation: i64, events: &[PlacedEvent]) -> Applied {
    let mut applied = (ACTIVITY.apply)(generation, events);
    if events.iter().any(|read| read.event.event_type == "record.amended") {
        let none = "INSERT INTO read.activity (generation, day, event_type, role, events) VALUES ($1, now()::date, '-', '-', 0)";
        applied.statements.push(Query::new(none).bind(generation));
    }
    applied
}

async fn take_all(app: &App, projection: &'static CatchUp) {
    loop {
        let all = generation::all(app, projection).await.expect("asked");
        let Some(due) = all.iter().find(|it| it.due) else { return };
        catch_up::step(app, projection, due).await.expect("it goes on");
    }
}

#[tokio::test]
async fn what_cannot_be_applied_is_set_aside_shown_and_tried_again() {
    for (faulty, reason) in [(&OLDER, UNKNOWN_TYPE), (&WRONG, catch_up::REFUSED)] {
        let world = World::new().await;
        let superuser = world.superuser().await;
        jobs::enter_all(&world.app).await.expect("entered");
        let ctx = &somebody(&world);
        store(&world.app.db.api, ctx, &events(ctx, "day", 1..=8), 0).await;
        let settled = async {
            while projection::list(&world.app).await.expect("shown").projections[0].lag_events > 0 {
                take_all(&world.app, faulty).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("in time");
        let without = |mut all: Vec<(String, String, String, i64)>| {
            all.retain(|(_, event_type, _, _)| event_type != "record.amended");
            all
        };
        let fold = counts(&superuser, FOLD).await;
        assert_eq!(counts(&superuser, SHOWN).await, without(fold.clone()), "all others are counted: {reason}");
        let overview = projection::list(&world.app).await.expect("shown");
        assert_eq!(overview.projections[0].dead_letters, 3);
        let amended = "SELECT position FROM log.events WHERE event_type = 'record.amended' ORDER BY position";
        let rows = superuser.query(amended, &[]).await.expect("read");
        let amended: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let letters = &overview.dead_letters;
        assert_eq!(letters.iter().map(|letter| letter.position.position).collect::<Vec<_>>(), amended);
        assert!(letters.iter().all(|letter| letter.reason == reason && letter.attempts == 1));

        assert_eq!(projection::retry_all(&world.app, faulty).await.expect("tried"), (0, 3), "{reason}");
        let letters = projection::list(&world.app).await.expect("shown").dead_letters;
        assert!(letters.iter().all(|letter| letter.reason == reason && letter.attempts == 2));

        assert_eq!(projection::retry(&world.app, "activity").await.expect("tried"), (3, 0));
        assert_eq!(counts(&superuser, SHOWN).await, fold, "each once: {reason}");
        assert!(projection::list(&world.app).await.expect("shown").dead_letters.is_empty());
        assert_eq!(projection::retry(&world.app, "activity").await.expect("tried"), (0, 0));
        assert_eq!(counts(&superuser, SHOWN).await, fold, "{reason}");
    }
}

#[tokio::test]
async fn a_server_reads_on_by_itself() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let server = tokio::spawn(jobs::catch_up(world.app.clone()));
    world.person("anna").await;
    let shown = async {
        while counts(&superuser, SHOWN).await != counts(&superuser, FOLD).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.expect("in time");
    server.abort();
}

#[tokio::test]
async fn activity_list_shows_staff_what_was_counted_and_nobody_else() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    jobs::enter_all(&world.app).await.expect("entered");
    let anna = world.person("anna").await;
    let (dora, emil) = (staff(&world, "dora", Role::Compliance).await, staff(&world, "emil", Role::Auditor).await);
    caught_up(&world, &superuser).await;
    let client = world.client();
    let path = "/v1/admin/activity";
    problem(client.get(path).send().await, StatusCode::UNAUTHORIZED, "signed-out").await;
    problem(world.get(&anna, path).await, StatusCode::FORBIDDEN, "forbidden").await;
    for person in [&dora, &emil] {
        // The refusal for anna is on record, and so is each read of staff.
        caught_up(&world, &superuser).await;
        let before = counts(&superuser, FOLD).await;
        let answer = expect(world.get(person, path).await, StatusCode::OK).await;
        let shown: Vec<(String, String, String, i64)> =
            answer["counts"].as_array().expect("counts").iter().map(count_of).collect();
        assert_eq!(shown, before);
    }
    let range = |from: &str, to: &str| dora.sign(client.get(path).query("from", &from).query("to", &to));
    let none = expect(range("2001-01-01", "2001-12-31").send().await, StatusCode::OK).await;
    assert_eq!(none["counts"], json!([]));
    problem(range("2001-01-02", "2001-01-01").send().await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    problem(range("1999-01-01", "2001-01-01").send().await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    problem(range("yesterday", "today").send().await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    // A caller who is signed out is shown nothing more.
    superuser.execute("UPDATE auth.sessions SET ended_at = now()", &[]).await.expect("signed out");
    problem(world.get(&emil, path).await, StatusCode::UNAUTHORIZED, "signed-out").await;
}

#[tokio::test]
async fn projection_list_shows_staff_how_far_each_lags_and_nobody_else() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    jobs::enter_all(&world.app).await.expect("entered");
    let anna = world.person("anna").await;
    let (dora, emil) = (staff(&world, "dora", Role::Compliance).await, staff(&world, "emil", Role::Auditor).await);
    let path = "/v1/admin/projections";
    problem(world.client().get(path).send().await, StatusCode::UNAUTHORIZED, "signed-out").await;
    problem(world.get(&anna, path).await, StatusCode::FORBIDDEN, "forbidden").await;
    let behind = expect(world.get(&dora, path).await, StatusCode::OK).await;
    assert!(behind["projections"][0]["lag_events"].as_i64() > Some(0), "nobody has read on yet: {behind}");
    for person in [&dora, &emil] {
        caught_up(&world, &superuser).await;
        let answer = expect(world.get(person, path).await, StatusCode::OK).await;
        let activity = &answer["projections"][0];
        assert_eq!((&activity["name"], &activity["active_generation"]), (&json!("activity"), &json!(1)));
        assert_eq!((&activity["lag_events"], &activity["lag_ms"]), (&json!(0), &json!(0)));
        assert_eq!((&activity["dead_letters"], &answer["dead_letters"]), (&json!(0), &json!([])));
    }
    // A caller who is signed out is shown nothing more.
    superuser.execute("UPDATE auth.sessions SET ended_at = now()", &[]).await.expect("signed out");
    problem(world.get(&dora, path).await, StatusCode::UNAUTHORIZED, "signed-out").await;
}

fn count_of(value: &Value) -> (String, String, String, i64) {
    let text = |name: &str| value[name].as_str().expect("a text").to_owned();
    (text("date"), text("event_type"), text("role"), value["events"].as_i64().expect("a number"))
}

#[tokio::test]
async fn by_sql_staff_read_what_is_shown_and_no_request_reads_any_of_it() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    jobs::enter_all(&world.app).await.expect("entered");
    world.person("anna").await;
    caught_up(&world, &superuser).await;
    let copy = "INSERT INTO read.activity SELECT 2, day, event_type, role, events FROM read.activity";
    superuser.execute(copy, &[]).await.expect("another generation is being built");
    let sql = "SELECT day::text, event_type, role, events FROM read.activity ORDER BY 1, 2, 3";
    for login in [Login::Auditor, Login::Compliance] {
        let client = world.login(login).await;
        assert_eq!(counts(&client, sql).await, counts(&superuser, FOLD).await, "{login:?}");
        let error = client.execute("DELETE FROM read.activity", &[]).await.expect_err("it is read only");
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    }
    for login in [Login::Api, Login::Access, Login::Stats, Login::Dashboard] {
        for table in ["activity", "projections", "checkpoints", "dead_letters"] {
            let error = world.login(login).await.query(&format!("SELECT FROM read.{table}"), &[]).await;
            let code = error.expect_err("nothing is granted");
            assert_eq!(code.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{login:?} {table}");
        }
    }
    // Without a ticket the system's login sees nothing either.
    let system = world.login(Login::System).await;
    assert!(system.query("SELECT FROM read.activity", &[]).await.expect("no rows").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_rebuilds_and_retries_beside_a_server() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    world.person("anna").await;
    let server = tokio::spawn(jobs::catch_up(world.app.clone()));
    let url = world.database.url("postgres", None);
    let data = world.folder.path().to_str().expect("the path is UTF-8").to_owned();
    let logins = serde_json::to_vec(&world.suite.passwords).expect("passwords are texts");
    write_secret(&world.folder.join("logins.json"), &logins).expect("written");
    let run = async |args: &[&str]| {
        let all: Vec<String> = [&["projections"], args, &["--data", &data, "--database", &url]]
            .concat()
            .iter()
            .map(|it| (*it).to_owned())
            .collect();
        let work = move || program::run(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(work).await.expect("it runs");
        (output.status.success(), program::text(&output))
    };
    let wanted = [
        (vec!["rebuild", "activity"], "activity: generation "),
        (vec!["rebuild", "records"], "records: 1 people compared, 0 rows added, 0 corrected, 0 removed"),
        (vec!["rebuild", "consents"], "0 corrected"),
        (vec!["rebuild", "accounts"], "0 corrected"),
        (vec!["retry", "activity"], "activity: 0 applied, 0 still not"),
        (vec!["list"], "activity: generation "),
    ];
    for (args, text) in wanted {
        let (done, output) = run(&args).await;
        assert!(done && output.contains(text), "{args:?}: {output}");
    }
    let (done, output) = run(&["rebuild", "horoscopes"]).await;
    assert!(!done && output.contains("no such projection"), "{output}");
    server.abort();
    caught_up(&world, &superuser).await;
    assert_eq!(counts(&superuser, SHOWN).await, counts(&superuser, FOLD).await);
}
