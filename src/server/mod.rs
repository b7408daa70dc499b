//! The server as a whole: brings a database up, opens the application on it, serves, and stops in order.

pub mod doctor;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use chrono::TimeDelta;
use context::Clock;
use db::{Db, Login, MigrateError, Passwords};
use domain::desk::alert::Severity;
use listen::{Connections, LimitedAcceptor, Limits};
use poem::{EndpointExt, Server};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use vault::Vault;

use crate::{
    app::{
        Alerts, App, AppError, Databases,
        desk::alert,
        identity::remembered::RememberedStandings,
        log::{access_log::AccessLog, settings::LogSettings},
        operation::{
            keys::KeysError,
            readiness::Readiness,
            request_limit::{self, RequestLimits},
            restore,
        },
        records::guest,
        records::present::PresentRecords,
        rights::{controller::Controller, deletion, import_turn::Imports},
    },
    auth::Tokens,
    data::{
        home::{Database, Folder, HomeError},
        ledger::{Ledger, LedgerError},
        watermark::{Watermark, WatermarkError},
    },
    export,
    http::{self, TrustedProxies},
    jobs::{self, ClocksApart, PolicyDrift},
    mail::{Mailbox, SetupError},
    supervisor::{Cluster, SupervisorError, keep_running, version},
};

