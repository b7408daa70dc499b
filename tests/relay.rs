//! A real SMTP relay as a child of the test: `mail/server.py`, based on aiosmtpd. Its packages are listed in
//! `mail/requirements.txt`.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use lethe::mail::{Mailbox, Relay};
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::{left_out::left_out, python::environment};

/// The sender of all letters.
pub const SENDER: &str = "Lethe <no-reply@lethe.example>";

/// A relay that runs until it is dropped.
pub struct Server {
    folder: PathBuf,
    pub port: u16,
    child: Child,
    /// The relay ends when its standard input does, even if this process is killed.
    stdin: Option<ChildStdin>,
}

impl Server {
    /// Starts a relay on a free port. If a program for it is missing, reports that the test is left out.
    pub async fn start(folder: &Path, security: &'static str) -> Option<Self> {
        Self::start_on(folder, security, 0).await
    }

    pub async fn start_on(folder: &Path, security: &'static str, port: u16) -> Option<Self> {
        let folder = folder.to_owned();
        let started = spawn_blocking(move || {
            static ENVIRONMENT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
            let venv = ENVIRONMENT.get_or_init(|| environment("mail")).clone()?;
            let mut child = Command::new(venv.join("bin/python"))
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/server.py"))
                .arg(&folder)
                .args([&port.to_string(), security])
                .envs([("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONWARNINGS", "ignore")])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the server starts");
            let mut line = String::new();
            BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it says its port");
            let port = line.trim().parse().expect("a port, or what went wrong stands above");
            let stdin = child.stdin.take();
            Ok::<_, String>(Self { folder, port, child, stdin })
        })
        .await
        .expect("started");
        started.map_err(|why| left_out(&why)).ok()
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://relay@127.0.0.1:{}", self.port)
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A mailbox whose letters go to this relay by STARTTLS.
    pub fn mailbox(&self, password: &str) -> Mailbox {
        mailbox(&self.url("smtp"), password, Some(&self.ca()))
    }

    /// The letters that the relay accepted, in order.
    pub fn letters(&self) -> Vec<Value> {
        let lines = fs::read_to_string(self.folder.join("letters.jsonl")).unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    /// The recipients of the accepted letters, sorted.
    pub fn recipients(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.letters().iter().map(|letter| letter["to"][0].as_str().expect("an address").to_owned()).collect();
        all.sort();
        all
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // The relay ends by itself; an error needs no action.
        let _ = self.child.wait();
    }
}

/// A mailbox whose letters go to a relay, with the sender [`SENDER`].
pub fn mailbox(url: &str, password: &str, ca: Option<&Path>) -> Mailbox {
    Mailbox::smtp(Relay::new(url, Some(password), ca).expect("a relay"), SENDER).expect("a mailbox")
}
