//! Backups: archives of log and keys, a restore that brings back living data and nothing that was erased, and the
//! drill.

use std::{collections::BTreeSet, path::PathBuf, process::Output, sync::Arc, time::Duration};

use auditor::{
    finding::Finding,
    source::Source,
    verify::{Trust, verify},
};
use chrono::{NaiveDate, TimeDelta};
use context::{Clock, Ctx, SubjectId};
use domain::{
    kinds::{Shape, WORK_DAY, WorkDay},
    rights::{consent::Purpose, deletion::Scope},
};
use lethe::{
    app::{
        App, AppError,
        identity::account::{self, Registration},
        operation::{keys, restore},
        records::list::{self, Records},
        rights::{consent, deletion, hold, restriction},
        statistics::{hospital, release},
    },
    backup::{create, restore},
    data::{
        home::{Database, Folder},
        watermark::Watermark,
    },
    jobs::run_due,
    server::{self, ServerError, Settings, Store},
};
use poem::http::{Method, StatusCode};
use projections::page::Page;
use serde_json::{Value, json};
use transparency::{Checkpoint, LogKey, Policy};
use vault::Vault;

use crate::{
    program::{DataFolder, Program, run, text},
    release::closed,
    steps::{ask_to_delete, confirm_deletion, erase, let_pass, sign_in, subject_of, submit_day},
    support::{World, expect},
    suspension::provoke,
    tree::covered,
};

/// A folder for archives of a world, and a store whose databases are empty.
struct Depot {
    folder: tempfile::TempDir,
    store: Store,
}

