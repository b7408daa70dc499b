//! Letters reach a real SMTP relay (`relay.rs`): with sign-in and TLS, through the queue, and none is lost.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, EventId, SubjectId};
use db::{Gate, Query};
use lethe::{
    app::{App, AppError},
    data::home::write_secret,
    jobs,
    mail::{Letter, Mailbox, letter_insert},
    server::Settings,
};
use poem::http::StatusCode;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    program::{Call, Program, run, text},
    relay::{SENDER, Server, mailbox},
    support::{World, expect, registration},
};

/// Longer than the pause after a letter's first failure.
const A_WHILE: TimeDelta = TimeDelta::seconds(6);
/// Longer than the lease of a letter.
const A_LEASE: TimeDelta = TimeDelta::seconds(301);

impl World {
    /// Puts a letter into the queue, as the system.
    async fn post_letter(&self, letter: &Letter) {
        let ctx = &Ctx::system(self.clock.clone());
        let (key, sealer) = &self.app.vault.ring().transit(ctx.now()).expect("a key");
        self.app
            .db
            .system
            .run_tx("test_post", ctx, Gate::read(ctx), move |tx| async move {
                tx.queue(letter_insert(ctx, letter, *key, sealer));
                Ok::<_, AppError>(())
            })
            .await
            .expect("the system may write letters");
    }

    async fn deliver(&self, mailbox: &Mailbox) -> usize {
        jobs::deliver_some(&self.app, mailbox).await.expect("the queue is there")
    }

    /// How many letters wait, and the highest number of attempts at one of them.
    async fn waiting(&self) -> (i64, i32) {
        let row = self
            .superuser()
            .await
            .query_one("SELECT count(*), coalesce(max(attempts), 0) FROM auth.letters", &[])
            .await
            .expect("counted");
        (row.get(0), row.get(1))
    }
}

#[tokio::test]
async fn a_code_arrives_by_a_relay_and_lets_one_in() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    let email = "anna@klinik.example";
    let asked = world.client().post("/v1/auth/code").body_json(&json!({ "email": email })).send().await;
    asked.assert_status(StatusCode::ACCEPTED);
    assert_eq!(world.deliver(&server.mailbox("geheim")).await, 1);
    assert_eq!(world.waiting().await, (0, 0));
    let letters = server.letters();
    let [letter] = letters.as_slice() else { panic!("one letter: {letters:?}") };
    assert_eq!(letter["from"], "no-reply@lethe.example");
    assert_eq!(letter["to"], json!([email]));
    assert_eq!((&letter["tls"], &letter["user"]), (&json!(true), &json!("relay")));
    let text = letter["text"].as_str().expect("a text");
    for header in [
        "From: Lethe <no-reply@lethe.example>\r\n",
        "To: anna@klinik.example\r\n",
        "Auto-Submitted: auto-generated\r\n",
    ] {
        assert!(text.contains(header), "{header} is missing: {text}");
    }
    let (_, rest) = text.split_once("\r\nYour code: ").expect("a code");
    let answer = world.client().post("/v1/auth/register").body_json(&registration(email, &rest[..6])).send().await;
    expect(answer, StatusCode::CREATED).await;
}

#[tokio::test]
async fn tls_from_the_start_and_none_on_loopback_do_too() {
    let world = World::new().await;
    for (scheme, security) in [("smtps", "tls"), ("smtp+plain", "plain")] {
        let dir = tempfile::tempdir().expect("a folder");
        let Some(server) = Server::start(dir.path(), security).await else { return };
        let ca = server.ca();
        let mailbox = mailbox(&server.url(scheme), "geheim", (security == "tls").then_some(ca.as_path()));
        world.post_letter(&Letter::deletion_cancelled("anna@klinik.example")).await;
        assert_eq!(world.deliver(&mailbox).await, 1);
        assert_eq!(server.recipients(), ["anna@klinik.example"], "{scheme}");
        assert_eq!(server.letters()[0]["tls"], security == "tls");
    }
    assert_eq!(world.waiting().await, (0, 0));
}

