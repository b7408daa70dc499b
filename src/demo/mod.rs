//! The demonstration: a server with its own PostgreSQL and a plausible quarter of invented people, made by the commands
//! behind the API. A later run goes on with the same data, and finishes the work of an earlier run that was stopped.

pub mod evaluate;
pub(crate) mod fill;
pub mod hospitals;
mod options;
pub(crate) mod people;

pub use options::Demo;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::TimeDelta;
use context::{Clock, Role};
use db::{Login, Passwords};
use domain::{
    quarter::Quarter,
    statistics::plan::{Plan, Policy},
};
use serde_json::json;
use terminal::{Output, note, quoted};
use tokio::net::TcpListener;
use vault::Vault;

use crate::{
    app::{
        App, AppError,
        identity::staff,
        log::tree,
        statistics::{hospital, release},
    },
    auth::{Grant, Tokens},
    backup::Watch,
    data::home::{Database, Folder, HomeError, write_secret},
    http::TrustedProxies,
    mail::Mailbox,
    server::{self, ServerError, Settings, Store},
};

/// How many people have a token in `demo.json`.
const SHOWN: usize = 10;
const TOKEN_HOURS: i64 = 12;
const STAFF: [(&str, Role); 2] =
    [("compliance@lethe.example", Role::Compliance), ("auditor@lethe.example", Role::Auditor)];

pub async fn run(
    demo: &Demo,
    folder: &Folder,
    watch: Watch<'_>,
    output: Output,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let hospitals = match &demo.hospitals {
        Some(path) => hospitals::read(path).map_err(|error| HomeError::Malformed(path.clone(), error.to_string()))?,
        None => hospitals::built_in(),
    };
    if hospitals.is_empty() {
        return Err(
            HomeError::Malformed(demo.hospitals.clone().unwrap_or_default(), "no hospital in it".to_owned()).into()
        );
    }
    let listener = listen(demo.port).await?;
    note(format_args!("Starting PostgreSQL in {} …", folder.path().display()));
    let store = Store::start(folder, &[]).await?;
    let outcome = run_on(demo, folder, &store, hospitals, listener, (watch, output), stop).await;
    note("Stopping …");
    let stopped = store.stop().await;
    outcome.and(stopped)
}

async fn listen(port: u16) -> Result<TcpListener, ServerError> {
    let address = ([127, 0, 0, 1], port).into();
    TcpListener::bind(address).await.map_err(|error| ServerError::Listen(address, error))
}

async fn run_on(
    demo: &Demo,
    folder: &Folder,
    store: &Store,
    hospitals: Vec<hospitals::Hospital>,
    listener: TcpListener,
    (watch, output): (Watch<'_>, Output),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let vault = Arc::new(Vault::new(folder.ring(None)?));
    let passwords = folder.passwords()?;
    store.migrate(None, &vault, &passwords).await?;
    if let Err(error) = server::check_version(&store.database, &passwords).await {
        note(format_args!("Warning: {error}; a demonstration may go on."));
    }
    let settings = Settings { connections: 16, grace: demo.grace, ..Settings::new(folder.clone(), Clock::system()) };
    let app = server::open(&settings, &store.database, vault.clone(), &passwords).await?;
    let (stop, stopped) = shared(stop);
    tokio::select! {
        filled = fill_and_release(&app, demo, folder, &hospitals, watch) => filled?,
        () = stopped => return Ok(()),
    }
    let base_url = format!("http://{}", listener.local_addr()?);
    let sheet = sheet(&app, demo, &vault, &store.database, &passwords, &hospitals, &base_url).await?;
    write_secret(&folder.join("demo.json"), format!("{sheet:#}\n").as_bytes())?;
    let password = passwords.get(Login::Auditor.as_str()).map(String::as_str).unwrap_or_default();
    write_secret(&folder.join("auditor.password"), format!("{password}\n").as_bytes())?;
    tree::grow(&app).await?;
    let mailbox = Mailbox::new(&server::mail_folder(folder), &demo.sender)?;
    let auditor = store.database.url(Login::Auditor.as_str(), None);
    let json = json!({ "base_url": base_url, "folder": folder.path(), "sheet": folder.join("demo.json") });
    output.say(welcome(folder.path(), &base_url, &auditor), json)?;
    store.serve(app, mailbox, listener, TrustedProxies::default(), stop).await
}

/// Fills the database, and releases the quarter's statistics if the quarter's grace is over.
async fn fill_and_release(
    app: &Arc<App>,
    demo: &Demo,
    folder: &Folder,
    hospitals: &[hospitals::Hospital],
    watch: Watch<'_>,
) -> Result<(), ServerError> {
    if options::progress_of(folder)?.is_none() {
        // With few people only the coarse table can show anything. The plan can be chosen now, because no quarter has
        // data yet.
        let first = Quarter::last_closed_before(app.clock.now().date_naive());
        release::plan(app, first, Policy { plan: Plan::Small, revision: None }).await?;
    }
    let ids: Vec<String> = hospitals.iter().map(|hospital| hospital.hospital_id.clone()).collect();
    hospital::add(app, &ids).await?;
    let quarter = fill::fill(app, demo, folder, hospitals, watch).await?;
    let (policy, releases) = release::state_of(app, quarter).await?;
    if releases == 0 && policy.due_on(quarter, 0) <= app.clock.now().date_naive() {
        release::make(app, quarter, 0).await?;
    }
    Ok(())
}

/// Splits one signal to stop into two futures.
fn shared(
    stop: impl Future<Output = ()> + Send + 'static,
) -> (impl Future<Output = ()> + Send + 'static, impl Future<Output = ()>) {
    let (sender, first) = tokio::sync::watch::channel(false);
    let second = first.clone();
    tokio::spawn(async move {
        stop.await;
        sender.send_replace(true);
    });
    let wait = |mut receiver: tokio::sync::watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which counts as a stop.
        let _ = receiver.wait_for(|stopped| *stopped).await;
    };
    (wait(first), wait(second))
}

