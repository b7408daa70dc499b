//! The program `lethe` as scripts call it: JSON, exit codes, closed pipes, settings, and what the doctor leaves alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Output, Stdio},
};

use lethe::data::home::write_secret;
use serde_json::{Value, json};

use crate::{
    program::{self, Call, DataFolder, Program, free_address, text},
    support::World,
};

/// The commands whose output is nothing that a script reads as a result: they serve, or print a text of another form.
const WITHOUT_JSON: [&str; 3] = ["serve", "openapi", "completions"];
/// They print a result, and other tests run them, since they take long or need what is not here.
const ELSEWHERE: [&str; 5] = ["demo", "restore", "drill", "migrate legacy-weekly", "stats evaluate"];

fn run(words: &[&str]) -> Output {
    tokio::task::block_in_place(|| program::run(words))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("it was killed: {}", text(output)))
}

/// The only line of the standard output, as JSON.
fn object(output: &Output) -> Value {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout.lines().count(), 1, "{}", text(output));
    let value: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)));
    assert!(value.is_object(), "{value}");
    value
}

/// A world whose data folder and database commands can work on.
struct Place {
    world: World,
    data: String,
    database: String,
}

impl Place {
    async fn new() -> Self {
        let world = World::new().await;
        let logins = serde_json::to_vec(&world.suite.passwords).expect("JSON");
        write_secret(&world.folder.join("logins.json"), &logins).expect("written");
        let data = world.folder.path().to_str().expect("UTF-8").to_owned();
        let database = world.database.url(&world.database.admin, None);
        Self { world, data, database }
    }

    fn args<'a>(&'a self, words: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [words, &["--data", &self.data, "--database", &self.database], more].concat()
    }

    fn run(&self, words: &[&str], more: &[&str]) -> Output {
        run(&self.args(words, more))
    }

    fn path(&self, name: &str) -> String {
        self.world.folder.join(name).to_str().expect("UTF-8").to_owned()
    }
}

/// Every command, as its help names it, with the commands under it.
fn commands(of: &[&str]) -> Vec<String> {
    let help = run(&[of, &["--help"]].concat());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let Some((_, listed)) = help.split_once("\nCommands:\n") else { return vec![of.join(" ")] };
    let names = listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        // A line that goes on with a description is indented further.
        line.strip_prefix("  ").filter(|line| !line.starts_with(' ')).and_then(|line| line.split(' ').next())
    });
    let under = names.filter(|name| *name != "help").flat_map(|name| commands(&[of, &[name]].concat()));
    // `migrate` works by itself too.
    let own = (of == ["migrate"]).then(|| of.join(" "));
    own.into_iter().chain(under).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_result_is_one_object_with_json() {
    let place = Place::new().await;
    let anna = place.world.person("anna").await;
    write_secret(&place.world.folder.join("reason"), b"a suit about wages").expect("written");
    fs::write(place.path("hospitals.csv"), "name,state\nKlinik am See,Bayern\n").expect("written");
    let (reason, grant, list) = (place.path("reason"), place.path("grant"), place.path("hospitals.csv"));
    let (log, keys) = (place.path("log.zip"), place.path("keys.zip"));
    let (email, carla) = (anna.email.as_str(), "carla@lethe.example");
    let next = coming_quarter();
    let steps: &[(&[&str], &[&str], &str)] = &[
        (&["migrate"], &[], "migration"),
        (&["staff", "add"], &["--email", carla, "--role", "auditor"], "account_made"),
        (&["staff", "list"], &[], "staff"),
        (&["staff", "remove"], &["--email", carla, "--erase"], "account_erased"),
        (
            &["hold", "place"],
            &["--email", email, "--until", "2099-01-31T00:00:00Z", "--reason-file", &reason],
            "held_until",
        ),
        (&["hold", "lift"], &["--email", email], "held_until"),
        (&["projections", "list"], &[], "projections"),
        (&["projections", "rebuild"], &["consents"], "people"),
        (&["projections", "retry"], &["activity"], "applied"),
        (&["keys", "list"], &[], "key_encryption_keys"),
        (&["keys", "grant"], &["--email", email, "--reason-file", &reason, "--to", &grant], "written_to"),
        (&["keys", "rotate"], &[], "version"),
        (&["keys", "destroy"], &["--version", "1", "--without-archive"], "destroyed"),
        (&["jwt", "list"], &[], "signing_keys"),
        (&["jwt", "rotate"], &[], "kid"),
        (&["backup", "create"], &["--log", &log, "--keys", &keys], "log"),
        (&["stats", "hospitals"], &["--file", &list], "added"),
        (&["stats", "plan"], &["--from", &next, "--plan", "small"], "plan"),
        (&["stats", "release"], &["--period", "2025-Q1"], "cells_published"),
    ];
    for (words, more, field) in steps {
        let output = place.run(words, &[*more, &["--json"]].concat());
        assert_eq!(code(&output), 0, "{words:?}: {}", text(&output));
        assert!(!object(&output)[field].is_null() || *words == ["hold", "lift"], "{words:?}: {}", text(&output));
    }
    let findings = object(&place.run(&["doctor"], &["--json"]))["findings"].clone();
    assert!(findings.as_array().is_some_and(|all| all.iter().any(|it| it["what"] == "key ring")), "{findings}");

    // No command is forgotten.
    let alone = ["doctor"].into_iter().chain(WITHOUT_JSON).chain(ELSEWHERE).map(str::to_owned);
    let known: BTreeSet<String> = steps.iter().map(|(words, ..)| words.join(" ")).chain(alone).collect();
    assert_eq!(commands(&[]).into_iter().collect::<BTreeSet<_>>(), known, "left: the program; right: this test");
}

