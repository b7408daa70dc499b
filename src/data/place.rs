//! Where a server lives: its data folder, its database, its secrets. Nothing here is a secret itself; they are in files.

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

/// Why a server cannot live there.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A file can't be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// A file is not what it should be.
    #[error("{0}: {1}")]
    Malformed(PathBuf, String),
    /// The connection string is not one.
    #[error("--database must look like postgresql://user@host:port/name: {0}")]
    Database(String),
    /// The connection string holds a password.
    #[error("--database must not hold a password: name a file of mode 0600 with --password-file")]
    PasswordInArgument,
    /// The key ring can't be opened.
    #[error(transparent)]
    Ring(#[from] vault::RingError),
}

/// The file that says that a restore is unfinished.
const RESTORING: &str = "restoring";

/// The files of a data folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Opens a folder, making it where there is none.
    pub fn open(path: &Path) -> Result<Self, PlaceError> {
        let io = |error| PlaceError::Io(path.into(), error);
        if !path.exists() {
            // Traversable, since PostgreSQL's own account has to get to its folder in it; not listed.
            fs::DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(io)?;
        }
        Ok(Self(path.canonicalize().map_err(io)?))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Notes, durably, that a restore has begun: from now on no server starts on this folder.
    pub fn mark_restoring(&self) -> Result<(), PlaceError> {
        write_secret(&self.join(RESTORING), b"A restore is unfinished. Run the same `lethe restore` again.\n")
    }

    /// Takes that note away.
    pub fn unmark_restoring(&self) -> Result<(), PlaceError> {
        let path = self.join(RESTORING);
        let io = |error| PlaceError::Io(path.clone(), error);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| sync_folder(&path)).map_err(io),
        }
    }

    /// Whether a restore into a database of this folder is unfinished.
    pub fn is_restoring(&self) -> bool {
        self.join(RESTORING).exists()
    }

    /// The key ring, made where there is none.
    pub fn ring(&self, passphrase: Option<&[u8]>) -> Result<Ring, PlaceError> {
        Ok(Ring::open_or_create(&self.join("ring.json"), passphrase)?)
    }

    /// The key ring, which must be there.
    pub fn present_ring(&self, passphrase: Option<&[u8]>) -> Result<Ring, PlaceError> {
        Ok(Ring::open(&self.join("ring.json"), passphrase)?)
    }

    /// The logins' passwords, made where there are none, also for logins that an older version did not have.
    pub fn passwords(&self) -> Result<Passwords, PlaceError> {
        let path = self.join("logins.json");
        let mut passwords = match read_secret(&path)? {
            Some(text) => json::check(&text)
                .and_then(|()| serde_json::from_str(&text).map_err(|error| format!("no list of logins: {error}")))
                .map_err(|fault| PlaceError::Malformed(path.clone(), fault))?,
            None => Passwords::default(),
        };
        let known = passwords.len();
        for login in Login::ALL {
            passwords.entry(login.as_str().to_owned()).or_insert_with(|| random_text(24));
        }
        if passwords.len() > known {
            let text = serde_json::to_string_pretty(&passwords).expect("passwords can be written as JSON");
            write_secret(&path, text.as_bytes())?;
        }
        Ok(passwords)
    }
}

/// A secret of a file, without its last line break; none where there is no file. Refuses one that others may read.
pub fn read_secret(path: &Path) -> Result<Option<String>, PlaceError> {
    let io = |error| PlaceError::Io(path.into(), error);
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            Err(PlaceError::Malformed(path.into(), "others may read it; its mode must be 0600".to_owned()))
        }
        Ok(_) => fs::read_to_string(path).map(|text| Some(text.trim_end_matches(['\r', '\n']).to_owned())).map_err(io),
    }
}

/// Writes a secret whole or not at all, mode 0600.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), PlaceError> {
    let io = |error| PlaceError::Io(path.into(), error);
    let sibling = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&sibling).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&sibling, path).and_then(|()| sync_folder(path)).map_err(io)
}

/// Makes durable that a file was made in, or renamed into, its folder.
pub fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Where a database is, and who migrates it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is.
    pub address: Address,
    /// The superuser of the connection string.
    pub admin: String,
}

impl Database {
    /// Reads a connection string without a password.
    pub fn parse(url: &str) -> Result<Self, PlaceError> {
        let config: tokio_postgres::Config =
            url.parse().map_err(|error: tokio_postgres::Error| PlaceError::Database(error.to_string()))?;
        if config.get_password().is_some() {
            return Err(PlaceError::PasswordInArgument);
        }
        if config.get_ssl_mode() == SslMode::Require || config.get_hosts().len() > 1 {
            return Err(PlaceError::Database(
                "TLS and several hosts are not supported; use a socket or a tunnel".to_owned(),
            ));
        }
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => return Err(PlaceError::Database("no host".to_owned())),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().unwrap_or("lethe").to_owned();
        let admin = config.get_user().unwrap_or("postgres").to_owned();
        Ok(Self { address: Address { host, port, database }, admin })
    }

    /// The connection string of a login, for programs that take one.
    pub fn url(&self, user: &str, password: Option<&str>) -> String {
        let Address { host, port, database } = &self.address;
        let secret = password.map(|password| format!("&password={}", quoted(password))).unwrap_or_default();
        let (database, host, user) = (quoted(database), quoted(host), quoted(user));
        format!("postgresql:///{database}?host={host}&port={port}&user={user}{secret}")
    }
}

/// A part of a connection string, with what has a meaning there as `%` and two digits (RFC 3986).
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
