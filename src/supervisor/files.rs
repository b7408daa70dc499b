//! Reading and removing files of a cluster, polling, and the errors of the supervisor.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(10);

pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Why a cluster did not start or stop. The texts are for the operator of the machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// No PostgreSQL, or only one that is too old.
    #[error(
        "PostgreSQL 15 or newer was not found: install it (Debian, Ubuntu: `apt-get install postgresql`; \
         macOS: `brew install postgresql@17`) or set LETHE_POSTGRES_BIN to the folder of `initdb` and `postgres`"
    )]
    NotInstalled,
    /// `LETHE_POSTGRES_BIN` is set to a folder without PostgreSQL, or with one that is too old.
    #[error("LETHE_POSTGRES_BIN is {0}, which does not hold initdb, postgres and pg_ctl of PostgreSQL 15 or newer")]
    UnfitBinDir(PathBuf),
    /// The cluster was created by a major version that is not installed any more.
    #[error("the cluster was created by PostgreSQL {0}: install that version, or upgrade the cluster with pg_upgrade")]
    MajorMissing(u32),
    /// We are root, which PostgreSQL refuses to run as, and there is no other account to run it.
    #[error("PostgreSQL does not run as root, and /etc/passwd has neither a user `postgres` nor `nobody`")]
    NoAccount,
    #[error("another server uses {0}: stop it first, or choose another data folder")]
    InUse(PathBuf),
    /// The cluster exists, but the account that runs PostgreSQL cannot enter its folder.
    #[error(
        "the account that runs PostgreSQL cannot enter {0}: give others the right to go through the folders above it"
    )]
    OutOfReach(PathBuf),
    /// The data folder points to a cluster that is gone.
    #[error("{link} points to {target}, which is gone: restore it, or remove the link to begin an empty cluster")]
    Lost {
        link: PathBuf,
        /// The path where the cluster was.
        target: PathBuf,
    },
    /// A new data folder has the path of an earlier one whose cluster still exists.
    #[error("{data} holds the data of an earlier {dir}: remove it, or bring it back with `ln -s {data} {dir}`")]
    Orphaned {
        dir: PathBuf,
        /// The cluster that was found.
        data: PathBuf,
    },
    /// A folder that must be private belongs to another account.
    #[error("{0} is not a folder of the account that runs PostgreSQL")]
    ForeignDir(PathBuf),
    #[error("{program} failed: {output}")]
    Program {
        program: &'static str,
        /// The text that the program wrote to its standard error.
        output: String,
    },
    /// The server ended while it started, or was not ready after two minutes.
    #[error("PostgreSQL did not become ready; the end of {}:\n{tail}", log.display())]
    NotReady {
        log: PathBuf,
        /// The last lines of the log that this start wrote.
        tail: String,
    },
    /// The server ended again and again, and is not started any more.
    #[error(
        "PostgreSQL ended or did not start {tries} times within {} minutes; its log is {}",
        within.as_secs() / 60,
        log.display()
    )]
    GivenUp {
        /// How many restarts were tried.
        tries: usize,
        /// The time within which they were tried.
        within: Duration,
        log: PathBuf,
    },
    #[error("{path}: {source}")]
    Io {
        /// The file or program that was used.
        path: PathBuf,
        source: io::Error,
    },
}

/// Adds the path to an error of the operating system, which does not name it.
pub(crate) fn at(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> SupervisorError {
    move |source| SupervisorError::Io { path: path.as_ref().into(), source }
}

pub(crate) fn read_if_present(path: &Path) -> Result<Option<String>, SupervisorError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(at(path)),
    }
}

pub(crate) fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Asks `done` every ten milliseconds, until it says yes or the time is over; returns whether it said yes.
pub(crate) fn poll(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..limit.as_millis() / POLL.as_millis() {
        if done() {
            return true;
        }
        thread::sleep(POLL);
    }
    false
}
