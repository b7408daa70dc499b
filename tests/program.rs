//! The real `lethe` binary as a child of the test, and a minimal HTTP client to talk to it.

use std::{
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use lethe::{data::home::Folder, server::Store};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};
use vault::Vault;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A running `lethe`. Dropping it asks it to stop, so that its PostgreSQL stops too.
pub struct Program {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

/// The command `lethe` with these arguments, which logs in plain text; `log` is its filter.
pub fn lethe(args: &[&str], log: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lethe"));
    command.args(args).env("LETHE_LOG", log).env("NO_COLOR", "1").env_remove("LETHE_LOG_FORMAT").stdin(Stdio::null());
    command
}

pub fn run(args: &[&str]) -> Output {
    lethe(args, "info").output().expect("lethe runs")
}

/// The whole output of a finished program.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The arguments of a server whose deletions have no grace.
pub fn serve_without_grace<'a>(data: &'a str, database: &'a str, listen: &'a str) -> [&'a str; 10] {
    ["serve", "--allow-old-postgres", "--grace", "0", "--data", data, "--database", database, "--listen", listen]
}

/// An address that nobody listens on at present.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}

impl Program {
    /// Starts `lethe` and keeps its output.
    pub fn start(args: &[&str], log: &str) -> Self {
        Self::of(&mut lethe(args, log))
    }

    /// Starts `lethe`, which kills itself at the crash point `at`.
    pub fn start_to_crash(args: &[&str], log: &str, at: &str) -> Self {
        Self::of(lethe(args, log).env("LETHE_CRASH_AT", at))
    }

    /// Starts a command that becomes `lethe`, and keeps its output.
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("lethe starts");
        let output = Arc::new(Mutex::new(Vec::new()));
        let (stdout, stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let readers = vec![keep(stdout, output.clone()), keep(stderr, output.clone())];
        Self { child, output, readers }
    }

    /// The output so far.
    pub fn output(&self) -> Vec<u8> {
        self.output.lock().expect("the readers don't panic").clone()
    }

    /// Waits until the output holds `wanted`. Panics with the output if the program ends or takes too long.
    pub fn wait_for(&mut self, wanted: &str) {
        let started = Instant::now();
        loop {
            // The end is checked before the output is read, so that the output of an ended program is complete.
            let ended = self.child.try_wait().expect("it is our child");
            if ended.is_some() {
                self.readers.drain(..).for_each(|reader| reader.join().expect("the readers don't panic"));
            }
            let written = String::from_utf8_lossy(&self.output()).into_owned();
            if written.contains(wanted) {
                return;
            }
            assert!(ended.is_none(), "lethe ended ({ended:?}) without writing {wanted:?}:\n{written}");
            assert!(started.elapsed() < PATIENCE, "lethe did not write {wanted:?}:\n{written}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Panics with the output if the program has ended.
    pub fn assert_runs(&mut self) {
        let ended = self.child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "lethe ended ({ended:?}):\n{}", String::from_utf8_lossy(&self.output()));
    }

    /// Sends SIGTERM and waits for the end; returns the exit status and the whole output.
    pub fn stop(&mut self) -> (ExitStatus, Vec<u8>) {
        self.signal("TERM");
        self.end(PATIENCE)
    }

    /// Waits for the end; returns the exit status and the whole output.
    pub fn end(&mut self, patience: Duration) -> (ExitStatus, Vec<u8>) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(started.elapsed() < patience, "lethe goes on:\n{}", String::from_utf8_lossy(&self.output()));
            std::thread::sleep(PAUSE);
        };
        self.readers.drain(..).for_each(|reader| reader.join().expect("the readers don't panic"));
        (status, self.output())
    }

    /// Sends SIGKILL, which leaves its PostgreSQL behind.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "lethe has ended before SIG{name}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("TERM");
            // A failed test waits for an orderly end like any other; an error can't be reported here.
            let _ = self.child.wait();
        }
    }
}

fn keep(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut part) {
            into.lock().expect("no one panics with the lock").extend_from_slice(&part[..length]);
        }
    })
}

/// A data folder for a program. Dropping it ends a PostgreSQL that a killed program left behind, then removes the
/// folder.
pub struct DataFolder(tempfile::TempDir);

