//! Where a server works: its data folder, its database, and the files of its secrets. The types here hold paths and
//! addresses; the secrets themselves stay in files.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use db::{Address, Login, Passwords};
use domain::json;
use tokio_postgres::config::{Host, SslMode};
use vault::Ring;

use crate::data::random::random_text;

/// Why a data folder or a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// A file has the wrong content or the wrong mode; the text says the fault.
    #[error("{0}: {1}")]
    Malformed(PathBuf, String),
    /// The connection string can't be parsed, or asks for something that is not supported.
    #[error("--database must look like postgresql://user@host:port/name: {0}")]
    Database(String),
    #[error("--database must not hold a password: name a file of mode 0600 with --password-file")]
    PasswordInArgument,
    #[error("{0}: there is no such data folder; `lethe migrate` makes one, with keys that open no backup")]
    NoFolder(PathBuf),
    #[error(
        "{0}: no PostgreSQL of its own is in this data folder: name another with --database, or `lethe migrate` makes it"
    )]
    NoCluster(PathBuf),
    #[error(transparent)]
    Ring(#[from] vault::RingError),
}

/// A file of this name in the data folder says that a restore is unfinished.
const RESTORING: &str = "restoring";

/// The file of the logins' passwords.
const LOGINS: &str = "logins.json";

/// An opened data folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Opens a folder, and creates it if it does not exist.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let io = |error| HomeError::Io(path.into(), error);
        if !path.exists() {
            // Others may pass through, because PostgreSQL's own account must reach its folder inside; they may not list
            // the folder.
            fs::DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(io)?;
        }
        Ok(Self(path.canonicalize().map_err(io)?))
    }

    /// Opens a folder that exists.
    pub fn present(path: &Path) -> Result<Self, HomeError> {
        match path.canonicalize() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(HomeError::NoFolder(path.into())),
            found => found.map(Self).map_err(|error| HomeError::Io(path.into(), error)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file or folder inside the data folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Notes, durably, that a restore has begun. From now on no server starts on this folder.
    pub fn mark_restoring(&self) -> Result<(), HomeError> {
        write_secret(&self.join(RESTORING), b"A restore is unfinished. Run the same `lethe restore` again.\n")
    }

    /// Removes the note of [`Folder::mark_restoring`].
    pub fn unmark_restoring(&self) -> Result<(), HomeError> {
        let path = self.join(RESTORING);
        let io = |error| HomeError::Io(path.clone(), error);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| sync_folder(&path)).map_err(io),
        }
    }

    pub fn is_restoring(&self) -> bool {
        self.join(RESTORING).exists()
    }

    /// Whether a PostgreSQL of the folder's own is in it.
    pub fn has_cluster(&self) -> bool {
        self.join("postgres/PG_VERSION").exists()
    }

    /// Opens the key ring, and creates it if there is none.
    pub fn ring(&self, passphrase: Option<&[u8]>) -> Result<Ring, HomeError> {
        Ok(Ring::open_or_create(&self.join("ring.json"), passphrase)?)
    }

    /// Opens the key ring; fails if there is none.
    pub fn present_ring(&self, passphrase: Option<&[u8]>) -> Result<Ring, HomeError> {
        Ok(Ring::open(&self.join("ring.json"), passphrase)?)
    }

    /// Reads the logins' passwords. Makes and stores a password for each login that has none, also for a login that an
    /// older version did not have.
    pub fn passwords(&self) -> Result<Passwords, HomeError> {
        let mut passwords = self.present_passwords()?;
        let known = passwords.len();
        for login in Login::ALL {
            passwords.entry(login.as_str().to_owned()).or_insert_with(|| random_text(24));
        }
        if passwords.len() > known {
            let text = serde_json::to_string_pretty(&passwords).expect("passwords can be written as JSON");
            write_secret(&self.join(LOGINS), text.as_bytes())?;
        }
        Ok(passwords)
    }

    /// Reads the logins' passwords that there are.
    pub fn present_passwords(&self) -> Result<Passwords, HomeError> {
        let path = self.join(LOGINS);
        let Some(text) = read_secret(&path)? else { return Ok(Passwords::default()) };
        json::check(&text)
            .and_then(|()| serde_json::from_str(&text).map_err(|error| format!("no list of logins: {error}")))
            .map_err(|fault| HomeError::Malformed(path, fault))
    }
}

/// Reads a secret without its trailing line breaks. `None` when the file does not exist. Refuses a file that others may
/// read.
pub fn read_secret(path: &Path) -> Result<Option<String>, HomeError> {
    let io = |error| HomeError::Io(path.into(), error);
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            Err(HomeError::Malformed(path.into(), "others may read it; its mode must be 0600".to_owned()))
        }
        Ok(_) => fs::read_to_string(path).map(|text| Some(text.trim_end_matches(['\r', '\n']).to_owned())).map_err(io),
    }
}

/// Writes a secret whole or not at all, with mode 0600.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let io = |error| HomeError::Io(path.into(), error);
    let sibling = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&sibling).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&sibling, path).and_then(|()| sync_folder(path)).map_err(io)
}

/// Brings to disk that a file was created in its folder, or renamed into it.
pub fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Where a database is, and the login that migrates it.
#[derive(Clone, Debug)]
pub struct Database {
    pub address: Address,
    /// The superuser's login, taken from the connection string.
    pub admin: String,
}

impl Database {
    /// Reads a connection string. Refuses one that holds a password.
    pub fn parse(url: &str) -> Result<Self, HomeError> {
        let config: tokio_postgres::Config =
            url.parse().map_err(|error: tokio_postgres::Error| HomeError::Database(error.to_string()))?;
        if config.get_password().is_some() {
            return Err(HomeError::PasswordInArgument);
        }
        if config.get_ssl_mode() == SslMode::Require || config.get_hosts().len() > 1 {
            return Err(HomeError::Database(
                "TLS and several hosts are not supported; use a socket or a tunnel".to_owned(),
            ));
        }
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => return Err(HomeError::Database("no host".to_owned())),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().unwrap_or("lethe").to_owned();
        let admin = config.get_user().unwrap_or("postgres").to_owned();
        Ok(Self { address: Address { host, port, database }, admin })
    }

    /// The connection string of a login, for other programs such as `psql`.
    pub fn url(&self, user: &str, password: Option<&str>) -> String {
        let Address { host, port, database } = &self.address;
        let secret = password.map(|password| format!("&password={}", quoted(password))).unwrap_or_default();
        let (database, host, user) = (quoted(database), quoted(host), quoted(user));
        format!("postgresql:///{database}?host={host}&port={port}&user={user}{secret}")
    }
}

/// Percent-encodes a part of a connection string (RFC 3986).
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            quoted.push_str(&format!("%{byte:02X}"));
        }
    }
    quoted
}