/// Why a command or the server ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Place(#[from] HomeError),
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    #[error(transparent)]
    Migrate(MigrateError),
    /// A newer version of Lethe has migrated the database.
    #[error("a newer version of lethe made this database ({0}): start that version, or a newer one")]
    Newer(String),
    #[error(transparent)]
    Db(#[from] db::DbError),
    #[error(transparent)]
    App(#[from] AppError),
    /// Keys could not be rotated, or could not be destroyed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Roles, grants or policies in the database are not what they must be.
    #[error(transparent)]
    Drift(#[from] PolicyDrift),
    #[error(transparent)]
    Clock(#[from] ClocksApart),
    #[error("{0} can't be listened on: {1}; another address is chosen with `serve --listen` or `demo --port`")]
    Listen(SocketAddr, #[source] std::io::Error),
    #[error(transparent)]
    Mail(#[from] SetupError),
    /// Another error of the operating system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// PostgreSQL is older than the minor release that closes known ways around row-level security.
    #[error(
        "PostgreSQL {found} has known ways around row-level security; {needed} closes them (`serve --allow-old-postgres` goes on)"
    )]
    OldPostgres {
        /// The version that runs, such as `17.4`.
        found: String,
        /// The oldest version of that branch that is safe.
        needed: String,
    },
    /// An archive can't be written or read, or the data of the service before was not archived.
    #[error(transparent)]
    Archive(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The file of the newest checkpoint can't be used.
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    /// A restore is refused, or one is unfinished; holds the reason.
    #[error("not restored: {0}")]
    Restore(String),
    /// The doctor or the drill found faults; holds their names.
    #[error("not well: {0}")]
    Sick(String),
    #[error("a helper thread ended without an answer")]
    Lost,
}

/// A database to work on: in our own cluster, or on somebody else's server.
pub struct Store {
    pub database: Database,
    /// The cluster that we started. `None` when the database is on somebody else's server.
    pub cluster: Option<Arc<Cluster>>,
}

const OPTIONS: &[(&str, &str)] = &[
    ("shared_buffers", "256MB"),
    ("max_connections", "100"),
    ("timezone", "UTC"),
    // Plans are made once for a connection, and anew when a table was analysed: a young database grows fast.
    ("autovacuum_naptime", "15s"),
    // Our statements are short, so compiling them gains nothing. And after an upgrade of PostgreSQL's files under a
    // running server, the first compiled statement would load a library that does not fit.
    ("jit", "off"),
    // Neither a failed statement nor its bound values are written to PostgreSQL's log, because they may hold personal
    // data.
    ("log_min_error_statement", "panic"),
    ("log_parameter_max_length_on_error", "0"),
];

/// The exit code when our own PostgreSQL can't be brought up: `EX_TEMPFAIL` of sysexits, so that a service manager can
/// tell a failure that may pass from one that does not.
const TEMPORARY: u8 = 75;

impl From<MigrateError> for ServerError {
    fn from(error: MigrateError) -> Self {
        let told = error.to_string();
        // Refinery's words for a migration that is in the database and not in this build.
        if told.contains("missing from the filesystem") { Self::Newer(told) } else { Self::Migrate(error) }
    }
}

impl ServerError {
    /// The program's exit code after this error. `docs/operations.md` lists the codes.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Supervisor(SupervisorError::GivenUp { .. } | SupervisorError::NotReady { .. }) => TEMPORARY,
            Self::Sick(_) => terminal::FOUND,
            _ => terminal::FAILED,
        }
    }
}

impl Store {
    /// Starts the private cluster of a data folder. The settings in `more` override `OPTIONS`.
    pub async fn start(folder: &Folder, more: &[(&'static str, String)]) -> Result<Self, ServerError> {
        let path = folder.path().to_owned();
        let more = more.to_vec();
        let start = move || {
            let options: Vec<(&str, &str)> =
                OPTIONS.iter().copied().chain(more.iter().map(|(name, value)| (*name, value.as_str()))).collect();
            Cluster::start(&path, &options)
        };
        let cluster = tokio::task::spawn_blocking(start).await.map_err(|_| ServerError::Lost)??;
        let host = cluster.socket_dir().display().to_string();
        let address = db::Address { host, port: cluster.port(), database: "lethe".to_owned() };
        Ok(Self { database: Database { address, admin: "postgres".to_owned() }, cluster: Some(Arc::new(cluster)) })
    }

    /// Creates the database if it is missing, brings it to this version, and installs the ticket key's pads and the
    /// logins' passwords.
    pub async fn migrate(
        &self,
        password: Option<&str>,
        vault: &Vault,
        passwords: &Passwords,
    ) -> Result<(), ServerError> {
        let Database { address, admin } = &self.database;
        self.create_database(password).await?;
        let mut client = db::admin(address, admin, password).await?;
        db::migrate(&mut client).await?;
        db::install_pads(&client, &vault.ring().ticket_key()).await?;
        db::set_passwords(&client, passwords).await?;
        Ok(())
    }

    async fn create_database(&self, password: Option<&str>) -> Result<(), ServerError> {
        let Database { address, admin } = &self.database;
        let maintenance = db::Address { database: "postgres".to_owned(), ..address.clone() };
        let client = db::admin(&maintenance, admin, password).await?;
        if !has_database(&client, &address.database).await? {
            let name = address.database.replace('"', "\"\"");
            client.batch_execute(&format!("CREATE DATABASE \"{name}\"")).await.map_err(db::DbError::from)?;
        }
        Ok(())
    }

    /// Connects as the superuser; `None` if the database does not exist.
    pub async fn connect_if_there(
        &self,
        password: Option<&str>,
    ) -> Result<Option<tokio_postgres::Client>, ServerError> {
        let Database { address, admin } = &self.database;
        let maintenance = db::Address { database: "postgres".to_owned(), ..address.clone() };
        let client = db::admin(&maintenance, admin, password).await?;
        if !has_database(&client, &address.database).await? {
            return Ok(None);
        }
        Ok(Some(db::admin(address, admin, password).await?))
    }

    /// Serves as [`serve`] does, and meanwhile starts our own cluster again whenever it ends. If it can't be brought
    /// back, the server stops with the reason.
    pub async fn serve(
        &self,
        app: Arc<App>,
        mailbox: Mailbox,
        listener: TcpListener,
        proxies: TrustedProxies,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let Some(cluster) = &self.cluster else { return serve(app, mailbox, listener, proxies, stop).await };
        app.readiness.watch_cluster(cluster);
        let (halt, halted) = tokio::sync::oneshot::channel::<()>();
        let end = async move {
            tokio::select! { () = stop => {}, _ = halted => {} }
        };
        let served = serve(app, mailbox, listener, proxies, end);
        tokio::pin!(served);
        tokio::select! {
            outcome = &mut served => outcome,
            given_up = keep_running(cluster.clone()) => {
                drop(halt);
                if let Err(error) = served.await {
                    tracing::warn!(%error, "the server did not stop in order");
                }
                Err(given_up.into())
            }
        }
    }

    /// Stops the cluster, if it is our own.
    pub async fn stop(self) -> Result<(), ServerError> {
        let Some(cluster) = self.cluster else { return Ok(()) };
        Ok(tokio::task::spawn_blocking(move || cluster.stop()).await.map_err(|_| ServerError::Lost)??)
    }
}

async fn has_database(client: &tokio_postgres::Client, name: &str) -> Result<bool, db::DbError> {
    Ok(client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await?.is_some())
}

/// The settings with which an application is opened.
#[derive(Clone)]
pub struct Settings {
    pub folder: Folder,
    /// The number of connections for requests.
    pub connections: usize,
    /// The controller that receipts and certificates name.
    pub controller: Controller,
    pub grace: TimeDelta,
    /// How many requests a client may make in a minute; 0 means no limit.
    pub requests_per_client: i32,
    /// How many requests an account may make in a minute; 0 means no limit.
    pub requests_per_account: i32,
    /// The origins whose pages may call the API from a browser, such as `https://app.example`.
    pub origins: Vec<String>,
    /// The bucket for export files; `None` means the folder `exports` of the data folder.
    pub exports: Option<export::Bucket>,
    /// The first line of the log's checkpoints; `None` means an origin made of the log's key.
    pub log_origin: Option<String>,
    /// The witnesses that must cosign a checkpoint before it is published; `None` means no witnesses.
    pub witnesses: Option<transparency::Policy>,
    /// The rules that raise alerts, and the endpoints and the address that are told.
    pub alerts: Alerts,
    /// Whether a restore is only tried out. Then nothing is signed for the restored log.
    pub rehearsal: bool,
    /// Whether a restore opens the application. Nobody else may open it before the restore is finished.
    pub restoring: bool,
    pub clock: Clock,
}

impl Settings {
    /// The ledger of erasures in the data folder.
    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.folder.join("erasures.ledger"))
    }

    /// The newest checkpoint, in the data folder.
    pub fn watermark(&self) -> Watermark {
        Watermark::new(self.folder.path())
    }

    /// The usual settings: four connections, and a grace of 48 hours.
    pub fn new(folder: Folder, clock: Clock) -> Self {
        let unnamed = Controller { name: CONTROLLER.to_owned(), ..Controller::default() };
        Self {
            folder,
            connections: 4,
            controller: unnamed,
            grace: TimeDelta::seconds(i64::from(GRACE_S)),
            requests_per_client: request_limit::PER_CLIENT,
            requests_per_account: request_limit::PER_ACCOUNT,
            origins: Vec::new(),
            exports: None,
            log_origin: None,
            witnesses: None,
            alerts: Alerts::default(),
            rehearsal: false,
            restoring: false,
            clock,
        }
    }
}

/// The controller's name on receipts when no name is given.
pub const CONTROLLER: &str = "the controller of this service";
/// How long a confirmed deletion can be cancelled, in seconds, if nothing else is set.
pub const GRACE_S: u32 = 48 * 3600;

/// Opens the application on a migrated database. Refuses a database whose policies are not what they must be, and one
/// whose restore is unfinished.
pub async fn open(
    settings: &Settings,
    database: &Database,
    vault: Arc<Vault>,
    passwords: &Passwords,
) -> Result<Arc<App>, ServerError> {
    let key = Arc::new(vault.ring().ticket_key());
    let pool = |login: Login, size| {
        let password = passwords.get(login.as_str()).map(String::as_str).unwrap_or_default();
        Db::connect(&database.address, login, password, size, key.clone())
    };
    let db = Databases {
        api: pool(Login::Api, settings.connections),
        system: pool(Login::System, 4),
        access: pool(Login::Access, 1),
        stats: pool(Login::Stats, 2),
    };
    let journal = settings.folder.join("reads.journal");
    let access_log = AccessLog::start(db.access.clone(), settings.clock.clone(), journal.clone());
    let probe = pool(Login::System, 1);
    let tokens = Tokens::new(vault.clone(), None);
    let ledger = settings.ledger();
    let exports = match &settings.exports {
        Some(bucket) => export::Store::bucket(bucket)?,
        None => export::Store::folder(exports_folder(&settings.folder)),
    };
    let readiness = Readiness::new(db.api.clone(), probe, settings.clock.clone(), journal);
    let app = Arc::new(App {
        db,
        vault,
        tokens,
        access_log,
        readiness,
        ledger,
        log: LogSettings::new(settings.log_origin.clone(), settings.witnesses.clone(), settings.watermark()),
        alerts: settings.alerts.clone(),
        exports,
        guests: guest::counter(),
        limits: RequestLimits::new(settings.requests_per_client, settings.requests_per_account),
        origins: settings.origins.clone(),
        standings: RememberedStandings::default(),
        present: PresentRecords::default(),
        imports: Imports::new(settings.folder.path().to_owned()),
        controller: settings.controller.clone(),
        grace: settings.grace,
        wake: Arc::new(Notify::new()),
        clock: settings.clock.clone(),
    });
    let altered = jobs::check_policies(&app).await??;
    for login in altered.logins() {
        tracing::warn!(login, "a login's settings were altered; `lethe migrate` sets them again");
    }
    if !settings.restoring && (settings.folder.is_restoring() || restore::unfinished(&app).await?) {
        return Err(ServerError::Restore("a restore is unfinished: run the same `lethe restore` again".to_owned()));
    }
    Ok(app)
}

/// Serves within the usual limits until `stop` resolves, then finishes the requests that were begun. Stops by itself if
/// the policies are altered.
pub async fn serve(
    app: Arc<App>,
    mailbox: Mailbox,
    listener: TcpListener,
    proxies: TrustedProxies,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    serve_within(Limits::default(), app, mailbox, listener, proxies, stop).await
}

/// Serves as [`serve`] does, within other limits.
pub async fn serve_within(
    limits: Limits,
    app: Arc<App>,
    mailbox: Mailbox,
    listener: TcpListener,
    proxies: TrustedProxies,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    jobs::check_clock(&app).await??;
    let node = jobs::join_ring(&app).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(jobs::watch_ring(app.clone(), node));
    tasks.spawn(jobs::deliver_letters(app.clone(), mailbox));
    tasks.spawn(jobs::keep_house(app.clone()));
    tasks.spawn(jobs::catch_up(app.clone()));
    // Erasures that a killed server left half done are finished before anybody is served.
    let resumed = deletion::resume(&app).await?;
    if resumed > 0 {
        tracing::info!(resumed, "erasures that were left unfinished have been taken up");
    }
    tasks.spawn(jobs::grow_tree(app.clone()));
    tasks.spawn(jobs::watch_log(app.clone()));
    tasks.spawn(jobs::deliver_alerts(app.clone()));
    jobs::plan(&app).await?;
    tasks.spawn(jobs::run_jobs(app.clone()));
    let (drifted, mut drift) = tokio::sync::oneshot::channel();
    tasks.spawn(watch(app.clone(), drifted));
    tasks.spawn(jobs::watch_sessions(app.clone()));
    // A trusted proxy speaks for many clients, so the limit of connections per address does not apply to it.
    let connections = Connections::new(limits, proxies.addresses().to_vec());
    let acceptor = LimitedAcceptor::new(listener, connections.clone());
    let (halt, halted) = tokio::sync::oneshot::channel::<()>();
    let stopping = connections.clone();
    let end = async move {
        tokio::select! { () = stop => {}, _ = halted => {} }
        stopping.stop();
    };
    let server = Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(
        http::routes(app.clone(), proxies).data(connections),
        end,
        Some(limits.stop),
    );
    tokio::pin!(server);
    let outcome = tokio::select! {
        served = &mut server => served.map_err(ServerError::from),
        Ok(found) = &mut drift => {
            drop(halt);
            server.await?;
            Err(found.into())
        }
    };
    tasks.shutdown().await;
    if let Err(error) = jobs::leave_ring(&app, node).await {
        tracing::warn!(%error, "others will wait for this server for a quarter of a minute");
    }
    outcome
}

const WATCH_EVERY: Duration = Duration::from_secs(30);

async fn watch(app: Arc<App>, drifted: tokio::sync::oneshot::Sender<PolicyDrift>) {
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        match jobs::check_policies(&app).await {
            Ok(Ok(altered)) => jobs::tell_own_settings(&app, &altered).await,
            Ok(Err(drift)) => {
                tracing::error!(%drift, "stopping");
                // Sending fails when the server already stops for another reason; then nobody needs the result.
                let _ = drifted.send(drift);
                return;
            }
            Err(error) => tracing::warn!(%error, "the policies can't be checked"),
        }
        match jobs::check_clock(&app).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "clocks differ");
                alert::alarm(&app, "clocks_apart", Severity::Critical, 1).await;
            }
            Err(error) => tracing::warn!(%error, "the clocks can't be compared"),
        }
    }
}

/// The folder of export files, used when they are not in a bucket.
pub fn exports_folder(folder: &Folder) -> PathBuf {
    folder.join("exports")
}

/// The folder of letters, used when no relay is named.
pub fn mail_folder(folder: &Folder) -> PathBuf {
    folder.join("mail")
}

pub async fn check_version(database: &Database, passwords: &Passwords) -> Result<(), ServerError> {
    let password = passwords.get(Login::Api.as_str()).map(String::as_str);
    let client = db::session(&database.address, Login::Api, password).await?;
    let row = client
        .query_one("SELECT current_setting('server_version_num')::int AS number", &[])
        .await
        .map_err(db::DbError::from)?;
    let number: i32 = row.get("number");
    let (major, minor) = (number / 10_000, number % 10_000);
    let needed = version::newest_minor(major);
    if major >= 15 && minor >= needed {
        return Ok(());
    }
    Err(ServerError::OldPostgres { found: format!("{major}.{minor}"), needed: format!("{}.{needed}", major.max(15)) })
}
