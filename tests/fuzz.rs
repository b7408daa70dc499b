//! Schemathesis finds nothing. It reads the document that the server serves, and calls every operation with its
//! examples, at all bounds, with random values that fit the schemas and that do not, and in chains in which one answer
//! feeds the next call; as nobody, as two people who must not see one another's data, as each role of staff, and as a
//! guest.
//!
//! `LETHE_FUZZ_EXAMPLES` is the number of random calls to each operation, and `LETHE_FUZZ_SEED` decides which;
//! `cargo xtask fuzz` sets both. What is configured stands in `fuzz/schemathesis.toml` and `fuzz/formats.py`, and the
//! packages in `fuzz/requirements.txt`; see `python.rs`.

use std::{env, fmt::Write, fs, net::Ipv4Addr, path::Path, process::Command};

use context::Role;
use lethe::{app::identity::staff, http, server};
use poem::http::StatusCode;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    documented::operations,
    left_out::left_out,
    operations::Stage,
    python::environment,
    steps::sign_in,
    support::{Person, expect},
};

const SETTINGS: &str = include_str!("fuzz/schemathesis.toml");
const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/formats.py");
const TOKENS: &str = "tokens.json";
/// Operations on things that are there beforehand. Chains of calls find others themselves.
const ON_THINGS: [&str; 12] = [
    "alert_acknowledge",
    "audit_proof",
    "breach_affected",
    "breach_assess",
    "breach_get",
    "breach_step",
    "deletion_get",
    "export_download",
    "export_get",
    "opening_records",
    "receipt_get",
    "record_get",
];

/// Who calls, by names in the file of tokens.
struct Caller {
    /// Several are people who must not see one another's data.
    names: &'static [&'static str],
    /// Which operations are called, one run for each group.
    runs: &'static [[&'static str; 2]],
}

const CALLERS: [Caller; 5] = [
    Caller { names: &[], runs: ALL },
    Caller { names: &["anna", "ben"], runs: ALL },
    Caller { names: &["compliance"], runs: ALL },
    Caller { names: &["auditor"], runs: ALL },
    Caller { names: &["guest"], runs: OF_GUESTS },
];
/// Everybody calls all operations. Signing out comes last, because nothing succeeds after it.
const ALL: &[[&str; 2]] = &[["--exclude-operation-id", "auth_logout"], ["--include-operation-id", "auth_logout"]];
/// The one operation of guests.
const OF_GUESTS: &[[&str; 2]] = &[["--include-operation-id", "guest_evaluate"]];

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let venv = match tokio::task::spawn_blocking(|| environment("fuzz")).await.expect("it ended") {
        Ok(venv) => venv,
        Err(why) => return left_out(&why),
    };
    let stage = Stage::new().await.without_alert_rules().await;
    let (anna, ben) = (stage.newcomer().await, stage.newcomer().await);
    let auditor = "auditor@lethe.example";
    staff::add(&stage.world.app, auditor, Role::Auditor).await.expect("a member of staff");
    let auditor = sign_in(&stage.world, auditor).await;
    let guest = expect(stage.world.client().post("/v1/guests").send().await, StatusCode::CREATED).await;
    let things = things(&stage, &anna).await;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let document = format!("http://{}/openapi.json", listener.local_addr().expect("an address"));
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let (app, mailbox) = (stage.world.app.clone(), stage.world.mailbox.clone());
    let served = tokio::spawn(server::serve(app, mailbox, listener, http::TrustedProxies::default(), stopped));

    let dir = tempfile::tempdir().expect("a folder");
    let bearer = |token: &str| ("Authorization", format!("Bearer {token}"));
    let tokens = [
        ("anna", bearer(&anna.token)),
        ("ben", bearer(&ben.token)),
        ("compliance", bearer(&stage.staff.token)),
        ("auditor", bearer(&auditor.token)),
        ("guest", ("Guest-Token", guest["token"].as_str().expect("a token").to_owned())),
    ];
    fs::write(dir.path().join(TOKENS), by_name(&tokens).to_string()).expect("written");
    let found = tokio::task::spawn_blocking(move || {
        let runs = CALLERS.iter().flat_map(|caller| caller.runs.iter().map(move |only| (caller, only)));
        runs.filter_map(|(caller, only)| run(&venv, dir.path(), &document, caller, only, &things)).collect::<Vec<_>>()
    });
    let found = found.await.expect("it ended");
    assert!(found.is_empty(), "{}", found.join("\n\n"));
    // A caller who is suspended, or whose token ran out, is refused whatever comes, and proves nothing.
    expect(stage.world.get(&ben, "/v1/consents").await, StatusCode::OK).await;
    let suspended = "SELECT count(*) FROM auth.suspensions";
    let suspended: i64 = stage.world.superuser().await.query_one(suspended, &[]).await.expect("counted").get(0);
    assert_eq!(suspended, 0);
    drop(stop);
    served.await.expect("the server ended").expect("in order");
}

