//! The clients that `cargo xtask sdk` makes, each as the package that a user installs: it walks every operation and has a
//! type for every answer, and it makes the journey of a client application. An older client still makes its own.
//!
//! `openapi/README.md` says how the packages are made. A test is left out where the programs or the registry that its
//! language needs are missing (`left_out.rs`).

mod calls;

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use context::Role;
use domain::kinds::SCREENING;
use lethe::{app::identity::staff, http, server};
use poem::{Server, listener::TcpAcceptor};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, oneshot},
    task::JoinHandle,
};

use crate::{
    left_out::{lacking_npm, lacking_python, left_out},
    operations::Stage,
    python::run,
    support::{World, expect},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// A member of staff, for the journeys.
const STAFF: &str = "auditor@lethe.example";

#[tokio::test(flavor = "multi_thread")]
async fn both_documents_are_valid() {
    if let Err(why) = installed("python", lacking_python()).await {
        return left_out(&why);
    }
    for document in ["openapi.json", "openapi-3.0.json"] {
        let mut check = Command::new(sdk().join("python-venv/bin/python"));
        check.arg(here("check_document.py")).arg(Path::new(ROOT).join("openapi").join(document));
        let checked = run("validating", &mut check);
        assert!(checked.contains("examples fit"), "{document}: {checked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_walks_every_operation_and_makes_the_journey() {
    if let Err(why) = installed("python", lacking_python()).await {
        return left_out(&why);
    }
    made("python").await;
    let site = tempfile::tempdir().expect("a folder");
    let python = sdk().join("python-venv/bin/python");
    let wheel = the_only(&sdk().join("python/dist"), "whl");
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
    ]);
    run("installing the package", install.arg(site.path()).arg(wheel));
    let program = |name: &str| {
        let mut command = Command::new(&python);
        command.arg(here(&format!("{name}.py"))).env("PYTHONPATH", site.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    walk_and_journey(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_client_walks_every_operation_and_makes_the_journey() {
    if let Err(why) = installed("typescript", lacking_npm()).await {
        return left_out(&why);
    }
    made("typescript").await;
    // In `target/sdk/`, because Node.js looks for the packages of the tests in the folders above.
    let folder = sdk().join("typescript-tests");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("package.json"), json!({ "private": true, "type": "module" }).to_string()).expect("written");
    for file in ["walk.ts", "journey.ts", "tsconfig.json"] {
        fs::copy(here(file), folder.join(file)).expect("copied");
    }
    let readme = fs::read_to_string(Path::new(ROOT).join("openapi/typescript/README.md")).expect("the README is there");
    let examples: Vec<&str> = readme.split("```ts\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    fs::write(folder.join("readme.ts"), examples.concat()).expect("written");
    let package = the_only(&sdk().join("typescript"), "tgz");
    let mut install = Command::new("npm");
    install.args(["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--offline"]);
    run("installing the package", install.arg(package).current_dir(&folder));
    run("checking types", node("tsc").current_dir(&folder));
    let program = |name: &str| {
        let mut command = node("node");
        command.arg(folder.join(format!("{name}.ts")));
        command
    };
    walk_and_journey(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_walks_every_operation_and_makes_the_journey() {
    if let Err(why) = installed("rust", None).await {
        return left_out(&why);
    }
    made("rust").await;
    let package = sdk().join("rust");
    fs::copy(here("walk.rs"), package.join("examples/walk/main.rs")).expect("copied");
    fs::copy(here("journey.rs"), package.join("examples/journey.rs")).expect("copied");
    let cargo = |words: &[&str]| {
        let mut command = cargo(words);
        command.arg("--manifest-path").arg(package.join("Cargo.toml")).arg("--target-dir").arg(sdk().join("build"));
        // HTTPS is not needed here, and takes long to build.
        command.args(["--quiet", "--locked", "--no-default-features"]);
        command
    };
    blocking("building", cargo(&["build", "--examples"])).await;
    blocking("the examples of the README", cargo(&["test", "--doc"])).await;
    let program = |name: &str| Command::new(sdk().join("build/debug/examples").join(name));
    walk_and_journey(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_client_still_makes_its_journey() {
    if let Err(why) = installed("typescript", lacking_npm()).await {
        return left_out(&why);
    }
    let program = |name: &str| {
        let mut command = node("node");
        command.arg(here("older").join(format!("{name}.ts")));
        command
    };
    journey(program).await;
}

/// `program` names a program of `tests/sdk/` that is ready to run but for its arguments.
async fn walk_and_journey(program: impl Fn(&str) -> Command) {
    walk(program("walk")).await;
    journey(program).await;
}

/// Has a client make every call, and compares what came of them with the document.
async fn walk(mut program: Command) {
    let stage = Stage::new().await;
    let document: Value = serde_json::from_str(&http::document()).expect("JSON");
    let mut wishes = calls::prepared(&document, &stage).await;
    let guest = expect(stage.world.client().post("/v1/guests").send().await, poem::http::StatusCode::CREATED).await;
    wishes.push(json!({
        "operation": "guest_evaluate", "caller": "prepared", "token": guest["token"],
        "field": calls::GUEST, "path": { "kind": SCREENING.name() },
        "query": {}, "headers": {}, "body": SCREENING.example().into_inner(),
    }));
    let token = |token: &str| Some(token.to_owned());
    let callers = [
        ("nobody", None),
        ("guest", token(guest["token"].as_str().expect("a token"))),
        ("subject", token(&stage.newcomer().await.token)),
        ("staff", token(&stage.staff.token)),
    ];
    let prepared = wishes.len();
    wishes.extend(calls::samples(&document, &callers));
    // It ends the session of a caller.
    wishes[prepared..].sort_by_key(|call| call["operation"] == "auth_logout");

    let served = Served::without_jobs(&stage.world).await;
    let file = stage.world.folder.join("walk.json");
    fs::write(&file, json!({ "url": served.url, "calls": wishes }).to_string()).expect("written");
    program.arg(file);
    let written = blocking("the walk", program).await;
    served.stop().await;

    let mut lines = written.lines().map(|line| serde_json::from_str::<Value>(line).expect("lines of JSON"));
    let mut successes: BTreeMap<&str, u32> = BTreeMap::new();
    let statuses = calls::statuses(&document);
    for (wish, outcome) in wishes.iter().zip(&mut lines) {
        assert_eq!((&outcome["operation"], &outcome["caller"]), (&wish["operation"], &wish["caller"]), "in order");
        if wish["caller"] == "prepared" {
            assert_eq!(outcome["answer"], "success", "{outcome}");
        }
        let operation = wish["operation"].as_str().expect("a name");
        assert!(statuses[operation].contains(&outcome["status"].to_string()), "not documented: {outcome}");
        let count = successes.entry(operation).or_default();
        *count += u32::from(outcome["answer"] == "success");
    }
    let operations = crate::operations::ids();
    assert_eq!(lines.next(), Some(json!({ "operations": operations.len() })), "the client has every operation");
    assert_eq!(successes.len(), operations.len(), "every operation was called");
    // Without jobs nothing looks after the tree, so the server is not ready.
    let failing: Vec<_> = successes.iter().filter(|(name, count)| **count == 0 && **name != "ready_get").collect();
    assert!(failing.is_empty(), "succeeded for nobody: {failing:?}");
}

async fn journey(program: impl Fn(&str) -> Command) {
    let world = World::new().await;
    staff::add(&world.app, STAFF, Role::Auditor).await.expect("a member of staff");
    let served = Served::start(&world).await;
    let mut command = program("journey");
    command.arg(&served.url).arg(server::mail_folder(&world.folder)).arg(STAFF);
    let written = blocking("the journey", command).await;
    assert!(written.contains("the journey ended well"), "{written}");
    served.stop().await;
}

/// A server on a free port.
struct Served {
    url: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(world: &World) -> Self {
        let (app, mailbox) = (world.app.clone(), world.mailbox.clone());
        Self::by(|listener, stopped| async {
            let stopped = async { drop(stopped.await) };
            let served = server::serve(app, mailbox, listener, http::TrustedProxies::default(), stopped);
            served.await.expect("it ends in order");
        })
        .await
    }

    /// Serves requests and runs no jobs, so that everything stays in the state in which it was prepared.
    async fn without_jobs(world: &World) -> Self {
        let routes = http::routes(world.app.clone(), http::TrustedProxies::default());
        Self::by(|listener, stopped| async {
            let acceptor = TcpAcceptor::from_tokio(listener).expect("an acceptor");
            let stopped = async { drop(stopped.await) };
            let served = Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(routes, stopped, None);
            served.await.expect("it ends in order");
        })
        .await
    }

    async fn by<F: Future<Output = ()> + Send + 'static>(
        serve: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, stopped));
        Self { url, stop, task }
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("the server ended");
    }
}

/// Installs the generator of a language; or says what is missing.
async fn installed(language: &str, lacking: Option<String>) -> Result<(), String> {
    if let Some(lacking) = lacking {
        return Err(lacking);
    }
    // Two tests of one language would install over one another.
    static INSTALLING: Mutex<()> = Mutex::const_new(());
    let _alone = INSTALLING.lock().await;
    let mut install = chore(&[language, "--install"]);
    let output = tokio::task::spawn_blocking(move || install.output()).await.expect("it ended").expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    output.status.success().then_some(()).ok_or(format!("is its registry reachable? {last}"))
}

/// Makes the package of a language.
async fn made(language: &str) {
    blocking("making the package", chore(&[language])).await;
}

fn chore(words: &[&str]) -> Command {
    let mut command = cargo(&["run", "--quiet", "--bin", "xtask", "--", "sdk"]);
    command.args(words).current_dir(ROOT);
    command
}

fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words);
    command
}

/// A program of the packages that the TypeScript generator brings, Node.js among them.
fn node(program: &str) -> Command {
    let bin = sdk().join("node_modules/.bin");
    let mut command = Command::new(bin.join(program));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", bin.display()));
    command
}

async fn blocking(what: &'static str, mut command: Command) -> String {
    tokio::task::spawn_blocking(move || run(what, &mut command)).await.expect("it ended")
}

/// Where the chore makes everything.
fn sdk() -> PathBuf {
    Path::new(ROOT).join("target/sdk")
}

fn here(file: &str) -> PathBuf {
    Path::new(ROOT).join("tests/sdk").join(file)
}

/// The one file of this kind in a folder.
fn the_only(folder: &Path, extension: &str) -> PathBuf {
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files = files.filter(|path| path.extension().is_some_and(|it| it == extension));
    let file = files.next().expect("a package");
    assert_eq!(files.next(), None, "one package");
    file
}