#[tokio::test]
async fn nothing_leaves_without_tls_or_to_a_stranger() {
    let world = World::new().await;
    let (ours, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let Some(safe) = Server::start(ours.path(), "starttls").await else { return };
    let Some(plain) = Server::start(other.path(), "plain").await else { return };
    let stranger_dir = tempfile::tempdir().expect("a folder");
    let Some(stranger) = Server::start(stranger_dir.path(), "tls").await else { return };
    world.post_letter(&Letter::deletion_cancelled("anna@klinik.example")).await;
    let without_starttls = mailbox(&plain.url("smtp"), "geheim", Some(&safe.ca()));
    let of_another_ca = mailbox(&safe.url("smtp"), "geheim", Some(&stranger.ca()));
    let of_the_system = mailbox(&safe.url("smtp"), "geheim", None);
    let another_name = mailbox(&format!("smtp://relay@localhost:{}", safe.port), "geheim", Some(&safe.ca()));
    let tries = [
        ("no STARTTLS", without_starttls),
        ("a CA", of_another_ca),
        ("no CA", of_the_system),
        ("a name", another_name),
    ];
    for (attempts, (why, mailbox)) in (1..).zip(tries) {
        assert_eq!(world.deliver(&mailbox).await, 1, "{why}");
        assert_eq!(world.waiting().await, (1, attempts), "{why}");
        world.clock.advance(TimeDelta::minutes(2));
    }
    assert_eq!((safe.letters(), plain.letters()), (vec![], vec![]));
    world.deliver(&safe.mailbox("geheim")).await;
    assert_eq!(safe.recipients(), ["anna@klinik.example"]);
}

#[tokio::test]
async fn a_wrong_password_costs_no_letter() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    for name in ["anna", "ben"] {
        world.post_letter(&Letter::deletion_cancelled(&format!("{name}@klinik.example"))).await;
    }
    assert_eq!(world.deliver(&server.mailbox("falsch")).await, 1, "what fails for one is not tried with the next");
    assert_eq!(world.deliver(&server.mailbox("falsch")).await, 1);
    assert_eq!((world.waiting().await, server.letters()), ((2, 1), vec![]));
    let (wrong, letter) = (server.mailbox("falsch"), Letter::deletion_cancelled("anna@klinik.example"));
    let error = wrong.round().deliver(EventId::random().0, &letter).await.expect_err("refused");
    assert_eq!(error.to_string(), "the mail relay refuses our sign-in (535)");
    world.clock.advance(A_WHILE);
    assert_eq!(world.deliver(&server.mailbox("geheim")).await, 2);
    assert_eq!(server.recipients(), ["anna@klinik.example", "ben@klinik.example"]);
    assert_eq!(world.waiting().await, (0, 0));
}

#[tokio::test]
async fn a_temporary_refusal_delays_and_a_permanent_one_drops() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    let mailbox = server.mailbox("geheim");
    for name in ["anna", "nobody", "spam", "carla", "busy.ben"] {
        world.post_letter(&Letter::deletion_cancelled(&format!("{name}@klinik.example"))).await;
    }
    assert_eq!(world.deliver(&mailbox).await, 5);
    assert_eq!(server.recipients(), ["anna@klinik.example", "carla@klinik.example"]);
    assert_eq!(world.waiting().await, (1, 1), "the busy one's waits, the refused ones are gone");
    world.clock.advance(A_WHILE);
    assert_eq!(world.deliver(&mailbox).await, 1);
    assert_eq!(server.recipients(), ["anna@klinik.example", "busy.ben@klinik.example", "carla@klinik.example"]);
    assert_eq!(world.waiting().await, (0, 0));
}

#[tokio::test]
async fn an_error_never_repeats_what_the_relay_said_of_somebody() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    for (address, wanted) in [
        ("nobody@klinik.example", "the mail relay refuses the letter (550)"),
        ("spam@klinik.example", "the mail relay refuses the letter (554)"),
        ("busy@klinik.example", "the mail relay puts the letter off (451)"),
        ("no\nbody@klinik.example", "the letter is not well formed"),
    ] {
        let (mailbox, letter) = (server.mailbox("geheim"), Letter::deletion_cancelled(address));
        let error = mailbox.round().deliver(EventId::random().0, &letter).await.expect_err("refused");
        assert_eq!(error.to_string(), wanted);
        assert!(!format!("{error:?}").contains("klinik"), "{error:?}");
    }
}