impl Depot {
    fn new(world: &World) -> Self {
        let store = Store { database: world.database.clone(), cluster: None };
        Self { folder: tempfile::tempdir().expect("a folder"), store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn take(&self, world: &World, name: &str) {
        let (log, keys) = (self.path(&format!("{name}.log")), self.path(&format!("{name}.keys")));
        let (vault, ledger) = (&world.app.vault, &world.app.ledger);
        create(&self.store, None, vault, ledger, &log, &keys, world.clock.now()).await.expect("a backup is taken");
    }

    /// Restores a pair of archives into an empty database, with the world's present ledger.
    async fn bring_back(&self, world: &World, log: &str, keys: &str) -> Result<Back, ServerError> {
        let name = format!("r{}", context::EventId::random().0.simple());
        let address = db::Address { database: name, ..world.database.address.clone() };
        let store = Store { database: Database { address, ..world.database.clone() }, cluster: None };
        let settings = Settings::new(world.folder.clone(), Clock::system());
        let (log, keys) = (self.path(&format!("{log}.log")), self.path(&format!("{keys}.keys")));
        let restored = restore(&settings, &store, None, world.app.vault.clone(), &log, &keys, &|_| ()).await?;
        let app = server::open(&settings, &store.database, world.app.vault.clone(), &world.suite.passwords).await?;
        Ok(Back { restored, app, database: store.database })
    }
}

struct Back {
    restored: lethe::backup::Restored,
    app: Arc<App>,
    database: Database,
}

impl Back {
    async fn days(&self, subject: SubjectId) -> Result<Vec<NaiveDate>, AppError> {
        let ctx = Ctx::system(self.app.clock.clone()).for_subject(subject, None);
        let Records { records, .. } =
            list::of_kind(&self.app, &ctx, "record_list", WORK_DAY, None, &Page::all()).await?;
        let mut days: Vec<_> =
            records.iter().map(|record| WorkDay::from_body(&record.body).expect("a day").date).collect();
        days.sort();
        Ok(days)
    }
}

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

#[tokio::test]
async fn a_restore_brings_back_what_lives_and_nothing_that_was_taken_away_since() {
    let world = World::new().await;
    let [anna, ben, carla] = [world.person("anna").await, world.person("ben").await, world.person("carla").await];
    let subjects = [&anna, &ben, &carla].map(|person| subject_of(&world, person));
    let [a, b, c] =
        futures_util::future::join_all(subjects).await.try_into().map(|ids: [_; 3]| ids.map(SubjectId)).expect("three");
    let kept = submit_day(&world, &anna, "2025-12-08").await;
    let gone = submit_day(&world, &anna, "2025-12-09").await;
    submit_day(&world, &ben, "2025-12-08").await;
    submit_day(&world, &carla, "2025-12-08").await;
    let depot = Depot::new(&world);
    depot.take(&world, "old").await;

    let removed = world.send(&anna, Method::DELETE, format!("/v1/records/work_day/{gone}"), &Value::Null).await;
    assert!(removed.0.status().is_success());
    let late = submit_day(&world, &anna, "2025-12-10").await;
    assert_ne!(late, kept);
    let withdraw = json!({ "granted": false });
    expect(world.put(&ben, "/v1/consents/work_hours", &withdraw).await, StatusCode::OK).await;
    let object = json!({ "objected": true });
    expect(world.put(&ben, "/v1/privacy/objections/work_hours", &object).await, StatusCode::OK).await;
    // When a person decides several times on the same thing, the last decision counts.
    for restricted in [true, false, true] {
        let restrict = json!({ "restricted": restricted });
        expect(world.put(&ben, "/v1/privacy/restriction", &restrict).await, StatusCode::OK).await;
    }
    world.person("dora").await;
    erase(&world, &carla).await;
    depot.take(&world, "new").await;

    // The old log, the newest keys, and the ledger.
    let back = depot.bring_back(&world, "old", "new").await.expect("restored");
    assert_eq!(back.days(a).await.expect("listed"), [date("2025-12-08")], "removed and too new days are not back");
    assert_eq!(back.days(b).await.expect("listed"), [date("2025-12-08")]);
    assert!(matches!(back.days(c).await, Err(AppError::SignedOut)), "who was erased is not back");
    assert_eq!((back.restored.lost_people, back.restored.lost_records), (1, 1), "dora, and anna's newest day");
    assert_eq!(back.restored.replayed.withdrawn, 1);
    assert_eq!(back.restored.replayed.restricted, 1);
    let ctx = Ctx::system(back.app.clock.clone()).for_subject(b, None);
    let (consents, _) = consent::list(&back.app, &ctx).await.expect("listed");
    assert!(consents.iter().all(|consent| !consent.granted), "a withdrawn consent is withdrawn");
    assert!(consents.iter().any(|consent| consent.objected), "and the objection stands");
    let (switches, _) = restriction::get(&back.app, &ctx).await.expect("read");
    assert!(switches.restricted_at.is_some());
    // The whole log is back, and goes on where it ended.
    let client = db::admin(&back.database.address, "postgres", None).await.expect("connects");
    let sql = "SELECT count(*), max(position) FROM log.events";
    let row = client.query_one(sql, &[]).await.expect("counted");
    let (count, last): (i64, i64) = (row.get(0), row.get(1));
    assert!(count > i64::try_from(back.restored.events).expect("few"), "the replay is on record");
    consent::decide(&back.app, &ctx, Purpose::Statistics, true, None).await.expect("decided");
    let after: i64 = client.query_one(sql, &[]).await.expect("counted").get(1);
    assert!(after > last);
    // A second replay finds nothing to do.
    assert_eq!(
        restore::replay(&back.app).await.expect("replayed"),
        lethe::app::operation::restore::Replayed::default()
    );

    // Both archives are new: all living data is back.
    let back = depot.bring_back(&world, "new", "new").await.expect("restored");
    assert_eq!(back.days(a).await.expect("listed"), [date("2025-12-08"), date("2025-12-10")]);
    assert_eq!((back.restored.lost_people, back.restored.lost_records), (0, 0));
    assert_eq!(back.restored.replayed, lethe::app::operation::restore::Replayed::default());
}

#[tokio::test]
async fn the_ledger_takes_away_what_old_keys_would_bring_back() {
    let world = World::new().await;
    let carla = world.person("carla").await;
    let subject = SubjectId(subject_of(&world, &carla).await);
    let ben = world.person("ben").await;
    let gone = submit_day(&world, &ben, "2025-12-08").await;
    let depot = Depot::new(&world);
    depot.take(&world, "old").await;
    let removed = world.send(&ben, Method::DELETE, format!("/v1/records/work_day/{gone}"), &Value::Null).await;
    assert!(removed.0.status().is_success());
    erase(&world, &carla).await;
    // The key ring was not rotated since, so the old pair still opens. Only the ledger keeps the erased person away.
    let back = depot.bring_back(&world, "old", "old").await.expect("restored");
    assert_eq!((back.restored.replayed.erased, back.restored.replayed.removed), (1, 1));
    assert!(matches!(back.days(subject).await, Err(AppError::SignedOut)));
    let ben = SubjectId(subject_of(&world, &ben).await);
    assert!(back.days(ben).await.expect("listed").is_empty());
}

#[tokio::test]
async fn a_restore_carries_out_no_deletion_that_was_cancelled_or_is_held() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let (a, b) = (SubjectId(subject_of(&world, &anna).await), SubjectId(subject_of(&world, &ben).await));
    let mut tokens = Vec::new();
    for person in [&anna, &ben] {
        submit_day(&world, person, "2025-12-08").await;
        let (_, token) = ask_to_delete(&world, person, &json!({ "deletion_type": "full" })).await;
        confirm_deletion(&world, person, &token, Scope::Full).await;
        tokens.push(token);
    }
    let depot = Depot::new(&world);
    depot.take(&world, "old").await;
    let cancel = format!("/v1/privacy/cancel-deletion/{}", tokens[0]);
    expect(world.post(&anna, cancel, &Value::Null).await, StatusCode::OK).await;
    let until = world.clock.now() + TimeDelta::days(365);
    hold::decide(&world.app, &ben.email, Some((until, "a court asked for it"))).await.expect("placed");

    let back = depot.bring_back(&world, "old", "old").await.expect("restored");
    assert_eq!((back.restored.replayed.cancelled, back.restored.replayed.held), (1, 1));
    let client = db::admin(&back.database.address, "postgres", None).await.expect("connects");
    client.batch_execute("ALTER POLICY events_own_append ON log.events WITH CHECK (true)").await.expect("altered");
    back.app.clock.advance(TimeDelta::hours(50));
    lethe::jobs::plan(&back.app).await.expect("planned");
    run_due(&back.app).await.expect("jobs run");
    for subject in [a, b] {
        assert_eq!(back.days(subject).await.expect("nobody is erased"), [date("2025-12-08")]);
    }
}

/// A suspension gives the person time to cancel. A backup from before it knows only the earlier end of the grace.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_keeps_the_end_of_a_grace_that_a_suspension_prolonged() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = SubjectId(subject_of(&world, &anna).await);
    let_pass(&world, TimeDelta::zero()).await;
    let (_, token) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    confirm_deletion(&world, &anna, &token, Scope::Full).await;
    let depot = Depot::new(&world);
    depot.take(&world, "old").await;
    let end = async |app: &App| {
        let ctx = &Ctx::system(app.clock.clone()).for_subject(subject, None);
        let (requests, ..) = deletion::list(app, ctx, &Page::all()).await.expect("read");
        requests[0].row.grace_ends_at.expect("it is confirmed")
    };
    let earlier = end(&world.app).await;
    world.clock.advance(TimeDelta::hours(1));
    let mut prolonged = vec![earlier];
    // Twice, so that only the newer of two ends is right.
    for _ in 0..2 {
        world.clock.advance(TimeDelta::minutes(30));
        provoke(&world, &sign_in(&world, &anna.email).await).await;
        prolonged.push(end(&world.app).await);
    }
    assert!(prolonged.is_sorted_by(|one, next| one < next), "{prolonged:?}");
    let back = depot.bring_back(&world, "old", "old").await.expect("restored");
    assert_eq!(back.restored.replayed.paused, 1);
    assert_eq!(end(&back.app).await, prolonged[2]);
    assert_eq!(
        restore::replay(&back.app).await.expect("replayed"),
        lethe::app::operation::restore::Replayed::default()
    );
}