/// The content of `demo.json`.
async fn sheet(
    app: &App,
    demo: &Demo,
    vault: &Arc<Vault>,
    database: &Database,
    passwords: &Passwords,
    hospitals: &[hospitals::Hospital],
    base_url: &str,
) -> Result<serde_json::Value, ServerError> {
    let tokens = Tokens::new(vault.clone(), Some(TimeDelta::hours(TOKEN_HOURS)));
    let mut subjects = Vec::new();
    for person in fill::cast(demo, hospitals).take(SHOWN.min(demo.people)) {
        let grant = fill::sign_in(app, &person.email).await?.ok_or(AppError::NotFound("account"))?;
        let (token, _) = tokens.issue(&grant.claims, app.clock.now());
        subjects.push(json!({ "email": person.email, "user_id": grant.claims.user, "token": token }));
    }
    let mut staff = serde_json::Map::new();
    for (email, role) in STAFF {
        let grant = staff_sign_in(app, email, role).await?;
        let (token, _) = tokens.issue(&grant.claims, app.clock.now());
        staff.insert(role.as_str().to_owned(), json!({ "email": email, "token": token }));
    }
    let url = |login: Login| database.url(login.as_str(), passwords.get(login.as_str()).map(String::as_str));
    Ok(json!({
        "base_url": base_url,
        "subjects": subjects,
        "staff": staff,
        "database": {
            "api": url(Login::Api),
            "auditor": url(Login::Auditor),
            "compliance": url(Login::Compliance),
            "dashboard": url(Login::Dashboard),
            "superuser": database.url(&database.admin, None),
        },
    }))
}

async fn staff_sign_in(app: &App, email: &str, role: Role) -> Result<Grant, AppError> {
    staff::add(app, email, role).await?;
    fill::sign_in(app, email).await?.ok_or(AppError::NotFound("account"))
}

/// The address, and commands to try. They run in any folder, and hold no path that a shell would part.
fn welcome(folder: &Path, base_url: &str, auditor: &str) -> String {
    let file = |name: &str| quoted(folder.join(name).display());
    let (mail, sheet, url) = (file("mail"), file("demo.json"), |path: &str| quoted(format_args!("{base_url}{path}")));
    format!(
        "\nLethe serves on {base_url}\n\n\
         To sign in, ask for a code and read it from the newest letter:\n  \
         curl -s {} -H 'content-type: application/json' -d '{{\"email\":\"you@klinik.example\"}}'\n  \
         cat \"$(ls -t {mail}/*.eml | head -n 1)\"\n\n\
         Or take a token that is good for twelve hours, of people who are there already:\n  \
         TOKEN=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[\"subjects\"][0][\"token\"])' {sheet})\n  \
         curl -s {} -H \"authorization: Bearer $TOKEN\"\n\n\
         To verify the log without trusting the server, by its key and newest checkpoint, as an auditor:\n  \
         {} verify --log {} \\\n    --password-file {} --checkpoint {} --key {}\n\n\
         The API: {base_url}/openapi.json. Stop with Ctrl-C; run again to go on with the same data.",
        url("/v1/auth/code"),
        url("/v1/work-events/me?limit=3"),
        lethe_audit(),
        quoted(auditor),
        file("auditor.password"),
        file("checkpoint"),
        file("log.vkey"),
    )
}

/// How `lethe-audit` is started: as the program beside this one; where it is not built, by cargo in the checkout that
/// this program was built in; else by its name.
fn lethe_audit() -> String {
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.with_file_name("lethe-audit");
    if beside.is_file() {
        return quoted(beside.display());
    }
    let manifests = own.ancestors().map(|folder| folder.join("crates/auditor/Cargo.toml"));
    match manifests.into_iter().find(|manifest: &PathBuf| manifest.is_file()) {
        Some(manifest) => format!("cargo run --release -q --manifest-path {} --", quoted(manifest.display())),
        None => "lethe-audit".to_owned(),
    }
}
