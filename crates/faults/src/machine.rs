//! The machine: a data folder, the server on it, and the server's own PostgreSQL. It starts the server again as systemd
//! would, and says when. Dropping it ends both, and removes the folder.

use std::{
    fs::{self, File, OpenOptions},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use crate::{disk::Disk, outcome::Outcome, process, programs::Programs};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

pub struct Machine {
    pub programs: Programs,
    pub address: SocketAddr,
    server: Child,
    // Fields are dropped in this order: the folder is unmounted before it is removed.
    pub disk: Disk,
    home: tempfile::TempDir,
}

/// How the server is started.
#[derive(Default)]
pub struct Start {
    /// Variables besides the usual ones.
    pub variables: Vec<(&'static str, String)>,
    /// The folder of PostgreSQL's programs, if not the copy.
    pub bin: Option<PathBuf>,
}

impl Machine {
    /// Makes a folder and starts a server on it.
    pub async fn start() -> Outcome<Self> {
        let home = tempfile::Builder::new().prefix("lethe-faults-").tempdir()?;
        let disk = Disk::make(home.path())?;
        let programs = Programs::find(home.path())?;
        // No rule suspends anybody here, because clients under faults look suspicious.
        fs::write(home.path().join("rules.json"), r#"{ "rules": [] }"#)?;
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let server = spawn(home.path(), &disk, &programs, address, &Start::default())?;
        let machine = Self { programs, address, server, disk, home };
        machine.wait_for_start().await?;
        // The WAL must fit the folder. PostgreSQL's own checkpoints become frequent too.
        let database = machine.database().await?;
        database.batch_execute("ALTER SYSTEM SET max_wal_size = '160MB'").await?;
        database.batch_execute("SELECT pg_reload_conf()").await?;
        Ok(machine)
    }

    async fn wait_for_start(&self) -> Outcome<()> {
        let until = Instant::now() + START;
        while tokio::net::TcpStream::connect(self.address).await.is_err() || self.database().await.is_err() {
            if Instant::now() > until {
                return Err(format!("the server does not start:\n{}", self.log_tail(20)).into());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    pub fn data(&self) -> &Path {
        self.disk.path()
    }

    /// A folder for this tool's own files, which is never full.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The connection string of a login, without a password.
    pub fn url(&self, login: &str) -> String {
        format!("postgresql:///lethe?host={}&port=5432&user={login}", self.data().join("run").display())
    }

    /// A session of the superuser.
    pub async fn database(&self) -> Outcome<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url("postgres"), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub fn server(&self) -> u32 {
        self.server.id()
    }

    pub fn postmaster(&self) -> Option<u32> {
        process::postmaster(self.data())
    }

    /// The exit status of a server that has ended.
    pub fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.server.try_wait()?)
    }

    /// Kills the server, which leaves its PostgreSQL behind.
    pub fn kill(&mut self) -> Outcome<()> {
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }

    /// Asks the server to stop, and waits for its end.
    pub async fn stop(&mut self) -> Outcome<ExitStatus> {
        process::signal(self.server(), Signal::TERM);
        let until = Instant::now() + STOP;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > until {
                return Err("the server does not stop".into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Starts a server that has ended, and does not wait for it.
    pub fn again(&mut self, start: &Start) -> Outcome<()> {
        self.server = spawn(self.home.path(), &self.disk, &self.programs, self.address, start)?;
        Ok(())
    }

    /// A line of the server's log that tells of a panic.
    pub fn panicked(&self) -> Option<String> {
        let log = fs::read_to_string(self.home().join("server.log")).unwrap_or_default();
        log.lines().find(|line| line.contains("panicked at")).map(str::to_owned)
    }

    /// The last lines that the server wrote.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = fs::read_to_string(self.home().join("server.log")).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Copies the logs of server and PostgreSQL.
    pub fn keep_logs(&self, to: &Path) -> Outcome<()> {
        fs::create_dir_all(to)?;
        let (server, postgres) = (self.home().join("server.log"), self.data().join("postgres.log"));
        for log in [&server, &postgres, &postgres.with_extension("log.old")] {
            if let (true, Some(name)) = (log.exists(), log.file_name()) {
                fs::copy(log, to.join(name))?;
            }
        }
        Ok(())
    }
}

fn spawn(home: &Path, disk: &Disk, programs: &Programs, address: SocketAddr, start: &Start) -> Outcome<Child> {
    let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(home.join("server.log"));
    let (out, err): (File, File) = (open()?, open()?);
    let mut command = Command::new(&programs.lethe);
    command
        .args(["serve", "--allow-old-postgres", "--grace", "0"])
        .args(["--requests-per-client", "0", "--requests-per-account", "0"])
        .arg("--data")
        .arg(disk.path())
        .args(["--listen", &address.to_string()])
        .arg("--alert-rules")
        .arg(home.join("rules.json"))
        .env("LETHE_LOG", "info")
        .env("NO_COLOR", "1")
        .env("LETHE_POSTGRES_BIN", start.bin.clone().unwrap_or_else(|| programs.bin()))
        .envs(start.variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err);
    Ok(command.spawn()?)
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing that is killed here can be reported on any more.
        let _ = self.kill();
        if let Some(postmaster) = self.postmaster() {
            let sessions = process::children(postmaster);
            for process in sessions.iter().chain([&postmaster]) {
                process::signal(*process, Signal::KILL);
            }
            for _ in 0..100 {
                if !sessions.iter().chain([&postmaster]).any(|process| process::lives(*process)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
