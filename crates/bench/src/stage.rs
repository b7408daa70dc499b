//! The stage: a PostgreSQL of its own, people who are signed in, and the server as a process of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use context::{Client, Clock, Ctx, RequestId};
use db::Passwords;
use domain::{RoleLevel, Specialty, StateCode, kinds::WorkProfile, rights::consent::Purpose};
use lethe::{
    app::identity::account::{self, Registration},
    auth::{Tokens, codes::Proof},
    data::home::{Database, Folder},
    server::{self, Settings, Store},
};
use tokio::net::TcpStream;
use vault::Vault;

use crate::{load::answer_to, outcome::BenchResult};

/// Everything that a measurement needs. Dropping it stops the server and the cluster.
pub struct Stage {
    server: Child,
    connections: usize,
    /// More arguments of the server.
    more: Vec<String>,
    /// The port on which the server listens, on 127.0.0.1.
    pub port: u16,
    /// Access tokens of people with consent, one for each person, valid for twelve hours.
    pub tokens: Vec<String>,
    pub database: Database,
    pub passwords: Passwords,
    /// The folder of PostgreSQL's programs.
    pub bin_dir: PathBuf,
    _store: Store,
    folder: tempfile::TempDir,
}

impl Stage {
    /// Sets up `people` signed-in people and a server with `connections` connections.
    pub async fn set(people: usize, connections: usize) -> BenchResult<Self> {
        Self::set_with(people, connections, &[], &[]).await
    }

    /// The same with more arguments for the server, and options of PostgreSQL.
    pub async fn set_with(
        people: usize,
        connections: usize,
        more: &[&str],
        options: &[(&'static str, String)],
    ) -> BenchResult<Self> {
        let dir = tempfile::tempdir()?;
        let folder = Folder::open(dir.path())?;
        // pgbench and the server log in as the same role, whose limit is a share of these connections.
        let mut all = options.to_vec();
        if !options.iter().any(|(name, _)| *name == "max_connections") {
            all.push(("max_connections", "200".to_owned()));
        }
        let store = Store::start(&folder, &all).await?;
        let cluster = store.cluster.as_ref().ok_or("the cluster is not ours")?;
        let bin_dir = cluster.bin_dir().to_owned();
        let vault = Arc::new(Vault::new(folder.ring(None)?));
        let passwords = folder.passwords()?;
        store.migrate(None, &vault, &passwords).await?;
        let tokens = register(&folder, &store.database, vault, &passwords, people).await?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let more: Vec<String> = more.iter().map(|argument| (*argument).to_owned()).collect();
        let server = serve(folder.path(), &store.database, port, connections, &more)?;
        let stage = Self {
            server,
            connections,
            more,
            port,
            tokens,
            database: store.database.clone(),
            passwords,
            bin_dir,
            _store: store,
            folder: dir,
        };
        stage.wait().await?;
        Ok(stage)
    }

    /// A folder for the files of a measurement.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// The server's resident memory in MiB.
    pub fn resident_mib(&self) -> BenchResult<u64> {
        self.memory_mib("VmRSS:")
    }

    /// The most memory that was resident since the server started, in MiB.
    pub fn most_resident_mib(&self) -> BenchResult<u64> {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, name: &str) -> BenchResult<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.id()))?;
        let line = status.lines().find(|line| line.starts_with(name)).ok_or("the system does not tell")?;
        let kib: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
        Ok(kib / 1024)
    }

    /// Ends the server and starts it again; `begun` gets its process. Returns how long it took until it was ready.
    pub async fn restart(&mut self, mut begun: impl FnMut(u32) -> BenchResult<()>) -> BenchResult<Duration> {
        self.server.kill()?;
        self.server.wait()?;
        let started = Instant::now();
        self.server = serve(self.folder.path(), &self.database, self.port, self.connections, &self.more)?;
        begun(self.server.id())?;
        while started.elapsed() < Duration::from_secs(30) {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await {
                let answer = answer_to(&mut stream, "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
                if answer.starts_with("HTTP/1.1 200") {
                    return Ok(started.elapsed());
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err("the server is not ready".into())
    }

    async fn wait(&self) -> BenchResult<()> {
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the server does not answer".into())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A server that has ended by itself needs no signal.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

async fn register(
    folder: &Folder,
    database: &Database,
    vault: Arc<Vault>,
    passwords: &Passwords,
    people: usize,
) -> BenchResult<Vec<String>> {
    let settings = Settings::new(folder.clone(), Clock::system());
    let app = server::open(&settings, database, vault.clone(), passwords).await?;
    let long = Tokens::new(vault, Some(TimeDelta::hours(12)));
    let mut tokens = Vec::with_capacity(people);
    for number in 0..people {
        let ctx = Ctx::anonymous(app.clock.clone(), Client::default(), RequestId::random());
        let work = WorkProfile {
            hospital_id: "klinikum-am-see".to_owned(),
            specialty: Specialty::Surgery,
            role_level: RoleLevel::Nurse,
            state_code: Some(StateCode::Bavaria),
            country_code: WorkProfile::DEFAULT_COUNTRY.to_owned(),
            time_zone: WorkProfile::DEFAULT_TIME_ZONE.to_owned(),
        };
        let email = format!("person.{number}@klinik.example");
        let person = Registration { email, work: Some(work), consents: vec![Purpose::WorkHours] };
        let grant = account::register(&app, &ctx, &person, &Proof::Operator).await?;
        tokens.push(long.issue(&grant.claims, app.clock.now()).0);
    }
    Ok(tokens)
}

/// Requests a minute. They are counted as always, and the load is never refused.
const LIMIT: &str = "1000000000";

/// Starts the server binary that lies in the same folder as this binary.
fn serve(folder: &Path, database: &Database, port: u16, connections: usize, more: &[String]) -> BenchResult<Child> {
    let binary = std::env::current_exe()?.with_file_name("lethe");
    if !binary.exists() {
        return Err(format!("{} is missing: run `cargo build --release` first", binary.display()).into());
    }
    let child = Command::new(binary)
        .arg("serve")
        .arg("--data")
        .arg(folder)
        .arg("--database")
        .arg(database.url(&database.admin, None))
        .arg("--listen")
        .arg(format!("127.0.0.1:{port}"))
        .arg("--connections")
        .arg(connections.to_string())
        .args(["--allow-old-postgres", "--requests-per-client", LIMIT, "--requests-per-account", LIMIT])
        .args(more)
        .env("LETHE_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()?;
    Ok(child)
}