#[tokio::test]
async fn what_cannot_be_restored_whole_is_refused_before_anything_is_written() {
    let world = World::new().await;
    world.person("anna").await;
    let depot = Depot::new(&world);
    depot.take(&world, "old").await;
    depot.take(&world, "new").await;
    let refused = async |log: &str, keys: &str| match depot.bring_back(&world, log, keys).await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was restored"),
    };
    assert!(refused("new", "old").await.contains("older than the log"));
    std::fs::copy(depot.path("old.log"), depot.path("swapped.keys")).expect("copied");
    assert!(refused("old", "swapped").await.contains("holds the other half"));
    let mut bytes = std::fs::read(depot.path("new.keys")).expect("read");
    let at = bytes.windows(3).position(|three| three == br"\\x").expect("a wrapped key") + 3;
    bytes[at] ^= 1;
    std::fs::write(depot.path("damaged.keys"), bytes).expect("written");
    let fact = refused("old", "damaged").await;
    assert!(fact.contains("is damaged"), "{fact}");
    // A ledger that is older than the keys lacks promises.
    std::fs::rename(depot.path("new.keys"), depot.path("kept.keys")).expect("renamed");
    world.app.ledger.append(entry()).await.expect("noted");
    depot.take(&world, "later").await;
    std::fs::remove_file(world.folder.join("erasures.ledger")).expect("lost");
    assert!(refused("old", "later").await.contains("bring back its newest copy"));
    std::fs::rename(depot.path("kept.keys"), depot.path("new.keys")).expect("renamed");
    let settings = Settings::new(world.folder.clone(), Clock::system());
    let (log, keys) = (depot.path("old.log"), depot.path("new.keys"));
    let full = restore(&settings, &depot.store, None, world.app.vault.clone(), &log, &keys, &|_| ()).await;
    assert!(
        full.is_err_and(|error| error.to_string().contains("holds something")),
        "the living database is not touched"
    );
}

