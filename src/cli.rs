//! Commands and their arguments. Secrets come from files only.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use context::{Clock, Role};
use lethe::{
    demo::{self, Demo},
    doctor, http,
    mail::Mailbox,
    place::{Database, Folder, PlaceError, read_secret},
    server::{self, ServerError, Settings, Store},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
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
    Serve(ServeArgs),
    /// Bring a database to this version: roles, tables, policies
    Migrate(PlaceArgs),
    /// Check roles, policies, PostgreSQL's version, the key ring and the clock
    Doctor(PlaceArgs),
    /// Manage members of staff
    #[command(subcommand)]
    Staff(StaffCommand),
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
    #[arg(long, default_value_t = 300)]
    people: usize,
    /// From what people are made; nothing secret comes of it
    #[arg(long, default_value_t = 1)]
    seed: u64,
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

#[derive(Args)]
struct ServeArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Connections to PostgreSQL for requests
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// The sender of letters
    #[arg(long, default_value = "Lethe <lethe@localhost.example>")]
    sender: String,
    /// A proxy in front, whose X-Forwarded-For is believed; may be given several times
    #[arg(long)]
    trusted_proxy: Vec<std::net::IpAddr>,
    /// Serve although PostgreSQL's minor release has known ways around row-level security
    #[arg(long)]
    allow_old_postgres: bool,
}

#[derive(Subcommand)]
enum StaffCommand {
    /// Give somebody a role; they sign in with a mailed code like everybody
    Add {
        #[command(flatten)]
        place: PlaceArgs,
        /// Their e-mail address
        #[arg(long)]
        email: String,
        /// Their role
        #[arg(long)]
        role: StaffRole,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum StaffRole {
    Compliance,
    Auditor,
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
                    sender: "Lethe <lethe@localhost.example>".to_owned(),
                };
                demo::run(&demo, &folder, asked_to_stop()?).await
            }
            Command::Serve(args) => serve(args).await,
            Command::Migrate(args) => args.on_store(true, async |place| place.migrate().await).await,
            Command::Doctor(args) => {
                args.on_store(false, async |place| {
                    doctor::examine(&place.folder, &place.store.database, &place.vault).await
                })
                .await
            }
            Command::Staff(StaffCommand::Add { place, email, role }) => {
                let role = match role {
                    StaffRole::Compliance => Role::Compliance,
                    StaffRole::Auditor => Role::Auditor,
                };
                let email = domain::kinds::normalise_address(&email)
                    .map_err(|fault| lethe::app::AppError::Invalid(vec![fault]))?;
                place
                    .on_store(false, async |place| {
                        let app = place.open(2).await?;
                        Ok(app.staff_add(&email, role).await?)
                    })
                    .await
            }
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
    async fn migrate(&self) -> Result<(), ServerError> {
        let password = self.password.as_ref().map(|password| password.as_str());
        self.store.migrate(password, &self.vault, &self.folder.passwords()?).await
    }

    async fn open(&self, connections: usize) -> Result<Arc<lethe::app::App>, ServerError> {
        let settings = Settings { folder: self.folder.clone(), connections, clock: Clock::system() };
        server::open(&settings, &self.store.database, self.vault.clone(), &self.folder.passwords()?).await
    }
}

fn required_secret(path: &Path) -> Result<Zeroizing<String>, PlaceError> {
    let missing = || PlaceError::Io(path.into(), std::io::ErrorKind::NotFound.into());
    Ok(Zeroizing::new(read_secret(path)?.ok_or_else(missing)?))
}

async fn serve(args: ServeArgs) -> Result<(), ServerError> {
    let listener = TcpListener::bind(args.listen).await.map_err(|error| ServerError::Listen(args.listen, error))?;
    let stop = asked_to_stop()?;
    args.place
        .on_store(true, async |place| {
            if place.store.cluster.is_some() {
                place.migrate().await?;
            }
            if let Err(error) = server::check_version(&place.store.database, &place.folder.passwords()?).await {
                if !args.allow_old_postgres {
                    return Err(error);
                }
                tracing::warn!(%error);
            }
            let app = place.open(args.connections).await?;
            let mailbox = Mailbox::new(&server::mail_folder(&place.folder), &args.sender)?;
            tracing::info!(listen = %listener.local_addr()?, "serving");
            server::serve(app, mailbox, listener, http::TrustedProxies(args.trusted_proxy), stop).await
        })
        .await
}

/// Resolves at Ctrl-C or SIGTERM.
fn asked_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, ServerError> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    })
}
