//! The real binary: one command runs the demonstration, goes on with its data, and stops it in order; and the commands
//! beside it.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use lethe::{data::home::Folder, server::Store};
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::{
    left_out::{lacking_walk, left_out, say},
    program::{Answer, Call, DataFolder, Program, run, text},
};

const PEOPLE: usize = 12;
const SERVES: &str = "Lethe serves on ";

/// A demonstration that serves, and the content of its `demo.json`.
struct Demo {
    program: Program,
    sheet: Value,
}

fn args<'a>(data: &'a DataFolder, people: &'a str) -> Vec<&'a str> {
    vec!["demo", "--data", data.text(), "--port", "0", "--people", people, "--seed", "7"]
}

impl Demo {
    fn start(data: &DataFolder) -> Self {
        Self::start_with(data, &args(data, &PEOPLE.to_string()))
    }

    fn start_with(data: &DataFolder, args: &[&str]) -> Self {
        let mut program = Program::start(args, "info");
        program.wait_for(SERVES);
        let sheet = data.path().join("demo.json");
        let mode = std::fs::metadata(&sheet).expect("demo.json is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "demo.json holds tokens and passwords");
        let sheet = serde_json::from_slice(&std::fs::read(sheet).expect("we may read it")).expect("JSON");
        Self { program, sheet }
    }

    fn text(&self, pointer: &str) -> &str {
        self.sheet.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {:#}", self.sheet))
    }

    async fn get(&self, target: &str, token: &str) -> Answer {
        let address = self.text("/base_url").strip_prefix("http://").expect("a URL").parse().expect("an address");
        Call::new(address, "GET", target).token(token).send().await
    }

    async fn database(&self, login: &str) -> tokio_postgres::Client {
        let url = self.text(&format!("/database/{login}"));
        let (client, connection) =
            tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|error| panic!("{login}: {error}"));
        tokio::spawn(connection);
        client
    }

    fn user_ids(&self) -> Vec<&str> {
        self.subjects().map(|subject| subject["user_id"].as_str().expect("an id")).collect()
    }

    fn subjects(&self) -> impl Iterator<Item = &Value> {
        self.sheet["subjects"].as_array().expect("a list").iter()
    }

    /// The counts that show how full the database is: events of records, living days, accounts, migrations.
    async fn counts(&self) -> [i64; 4] {
        let counts = "-- counts
            SELECT (SELECT count(*) FROM log.events WHERE event_type LIKE 'record.%'),
                   (SELECT count(*) FROM read.records WHERE kind = 'work_day'),
                   (SELECT count(*) FROM auth.users),
                   (SELECT count(*) FROM lethe.schema_history)";
        let row = self.database("superuser").await.query_one(counts, &[]).await.expect("counted");
        [0, 1, 2, 3].map(|column| row.get(column))
    }

    /// Asks it to stop. It must end with success, and its PostgreSQL with it.
    fn stop(mut self, data: &DataFolder) -> String {
        let (status, output) = self.program.stop();
        let output = String::from_utf8_lossy(&output).into_owned();
        assert!(status.success(), "{status}\n{output}");
        assert_eq!(data.postmaster(), None, "PostgreSQL went on");
        output
    }
}

#[tokio::test]
async fn one_command_runs_it_stops_in_order_goes_on_and_recovers() {
    // Characters that a connection string must quote; a folder's name may hold them.
    let data = DataFolder::new("-r&d%20#1");
    let demo = Demo::start(&data);
    the_sheet_is_complete(&demo).await;
    people_and_staff_are_signed_in(&demo).await;
    every_connection_string_connects(&demo).await;
    let refused = run(&args(&data, "12"));
    assert!(!refused.status.success());
    assert!(text(&refused).contains("another server uses"), "{}", text(&refused));
    assert!(!text(&refused).contains("panicked"), "{}", text(&refused));
    demo.get("/health", "").await.expect(200);
    let counts = demo.counts().await;
    let (sheet, postmaster) = (demo.sheet.clone(), data.postmaster());
    assert!(postmaster.is_some());
    demo.stop(&data);

    migrate_and_doctor(&data);

    let demo = Demo::start(&data);
    assert_eq!(demo.counts().await, counts, "nothing was filled in or migrated again");
    assert_same_people_with_new_tokens(&sheet, &demo);
    let (old, left_behind) = (sheet["subjects"][0]["token"].as_str().expect("a token"), data.postmaster());
    demo.get("/v1/auth/me", old).await.expect(200);
    let sheet = demo.sheet.clone();
    demo.program.kill();
    assert_eq!(data.postmaster(), left_behind, "a kill leaves PostgreSQL behind");

    let demo = Demo::start(&data);
    assert_ne!(data.postmaster(), left_behind);
    assert_eq!(demo.counts().await, counts, "what was committed is there");
    assert_same_people_with_new_tokens(&sheet, &demo);
    people_and_staff_are_signed_in(&demo).await;
    demo.stop(&data);
}

async fn the_sheet_is_complete(demo: &Demo) {
    demo.get("/health", "").await.expect(200);
    let ids = demo.user_ids();
    assert!((2..=PEOPLE).contains(&ids.len()), "some people are shown");
    for (number, id) in ids.iter().enumerate() {
        id.parse::<uuid::Uuid>().expect("an id");
        assert!(demo.text(&format!("/subjects/{number}/email")).contains('@'));
        assert!(demo.text(&format!("/subjects/{number}/token")).starts_with("ey"));
    }
    for role in ["compliance", "auditor"] {
        assert!(demo.text(&format!("/staff/{role}/email")).contains('@'));
        assert!(demo.text(&format!("/staff/{role}/token")).starts_with("ey"));
    }
    let [records, days, users, _] = demo.counts().await;
    let people = i64::try_from(PEOPLE).expect("a small number");
    assert_eq!(users, people + 2, "people and two members of staff");
    assert!(records >= days && days > 20 * people, "{days} days are no quarter of {PEOPLE} people");
}

async fn people_and_staff_are_signed_in(demo: &Demo) {
    for subject in demo.subjects() {
        let token = subject["token"].as_str().expect("a token");
        let days = demo.get("/v1/work-events/me?limit=1000", token).await.expect(200);
        assert!(days["events"].as_array().is_some_and(|days| days.len() > 10), "{subject}: {days}");
        let me = demo.get("/v1/auth/me", token).await.expect(200);
        assert_eq!((&me["email"], &me["user_id"]), (&subject["email"], &subject["user_id"]));
    }
    for role in ["compliance", "auditor"] {
        let token = demo.text(&format!("/staff/{role}/token"));
        let me = demo.get("/v1/auth/me", token).await.expect(200);
        assert_eq!(me["email"], demo.text(&format!("/staff/{role}/email")));
        demo.get("/v1/work-events/me", token).await.expect(403);
    }
}

async fn every_connection_string_connects(demo: &Demo) {
    for login in ["api", "auditor", "compliance", "dashboard"] {
        let client = demo.database(login).await;
        let user: String = client.query_one("SELECT session_user::text", &[]).await.expect("asked").get(0);
        assert_eq!(user, format!("lethe_{login}"));
        let url = demo.text(&format!("/database/{login}")).to_owned();
        let wrong = url.replace("password=", "password=x");
        assert_ne!(url, wrong, "the password is inside");
        assert!(tokio_postgres::connect(&wrong, NoTls).await.is_err(), "{login} needs its password");
    }
    let superuser = demo.database("superuser").await;
    let is_superuser: bool =
        superuser.query_one("SELECT current_setting('is_superuser') = 'on'", &[]).await.expect("asked").get(0);
    assert!(is_superuser);
}

fn migrate_and_doctor(data: &DataFolder) {
    for _ in 0..2 {
        let output = run(&["migrate", "--data", data.text()]);
        assert!(output.status.success(), "{}", text(&output));
    }
    let output = run(&["doctor", "--data", data.text()]);
    let findings = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = findings.lines().collect();
    for what in ["key ring", "lethe_api", "lethe_dashboard", "roles and policies", "clock"] {
        assert!(lines.iter().any(|line| line.starts_with(&format!("ok    {what}: "))), "{what}:\n{}", text(&output));
    }
    // The machine's PostgreSQL may be too old for `serve`, which the doctor reports. Nothing else may be wrong.
    let sick: Vec<_> = lines.iter().filter(|line| !line.starts_with("ok    ")).collect();
    assert!(sick.iter().all(|line| line.starts_with("FAIL  PostgreSQL: ")), "{sick:?}");
    assert_eq!(output.status.success(), sick.is_empty(), "{}", text(&output));
    assert_eq!(data.postmaster(), None, "PostgreSQL went on");
}

fn assert_same_people_with_new_tokens(before: &Value, demo: &Demo) {
    let earlier = before["subjects"].as_array().expect("a list");
    assert_eq!(earlier.len(), demo.subjects().count());
    for (before, now) in earlier.iter().zip(demo.subjects()) {
        assert_eq!((&before["email"], &before["user_id"]), (&now["email"], &now["user_id"]));
        assert_ne!(before["token"], now["token"]);
    }
}

/// The file of hospitals that belongs to the project's data, or a file of two hospitals if that is missing.
fn hospitals(data: &DataFolder) -> std::path::PathBuf {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/german_hospitals.csv");
    if shared.exists() {
        return shared;
    }
    say(&format!("{} is not there: a file of two hospitals stands in for it", shared.display()));
    let small = data.path().join("hospitals.csv");
    let lines =
        "id,name,city,state\n1,\"Klinik \"\"Zur Linde\"\"\",Ulm,Baden-Württemberg\n2,Sankt Ägidius,Fürth,Bayern\n";
    std::fs::write(&small, lines).expect("written");
    small
}

#[tokio::test]
async fn a_filling_that_was_stopped_is_finished_at_hospitals_of_a_file() {
    let data = DataFolder::new("");
    let (path, progress) = (hospitals(&data), data.path().join("progress.json"));
    let mut args = args(&data, "60");
    args.extend(["--hospitals", path.to_str().expect("UTF-8")]);
    let mut program = Program::start(&args, "info");
    program.wait_for("Starting PostgreSQL");
    while !progress.exists() {
        program.assert_runs();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Long enough for some people to be registered, far too short for all.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (status, output) = program.stop();
    let output = String::from_utf8_lossy(&output);
    assert!(status.success(), "{status}\n{output}");
    assert!(!output.contains(SERVES) && !data.path().join("demo.json").exists(), "it was stopped in time");
    assert_eq!(data.postmaster(), None, "PostgreSQL went on");

    let demo = Demo::start_with(&data, &args);
    let [_, days, users, _] = demo.counts().await;
    assert_eq!(users, 62, "everybody is there once");
    assert!(days > 60 * 20, "{days} days are no quarter of 60 people");
    let file = std::fs::read_to_string(&path).expect("we may read it").to_lowercase();
    for subject in demo.subjects() {
        let me = demo.get("/v1/auth/me", subject["token"].as_str().expect("a token")).await.expect(200);
        let hospital = me["hospital_id"].as_str().expect("a hospital");
        let word = hospital.split('-').max_by_key(|word| word.len()).expect("a word");
        let plain = file.replace('ä', "ae").replace('ö', "oe").replace('ü', "ue").replace('ß', "ss");
        assert!(plain.contains(word), "{hospital} is not of {}", path.display());
    }
    demo.stop(&data);

    let wrong = data.path().join("wrong.csv");
    std::fs::write(&wrong, "name,state\nKlinik am Meer,Atlantis\n").expect("written");
    let at = args.len() - 1;
    args[at] = wrong.to_str().expect("UTF-8");
    let refused = run(&args);
    assert!(!refused.status.success() && text(&refused).contains("line 2, column `state`"), "{}", text(&refused));
}

/// Each obstacle to a start is named in one sentence.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_said_in_a_sentence() {
    let data = DataFolder::new("");
    let refusal = |args: &[&str]| {
        let refused = run(args);
        let told = text(&refused);
        assert!(!refused.status.success() && !told.contains("panicked"), "{told}");
        told.lines().last().expect("it says why").to_owned()
    };
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let told = refusal(&["demo", "--data", data.text(), "--port", &port]);
    assert!(told.contains(&format!("127.0.0.1:{port} can't be listened on")) && told.contains("--port"), "{told}");
    assert!(!data.path().join("postgres").exists(), "nothing was made before");

    // An older version had fewer logins: the new ones get passwords, and the others keep theirs.
    let (store, _) = data.cluster(&[("fsync", "off")]).await;
    let file = data.path().join("logins.json");
    let read = || -> Value { serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON") };
    let mut before = read();
    before.as_object_mut().expect("an object").remove("lethe_dashboard").expect("it was there");
    lethe::data::home::write_secret(&file, before.to_string().as_bytes()).expect("written");
    // A newer version has migrated the database.
    let superuser = db::admin(&store.database.address, "postgres", None).await.expect("the superuser connects");
    let newer =
        "INSERT INTO lethe.schema_history SELECT 9999, 'newer', applied_on, checksum FROM lethe.schema_history LIMIT 1";
    superuser.batch_execute(newer).await.expect("noted");
    store.stop().await.expect("stopped");
    let migrate = ["migrate", "--data", data.text()];
    let told = refusal(&migrate);
    assert!(told.contains("a newer version of lethe made this database") && told.contains("9999"), "{told}");
    let store = Store::start(&Folder::open(data.path()).expect("opens"), &[]).await.expect("starts");
    let superuser = db::admin(&store.database.address, "postgres", None).await.expect("the superuser connects");
    superuser.batch_execute("DELETE FROM lethe.schema_history WHERE version = 9999").await.expect("forgotten");
    store.stop().await.expect("stopped");
    migrate_and_doctor(&data);
    let mut after = read();
    let added = after.as_object_mut().expect("an object").remove("lethe_dashboard");
    assert!(added.is_some_and(|password| password.as_str().is_some_and(|text| text.len() > 20)), "it has a password");
    assert_eq!(after, before);

    std::fs::write(data.path().join("progress.json"), "{\"people\":3}").expect("written");
    std::fs::set_permissions(data.path().join("progress.json"), std::fs::Permissions::from_mode(0o600)).expect("set");
    let told = refusal(&args(&data, "3"));
    assert!(
        told.contains("progress.json: another version of the demonstration wrote it") && told.contains("--data"),
        "{told}"
    );
}

/// The commands of the welcome: indented lines, each with the lines that go on with it.
fn hints(output: &str) -> Vec<String> {
    let (_, welcome) = output.split_once(SERVES).expect("it serves");
    let lines = welcome.lines().filter_map(|line| line.strip_prefix("  ")).collect::<Vec<_>>().join("\n");
    lines.replace("\\\n", " ").lines().map(str::to_owned).collect()
}

/// Runs a script in a folder that has nothing to do with the demonstration; returns its output.
fn shell(script: &str) -> String {
    let mut bash = std::process::Command::new("bash");
    let output = bash.args(["-euo", "pipefail", "-c", script]).current_dir("/").output().expect("bash runs");
    assert!(output.status.success(), "{script}\n{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// People copy them into a shell, in whatever folder they are.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_welcome_run_in_any_folder() {
    if let Some(lacking) = lacking_walk() {
        return left_out(&lacking);
    }
    if !Path::new(env!("CARGO_BIN_EXE_lethe")).with_file_name("lethe-audit").exists() {
        return left_out("`lethe-audit` is not built: `cargo test --workspace` builds it");
    }
    // Characters to which a shell gives a meaning.
    let data = DataFolder::new(" it's \"here\" $HOME");
    let mut program = Program::start(&args(&data, "3"), "info");
    program.wait_for("run again to go on with the same data.");
    let output = String::from_utf8_lossy(&program.output()).into_owned();
    assert!(output.contains("people filled in: 0 of 3\n") && output.contains("people filled in: 3 of 3\n"), "{output}");
    let [code, letter, token, days, verify] = hints(&output).try_into().expect("five commands");
    tokio::task::block_in_place(|| {
        shell(&code);
        let started = std::time::Instant::now();
        while std::fs::read_dir(data.path().join("mail")).is_ok_and(|mut letters| letters.next().is_none()) {
            assert!(started.elapsed() < Duration::from_secs(60), "no letter came");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(shell(&letter).contains("Your code: "));
        assert!(shell(&format!("{token}\n{days}")).starts_with("{\"events\":[{"));
        assert!(shell(&verify).contains("events are what was signed"));
    });
    assert!(program.stop().0.success());
}