/// Every file and link below a folder, by its path.
fn below(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_backup_that_would_lose_an_archive_is_refused_before_anything_is_written() {
    let world = World::new().await;
    world.person("anna").await;
    let depot = Depot::new(&world);
    let (path, symlink) = (|name: &str| depot.path(name), std::os::unix::fs::symlink::<PathBuf, PathBuf>);
    std::fs::create_dir(path("a")).expect("made");
    symlink(path("a"), path("b")).expect("linked");
    std::fs::write(path("there"), "the log of last month").expect("written");
    std::fs::hard_link(path("there"), path("twin")).expect("linked");
    symlink(path("nowhere"), path("link")).expect("linked");
    let before = below(depot.folder.path());
    let take = async |log: &str, keys: &str| {
        let (vault, ledger) = (&world.app.vault, &world.app.ledger);
        create(&depot.store, None, vault, ledger, &path(log), &path(keys), world.clock.now()).await
    };
    for (log, keys, fact) in [
        ("one", "one", "need a file each"),
        ("one", "a/../one", "need a file each"),
        ("a/one", "b/one", "need a file each"),
        ("there", "twin", "need a file each"),
        ("there", "keys", "something stands there already"),
        ("log", "there", "something stands there already"),
        ("log", "link", "something stands there already"),
        ("log", "a", "something stands there already"),
        ("log", "missing/keys", "No such file"),
    ] {
        let refused = take(log, keys).await.expect_err(log).to_string();
        assert!(refused.contains(fact), "{log}, {keys}: {refused}");
        assert_eq!(below(depot.folder.path()), before, "{log}, {keys}");
    }
    let kept = std::fs::read_to_string(path("there")).expect("read");
    assert_eq!(kept, "the log of last month");
    // If the second archive fails, the first is not left behind, and the ring does not say that the keys are archived.
    let superuser = world.superuser().await;
    superuser.batch_execute("ALTER TABLE auth.staff_roles RENAME TO gone").await.expect("a superuser may");
    take("log", "keys").await.expect_err("a table is missing");
    assert_eq!(below(depot.folder.path()), before);
    let archived = async || keys::list(&world.app).await.expect("listed").keks[0].0.archived_at;
    assert_eq!(archived().await, None);
    superuser.batch_execute("ALTER TABLE auth.gone RENAME TO staff_roles").await.expect("a superuser may");
    take("log", "keys").await.expect("the same command again");
    assert!(archived().await.is_some());
    assert_eq!(below(depot.folder.path()).len(), before.len() + 2);
    take("log", "keys").await.expect_err("an archive is not written over either");
}

fn entry() -> lethe::data::ledger::Entry {
    let subject = SubjectId::random();
    lethe::data::ledger::Entry::Restricted { subject, restricted: true, at: chrono::DateTime::UNIX_EPOCH }
}

/// A cluster in a data folder, as the binary finds it, with two people in it.
async fn house(data: &DataFolder) -> (Store, Arc<Vault>, Arc<App>) {
    let (store, vault) = data.cluster(&[("fsync", "off")]).await;
    let folder = Folder::open(data.path()).expect("the folder opens");
    let passwords = folder.passwords().expect("passwords");
    let settings = Settings::new(folder, Clock::system());
    let app = server::open(&settings, &store.database, vault.clone(), &passwords).await.expect("opens");
    for name in ["anna", "ben"] {
        let person = Registration { email: format!("{name}@klinik.example"), work: None, consents: Vec::new() };
        account::create(&app, &Ctx::system(app.clock.clone()), &person).await.expect("registered");
    }
    (store, vault, app)
}

/// The points at which a restore is killed. Between chunks it is killed three times, each time one chunk further.
const DEATHS: &[&str] = &[
    "restore: marked",
    "restore: begun",
    "restore: a chunk is loaded",
    "restore: a chunk is loaded",
    "restore: a chunk is loaded",
    "restore: loaded",
    "restore: reopened",
    "restore: a page is rebuilt",
    "restore: rebuilt",
    "restore: replayed",
];

/// All events in order, without the transaction and the position, which a restore assigns anew.
async fn events_of(database: &Database) -> Vec<String> {
    let client = db::admin(&database.address, &database.admin, None).await.expect("connects");
    let sql = "SELECT (to_jsonb(e) - 'txid' - 'position')::text FROM log.events e ORDER BY txid, position";
    client.query(sql, &[]).await.expect("read").iter().map(|row| row.get(0)).collect()
}

/// Runs `lethe` to its end. A server that must refuse to start ends by itself; one that starts would not.
fn ended(args: &[&str]) -> Output {
    let (status, stdout) = Program::start(args, "info").end(Duration::from_secs(60));
    Output { status, stdout, stderr: Vec::new() }
}

/// The counts that a restore printed for loaded rows, line by line.
fn rows_loaded(output: &str) -> Vec<u64> {
    let counts = output.lines().filter_map(|line| line.strip_prefix("rows loaded: "));
    counts.map(|line| line.split(' ').next().expect("a count").parse().expect("a number")).collect()
}

/// A restore that is killed leaves a database that no server serves from, and the same command goes on with it.
#[tokio::test]
async fn a_restore_that_was_broken_off_is_gone_on_with_before_anybody_is_served() {
    let data = DataFolder::new("");
    let (store, vault, app) = house(&data).await;
    for number in 0..10 {
        let email = format!("person.{number}@klinik.example");
        let person = Registration { email, work: None, consents: vec![Purpose::WorkHours] };
        account::create(&app, &Ctx::system(app.clock.clone()), &person).await.expect("registered");
    }
    let (log, keys) = (data.path().join("log.zip"), data.path().join("keys.zip"));
    create(&store, None, &vault, &app.ledger, &log, &keys, app.clock.now()).await.expect("a backup is taken");
    let (other_log, other_keys) = (data.path().join("other.log.zip"), data.path().join("other.keys.zip"));
    create(&store, None, &vault, &app.ledger, &other_log, &other_keys, app.clock.now())
        .await
        .expect("a backup is taken");
    let before = events_of(&store.database).await;
    assert!(before.len() > 20, "more than four chunks of five rows");

    let Database { address, admin } = &store.database;
    let other =
        Database { address: db::Address { database: "back".to_owned(), ..address.clone() }, admin: admin.clone() };
    let url = other.url(admin, None);
    let path = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
    let restore = |log: &PathBuf, keys: &PathBuf| {
        let [log, keys] = [path(log), path(keys)];
        ["restore", "--data", data.text(), "--database", &url, "--log", &log, "--keys", &keys].map(str::to_owned)
    };
    let [ours, others] = [restore(&log, &keys), restore(&other_log, &other_keys)];
    let [ours, others] = [&ours, &others].map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
    let serve = ["serve", "--data", data.text(), "--database", &url, "--listen", "127.0.0.1:0", "--allow-old-postgres"];
    assert!(
        run(&["migrate", "--data", data.text(), "--database", &url]).status.success(),
        "the database is there, and empty"
    );
    let mut loaded = Vec::new();
    for point in DEATHS {
        let mut killed = Program::start_to_crash(&ours, "info", point);
        killed.wait_for("killed at");
        loaded.extend(rows_loaded(&String::from_utf8_lossy(&killed.output())));
        drop(killed);
        let refused = ended(&serve);
        assert!(
            !refused.status.success() && text(&refused).contains("a restore is unfinished"),
            "{point}: {}",
            text(&refused)
        );
        if *point != "restore: marked" {
            // A server with another data folder sees the mark in the database.
            std::fs::remove_file(data.path().join("restoring")).expect("the folder's mark");
            let refused = ended(&serve);
            assert!(
                !refused.status.success() && text(&refused).contains("a restore is unfinished"),
                "{point}: {}",
                text(&refused)
            );
        }
    }
    assert!(loaded.len() > 3 && loaded.is_sorted_by(|a, b| a < b), "each run goes on behind the last: {loaded:?}");
    let refused = run(&others);
    assert!(text(&refused).contains("a restore of other archives is unfinished"), "{}", text(&refused));
    let output = run(&ours);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains(&format!("{} events and the keys of 12 people are back", before.len())),
        "{}",
        text(&output)
    );
    assert_eq!(events_of(&other).await, before, "each event once, in its order");
    let mut server = Program::start(&serve, "info");
    server.wait_for("serving");
    let again = run(&ours);
    assert!(!again.status.success() && text(&again).contains("holds something"), "{}", text(&again));
    assert!(server.stop().0.success());

    // A restore into an empty database that a server uses is refused, and leaves no mark.
    let fresh = Database { address: db::Address { database: "fresh".to_owned(), ..address.clone() }, ..other.clone() };
    let fresh = fresh.url(admin, None);
    assert!(run(&["migrate", "--data", data.text(), "--database", &fresh]).status.success());
    let serve = serve.map(|word| if word == url { fresh.as_str() } else { word });
    let mut server = Program::start(&serve, "info");
    server.wait_for("serving");
    let ours: Vec<&str> = ours.iter().map(|word| if *word == url { fresh.as_str() } else { *word }).collect();
    let refused = run(&ours);
    assert!(!refused.status.success() && text(&refused).contains("stop them first"), "{}", text(&refused));
    assert!(server.stop().0.success());
    let mut server = Program::start(&serve, "info");
    server.wait_for("serving");
    assert!(server.stop().0.success());
    store.stop().await.expect("PostgreSQL stops");
}

