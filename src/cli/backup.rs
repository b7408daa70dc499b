//! `lethe backup`, `lethe restore` and `lethe drill`: archives of log and keys in separate files, a database brought
//! back from two of them, and the proof that erased data does not come back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use context::Clock;
use lethe::{
    backup::{self, Finding, Ground, Verdict},
    data::home::HomeError,
    server::ServerError,
};

use crate::cli::{home::HomeArgs, progress};

#[derive(Subcommand)]
pub(super) enum BackupCommand {
    /// Write an archive of the log and one of the keys; keep them in different places
    Create {
        #[command(flatten)]
        home: HomeArgs,
        #[command(flatten)]
        pair: Pair,
    },
}

/// Two archives.
#[derive(Args)]
pub(super) struct Pair {
    /// The archive of the log. A backup writes over nothing: no file may stand there yet
    #[arg(long)]
    log: PathBuf,
    /// The archive of the keys, a file of its own, kept in another place
    #[arg(long)]
    keys: PathBuf,
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    home: HomeArgs,
    #[command(flatten)]
    pair: Pair,
    /// A checkpoint of the log that is newer than the data folder's own, as an auditor or a witness holds it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct DrillArgs {
    #[command(flatten)]
    home: HomeArgs,
    /// The folder that the drill's archives go to
    #[arg(long)]
    to: PathBuf,
}

impl BackupCommand {
    pub(super) async fn run(self) -> Result<(), ServerError> {
        let Self::Create { home, pair } = self;
        home.on_store(false, async |home| {
            let now = Clock::system().now();
            let password = home.password();
            let ledger = home.settings().ledger();
            let (store, vault) = (&home.store, &home.vault);
            let (log, keys) = backup::create(store, password, vault, &ledger, &pair.log, &pair.keys, now).await?;
            for (path, manifest) in [(&pair.log, log), (&pair.keys, keys)] {
                let rows: u64 = manifest.tables.values().map(|table| table.rows).sum();
                println!("{}: {rows} rows, as of {}", path.display(), manifest.taken_at.format("%FT%TZ"));
            }
            Ok(())
        })
        .await
    }
}

impl RestoreArgs {
    pub(super) async fn run(self) -> Result<(), ServerError> {
        let Self { home, pair, checkpoint } = self;
        home
            .on_store(false, async |home| {
                let settings = home.settings();
                if let Some(path) = &checkpoint {
                    settings.watermark().adopt(path, home.vault.ring().log_public().map_err(HomeError::from)?)?;
                }
                let (password, vault) = (home.password(), home.vault.clone());
                let (log, keys) = (&pair.log, &pair.keys);
                let watch = progress::watch();
                let restored = backup::restore(&settings, &home.store, password, vault, log, keys, &watch).await?;
                println!("{} events and the keys of {} people are back", restored.events, restored.people);
                let (people, records) = (restored.lost_people, restored.lost_records);
                if let Some(origin) = &restored.opened {
                    println!("the log was signed further than it came back; its tree goes on as {origin}, and says what is lost");
                }
                println!("made after the log was archived, and lost: {people} accounts, {records} records");
                let again = restored.replayed;
                println!(
                    "done again: {} people erased, {} records removed, {} consents withdrawn, {} restrictions, {} holds, {} \
                     deletions cancelled, {} graces prolonged, {} lost releases closed",
                    again.erased, again.removed, again.withdrawn, again.restricted, again.held, again.cancelled, again.paused,
                    again.released
                );
                Ok(())
            })
            .await
    }
}

impl DrillArgs {
    pub(super) async fn run(self) -> Result<(), ServerError> {
        let Self { home, to } = self;
        home.on_store(false, async |home| {
            let app = home.open().await?;
            let ground = Ground {
                app: &app,
                vault: &home.vault,
                folder: &home.folder,
                store: &home.store,
                password: home.password(),
            };
            let findings = backup::drill(&ground, &to).await?;
            for finding in &findings {
                let verdict = match finding.verdict {
                    Verdict::Holds => "ok  ",
                    Verdict::Fails => "FAIL",
                    Verdict::NotExamined => "not examined",
                };
                println!("{verdict}  {}: {}", finding.what, finding.fact);
            }
            let fails = |it: &&Finding| it.verdict == Verdict::Fails;
            let failed: Vec<&str> = findings.iter().filter(fails).map(|it| it.what).collect();
            if failed.is_empty() { Ok(()) } else { Err(ServerError::Sick(failed.join(", "))) }
        })
        .await
    }
}
