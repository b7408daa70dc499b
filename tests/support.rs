//! One PostgreSQL for each run, one migrated template, a fresh copy for each test; people with names; requests over the
//! real routes.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use context::Clock;
use db::{Address, Login, Passwords};
use lethe::{
    app::App,
    data::home::{Database, Folder},
    http, jobs,
    mail::Mailbox,
    server::{self, Settings, Store},
};
use poem::{
    Addr, Body, Endpoint, EndpointExt, Request, RequestParts, Response,
    http::{Method, StatusCode, uri::Scheme},
    test::{TestClient, TestRequestBuilder, TestResponse},
    web::{LocalAddr, RemoteAddr},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use vault::{Ring, Vault};

use crate::{answers, program::token_of};

/// The cluster of this run and its template database.
pub struct Suite {
    folder: Folder,
    pub database: Database,
    pub passwords: Passwords,
}

static SUITE: OnceCell<Suite> = OnceCell::const_new();

impl Suite {
    pub async fn get() -> &'static Self {
        SUITE.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        crate::left_out::require_postgres();
        let path = tempfile::Builder::new().prefix("lethe-test-").tempdir().expect("a folder for the tests").keep();
        let folder = Folder::open(&path).expect("the folder opens");
        let options = [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            // Tests run in parallel, each with a server of its own, and a login has only a share of the connections.
            ("max_connections", "400"),
            ("log_statement", "all"),
            ("log_parameter_max_length", "-1"),
        ];
        let store = Store::start(&folder, &options.map(|(name, value)| (name, value.to_owned())))
            .await
            .expect("PostgreSQL starts");
        let cluster = store.cluster.as_ref().expect("it is ours");
        clean_up_after_us(&path, cluster.cluster_dir());
        let vault = Vault::new(folder.ring(None).expect("a ring"));
        let passwords = folder.passwords().expect("passwords");
        store.migrate(None, &vault, &passwords).await.expect("migrated");
        let database = store.database.clone();
        // The cluster outlives this value. The guard of `clean_up_after_us` stops it when the process ends, however it
        // ends.
        std::mem::forget(store);
        Self { folder, database, passwords }
    }

    pub async fn superuser(&self, name: &str) -> tokio_postgres::Client {
        let address = Address { database: name.to_owned(), ..self.database.address.clone() };
        db::admin(&address, "postgres", None).await.expect("the superuser connects")
    }
}

/// Starts a shell that waits for this process to end, then stops the cluster and removes its folder.
#[expect(clippy::zombie_processes, reason = "it ends after this process, on purpose")]
fn clean_up_after_us(folder: &Path, cluster_dir: &Path) {
    let script = "read -r _; kill -QUIT \"$(head -n 1 \"$0/postmaster.pid\")\"; sleep 1; rm -rf \"$1\"";
    let mut guard = Command::new("sh")
        .args(["-c", script])
        .arg(cluster_dir)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal to the tests' process group must not end the shell that cleans up.
        .process_group(0)
        .spawn()
        .expect("a shell starts");
    std::mem::forget(guard.stdin.take());
}

/// A database and an application on it, for one test.
pub struct World {
    pub suite: &'static Suite,
    pub database: Database,
    pub folder: Folder,
    pub app: Arc<App>,
    pub clock: Clock,
    pub mailbox: Mailbox,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        let suite = Suite::get().await;
        let name = format!("w{}", context::EventId::random().0.simple());
        let template = &suite.database.address.database;
        let maintenance = suite.superuser("postgres").await;
        maintenance
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
            .await
            .expect("the template is copied");
        // Privileges on the database itself are not copied with the template.
        maintenance
            .batch_execute(&format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO lethe_api, lethe_system, lethe_access, lethe_stats, lethe_auditor, lethe_compliance, lethe_dashboard"))
            .await
            .expect("granted");
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("the folder opens");
        for secret in ["ring.json", "logins.json"] {
            std::fs::copy(suite.folder.join(secret), folder.join(secret)).expect("the secrets are copied");
        }
        let ring = Ring::open(&folder.join("ring.json"), None).expect("the ring opens");
        let database = Database {
            address: Address { database: name, ..suite.database.address.clone() },
            admin: "postgres".to_owned(),
        };
        let clock = Clock::system();
        // Without the limits on all requests, because a test is one client, and its clock may stand still.
        let usual = Settings::new(folder.clone(), clock.clone());
        let settings = Settings { connections: 8, requests_per_client: 0, requests_per_account: 0, ..usual };
        let vault = Arc::new(Vault::new(ring));
        let app = server::open(&settings, &database, vault, &suite.passwords).await.expect("the application opens");
        let mailbox = Mailbox::new(&server::mail_folder(&folder), "lethe@localhost.example").expect("a mailbox");
        Self { suite, database, folder, app, clock, mailbox, _dir: dir }
    }