#[tokio::test]
async fn the_drill_proves_that_nothing_comes_back() {
    let data = DataFolder::new("");
    let (store, _, app) = house(&data).await;
    drop(app);
    store.stop().await.expect("PostgreSQL stops");
    let to = data.path().join("drill");
    let output = run(&["drill", "--data", data.text(), "--to", to.to_str().expect("UTF-8")]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("FAIL") && said.matches("ok   ").count() >= 10, "{said}");
    assert!(said.contains("the person's export opens") && said.contains("no export of the person is left"), "{said}");
    assert!(said.contains("which is destroyed: this archive opens for nobody any more"), "{said}");
    // A second drill works as well, with the next version of the key.
    let output = run(&["drill", "--data", data.text(), "--to", to.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", text(&output));
}

#[tokio::test]
async fn what_was_published_comes_back_and_what_is_lost_is_never_drawn_again() {
    let world = World::new().await;
    let period = closed(&world);
    let depot = Depot::new(&world);
    depot.take(&world, "old").await;
    hospital::add(&world.app, &["klinikum-am-see".to_owned()]).await.expect("added");
    let released = release::make(&world.app, period, 0).await.expect("released");
    depot.take(&world, "new").await;
    let tables = async |database: &Database| {
        let client = world.suite.superuser(&database.address.database).await;
        let sql = "SELECT md5(string_agg(t, '|' ORDER BY t)) FROM (SELECT t::text FROM stats.ledger t UNION ALL
                   SELECT t::text FROM stats.releases t UNION ALL SELECT t::text FROM stats.spending t) AS all_rows (t)";
        client.query_one(sql, &[]).await.expect("read").get::<_, Option<String>>(0)
    };
    let back = depot.bring_back(&world, "new", "new").await.expect("restored");
    assert_eq!(tables(&back.database).await, tables(&world.database).await);
    let again = release::make(&back.app, period, 0).await.expect("given");
    assert_eq!((again.is_new, again.row.sha256), (false, released.row.sha256));
    assert_eq!(back.restored.replayed.released, 0);
    // The older log knows of no release, but the ledger does.
    let back = depot.bring_back(&world, "old", "new").await.expect("restored");
    assert_eq!((back.restored.replayed.released, tables(&back.database).await), (1, None));
    let refused = release::make(&back.app, period, 0).await.expect_err("it would be a second draw");
    assert!(refused.to_string().contains("lost with an earlier database"), "{refused}");
}

/// A backup that is older than the newest checkpoint can't continue the tree. A new tree says what is lost, and
/// auditors who hold the newer checkpoint see it. A backup that holds everything that was signed continues the tree.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_below_the_newest_checkpoint_opens_a_new_tree_that_says_what_is_lost() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for day in 1..=9 {
        submit_day(&world, &anna, &format!("2025-12-0{day}")).await;
    }
    let kept = covered(&world).await;
    let depot = Depot::new(&world);
    depot.take(&world, "old").await;
    let back = depot.bring_back(&world, "old", "old").await.expect("restored");
    assert_eq!(back.restored.opened, None, "nothing that was signed is lost");
    assert_eq!(verified(&world, &back, &kept).await, ([].into(), None));

    submit_day(&world, &anna, "2025-12-10").await;
    let lost = covered(&world).await;
    let back = depot.bring_back(&world, "old", "old").await.expect("restored");
    let origin = format!("{}/2", kept.origin);
    assert_eq!(back.restored.opened.as_ref(), Some(&origin));
    let public = world.app.vault.ring().log_public().expect("a key");
    let opened = Watermark::new(world.folder.path()).read(public).await.expect("read").expect("signed");
    assert_eq!(opened.origin, origin);
    let (findings, opening) = verified(&world, &back, &opened).await;
    assert_eq!(findings, []);
    let opening = opening.expect("the first leaf says so");
    assert_eq!(opening["previous"], kept.origin.as_str());
    assert_eq!(opening["signed_origin"], kept.origin.as_str());
    assert_eq!((&opening["signed_size"], &opening["kept_size"]), (&json!(lost.size), &json!(kept.size)));
    assert_eq!((&opening["lost_from"], &opening["lost"]), (&json!(kept.size), &json!(lost.size - kept.size)));
    assert_eq!(opening["kept_root"], kept.root.to_string());
    assert_eq!(verified(&world, &back, &kept).await.0, [], "what was kept is what was signed then");
    assert_eq!(verified(&world, &back, &lost).await.0, [Finding::CutOff { index: kept.size, size: lost.size }]);

    // The same backup once more: no origin is signed twice.
    let again = depot.bring_back(&world, "old", "old").await.expect("restored");
    let third = format!("{}/3", kept.origin);
    assert_eq!(again.restored.opened.as_ref(), Some(&third));
    let newest = Watermark::new(world.folder.path()).read(public).await.expect("read").expect("signed");
    let (findings, opening) = verified(&world, &again, &newest).await;
    assert_eq!((findings, opening.expect("it says so")["signed_origin"].as_str()), ([].into(), Some(origin.as_str())));

    // The new tree's first leaf covers the events that were kept.
    let superuser = world.suite.superuser(&back.database.address.database).await;
    let change = "ALTER TABLE log.events DISABLE TRIGGER ALL; UPDATE log.events SET metadata = '{}' WHERE sequence = 1 AND aggregate_type = 'account'";
    superuser.batch_execute(change).await.expect("a superuser may");
    assert_eq!(verified(&world, &back, &opened).await.0, [Finding::KeptAltered { size: kept.size }]);
}

