//! A client generated from the document, by a program that knows nothing of us, does everything a client does.
//!
//! Needs `python3` with `venv`, and a package index for the first run: without them the test fails, as it must where
//! nobody reads what was skipped. What it installs is pinned in `client/requirements.txt` and kept below `target/`.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use context::Role;
use lethe::{http, server};
use tokio::{net::TcpListener, sync::oneshot};

use crate::support::World;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client");

/// Runs a program to its end and gives what it wrote; panics with it where the program failed.
fn run(what: &str, command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{what}: {:?} does not run: {error}", command.get_program()));
    let written = [output.stdout, output.stderr].concat();
    let written = String::from_utf8_lossy(&written).into_owned();
    assert!(output.status.success(), "{what} failed:\n{written}");
    written
}

/// The virtual environment, made anew where there is none or where the requirements changed.
fn environment() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    let (venv, requirements) = (target.join("python-client-venv"), Path::new(HERE).join("requirements.txt"));
    let wanted = fs::read_to_string(&requirements).expect("the requirements are there");
    let stamp = venv.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return venv;
    }
    run("making a virtual environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    let mut install = Command::new(venv.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"]);
    run("installing what tests/client/requirements.txt names", install.arg(&requirements));
    fs::write(stamp, wanted).expect("noted");
    venv
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_client_makes_the_whole_journey() {
    let dir = tempfile::tempdir().expect("a folder");
    let (document, client) = (dir.path().join("openapi.json"), dir.path().join("lethe_client"));
    fs::write(&document, http::document()).expect("written");
    let venv = tokio::task::spawn_blocking(environment).await.expect("an environment");
    let python = || Command::new(venv.join("bin/python"));
    let checked = run("validating", python().arg(Path::new(HERE).join("check_document.py")).arg(&document));
    assert!(checked.contains("examples fit"), "{checked}");
    let mut generate = Command::new(venv.join("bin/openapi-python-client"));
    // The generator looks for its formatter on the path, and warns of a schema or an operation that it leaves out.
    let path = std::env::var("PATH").unwrap_or_default();
    generate.env("PATH", format!("{}:{path}", venv.join("bin").display()));
    generate.args(["generate", "--fail-on-warning", "--meta", "none", "--path"]).arg(&document);
    let generated = run("generating", generate.arg("--output-path").arg(&client));
    assert!(!generated.to_lowercase().contains("warning"), "{generated}");

    let world = World::new().await;
    let staff = "auditor@lethe.example";
    world.app.staff_add(staff, Role::Auditor).await.expect("a member of staff");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let base_url = format!("http://{}", listener.local_addr().expect("an address"));
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let served = tokio::spawn(server::serve(
        world.app.clone(),
        world.mailbox.clone(),
        listener,
        http::TrustedProxies::default(),
        stopped,
    ));
    let mut journey = python();
    journey.arg(Path::new(HERE).join("journey.py")).arg(dir.path()).arg(base_url);
    journey.arg(server::mail_folder(&world.folder)).arg(staff).env("PYTHONDONTWRITEBYTECODE", "1");
    let written = tokio::task::spawn_blocking(move || run("the journey", &mut journey)).await.expect("it ended");
    assert!(written.contains("the journey ended well"), "{written}");
    drop(stop);
    served.await.expect("the server ended").expect("in order");
}