    /// The same world with a new server that has other settings and an empty memory.
    pub async fn again(self, settings: &Settings) -> Self {
        Self { app: self.another(settings).await, ..self }
    }

    /// Another server on the same database, with the same ring.
    pub async fn another(&self, settings: &Settings) -> Arc<App> {
        let ring = Ring::open(&self.folder.join("ring.json"), None).expect("the ring opens");
        let vault = Arc::new(Vault::new(ring));
        server::open(settings, &self.database, vault, &self.suite.passwords).await.expect("the application opens")
    }

    /// The routes as the server has them.
    pub fn client(&self) -> TestClient<impl Endpoint<Output = Response> + use<>> {
        TestClient::new(http::routes(self.app.clone(), http::TrustedProxies::default()).around(answers::compare))
    }

    /// Closes the database to everybody, as if it were gone.
    pub async fn close_database(&self) {
        let name = &self.database.address.database;
        let closing = format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        self.suite.superuser("postgres").await.batch_execute(&closing).await.expect("the database is closed");
    }

    pub async fn superuser(&self) -> tokio_postgres::Client {
        self.suite.superuser(&self.database.address.database).await
    }

    /// A plain connection of a login with its password, as auditors and dashboards connect.
    pub async fn login(&self, login: Login) -> tokio_postgres::Client {
        let password = self.suite.passwords[login.as_str()].as_str();
        db::client(&self.database.address, login.as_str(), Some(password)).await.expect("the login connects")
    }

    /// A person's request with a JSON body; `null` means no body.
    pub async fn send(&self, person: &Person, method: Method, path: impl Into<String>, body: &Value) -> TestResponse {
        let client = self.client();
        let request = client.request(method, path);
        let request = if body.is_null() { request } else { request.body_json(body) };
        person.sign(request).send().await
    }

    pub async fn get(&self, person: &Person, path: impl Into<String>) -> TestResponse {
        self.send(person, Method::GET, path, &Value::Null).await
    }

    pub async fn post(&self, person: &Person, path: impl Into<String>, body: &Value) -> TestResponse {
        self.send(person, Method::POST, path, body).await
    }

    pub async fn put(&self, person: &Person, path: impl Into<String>, body: &Value) -> TestResponse {
        self.send(person, Method::PUT, path, body).await
    }

    /// Takes all letters to an address out of the folder, as a mail program would. Their order means nothing, because a
    /// file system's times are too coarse.
    pub async fn take_letters(&self, email: &str) -> Vec<String> {
        self.take_saying(email, "").await
    }

    /// Takes the one letter to an address that holds a text out of the folder; the others stay.
    pub async fn take_letter(&self, email: &str, saying: &str) -> String {
        let mut letters = self.take_saying(email, saying).await;
        assert_eq!(letters.len(), 1, "one letter says `{saying}`: {letters:?}");
        letters.remove(0)
    }

    /// Hands all letters over that wait.
    pub async fn deliver_letters(&self) {
        while jobs::deliver_some(&self.app, &self.mailbox).await.expect("letters are delivered") > 0 {}
    }

