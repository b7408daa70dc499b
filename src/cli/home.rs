//! Where a command works: the data folder, the database, and the files of the secrets.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use context::Clock;
use lethe::{
    data::home::{Database, Folder, HomeError, read_secret},
    jobs,
    server::{self, ServerError, Settings, Store},
};
use tokio::signal::unix::{SignalKind, signal};
use vault::Vault;
use zeroize::Zeroizing;

#[derive(Args)]
pub(crate) struct HomeArgs {
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

/// What a command makes where it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Makes {
    Nothing,
    /// The data folder's own PostgreSQL.
    Cluster,
    /// The data folder, its key ring and its own PostgreSQL.
    All,
}

/// An opened data folder and its database.
pub(crate) struct Home {
    pub(crate) folder: Folder,
    pub(crate) store: Store,
    pub(crate) vault: Arc<Vault>,
    pub(crate) password: Option<Zeroizing<String>>,
}

impl HomeArgs {
    /// Opens folder, key ring and database.
    async fn open(&self, makes: Makes) -> Result<Home, ServerError> {
        let folder = if makes == Makes::All { Folder::open(&self.data)? } else { Folder::present(&self.data)? };
        let passphrase = self.passphrase_file.as_deref().map(required_secret).transpose()?;
        let password = self.password_file.as_deref().map(required_secret).transpose()?;
        let passphrase = passphrase.as_ref().map(|passphrase| passphrase.as_bytes());
        let ring = if makes == Makes::All { folder.ring(passphrase)? } else { folder.present_ring(passphrase)? };
        let store = match &self.database {
            Some(url) => Store { database: Database::parse(url)?, cluster: None },
            None if makes == Makes::Nothing && !folder.has_cluster() => {
                return Err(HomeError::NoCluster(folder.path().into()).into());
            }
            None => Store::start(&folder, &[]).await?,
        };
        Ok(Home { folder, store, vault: Arc::new(Vault::new(ring)), password })
    }

    /// Refuses a connection string that can't be used, for instance because a password is in it.
    pub(crate) fn check(&self) -> Result<(), HomeError> {
        self.database.as_deref().map(Database::parse).transpose().map(drop)
    }

    /// Runs `work` on the opened database, and stops our own cluster afterwards, also when `work` failed.
    pub(crate) async fn on_store(
        &self,
        makes: Makes,
        work: impl AsyncFnOnce(&Home) -> Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        let home = self.open(makes).await?;
        let outcome = work(&home).await;
        let stopped = home.store.stop().await;
        outcome.and(stopped)
    }
}

impl Home {
    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.as_str())
    }

    pub(crate) async fn migrate(&self) -> Result<(), ServerError> {
        self.store.migrate(self.password(), &self.vault, &self.folder.passwords()?).await
    }

    /// Opens the application with the usual settings, for commands that do not serve.
    pub(crate) async fn open(&self) -> Result<Arc<lethe::app::App>, ServerError> {
        self.open_with(&self.settings()).await
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.folder.clone(), Clock::system())
    }

    pub(crate) async fn open_with(&self, settings: &Settings) -> Result<Arc<lethe::app::App>, ServerError> {
        let passwords = self.folder.passwords()?;
        let app = server::open(settings, &self.store.database, self.vault.clone(), &passwords).await?;
        jobs::check_clock(&app).await??;
        Ok(app)
    }
}

pub(crate) fn required_secret(path: &Path) -> Result<Zeroizing<String>, HomeError> {
    let missing = || HomeError::Io(path.into(), std::io::ErrorKind::NotFound.into());
    Ok(Zeroizing::new(read_secret(path)?.ok_or_else(missing)?))
}

pub(crate) fn normalise(email: &str) -> Result<String, ServerError> {
    Ok(domain::kinds::normalise_address(email).map_err(|fault| lethe::app::AppError::Invalid(vec![fault]))?)
}

/// A future that resolves at Ctrl-C or SIGTERM.
pub(crate) fn asked_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, ServerError> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    })
}
