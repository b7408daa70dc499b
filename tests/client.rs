//! A client generated from the OpenAPI document, by a generator that knows nothing of us, can do everything a client
//! does.
//!
//! Its packages are listed in `client/requirements.txt`; see `python.rs`.

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use context::Role;
use lethe::{app::identity::staff, http, server};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    left_out::left_out,
    python::{environment, run},
    support::World,
};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client");

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_client_makes_the_whole_journey() {
    let dir = tempfile::tempdir().expect("a folder");
    let (document, client) = (dir.path().join("openapi.json"), dir.path().join("lethe_client"));
    fs::write(&document, http::document()).expect("written");
    let venv = match tokio::task::spawn_blocking(|| environment("client")).await.expect("it ended") {
        Ok(venv) => venv,
        Err(why) => return left_out(&why),
    };
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
    staff::add(&world.app, staff, Role::Auditor).await.expect("a member of staff");
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