/// Runs Schemathesis for a caller. Returns what it writes if it found something.
fn run(venv: &Path, dir: &Path, document: &str, caller: &Caller, only: &[&str], things: &str) -> Option<String> {
    let settings = dir.join("schemathesis.toml");
    let sign_in = match caller.names {
        [] => String::new(),
        [one] => format!("auth.wfc = {{ path = {TOKENS:?}, user = {one:?} }}"),
        peers @ [first, ..] => format!("auth.wfc = {{ path = {TOKENS:?}, user = {first:?}, peers = {peers:?} }}"),
    };
    let hooks = format!("hooks = {HOOKS:?}");
    fs::write(&settings, [&hooks, &sign_in, SETTINGS, things].join("\n")).expect("written");
    let of = |name: &str, usual: &str| env::var(name).unwrap_or_else(|_| usual.to_owned());
    let mut command = Command::new(venv.join("bin/schemathesis"));
    command.arg("--config-file").arg(&settings).args(["run", document, "--checks", "all", "--no-color"]).args(only);
    command.args(["--max-examples", &of("LETHE_FUZZ_EXAMPLES", "5"), "--seed", &of("LETHE_FUZZ_SEED", "1")]);
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(dir).output().expect("Schemathesis runs");
    let written = [output.stdout, output.stderr].concat();
    let written = String::from_utf8_lossy(&written);
    (!output.status.success()).then(|| format!("As {:?}:\n{written}", caller.names))
}

/// The header field of each caller, in the form of Web Fuzzing Commons.
fn by_name(tokens: &[(&str, (&str, String))]) -> Value {
    let entry = |(name, (header, value)): &(&str, (&str, String))| json!({ "name": name, "fixedHeaders": [{ "name": header, "value": value }] });
    json!({ "auth": tokens.iter().map(entry).collect::<Vec<_>>() })
}

/// Settings by which half of the calls of an operation on a thing name one that is there.
async fn things(stage: &Stage, person: &Person) -> String {
    let mut settings = String::new();
    for operation in ON_THINGS {
        let call = stage.prepare(person, operation).await.expect("it is known");
        let documented = operations().find(|documented| documented.id == operation).expect("it is documented");
        let template = documented.path;
        let mut parameters = Vec::new();
        for (name, value) in
            template.split('/').zip(call.target().split(['/', '?'])).filter(|(name, _)| name.starts_with('{'))
        {
            let name = name.trim_matches(['{', '}']);
            let dictionary = format!("{operation}-{name}");
            writeln!(settings, "[dictionaries.{dictionary}]\nvalues = [{value:?}]").expect("a text takes everything");
            parameters.push(format!("\"path.{name}\" = {{ dictionary = {dictionary:?}, probability = 0.5 }}"));
        }
        let parameters = parameters.join(", ");
        writeln!(settings, "[[operations]]\ninclude-operation-id = {operation:?}\nparameters = {{ {parameters} }}")
            .expect("a text takes everything");
    }
    settings
}
