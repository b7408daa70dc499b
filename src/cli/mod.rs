//! Commands and their arguments. Secrets come from files only.

mod backup;
mod hold;
mod keys;
mod migrate;
mod progress;
mod projection;
mod serve;
mod staff;
mod stats;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand};
use context::Clock;
use lethe::{
    data::place::{Database, Folder, PlaceError, read_secret},
    demo::{self, Demo},
    http, jobs,
    server::{self, ServerError, Settings, Store, doctor},
};
use tokio::signal::unix::{SignalKind, signal};
use vault::Vault;
use zeroize::Zeroizing;

/// An event-sourced server that remembers what happened and can forget who it happened to.
#[derive(Parser)]
#[command(name = "lethe", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a server of its own with invented people, to try things on
    Demo(DemoArgs),
    /// Serve; without --database on a PostgreSQL of its own
    Serve(Box<serve::ServeArgs>),
    /// Bring a database to this version: roles, tables, policies; or archive what the service before kept
    Migrate(migrate::MigrateArgs),
    /// Check roles, policies, PostgreSQL's version, the key ring and the clock
    Doctor(PlaceArgs),
    /// Manage members of staff
    #[command(subcommand)]
    Staff(staff::StaffCommand),
    /// Place or lift a legal hold, while which nothing of a person is deleted
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Show read models, and build them anew from the log
    #[command(subcommand)]
    Projections(projection::ProjectionCommand),
    /// Show, rotate and destroy keys of the ring
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show and rotate the keys that sign access tokens
    #[command(subcommand)]
    Jwt(keys::JwtCommand),
    /// Take a backup
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Bring an empty database back from an archive of the log and the newest archive of the keys
    Restore(backup::RestoreArgs),
    /// Prove that what was erased does not come back from an older backup; rotates the key ring
    Drill(backup::DrillArgs),
    /// Plan and release published statistics
    #[command(subcommand)]
    Stats(stats::StatsCommand),
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Args)]
struct DemoArgs {
    /// The data folder
    #[arg(long, default_value = ".lethe")]
    data: PathBuf,
    /// The TCP port on loopback; 0 for any
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// How many people
    #[arg(long, default_value_t = 2000)]
    people: usize,
    /// From what people are made; nothing secret comes of it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a confirmed deletion can be cancelled, in seconds
    #[arg(long, default_value_t = 60)]
    grace: u32,
    /// The hospitals they work at: a CSV with the columns `name` and `state`
    #[arg(long)]
    hospitals: Option<PathBuf>,
}

#[derive(Args)]
struct PlaceArgs {
    /// The data folder: key ring, passwords of logins, mail
    #[arg(long, default_value = ".lethe")]
    data: PathBuf,
    /// A database, as postgresql://superuser@host:port/name; without it, the data folder's own
    #[arg(long)]
    database: Option<String>,
    /// The file of the superuser's password, mode 0600
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// The file of the passphrase that locks the key ring, mode 0600
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
}

impl Cli {
    /// Does what was asked.
    pub async fn run(self) -> Result<(), ServerError> {
        match self.command {
            Command::Demo(args) => {
                let folder = Folder::open(&args.data)?;
                let demo = Demo {
                    people: args.people,
                    seed: args.seed,
                    hospitals: args.hospitals,
                    port: args.port,
                    grace: TimeDelta::seconds(i64::from(args.grace)),
                    sender: "Lethe <lethe@localhost.example>".to_owned(),
                };
                demo::run(&demo, &folder, asked_to_stop()?).await
            }
            Command::Serve(args) => args.run().await,
            Command::Migrate(args) => args.run().await,
            Command::Doctor(args) => {
                args.on_store(false, async |place| {
                    doctor::examine(&place.folder, &place.store.database, &place.vault).await
                })
                .await
            }
            Command::Staff(command) => command.run().await,
            Command::Hold(command) => command.run().await,
            Command::Projections(command) => command.run().await,
            Command::Keys(command) => command.run().await,
            Command::Jwt(command) => command.run().await,
            Command::Backup(command) => command.run().await,
            Command::Restore(args) => args.run().await,
            Command::Drill(args) => args.run().await,
            Command::Stats(command) => command.run().await,
            Command::Openapi => {
                print!("{}", http::document());
                Ok(())
            }
        }
    }
}

/// A data folder and a database, at hand.
struct Place {
    folder: Folder,
    store: Store,
    vault: Arc<Vault>,
    password: Option<Zeroizing<String>>,
}

impl PlaceArgs {
    /// Opens the place; makes what is missing only where `create` says so.
    async fn open(&self, create: bool) -> Result<Place, ServerError> {
        let folder = Folder::open(&self.data)?;
        let passphrase = self.passphrase_file.as_deref().map(required_secret).transpose()?;
        let password = self.password_file.as_deref().map(required_secret).transpose()?;
        let passphrase = passphrase.as_ref().map(|passphrase| passphrase.as_bytes());
        let ring = if create { folder.ring(passphrase)? } else { folder.present_ring(passphrase)? };
        let store = match &self.database {
            Some(url) => Store { database: Database::parse(url)?, cluster: None },
            None => Store::start(&folder, &[]).await?,
        };
        Ok(Place { folder, store, vault: Arc::new(Vault::new(ring)), password })
    }

    /// Runs something on the place and stops our own cluster afterwards, whatever came of it.
    async fn on_store(
        &self,
        create: bool,
        work: impl AsyncFnOnce(&Place) -> Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        let place = self.open(create).await?;
        let outcome = work(&place).await;
        let stopped = place.store.stop().await;
        outcome.and(stopped)
    }
}

impl Place {
    fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.as_str())
    }

    async fn migrate(&self) -> Result<(), ServerError> {
        self.store.migrate(self.password(), &self.vault, &self.folder.passwords()?).await
    }

    /// Opens the application as commands need it that do not serve.
    async fn open(&self) -> Result<Arc<lethe::app::App>, ServerError> {
        self.open_with(&self.settings()).await
    }

    fn settings(&self) -> Settings {
        Settings::new(self.folder.clone(), Clock::system())
    }

    async fn open_with(&self, settings: &Settings) -> Result<Arc<lethe::app::App>, ServerError> {
        let passwords = self.folder.passwords()?;
        let app = server::open(settings, &self.store.database, self.vault.clone(), &passwords).await?;
        jobs::check_clock(&app).await??;
        Ok(app)
    }
}

fn required_secret(path: &Path) -> Result<Zeroizing<String>, PlaceError> {
    let missing = || PlaceError::Io(path.into(), std::io::ErrorKind::NotFound.into());
    Ok(Zeroizing::new(read_secret(path)?.ok_or_else(missing)?))
}

fn normalise(email: &str) -> Result<String, ServerError> {
    Ok(domain::kinds::normalise_address(email).map_err(|fault| lethe::app::AppError::Invalid(vec![fault]))?)
}

/// Resolves at Ctrl-C or SIGTERM.
fn asked_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, ServerError> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    })
}
