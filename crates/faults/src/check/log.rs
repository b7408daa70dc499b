//! The log: every event is covered by a published checkpoint, `lethe-audit verify` finds nothing, and all checkpoints of
//! earlier rounds still hold.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    check::run,
    http::Call,
    machine::Machine,
    outcome::{Finding, Outcome, Wrong},
    town::Town,
};

const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const AUDITOR: &str = "lethe_auditor";

/// The checkpoints that an auditor holds.
#[derive(Default)]
pub struct Held {
    notes: Vec<PathBuf>,
}

impl Held {
    /// Waits for a checkpoint that covers the log as it is now, and verifies the log by it, by the first one, and by the
    /// one of the round before.
    pub async fn check(&mut self, machine: &Machine, town: &Town) -> Outcome<()> {
        let database = machine.database().await?;
        let events: i64 = database.query_one("SELECT count(*) FROM log.events", &[]).await?.get(0);
        let Some(note) = covering(town, events).await else {
            let what = format!("no published checkpoint covers the {events} events");
            town.note(Finding::new(Wrong::Stuck, what));
            return Ok(());
        };
        let path = machine.home().join(format!("checkpoint-{}", self.notes.len()));
        fs::write(&path, note)?;
        self.notes.push(path);
        let mut args = vec!["verify".to_owned(), "--log".to_owned(), machine.url(AUDITOR)];
        args.extend(["--key".to_owned(), machine.data().join("log.vkey").display().to_string()]);
        let newest = self.notes.iter().rev().take(2);
        for note in newest.chain(self.notes.first().filter(|_| self.notes.len() > 2)) {
            args.extend(["--checkpoint".to_owned(), note.display().to_string()]);
        }
        audit(machine, town, args).await
    }

    /// Reads the log as a stock repository would: streams have no holes, and every record is sealed.
    pub async fn replay(&self, machine: &Machine, town: &Town) -> Outcome<()> {
        audit(machine, town, vec!["replay".to_owned(), "--database".to_owned(), machine.url(AUDITOR)]).await
    }
}

/// Runs the auditor.
async fn audit(machine: &Machine, town: &Town, mut args: Vec<String>) -> Outcome<()> {
    let command = args[0].clone();
    args.extend(["--json".to_owned(), "--password-file".to_owned(), password(machine)?]);
    let (code, said) = run(&machine.programs.auditor, args).await?;
    if code != Some(0) {
        let what = format!("lethe-audit {command} ends with {code:?}: {said}");
        town.note(Finding::new(Wrong::Unequal, what));
    }
    Ok(())
}

/// The file of the auditor's password, which is made when it is first needed.
fn password(machine: &Machine) -> Outcome<String> {
    let password = machine.home().join("auditor.password");
    if !password.exists() {
        let logins: Value = serde_json::from_slice(&fs::read(machine.data().join("logins.json"))?)?;
        let secret = logins[AUDITOR].as_str().ok_or("the auditor has no password")?;
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&password)?;
        file.write_all(secret.as_bytes())?;
    }
    Ok(password.display().to_string())
}

/// The published checkpoint, once it covers so many events.
async fn covering(town: &Town, events: i64) -> Option<Vec<u8>> {
    let until = Instant::now() + LIMIT;
    while Instant::now() < until {
        let answer = town.http.send(0, &Call::get("/v1/log/checkpoint"), None).await.success();
        if let Ok(answer) = answer {
            let note = String::from_utf8_lossy(&answer.body);
            let size: Option<i64> = note.lines().nth(1).and_then(|size| size.parse().ok());
            if size.is_some_and(|size| size >= events) {
                return Some(answer.body);
            }
        }
        tokio::time::sleep(POLL).await;
    }
    None
}