impl DataFolder {
    /// A new folder; `name` is the end of its name.
    pub fn new(name: &str) -> Self {
        crate::left_out::require_postgres();
        Self(tempfile::Builder::new().prefix("lethe-test-").suffix(name).tempdir().expect("a folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn text(&self) -> &str {
        self.path().to_str().expect("the path is UTF-8")
    }

    /// Starts a PostgreSQL in the folder that outlives the servers on it, and migrates it; returns it with the keys.
    pub async fn cluster(&self, options: &[(&'static str, &str)]) -> (Store, Arc<Vault>) {
        let folder = Folder::open(self.path()).expect("the folder opens");
        let options: Vec<_> = options.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let store = Store::start(&folder, &options).await.expect("PostgreSQL starts");
        let vault = Arc::new(Vault::new(folder.ring(None).expect("a ring")));
        store.migrate(None, &vault, &folder.passwords().expect("passwords")).await.expect("migrated");
        (store, vault)
    }

    /// The process of the PostgreSQL that runs in the folder, if one runs.
    pub fn postmaster(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.path().join("postgres/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if let Some(process) = self.postmaster() {
            // The folder is removed too, so that an end as in a crash does no harm.
            let _ = Command::new("kill").args(["-QUIT".to_owned(), process.to_string()]).status();
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `null` if the body is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as JSON. Panics if the status is another.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// A request that is being built. Its parts are sent as they are, well formed or not.
pub struct Call {
    to: SocketAddr,
    from: IpAddr,
    head: String,
    body: Vec<u8>,
}

impl Call {
    pub fn new(to: SocketAddr, method: &str, target: &str) -> Self {
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
        Self { to, from: Ipv4Addr::LOCALHOST.into(), head, body: Vec::new() }
    }

    /// Sends the request from this address of ours.
    pub fn from(self, from: IpAddr) -> Self {
        Self { from, ..self }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sends the request and reads the answer to its end.
    pub async fn send(self) -> Answer {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((self.from, 0).into()).expect("an address of ours");
        let mut stream = socket.connect(self.to).await.expect("the server listens");
        let head = format!("{}content-length: {}\r\n\r\n", self.head, self.body.len());
        // A server that refuses a large request may close before everything was sent; its answer counts.
        let _ = stream.write_all(&[head.as_bytes(), &self.body].concat()).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        assert!(!head.contains("transfer-encoding: chunked"), "this client reads whole bodies only");
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("an answer has a status");
        Answer { status, body: bytes[end + 4..].to_vec() }
    }
}

/// The token of the newest letter to an address that holds one: 43 characters on their own line. The letter is taken
/// out of the folder.
pub async fn take_token(folder: &Path, email: &str) -> String {
    let letter = take_letter(folder, email, "one-time code").await;
    token_of(&letter).expect("the letter holds a token")
}

pub fn token_of(letter: &str) -> Option<String> {
    let is_token = |line: &&str| {
        line.len() == 43 && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    letter.lines().map(str::trim).find(is_token).map(str::to_owned)
}

/// Waits for the newest code mailed to an address, and takes its letter out of the folder, as a mail program would.
pub async fn take_code(folder: &Path, email: &str) -> String {
    let letter = take_letter(folder, email, "Your code: ").await;
    let (_, rest) = letter.split_once("Your code: ").expect("a letter names a code");
    rest[..6].to_owned()
}

/// Waits for the newest letter to an address that holds a text, and takes it out of the folder.
pub async fn take_letter(folder: &Path, email: &str, saying: &str) -> String {
    let started = Instant::now();
    loop {
        let mut letters: Vec<_> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
            .filter_map(|(time, path)| Some((time, path.clone(), std::fs::read_to_string(path).ok()?)))
            .filter(|(_, _, text)| text.contains(&format!("To: {email}")) && text.contains(saying))
            .collect();
        letters.sort();
        if let Some((_, path, letter)) = letters.pop() {
            std::fs::remove_file(path).expect("the letter is taken");
            return letter;
        }
        assert!(started.elapsed() < PATIENCE, "no letter came");
        tokio::time::sleep(PAUSE).await;
    }
}