async fn verified(world: &World, back: &Back, by: &Checkpoint) -> (Vec<Finding>, Option<Value>) {
    let (login, password) = (db::Login::Auditor.as_str(), world.folder.join("auditor.password"));
    lethe::data::home::write_secret(&password, world.suite.passwords[login].as_bytes()).expect("written");
    let source = Source::open(&back.database.url(login, None), Some(&password), None).expect("a source");
    let public = world.app.vault.ring().log_public().expect("a key");
    let policy = Policy::of(LogKey::new(&by.origin, public).expect("a name"));
    let notes = [by.note.clone()];
    let trust = Trust { policy: &policy, checkpoints: &notes, against: None };
    let found = verify(&source, &trust).await.expect("verified");
    (found.findings, found.goes_on_from)
}

/// The tables that no backup holds, each with what becomes of its rows after a restore.
const NOT_ARCHIVED: &[(&str, &str)] = &[
    ("auth.codes", "a code lives ten minutes"),
    ("auth.devices", "a device is known again after its next sign-in"),
    ("auth.letters", "a letter waits minutes"),
    ("auth.limits", "a limit counts within hours"),
    ("auth.openings", "an opening lasts a quarter of an hour"),
    ("auth.refresh_tokens", "everybody signs in again"),
    ("auth.sessions", "everybody signs in again"),
    ("auth.standings", "triggers keep them"),
    ("auth.suspensions", "a suspension ends by itself"),
    ("jobs.deliveries", "an alert that was raised is delivered or given up"),
    ("jobs.jobs", "jobs are planned again from the log"),
    ("lethe.pads", "of one ring in one database"),
    ("lethe.restoring", "of the restore itself"),
    ("lethe.schema_history", "of the database that is restored into"),
    ("log.bundles", "counted again while the log is loaded"),
    ("vault.nodes", "a server that runs enters itself"),
];

#[tokio::test]
async fn every_table_is_archived_or_made_again() {
    let world = World::new().await;
    let sql = "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('auth', 'jobs', 'lethe', 'log', 'read', 'stats', 'vault')";
    let rows = world.superuser().await.query(sql, &[]).await.expect("read");
    let there: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let archived: BTreeSet<String> = lethe::backup::tables().map(str::to_owned).collect();
    let left_out: BTreeSet<String> = NOT_ARCHIVED.iter().map(|(table, _)| (*table).to_owned()).collect();
    assert!(archived.is_disjoint(&left_out));
    // Read models are rebuilt from the log.
    let accounted: BTreeSet<String> = there.iter().filter(|table| table.starts_with("read.")).cloned().collect();
    let accounted: BTreeSet<String> = accounted.into_iter().chain(archived).chain(left_out).collect();
    assert_eq!(there, accounted, "left: the catalogue; right: src/backup/create.rs and NOT_ARCHIVED");
}