/// A quarter that has not begun, for a plan.
fn coming_quarter() -> String {
    let today = context::Clock::system().now().date_naive();
    domain::quarter::Quarter::of(today + chrono::TimeDelta::days(100)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_what_help_and_guide_say() {
    let place = Place::new().await;
    let nowhere = place.path("nowhere");
    assert_eq!(code(&run(&["--version"])), 0);
    assert_eq!(code(&run(&["doctor", "--data", &nowhere])), 1);
    assert_eq!(code(&place.run(&["hold", "lift"], &["--email", "nobody@klinik.example"])), 1);
    for wrong in
        [&["serve", "--listen", "nowhere"][..], &["staff", "add"], &["nothing"], &["stats", "release", "--period", "x"]]
    {
        assert_eq!(code(&run(wrong)), 2, "{wrong:?}");
    }
    write_secret(&place.world.folder.join("logins.json"), b"{}").expect("written");
    let sick = place.run(&["doctor"], &[]);
    assert_eq!(code(&sick), 3, "{}", text(&sick));
    assert!(text(&sick).contains("FAIL  lethe_api: has no password in logins.json"), "{}", text(&sick));
    let (help, guide) = (text(&run(&["--help"])), include_str!("../docs/operations.md"));
    for code in [0, 1, 2, 3, 75] {
        assert!(help.contains(&format!("\n{code:>4}  ")), "{code}: {help}");
        assert!(guide.contains(&format!("\n| {code} | ")), "docs/operations.md does not list {code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_nothing_and_says_nothing() {
    let place = Place::new().await;
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer
    };
    let list = place.args(&["projections", "list"], &[]);
    let doctor = place.args(&["doctor", "--json"], &[]);
    for args in [&["--help"][..], &["--version"], &["openapi"], &["completions", "bash"], &list, &doctor] {
        let mut command = program::lethe(args, "info");
        let output = tokio::task::block_in_place(|| command.stdout(closed()).output().expect("it runs"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{args:?}: {said}");
        assert!(matches!(code(&output), 0 | 3), "{args:?}: {} {said}", code(&output));
    }
    let failing = ["doctor", "--data", &place.path("nowhere")];
    let mut command = program::lethe(&failing, "info");
    let output =
        tokio::task::block_in_place(|| command.stdout(Stdio::null()).stderr(closed()).status().expect("it runs"));
    assert_eq!(output.code(), Some(1), "a panic would end with 101");
    // What can't be written for another reason is a failure.
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = program::lethe(&["openapi"], "info");
    let output = tokio::task::block_in_place(|| command.stdout(full).output().expect("it runs"));
    assert_eq!(code(&output), 1);

    // A server goes on when nobody reads its trace any more.
    let address = free_address();
    let listen = address.to_string();
    let mut command =
        program::lethe(&place.args(&["serve", "--allow-old-postgres", "--listen", &listen], &[]), "debug");
    let mut server = command.stdout(Stdio::null()).stderr(closed()).spawn().expect("it starts");
    let served = until_it_answers(address).await;
    std::process::Command::new("kill").arg(server.id().to_string()).status().expect("kill runs");
    let ended = tokio::task::block_in_place(|| server.wait().expect("it is our child"));
    assert!(served && ended.success(), "{ended}");
}

async fn until_it_answers(address: std::net::SocketAddr) -> bool {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Call::new(address, "GET", "/health").send().await.status == 200;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    false
}

/// Each file and folder with its mode and content. What PostgreSQL itself writes while it runs is left out.
fn state_of(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let of_postgres = ["postgres", "run", "postgres.log", "postgres.log.old", "pg_hba.conf"];
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let known = fs::symlink_metadata(&path).expect("it is there");
        if of_postgres.contains(&name.as_str()) {
            continue;
        }
        let content = if known.is_file() { fs::read(&path).expect("it can be read") } else { Vec::new() };
        if known.is_dir() {
            found.extend(state_of(&path).into_iter().map(|(below, state)| (format!("{name}/{below}"), state)));
        }
        found.insert(name, (known.permissions().mode(), content));
    }
    found
}

/// The catalogue, and how many rows each table has.
async fn database_of(world: &World) -> Vec<String> {
    let client = world.superuser().await;
    let rows = client.query(db::catalogue_sql(), &[]).await.expect("the catalogue is read");
    let mut lines: Vec<String> = db::matrix(&rows).lines().map(str::to_owned).collect();
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
                  WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
    for row in client.query(tables, &[]).await.expect("the tables are listed") {
        let table: String = row.get(0);
        let count = format!("SELECT count(*) FROM {table}");
        let count: i64 = client.query_one(&count, &[]).await.expect("counted").get(0);
        lines.push(format!("{table}: {count}"));
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_makes_nothing() {
    // Where there is nothing, nothing is made.
    let empty = DataFolder::new("");
    let nowhere = empty.path().join("nowhere");
    for args in [vec!["doctor", "--data", nowhere.to_str().expect("UTF-8")], vec!["doctor", "--data", empty.text()]] {
        let refused = run(&args);
        assert_eq!(code(&refused), 1, "{}", text(&refused));
        assert_eq!(fs::read_dir(empty.path()).expect("it is there").count(), 0, "{args:?}: {}", text(&refused));
    }
    // A folder with a ring, and no PostgreSQL of its own.
    fs::set_permissions(empty.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    lethe::data::home::Folder::open(empty.path()).and_then(|folder| folder.ring(None)).expect("a ring");
    let before = state_of(empty.path());
    let refused = run(&["doctor", "--data", empty.text()]);
    assert!(code(&refused) == 1 && text(&refused).contains("no PostgreSQL of its own"), "{}", text(&refused));
    assert_eq!(state_of(empty.path()), before);
    assert!(!empty.path().join("postgres").exists());

    // Beside a database, also if a login has no password yet.
    let place = Place::new().await;
    let mut logins = place.world.suite.passwords.clone();
    logins.remove("lethe_dashboard").expect("it was there");
    write_secret(&place.world.folder.join("logins.json"), &serde_json::to_vec(&logins).expect("JSON"))
        .expect("written");
    let folder = place.world.folder.path();
    let before = (state_of(folder), database_of(&place.world).await);
    let found = place.run(&["doctor"], &[]);
    assert!(code(&found) == 3 && text(&found).contains("FAIL  lethe_dashboard: has no password"), "{}", text(&found));
    assert_eq!((state_of(folder), database_of(&place.world).await), before);

    // With a PostgreSQL of the folder's own, which is started for the questions.
    let own = DataFolder::new("");
    let (store, _) = own.cluster(&[("fsync", "off")]).await;
    store.stop().await.expect("stopped");
    let before = state_of(own.path());
    let found = run(&["doctor", "--data", own.text()]);
    assert!(text(&found).contains("ok    roles and policies"), "{}", text(&found));
    assert_eq!(state_of(own.path()), before);
}

fn checked(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let args = [&["serve", "--check-config", "--json"], args].concat();
    let mut command = program::lethe(&args, "info");
    tokio::task::block_in_place(|| command.envs(variables.iter().copied()).output().expect("it runs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_beats_a_variable_a_variable_the_file_and_the_file_the_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lethe.toml");
    let config = file.to_str().expect("UTF-8");
    let written = "controller = \"Klinikum am See\"\nconnections = 8\ngrace = 60\nallow-old-postgres = true\n\
                   trusted-proxy = [\"10.0.0.1\", \"10.0.0.2\"]\nexport-store = \"s3://bucket\"\n";
    fs::write(&file, written).expect("written");
    let variables = [
        ("LETHE_CONFIG", config),
        ("LETHE_CONNECTIONS", "9"),
        ("LETHE_GRACE", "61"),
        ("LETHE_STORAGE_LOCATION", "Ulm, Germany;Fürth"),
        ("LETHE_S3_CREDENTIALS", "/etc/lethe/s3"),
    ];
    let settings = object(&checked(&["--connections", "10"], &variables));
    let of =
        |key: &str| (settings[key]["value"].clone(), settings[key]["from"].as_str().unwrap_or_default().to_owned());
    let is = |value: Value, from: &str| (value, from.to_owned());
    assert_eq!(of("connections"), is(json!("10"), "flag"));
    assert_eq!(of("grace"), is(json!("61"), "variable"));
    assert_eq!(of("storage-location"), is(json!(["Ulm, Germany", "Fürth"]), "variable"));
    assert_eq!(of("controller"), is(json!("Klinikum am See"), "file"));
    assert_eq!(of("trusted-proxy"), is(json!(["10.0.0.1", "10.0.0.2"]), "file"));
    assert_eq!(of("allow-old-postgres"), is(json!("true"), "file"));
    assert_eq!(of("listen"), is(json!("127.0.0.1:8080"), "default"));
    assert_eq!(of("smtp"), is(Value::Null, "default"));
    // A flag takes the place of the whole list.
    let settings = object(&checked(&["--config", config, "--trusted-proxy", "::1", "--s3-credentials", "x"], &[]));
    assert_eq!(settings["trusted-proxy"]["value"], json!(["::1"]));

    let refused = |args: &[&str], variables: &[(&str, &str)]| {
        let output = checked(args, variables);
        assert_eq!(code(&output), 2, "{}", text(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = refused(&[], &variables[..1]);
    assert!(told.contains("--export-store needs --s3-credentials beside it"), "{told}");
    let told = refused(&[], &[("LETHE_LISTEN", "nowhere")]);
    assert!(told.contains("nowhere") && told.contains("--listen"), "{told}");
    fs::write(&file, "grace = 60\n\nlisen = \"127.0.0.1:1\"\n").expect("written");
    let told = refused(&["--config", config], &[]);
    assert!(told.contains(&format!("{config}:3: there is no setting `lisen`")), "{told}");
    let told = refused(&["--config", "/nowhere/lethe.toml"], &[]);
    assert!(told.contains("/nowhere/lethe.toml: No such file"), "{told}");

    // A secret in a setting is refused, and not repeated.
    let told = text(&checked(&["--database", "postgresql://lethe:geheim@db/lethe"], &[]));
    assert!(told.contains("must not hold a password") && !told.contains("geheim"), "{told}");

    let help = text(&run(&["serve", "--help"]));
    assert!(help.contains("[env: LETHE_LISTEN]") && help.contains("[env: LETHE_CONFIG]"), "{help}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_its_settings_from_a_file_and_variables() {
    let place = Place::new().await;
    let (file, address) = (place.path("lethe.toml"), free_address());
    let written = format!(
        "data = {:?}\ndatabase = {:?}\nlisten = \"127.0.0.1:1\"\nallow-old-postgres = true\n",
        place.data, place.database
    );
    fs::write(&file, written).expect("written");
    let mut command = program::lethe(&["serve", "--config", &file], "info");
    let mut server = Program::of(command.env("LETHE_LISTEN", address.to_string()));
    server.wait_for("serving");
    assert_eq!(Call::new(address, "GET", "/health").send().await.status, 200);
    assert!(server.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_names_the_commit_of_a_release() {
    let said = text(&run(&["--version"]));
    let built_of = match cfg!(debug_assertions) {
        true => "debug build".to_owned(),
        false => {
            let args = ["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=-modified"];
            let output = std::process::Command::new("git").args(args).output().expect("git runs");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
    };
    assert_eq!(said.trim(), format!("lethe {} ({built_of})", env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(code(&output) == 0 && script.contains("allow-old-postgres") && script.contains("staff"), "{script}");
    }
    let script = String::from_utf8_lossy(&run(&["completions", "bash"]).stdout).into_owned();
    let checked = std::process::Command::new("bash").args(["-n", "-c", &script]).output().expect("bash runs");
    assert!(checked.status.success(), "{}", text(&checked));
}

#[test]
fn a_number_of_threads_that_is_none_is_named_and_nothing_starts() {
    for (threads, starts) in [("2", true), ("0", false), ("", false), ("two", false)] {
        let output =
            program::lethe(&["openapi"], "info").env("TOKIO_WORKER_THREADS", threads).output().expect("lethe runs");
        assert_eq!(output.status.success(), starts, "{threads:?}: {}", program::text(&output));
        assert_eq!(output.stdout.is_empty(), !starts, "{threads:?}");
        let named =
            String::from_utf8_lossy(&output.stderr).contains("TOKIO_WORKER_THREADS must be a number of threads");
        assert_eq!(named, !starts, "{threads:?}: {}", program::text(&output));
    }
}
