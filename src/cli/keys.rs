//! `lethe keys` and `lethe jwt`: show the ring's keys, rotate them, destroy old ones. They work while servers run; the
//! servers notice each step by themselves.

use std::{
    io::Write,
    ops::ControlFlow,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, Utc};
use clap::Subcommand;
use lethe::{
    app::{
        desk::opening,
        operation::keys::{self, KeyList, Progress},
    },
    data::{home::HomeError, new_file::NewFile},
    server::ServerError,
};
use serde_json::{Value, json};
use terminal::{Output, note};
use vault::{Kek, Signing, SigningKey};

use crate::cli::home::{HomeArgs, Makes, asked_to_stop, normalise, required_secret};

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Show the versions of the key-encryption key, what is under each, and the other keys by their ids
    List {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Grant the keys of one person's records to an auditor, for a reason that the person sees. It can't be taken back
    Grant {
        #[command(flatten)]
        home: HomeArgs,
        /// The person's e-mail address
        #[arg(long)]
        email: String,
        /// The file of the reason, mode 0600
        #[arg(long, value_name = "FILE")]
        reason_file: PathBuf,
        /// Where to write the keys, mode 0600; nothing may stand there yet
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Bring everybody's keys under a new version of the key-encryption key, or go on with a rotation that was broken off
    Rotate {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Destroy a version under which nothing is any more: what was erased before comes back from no older backup
    Destroy {
        #[command(flatten)]
        home: HomeArgs,
        /// The version
        #[arg(long)]
        version: i32,
        /// Although no archive of keys was taken since everything left the version. Backups of the database from before then
        /// open for nobody: if the database is lost, so is what they hold about people
        #[arg(long)]
        without_archive: bool,
    },
}

#[derive(Subcommand)]
pub(super) enum JwtCommand {
    /// Show the keys that sign access tokens
    List {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Make a fresh key sign access tokens. Tokens of the key before it are accepted until they run out
    Rotate {
        #[command(flatten)]
        home: HomeArgs,
    },
}

impl KeysCommand {
    pub(super) async fn run(self, output: Output) -> Result<(), ServerError> {
        let (Self::List { home } | Self::Rotate { home } | Self::Destroy { home, .. } | Self::Grant { home, .. }) =
            &self;
        // A rotation stops only between two steps, so that nothing is half done; the next rotation goes on from there.
        let stop = asked_to_stop()?;
        let stopped = std::sync::Arc::new(AtomicBool::new(false));
        let told = stopped.clone();
        tokio::spawn(async move {
            stop.await;
            told.store(true, Ordering::Relaxed);
        });
        home.on_store(Makes::Nothing, async |home| {
            let app = home.open().await?;
            match &self {
                Self::List { .. } => {
                    let list = keys::list(&app).await?;
                    output.say(lines(&list), object(&list))?;
                }
                Self::Grant { email, reason_file, to, .. } => {
                    let reason = required_secret(reason_file)?;
                    let io = |error| HomeError::Io(to.clone(), error);
                    // The file is begun before the grant, so that nothing is granted and nobody is told when it
                    // can't be written.
                    let mut file = NewFile::create(to).map_err(io)?;
                    let grant = opening::keys_grant(&app, &normalise(email)?, reason.trim()).await?;
                    file.write_all(grant.as_bytes()).and_then(|()| file.finish()).map_err(io)?;
                    let told = "as long as it exists it opens these records, whatever is erased here";
                    output.say(format_args!("{}: {told}", to.display()), json!({ "written_to": to }))?;
                }
                Self::Rotate { .. } => {
                    let watch = |progress| {
                        say(progress);
                        if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    };
                    let (version, rewrapped) = keys::rotate(&app, &watch).await?;
                    let told = format!("version {version} is in use; the keys of {rewrapped} people came under it");
                    output.say(told, json!({ "version": version, "people": rewrapped }))?;
                }
                Self::Destroy { version, without_archive, .. } => {
                    keys::destroy(&app, *version, *without_archive).await?;
                    output.say(format_args!("version {version} is destroyed"), json!({ "destroyed": version }))?;
                }
            }
            Ok(())
        })
        .await
    }
}

impl JwtCommand {
    pub(super) async fn run(self, output: Output) -> Result<(), ServerError> {
        let (Self::List { home } | Self::Rotate { home }) = &self;
        home.on_store(Makes::Nothing, async |home| {
            let app = home.open().await?;
            match &self {
                Self::List { .. } => {
                    let signing = keys::list(&app).await?.signing;
                    output
                        .say(signing_lines(&signing).join("\n"), json!({ "signing_keys": signing_object(&signing) }))?;
                }
                Self::Rotate { .. } => {
                    let kid = keys::jwt_rotate(&app).await?;
                    output.say(format_args!("{kid} signs access tokens"), json!({ "kid": kid }))?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn say(progress: Progress) {
    note(match progress {
        Progress::Published(version) => format!("version {version}: every server knows it"),
        Progress::InUse(version) => format!("version {version}: every server uses it"),
        Progress::Floor(version) => format!("version {version}: nothing is written under an older one"),
        Progress::Rewrapped(people) => format!("the keys of {people} people have come under it"),
    });
}

fn state(list: &KeyList, kek: &Kek) -> &'static str {
    let waits = |version: i32| list.keks.iter().any(|(other, _)| other.is_current && other.version < version);
    match kek {
        Kek { is_current: true, .. } => "current",
        _ if list.may_destroy(kek.version) => "may be destroyed",
        Kek { version, .. } if waits(*version) => "published, not yet used",
        _ => "older",
    }
}

fn lines(list: &KeyList) -> String {
    let line = |(kek, people): &(Kek, i64)| {
        let (created, archived) = (shown(kek.created_at, "at a time unknown"), shown(kek.archived_at, "never"));
        let (version, state) = (kek.version, state(list, kek));
        format!("key-encryption key {version}: {state}; made {created}; keys of {people} people; archived {archived}")
    };
    let evidence = format!("evidence key: {}", list.evidence.as_deref().unwrap_or("not needed yet"));
    let lines = list.keks.iter().map(line).chain(signing_lines(&list.signing)).chain([evidence]);
    lines.collect::<Vec<_>>().join("\n")
}

fn object(list: &KeyList) -> Value {
    let kek = |(kek, people): &(Kek, i64)| {
        json!({
            "version": kek.version,
            "state": state(list, kek),
            "created_at": kek.created_at,
            "archived_at": kek.archived_at,
            "people": people,
        })
    };
    json!({
        "key_encryption_keys": list.keks.iter().map(kek).collect::<Vec<_>>(),
        "signing_keys": signing_object(&list.signing),
        "evidence_key": list.evidence,
    })
}

/// What a signing key does; the first one signs.
fn signing_state(number: usize, key: &SigningKey) -> String {
    match key.accepted_until {
        _ if number == 0 => "signs".to_owned(),
        Some(until) => format!("accepted until {until:?}"),
        None => "published, does not sign yet".to_owned(),
    }
}

fn signing_lines(signing: &Signing) -> Vec<String> {
    let line = |(number, key): (usize, &SigningKey)| format!("signing key {}: {}", key.kid, signing_state(number, key));
    signing.keys.iter().enumerate().map(line).collect()
}

fn signing_object(signing: &Signing) -> Value {
    let key = |(number, key): (usize, &SigningKey)| json!({ "kid": key.kid, "signs": number == 0, "accepted_until": key.accepted_until });
    signing.keys.iter().enumerate().map(key).collect()
}

fn shown(time: Option<DateTime<Utc>>, otherwise: &str) -> String {
    time.map_or_else(|| otherwise.to_owned(), |time| format!("{time:?}"))
}