#[tokio::test]
async fn a_relay_that_is_down_gets_every_letter_once_when_it_is_back() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    let (port, mailbox) = (server.port, server.mailbox("geheim"));
    world.post_letter(&Letter::deletion_cancelled("anna@klinik.example")).await;
    assert_eq!(world.deliver(&mailbox).await, 1);
    drop(server);
    let names: Vec<String> = (0..20).map(|number| format!("p{number:02}@klinik.example")).collect();
    for name in &names {
        world.post_letter(&Letter::deletion_cancelled(name)).await;
    }
    for (attempts, pause) in [(1, TimeDelta::seconds(5)), (2, TimeDelta::seconds(10)), (3, TimeDelta::seconds(20))] {
        let before = world.clock.now();
        for _ in &names {
            assert_eq!(world.deliver(&mailbox).await, 1, "what fails for one is not tried with the next");
        }
        assert_eq!(world.waiting().await, (20, attempts));
        let rows = world.superuser().await.query("SELECT next_at FROM auth.letters", &[]).await.expect("read");
        let in_time = before + pause..=world.clock.now() + pause;
        assert!(rows.iter().all(|row| in_time.contains(&row.get::<_, DateTime<Utc>>(0))), "each waits {pause}");
        world.clock.advance(pause);
    }
    let Some(server) = Server::start_on(dir.path(), "starttls", port).await else { return };
    while world.deliver(&mailbox).await > 0 {}
    assert_eq!(server.recipients(), [vec!["anna@klinik.example".to_owned()], names].concat());
    assert_eq!(world.waiting().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_the_letters() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    let names: Vec<String> = (0..40).map(|number| format!("p{number:02}@klinik.example")).collect();
    for name in &names {
        world.post_letter(&Letter::deletion_cancelled(name)).await;
    }
    let mailbox = server.mailbox("geheim");
    let other = world.another(&Settings::new(world.folder.clone(), world.clock.clone())).await;
    let deliver = async |app: &App| while jobs::deliver_some(app, &mailbox).await.expect("delivered") > 0 {};
    tokio::join!(deliver(&world.app), deliver(&other));
    assert_eq!(server.recipients(), names);
    assert_eq!(world.waiting().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_a_server_that_dies_is_taken_by_another() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    world.post_letter(&Letter::deletion_cancelled("anna@klinik.example")).await;
    // A relay that never answers holds the first server up until that server dies.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let url = format!("smtp://relay@127.0.0.1:{}", silent.local_addr().expect("an address").port());
    let (app, mailbox) = (world.app.clone(), mailbox(&url, "geheim", Some(&server.ca())));
    let dying = tokio::spawn(async move { jobs::deliver_some(&app, &mailbox).await.map(drop) });
    let (mut connection, _) = silent.accept().await.expect("it calls");
    dying.abort();
    assert!(dying.await.expect_err("it was aborted").is_cancelled());
    let mut said = Vec::new();
    connection.read_to_end(&mut said).await.expect("it hung up");
    assert_eq!(said, b"", "nothing is said before the relay is known");
    assert_eq!(world.waiting().await, (1, 1), "nothing is lost");
    assert_eq!(world.deliver(&server.mailbox("geheim")).await, 0, "the lease runs on");
    world.clock.advance(A_LEASE);
    assert_eq!(world.deliver(&server.mailbox("geheim")).await, 1);
    assert_eq!(server.recipients(), ["anna@klinik.example"]);
    assert_eq!(world.waiting().await, (0, 0));
}

#[tokio::test]
async fn a_letter_whose_receipt_was_lost_comes_again_under_the_same_id() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    world.post_letter(&Letter::deletion_cancelled("lost.anna@klinik.example")).await;
    assert_eq!(world.deliver(&server.mailbox("geheim")).await, 1);
    assert_eq!(world.waiting().await, (1, 1), "who got no answer can't know");
    world.clock.advance(A_WHILE);
    assert_eq!(world.deliver(&server.mailbox("geheim")).await, 1);
    assert_eq!(world.waiting().await, (0, 0));
    let id = |letter: &Value| {
        let text = letter["text"].as_str().expect("a text");
        let (_, rest) = text.split_once("Message-ID: ").expect("an id");
        rest.lines().next().expect("a line").to_owned()
    };
    let letters = server.letters();
    let [first, second] = letters.as_slice() else { panic!("two letters: {letters:?}") };
    assert_eq!(id(first), id(second));
    assert!(id(first).ends_with("@lethe.example>"), "{}", id(first));
}

#[tokio::test]
async fn a_letter_that_is_too_old_stays_behind() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    world.post_letter(&Letter::code("anna@klinik.example", "123456")).await;
    world.post_letter(&Letter::deletion_cancelled("ben@klinik.example")).await;
    world.clock.advance(TimeDelta::minutes(11));
    while world.deliver(&server.mailbox("geheim")).await > 0 {}
    assert_eq!(server.recipients(), ["ben@klinik.example"], "a code that has run out serves nobody");
    world.post_letter(&Letter::deletion_cancelled("carla@klinik.example")).await;
    world.clock.advance(TimeDelta::hours(48));
    assert_eq!(world.deliver(&server.mailbox("geheim")).await, 0);
}

