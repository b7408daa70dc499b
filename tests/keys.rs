//! The keys of the ring on a real PostgreSQL: rotation while servers serve, broken off at any step and continued;
//! destruction and the data that it makes unreadable; signing keys that change while tokens are in use; the published
//! evidence key.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{NaiveDate, TimeDelta};
use context::{NodeId, Role, SubjectId};
use db::{FromRow, Login};
use lethe::{
    app::{
        App,
        identity::staff,
        operation::keys::{self, KeysError, Progress},
    },
    data::home::write_secret,
    http::{self, TrustedProxies},
    jobs,
    mail::Mailbox,
    server::{self, Settings},
};
use poem::{
    Endpoint, Response,
    http::StatusCode,
    test::{TestClient, TestResponse},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_postgres::error::SqlState;
use vault::{Ring, RingError, Vault, WrappedSubject, check_document, seal_document};

use crate::{
    program::{Call, run, text},
    steps::{let_pass, subject_of},
    support::{Person, World, day, expect},
};

/// Another server of a world, on the same database and with the same ring file.
async fn server(world: &World) -> Arc<App> {
    let ring = Ring::open(&world.folder.join("ring.json"), None).expect("the ring opens");
    let folder = world.folder.clone();
    let settings = Settings::new(folder, world.clock.clone());
    server::open(&settings, &world.database, Arc::new(Vault::new(ring)), &world.suite.passwords)
        .await
        .expect("the application opens")
}

fn client(app: &Arc<App>) -> TestClient<impl Endpoint<Output = Response> + use<>> {
    TestClient::new(http::routes(app.clone(), TrustedProxies::default()))
}

/// Makes a server known to the others, and lets it follow the ring, as `serve` does.
async fn follow(app: &Arc<App>) -> NodeId {
    let node = jobs::join_ring(app).await.expect("joined");
    tokio::spawn(jobs::watch_ring(app.clone(), node));
    node
}

async fn submit(app: &Arc<App>, person: &Person, date: NaiveDate) -> TestResponse {
    let client = client(app);
    person.sign(client.post("/v1/work-events/daily").body_json(&day(&date.to_string(), 8.0, 9.0))).send().await
}

/// How many days a person sees.
async fn days(app: &Arc<App>, person: &Person) -> usize {
    let client = client(app);
    let answer = person.sign(client.get("/v1/work-events/me?limit=1000")).send().await;
    expect(answer, StatusCode::OK).await["events"].as_array().expect("a list").len()
}

fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 10, 1).expect("a date")
}

/// How many different days a worker submits. Then it submits the first again, which changes nothing.
const DAYS: usize = 50;