    async fn take_saying(&self, email: &str, saying: &str) -> Vec<String> {
        self.deliver_letters().await;
        std::fs::read_dir(server::mail_folder(&self.folder))
            .expect("a mail folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .map(|path| (std::fs::read_to_string(&path).expect("text"), path))
            .filter(|(text, _)| text.contains(&format!("To: {email}")) && text.contains(saying))
            .map(|(text, path)| {
                std::fs::remove_file(path).expect("the letter is taken");
                text
            })
            .collect()
    }

    /// Takes the letter with a code out of the folder, and returns the code.
    pub async fn mailed_code(&self, email: &str) -> String {
        let text = self.take_letter(email, "Your code: ").await;
        let at = text.find("Your code: ").expect("a code") + "Your code: ".len();
        text[at..].lines().next().expect("a line").trim_end().to_owned()
    }

    /// Takes the letter with a deletion's token out of the folder, and returns the token.
    pub async fn mailed_token(&self, email: &str) -> String {
        token_of(&self.take_letter(email, "Subject: Please confirm").await).expect("a token")
    }

    /// Asks for a code and reads it from the mail.
    pub async fn code(&self, email: &str) -> String {
        let answer = self.client().post("/v1/auth/code").body_json(&json!({ "email": email })).send().await;
        answer.assert_status(StatusCode::ACCEPTED);
        self.mailed_code(email).await
    }

    /// Registers a person with this first name, with consent to keep work days.
    pub async fn person(&self, name: &str) -> Person {
        self.person_with(name, json!({ "consents": ["work_hours"] })).await
    }

    /// Registers a person with other or additional fields.
    pub async fn person_with(&self, name: &str, more: Value) -> Person {
        let email = format!("{name}@klinik.example");
        let code = self.code(&email).await;
        let mut body = registration(&email, &code);
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let answer = self.client().post("/v1/auth/register").body_json(&body).send().await;
        let grant = expect(answer, StatusCode::CREATED).await;
        Person::new(email, &grant)
    }
}

/// A request as a server gets it from a peer. `target` is method and path, such as `GET /v1/consents`.
pub fn request_from(peer: &str, target: &str, headers: &[(&str, &str)], body: &Value) -> Request {
    let (method, path) = target.split_once(' ').expect("a method and a path");
    let mut request =
        poem::http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, value.as_bytes());
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let peer = RemoteAddr(Addr::SocketAddr(peer.parse().expect("an address with a port")));
    let parts = RequestParts::from((parts, LocalAddr::default(), peer, Scheme::HTTP));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    Request::from_parts(parts, body)
}

pub fn registration(email: &str, code: &str) -> Value {
    json!({
        "email": email, "code": code, "hospital_id": "klinikum-am-see", "specialty": "surgery",
        "role_level": "specialist", "state_code": "BY",
    })
}

/// A signed-in person.
#[derive(Clone, Debug)]
pub struct Person {
    pub email: String,
    pub user_id: String,
    pub token: String,
    pub refresh_token: String,
}

impl Person {
    pub fn new(email: String, grant: &Value) -> Self {
        let text = |name: &str| grant[name].as_str().unwrap_or_default().to_owned();
        Self { email, user_id: text("user_id"), token: text("token"), refresh_token: text("refresh_token") }
    }

    /// Adds the person's token to a request.
    pub fn sign<'a, E: Endpoint + 'static>(&self, request: TestRequestBuilder<'a, E>) -> TestRequestBuilder<'a, E> {
        request.header("authorization", format!("Bearer {}", self.token))
    }
}

/// The JSON of an answer. Panics if the status is another.
pub async fn expect(answer: TestResponse, status: StatusCode) -> Value {
    let found = answer.0.status();
    let text = answer.0.into_body().into_string().await.expect("a text");
    assert_eq!(found, status, "{text}");
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") }
}

pub fn day(date: &str, planned: f64, actual: f64) -> Value {
    json!({ "date": date, "planned_hours": planned, "actual_hours": actual, "source": "geofence" })
}