#[tokio::test]
async fn a_job_of_one_person_writes_letters_and_reads_none() {
    let world = World::new().await;
    let ctx = &Ctx::job(world.clock.clone(), SubjectId::random());
    let (key, sealer) = &world.app.vault.ring().transit(ctx.now()).expect("a key");
    let letter = &Letter::deletion_confirmed("anna@klinik.example", DateTime::UNIX_EPOCH);
    let run = async |name, query: &(dyn Fn() -> Query + Sync)| {
        let work = async |tx: db::Tx| Ok::<_, AppError>(tx.finish([query()]).await.map(drop)?);
        world.app.db.api.run_tx(name, ctx, Gate::read(ctx), work).await
    };
    run("test_post", &|| letter_insert(ctx, letter, *key, sealer)).await.expect("a job may write letters");
    assert_eq!(world.waiting().await, (1, 0));
    let read = run("test_read", &|| Query::new("SELECT FROM auth.letters")).await.expect_err("refused");
    assert!(matches!(read, AppError::Db(db::DbError::Refused)), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_sends_by_the_relay_of_its_command_line() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let Some(server) = Server::start(dir.path(), "starttls").await else { return };
    let logins = serde_json::to_vec(&world.suite.passwords).expect("JSON");
    write_secret(&world.folder.join("logins.json"), &logins).expect("written");
    let password = dir.path().join("password");
    write_secret(&password, b"geheim\n").expect("written");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    drop(listener);
    let (listen, database) = (address.to_string(), world.database.url(&world.database.admin, None));
    let (data, url, ca) = (world.folder.path().display().to_string(), server.url("smtp"), server.ca());
    let (password, ca) = (password.display().to_string(), ca.display().to_string());
    let serve = [
        "serve",
        "--data",
        &data,
        "--database",
        &database,
        "--listen",
        &listen,
        "--allow-old-postgres",
        "--sender",
        SENDER,
    ];
    let smtp = ["--smtp", &url, "--smtp-password-file", &password, "--smtp-ca", &ca];
    let mut program = Program::start(&[&serve[..], &smtp[..]].concat(), "trace");
    program.wait_for("serving");
    let asked =
        Call::new(address, "POST", "/v1/auth/code").json(&json!({ "email": "anna@klinik.example" })).send().await;
    asked.expect(202);
    let patience = Instant::now() + Duration::from_secs(60);
    while server.letters().is_empty() {
        program.assert_runs();
        assert!(Instant::now() < patience, "no letter came: {}", String::from_utf8_lossy(&program.output()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, output) = program.stop();
    let output = String::from_utf8_lossy(&output);
    assert!(status.success(), "{output}");
    let letters = server.letters();
    let letter = letters[0]["text"].as_str().expect("a text");
    let (_, code) = letter.split_once("\r\nYour code: ").expect("a code");
    for secret in ["anna@klinik", "geheim", &code[..6]] {
        assert!(!output.contains(secret), "{secret} stands in the program's output");
    }
}

#[test]
fn what_the_command_line_may_not_say_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().expect("a folder");
    let (data, open) = (dir.path().join("data"), dir.path().join("open"));
    fs::write(&open, "geheim\n").expect("written");
    let (data, open) = (data.display().to_string(), open.display().to_string());
    for (arguments, wanted) in [
        (vec!["--smtp", "smtp://relay:geheim@mail.example"], "--smtp must not hold a password"),
        (vec!["--smtp", "smtp://relay@mail.example"], "--smtp-password-file"),
        (vec!["--smtp", "smtp+plain://mail.example"], "loopback"),
        (vec!["--smtp", "smtp://relay@mail.example", "--smtp-password-file", &open], "mode must be 0600"),
        (vec!["--smtp", "mail.example"], "--smtp must look like"),
        (vec!["--smtp-ca", &open], "--smtp-ca needs --smtp beside it"),
    ] {
        let mut all = vec!["serve", "--data", &data, "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let output = run(&all);
        let written = text(&output);
        assert!(!output.status.success() && written.contains(wanted), "{all:?}: {written}");
        assert!(!written.contains("geheim"), "a secret is never repeated: {written}");
    }
    assert!(!Path::new(&data).exists(), "nothing was begun");
}