/// A person who submits and reads at one server, one request after the other, until stopped. Every request must
/// succeed.
struct Worker {
    rounds: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Worker {
    fn start(app: &Arc<App>, person: &Person) -> Self {
        let (rounds, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (app, person, counted, told) = (app.clone(), person.clone(), rounds.clone(), stop.clone());
        let task = tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                let round = counted.load(Ordering::Relaxed);
                let date = first_day() + TimeDelta::days(i64::try_from(round % DAYS).expect("few"));
                let status = if round < DAYS { StatusCode::CREATED } else { StatusCode::OK };
                expect(submit(&app, &person, date).await, status).await;
                assert_eq!(days(&app, &person).await, (round + 1).min(DAYS));
                counted.store(round + 1, Ordering::Relaxed);
            }
        });
        Self { rounds, stop, task }
    }

    /// Waits until a round that began after this call has ended.
    fn pass(&self) {
        // The round that is under way may have begun before the call.
        let until = self.rounds.load(Ordering::Relaxed) + 2;
        tokio::task::block_in_place(|| {
            while self.rounds.load(Ordering::Relaxed) < until {
                assert!(!self.task.is_finished(), "a request was refused");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }

    /// Stops the worker; returns how many days were submitted.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no request was refused");
        self.rounds.load(Ordering::Relaxed).min(DAYS)
    }
}

/// How many people's keys are under each version, as `version:count`.
async fn versions(world: &World) -> String {
    let sql = "SELECT coalesce(string_agg(ring_version || ':' || people, ' ' ORDER BY ring_version), '')
               FROM (SELECT ring_version, count(*) AS people FROM vault.subjects GROUP BY 1) counts";
    world.superuser().await.query_one(sql, &[]).await.expect("counted").get(0)
}

/// The events about the ring in the log.
async fn recorded(world: &World) -> Vec<(String, Value)> {
    let sql = "SELECT event_type, payload FROM log.events WHERE aggregate_type = 'key_ring' AND aggregate_id = $1
               AND subject_id = $1::uuid ORDER BY sequence";
    let nil = SubjectId::NIL.to_string();
    let rows = world.superuser().await.query(sql, &[&nil]).await.expect("the log is read");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

async fn wrapped(world: &World, subject: uuid::Uuid) -> WrappedSubject {
    let sql = format!("SELECT {} FROM vault.subjects WHERE subject_id = $1", WrappedSubject::COLUMNS);
    WrappedSubject::from_row(&world.superuser().await.query_one(&sql, &[&subject]).await.expect("the person is there"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_beside_two_servers_refuses_no_request_and_leaves_no_one_behind() {
    let world = World::new().await;
    let other = server(&world).await;
    let (anna, ben, carla) = (world.person("anna").await, world.person("ben").await, world.person("carla").await);
    expect(submit(&other, &carla, first_day()).await, StatusCode::CREATED).await;
    for app in [&world.app, &other] {
        follow(app).await;
    }
    let workers = [Worker::start(&world.app, &anna), Worker::start(&other, &ben)];
    // The command line is a process of its own, and not a server.
    let command = server(&world).await;
    let seen = std::sync::Mutex::new(Vec::new());
    let watch = |progress| {
        seen.lock().expect("no one panics").push(progress);
        // Between any two steps both servers answer requests.
        workers.iter().for_each(Worker::pass);
        ControlFlow::Continue(())
    };
    workers.iter().for_each(Worker::pass);
    let rotated = keys::rotate(&command, &watch).await.expect("rotated");
    workers.iter().for_each(Worker::pass);
    let mut submitted = Vec::new();
    for worker in workers {
        submitted.push(worker.end().await);
    }
    assert_eq!(rotated, (2, 3));
    let steps = [Progress::Published(2), Progress::InUse(2), Progress::Floor(2), Progress::Rewrapped(3)];
    assert_eq!(*seen.lock().expect("no one panics"), steps);
    assert_eq!(versions(&world).await, "2:3");
    for app in [&world.app, &other] {
        assert_eq!(days(app, &anna).await, submitted[0]);
        assert_eq!(days(app, &ben).await, submitted[1]);
        assert_eq!(days(app, &carla).await, 1);
        expect(submit(app, &carla, first_day()).await, StatusCode::OK).await;
    }
    world.person("dora").await;
    assert_eq!(versions(&world).await, "2:4");
    let expected = [
        ("key_ring.published", json!({ "Published": { "version": 2, "current": 1, "living": [1, 2] } })),
        ("key_ring.rotated", json!({ "Rotated": { "rewrapped": 3, "current": 2, "living": [1, 2] } })),
    ];
    assert_eq!(recorded(&world).await, expected.map(|(kind, payload)| (kind.to_owned(), payload)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_broken_off_anywhere_is_gone_on_with() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    follow(&world.app).await;
    for (version, number) in (2..).zip(0..4) {
        let last = match number {
            0 => Progress::Published(version),
            1 => Progress::InUse(version),
            2 => Progress::Floor(version),
            _ => Progress::Rewrapped(1),
        };
        let command = server(&world).await;
        let until = |progress| if progress == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let broken_off = keys::rotate(&command, &until).await;
        assert!(matches!(broken_off, Err(KeysError::BrokenOff)), "{last:?}");
        expect(submit(&world.app, &anna, first_day() + TimeDelta::days(number)).await, StatusCode::CREATED).await;
        let refused = keys::destroy(&command, version - 1, true).await;
        assert!(matches!(refused, Err(KeysError::Unfinished(_) | KeysError::Ring(RingError::InUse(_)))), "{last:?}");
        drop(command);
        let (rotated, _) = keys::rotate(&*server(&world).await, &go_on).await.expect("gone on with");
        assert_eq!(rotated, version, "{last:?} is not followed by another version");
        assert_eq!(versions(&world).await, format!("{version}:1"));
        assert_eq!(days(&world.app, &anna).await, usize::try_from(number + 1).expect("few"));
    }
    let kinds: Vec<String> = recorded(&world).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["key_ring.published", "key_ring.rotated"].repeat(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_under_a_version_below_the_floor() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = subject_of(&world, &anna).await;
    let old = wrapped(&world, subject).await;
    // A server that is unknown to the others, and does not follow the ring.
    let asleep = server(&world).await;
    let before = Vault::new(Ring::open(&world.folder.join("ring.json"), None).expect("opens"));
    keys::rotate(&world.app, &go_on).await.expect("rotated");
    let client = world.login(Login::Api).await;
    let (session, now) = db::Session::begin(&client).await.expect("a session");
    for (whose, sql) in [
        (subject, "UPDATE vault.subjects SET ring_version = 1 WHERE subject_id = $1"),
        (
            SubjectId::random().0,
            "INSERT INTO vault.subjects (subject_id, ring_version, wrapping_version, index_key, trail_key, wrapping_key)
             VALUES ($1, 1, 1, '', '', '')",
        ),
    ] {
        for role in [Role::Subject, Role::Job] {
            let key = world.app.vault.ring().ticket_key();
            let ticket = key.mint(SubjectId(whose), None, role, now, &session);
            client.query("SELECT lethe.show($1, false)", &[&ticket]).await.expect("shown");
            let refused = client.execute(sql, &[&whose]).await.expect_err(sql);
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}");
            let above = sql.replace("ring_version = 1", "ring_version = 2").replace("($1, 1,", "($1, 2,");
            client.batch_execute("BEGIN").await.expect("begun");
            assert_eq!(client.execute(&above, &[&whose]).await.expect("above the floor"), 1);
            client.batch_execute("ROLLBACK").await.expect("rolled back");
        }
    }
    // A server that missed the rotation reads data under the new version, and writes under it.
    assert_eq!(days(&asleep, &anna).await, 0);
    assert_eq!(asleep.vault.create_subject(SubjectId::random()).1.ring_version, 2);
    // Nor does erasing records, which renews the wrapping key, fall back to the old version.
    expect(submit(&asleep, &anna, first_day()).await, StatusCode::CREATED).await;
    let client = self::client(&asleep);
    expect(anna.sign(client.delete("/v1/work-events/me")).send().await, StatusCode::OK).await;
    assert_eq!(wrapped(&world, subject).await.ring_version, 2);
    assert!(before.open_subject(SubjectId(subject), &old).is_ok(), "an old version still opens what is under it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_made_while_the_floor_rises_comes_under_the_new_version() {
    let world = World::new().await;
    let (locker, superuser) = (world.superuser().await, world.superuser().await);
    // The account's keys are wrapped, and their row waits for this lock, as it would for a slow disk.
    locker.batch_execute("BEGIN; LOCK TABLE vault.subjects IN SHARE MODE").await.expect("locked");
    let app = world.app.clone();
    let made = tokio::spawn(async move { staff::add(&app, "dora@klinik.example", Role::Auditor).await });
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'vault.subjects'::regclass AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while superuser.query_one(waits, &[]).await.expect("counted").get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ring = world.app.vault.ring();
    ring.publish_kek(world.clock.now()).expect("published");
    ring.use_newest_kek().expect("in use");
    superuser.batch_execute("UPDATE vault.ring_floor SET version = 2").await.expect("raised");
    locker.batch_execute("COMMIT").await.expect("unlocked");
    made.await.expect("no panic").expect("refused once, and made again");
    assert_eq!(versions(&world).await, "2:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_version_opens_nothing_on_any_server_whoever_puts_it_back() {
    let world = World::new().await;
    let other = server(&world).await;
    let anna = world.person("anna").await;
    expect(submit(&world.app, &anna, first_day()).await, StatusCode::CREATED).await;
    let subject = subject_of(&world, &anna).await;
    let superuser = world.superuser().await;
    superuser.batch_execute("CREATE TABLE public.kept AS SELECT * FROM vault.subjects").await.expect("a backup");
    let old = wrapped(&world, subject).await;
    for app in [&world.app, &other] {
        follow(app).await;
    }
    let command = server(&world).await;
    keys::rotate(&command, &go_on).await.expect("rotated");
    command.vault.ring().note_archive(world.clock.now()).expect("noted");
    assert!(keys::list(&command).await.expect("listed").may_destroy(1));
    keys::destroy(&command, 1, false).await.expect("destroyed");
    for app in [&world.app, &other] {
        assert_eq!(days(app, &anna).await, 1);
        assert!(app.vault.open_subject(SubjectId(subject), &old).is_err());
    }
    let put_back = "DELETE FROM public.kept WHERE subject_id <> ALL (SELECT subject_id FROM vault.subjects);
                    UPDATE vault.subjects s SET ring_version = k.ring_version, index_key = k.index_key,
                           trail_key = k.trail_key, wrapping_key = k.wrapping_key
                    FROM public.kept k WHERE k.subject_id = s.subject_id";
    superuser.batch_execute(put_back).await.expect("put back");
    for app in [&world.app, &other] {
        let client = self::client(app);
        let answer = anna.sign(client.get("/v1/work-events/me")).send().await;
        answer.assert_status(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let (kind, payload) = recorded(&world).await.pop().expect("the destruction is on record");
    assert_eq!(kind, "key_ring.destroyed");
    assert_eq!(payload, json!({ "Destroyed": { "version": 1, "archived": true, "current": 2, "living": [2] } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_not_destroyed_too_early() {
    let world = World::new().await;
    let (anna, _) = (world.person("anna").await, world.person("ben").await);
    let (app, superuser) = (&world.app, world.superuser().await);
    assert!(matches!(keys::destroy(app, 7, true).await, Err(KeysError::Unknown(7))));
    assert!(matches!(keys::destroy(app, 1, true).await, Err(KeysError::Ring(RingError::InUse(1)))));
    app.vault.ring().note_archive(world.clock.now()).expect("noted");
    keys::rotate(app, &go_on).await.expect("rotated");
    assert!(matches!(keys::destroy(app, 1, false).await, Err(KeysError::NotArchived(1))), "that archive was too early");
    assert!(!keys::list(app).await.expect("listed").may_destroy(1));
    let subject = subject_of(&world, &anna).await;
    let set = "UPDATE vault.subjects SET ring_version = $2 WHERE subject_id = $1";
    superuser.execute(set, &[&subject, &1]).await.expect("set");
    let refused = keys::destroy(app, 1, true).await;
    assert!(matches!(refused, Err(KeysError::InUse { version: 1, rows: 1 })), "{refused:?}");
    superuser.execute(set, &[&subject, &2]).await.expect("set");
    keys::destroy(app, 1, true).await.expect("who insists may");
    let (_, payload) = recorded(&world).await.pop().expect("on record");
    assert_eq!(payload["Destroyed"]["archived"], false);
    assert!(matches!(keys::destroy(app, 1, true).await, Err(KeysError::Unknown(1))));
    // If the server died between the ring's change and the record, the same command adds the record.
    keys::rotate(app, &go_on).await.expect("rotated");
    app.vault.ring().destroy_kek(2).expect("destroyed");
    keys::destroy(app, 2, true).await.expect("recorded");
    let (_, payload) = recorded(&world).await.pop().expect("on record");
    assert_eq!((&payload["Destroyed"]["version"], &payload["Destroyed"]["living"]), (&json!(2), &json!([3])));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_open_hold_a_rotation_up_and_are_counted() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let subject = subject_of(&world, &anna).await;
    let (damage, repair) = (
        "UPDATE vault.subjects SET trail_key = trail_key || '\\x00'::bytea WHERE subject_id = $1",
        "UPDATE vault.subjects SET trail_key = substr(trail_key, 1, length(trail_key) - 1) WHERE subject_id = $1",
    );
    world.superuser().await.execute(damage, &[&subject]).await.expect("damaged");
    let refused = keys::rotate(&world.app, &go_on).await;
    assert!(matches!(refused, Err(KeysError::Damaged(1))), "{refused:?}");
    assert_eq!(versions(&world).await, "1:1 2:1");
    assert!(matches!(keys::destroy(&world.app, 1, true).await, Err(KeysError::Unfinished(2))));
    assert_eq!(days(&world.app, &ben).await, 0);
    world.superuser().await.execute(repair, &[&subject]).await.expect("repaired");
    assert_eq!(keys::rotate(&world.app, &go_on).await.expect("gone on with"), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_waits_for_every_server_that_lives() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let other = server(&world).await;
    // The server is known, and does not follow the ring yet.
    let node = jobs::join_ring(&other).await.expect("joined");
    let waits = tokio::time::timeout(Duration::from_secs(2), keys::rotate(&world.app, &go_on)).await;
    assert!(waits.is_err(), "{waits:?}");
    assert_eq!(world.app.vault.ring().current().version, 1, "the new version is known, and not used");
    let watching = tokio::spawn(jobs::watch_ring(other.clone(), node));
    keys::rotate(&world.app, &go_on).await.expect("it has followed");
    // A server that was not seen for fifteen seconds counts as gone.
    watching.abort();
    let nodes = "SELECT count(*) FROM vault.nodes";
    superuser.execute("UPDATE vault.nodes SET seen_at = now() - interval '16 seconds'", &[]).await.expect("set");
    keys::rotate(&world.app, &go_on).await.expect("nobody is waited for");
    assert_eq!(superuser.query_one(nodes, &[]).await.expect("counted").get::<_, i64>(0), 1);
    jobs::leave_ring(&other, node).await.expect("left");
    assert_eq!(superuser.query_one(nodes, &[]).await.expect("counted").get::<_, i64>(0), 0);
    // For a rotation the system's login reads the list of servers and the version of each person's keys, but no key.
    let system = world.login(Login::System).await;
    let refused = system.query("SELECT wrapping_key FROM vault.subjects", &[]).await.expect_err("a key");
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    for table in ["vault.nodes", "vault.ring_floor"] {
        let sql = format!("SELECT FROM {table}");
        assert!(system.query(&sql, &[]).await.expect("granted").is_empty(), "{table} without a ticket");
        let refused = world.login(Login::Api).await.query(&sql, &[]).await.expect_err(table);
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_known_from_before_it_serves_until_it_has_stopped() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let known = async || -> Vec<i64> {
        let rows = superuser.query("SELECT ring_generation FROM vault.nodes", &[]).await.expect("read");
        rows.iter().map(|row| row.get(0)).collect()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mailbox = Mailbox::new(&server::mail_folder(&world.folder), "lethe@localhost.example").expect("a mailbox");
    let serving = tokio::spawn(server::serve(world.app.clone(), mailbox, listener, TrustedProxies::default(), async {
        // An error means that the test is over, which counts as a stop.
        let _ = stopped.await;
    }));
    Call::new(address, "GET", "/health").send().await.expect(200);
    assert_eq!(known().await.len(), 1);
    let command = server(&world).await;
    keys::rotate(&command, &go_on).await.expect("rotated");
    let generation = i64::try_from(command.vault.ring().generation()).expect("few");
    while known().await != [generation] {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.app.vault.ring().current().version, 2);
    stop.send(()).expect("it serves");
    serving.await.expect("no panic").expect("an orderly end");
    assert!(known().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_signing_key_is_rotated() {
    let world = World::new().await;
    let other = server(&world).await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    for app in [&world.app, &other] {
        follow(app).await;
    }
    let workers = [Worker::start(&world.app, &anna), Worker::start(&other, &ben)];
    workers.iter().for_each(Worker::pass);
    let kid = keys::jwt_rotate(&*server(&world).await).await.expect("rotated");
    workers.iter().for_each(Worker::pass);
    let carla = world.person("carla").await;
    let signer = |token: &str| {
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header")).expect("base64url");
        serde_json::from_slice::<Value>(&header).expect("JSON")["kid"].as_str().expect("a key id").to_owned()
    };
    assert!(signer(&carla.token) == kid && signer(&anna.token) != kid);
    jobs::keep_house_once(&world.app).await.expect("the key before stays as long as its tokens live");
    other.vault.ring().reload().expect("read");
    for app in [&world.app, &other] {
        for person in [&anna, &ben, &carla] {
            days(app, person).await;
        }
    }
    workers.iter().for_each(Worker::pass);
    for worker in workers {
        worker.end().await;
    }
    let keys = async || {
        expect(client(&other).get("/.well-known/jwks.json").send().await, StatusCode::OK).await["keys"].clone()
    };
    assert_eq!(keys().await.as_array().map(Vec::len), Some(2));
    let_pass(&world, TimeDelta::hours(2)).await;
    jobs::keep_house_once(&world.app).await.expect("kept");
    other.vault.ring().reload().expect("read");
    let left = keys().await;
    assert_eq!((left.as_array().map(Vec::len), &left[0]["kid"]), (Some(1), &json!(kid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_receipts_is_published_by_every_server_alike() {
    let world = World::new().await;
    let other = server(&world).await;
    let document = json!({ "type": "Receipt", "number": 1 });
    let sealed = seal_document(world.app.vault.ring(), document, world.clock.now()).expect("sealed");
    let published = async |app| {
        let answer = client(app).get("/.well-known/receipt-keys.json").send().await;
        answer.assert_content_type("application/jwk-set+json");
        expect(answer, StatusCode::OK).await["keys"].clone()
    };
    let keys = published(&world.app).await;
    assert_eq!(keys, published(&other).await);
    assert!(keys[0]["kid"].as_str().is_some_and(|kid| kid.starts_with("evidence-")), "{keys}");
    let public = URL_SAFE_NO_PAD.decode(keys[0]["x"].as_str().expect("a key")).expect("base64url");
    assert!(check_document(&sealed, &public));
}

/// Runs `lethe` on a world's data folder and database. `words` come before their options, `more` after them.
fn lethe(world: &World, words: &[&str], more: &[&str]) -> (bool, String) {
    let data: &Path = world.folder.path();
    let database = world.database.url(&world.database.admin, None);
    let place = ["--data", data.to_str().expect("UTF-8"), "--database", &database];
    let output = run(&[words, &place, more].concat());
    (output.status.success(), text(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_rotates_beside_a_server_that_follows() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let logins = serde_json::to_vec(&world.suite.passwords).expect("JSON");
    write_secret(&world.folder.join("logins.json"), &logins).expect("written");
    follow(&world.app).await;
    let say = |words: &[&str], more: &[&str]| {
        tokio::task::block_in_place(|| {
            let (ok, said) = lethe(&world, words, more);
            assert!(ok, "{words:?}: {said}");
            said
        })
    };
    let said = say(&["keys", "list"], &[]);
    assert!(said.contains("key-encryption key 1: current;") && said.contains("keys of 1 people"), "{said}");
    let said = say(&["keys", "rotate"], &[]);
    assert!(said.contains("version 2 is in use; the keys of 1 people came under it"), "{said}");
    let (ok, said) = tokio::task::block_in_place(|| lethe(&world, &["keys", "destroy"], &["--version", "1"]));
    assert!(!ok && said.contains("--without-archive"), "{said}");
    say(&["keys", "destroy"], &["--version", "1", "--without-archive"]);
    let said = say(&["keys", "list"], &[]);
    assert!(!said.contains("key-encryption key 1") && said.contains("key-encryption key 2: current;"), "{said}");
    let said = say(&["jwt", "rotate"], &[]);
    let kid = said.split_whitespace().next().expect("a key id");
    let said = say(&["jwt", "list"], &[]);
    assert!(said.contains(&format!("signing key {kid}: signs")) && said.contains("accepted until"), "{said}");
    assert_eq!(days(&world.app, &anna).await, 0);
    let secrets: Value =
        serde_json::from_slice(&std::fs::read(world.folder.join("ring.json")).expect("read")).expect("JSON");
    let secret = secrets["keks"]["keys"]["2"].as_str().expect("a key");
    assert!(!said.contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_would_be_written_over_a_file_is_not_granted() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let logins = serde_json::to_vec(&world.suite.passwords).expect("JSON");
    write_secret(&world.folder.join("logins.json"), &logins).expect("written");
    let path = |name: &str| world.folder.join(name);
    write_secret(&path("reason"), b"audit of the first quarter").expect("written");
    std::fs::write(path("kept"), "kept").expect("written");
    let grant = |to: &str| {
        let (reason, to) = (path("reason"), path(to));
        let [reason, to] = [&reason, &to].map(|path| path.to_str().expect("UTF-8"));
        let more = ["--email", &anna.email, "--reason-file", reason, "--to", to];
        tokio::task::block_in_place(|| lethe(&world, &["keys", "grant"], &more))
    };
    let granted = async || {
        let log = world.get(&anna, "/v1/privacy/audit-log?action=data.opened").await;
        expect(log, StatusCode::OK).await["entries"].as_array().map(Vec::len)
    };
    for (to, text) in [("reason", "audit of the first quarter"), ("kept", "kept")] {
        let (ok, said) = grant(to);
        assert!(!ok && said.contains("something stands there already"), "{said}");
        assert_eq!(std::fs::read_to_string(path(to)).expect("read"), text);
    }
    assert_eq!(granted().await, Some(0), "and nobody is told of a grant that there is not");
    let (ok, said) = grant("anna.grant");
    assert!(ok, "{said}");
    assert_eq!(granted().await, Some(1));
    assert!(std::fs::read_to_string(path("anna.grant")).expect("read").contains("records"));
}
