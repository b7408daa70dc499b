//! `lethe backup`, `lethe restore` and `lethe drill`: archives of log and keys in separate files, a database brought
//! back from two of them, and the proof that erased data does not come back.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use context::Clock;
use lethe::{
    backup::{self, Finding, Ground, Manifest, Restored, Verdict},
    data::home::HomeError,
    server::ServerError,
};
use serde_json::json;
use terminal::Output;

use crate::cli::{
    home::{HomeArgs, Makes},
    progress,
};

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
    pub(super) async fn run(self, output: Output) -> Result<(), ServerError> {
        let Self::Create { home, pair } = self;
        home.on_store(Makes::Nothing, async |home| {
            let now = Clock::system().now();
            let password = home.password();
            let ledger = home.settings().ledger();
            let (store, vault) = (&home.store, &home.vault);
            let (log, keys) = backup::create(store, password, vault, &ledger, &pair.log, &pair.keys, now).await?;
            let rows = |manifest: &Manifest| manifest.tables.values().map(|table| table.rows).sum::<u64>();
            let line = |path: &Path, manifest: &Manifest| {
                let (rows, taken_at) = (rows(manifest), manifest.taken_at.format("%FT%TZ"));
                format!("{}: {rows} rows, as of {taken_at}", path.display())
            };
            let object = |path: &Path, manifest: &Manifest| {
                json!({ "written_to": path, "rows": rows(manifest), "taken_at": manifest.taken_at })
            };
            let told = format!("{}\n{}", line(&pair.log, &log), line(&pair.keys, &keys));
            Ok(output.say(told, json!({ "log": object(&pair.log, &log), "keys": object(&pair.keys, &keys) }))?)
        })
        .await
    }
}

impl RestoreArgs {
    pub(super) async fn run(self, output: Output) -> Result<(), ServerError> {
        let Self { home, pair, checkpoint } = self;
        home.on_store(Makes::Cluster, async |home| {
            let settings = home.settings();
            if let Some(path) = &checkpoint {
                settings.watermark().adopt(path, home.vault.ring().log_public().map_err(HomeError::from)?)?;
            }
            let (password, vault) = (home.password(), home.vault.clone());
            let (log, keys) = (&pair.log, &pair.keys);
            let watch = progress::watch();
            let restored = backup::restore(&settings, &home.store, password, vault, log, keys, &watch).await?;
            Ok(output.say(told(&restored), &restored)?)
        })
        .await
    }
}

/// What came back, in words.
fn told(restored: &Restored) -> String {
    let Restored { events, people, lost_people, lost_records, opened, replayed: again } = restored;
    let opened = opened.as_ref().map(|origin| {
        format!("\nthe log was signed further than it came back; its tree goes on as {origin}, and says what is lost")
    });
    format!(
        "{events} events and the keys of {people} people are back{}\n\
         made after the log was archived, and lost: {lost_people} accounts, {lost_records} records\n\
         done again: {} people erased, {} records removed, {} consents withdrawn, {} restrictions, {} holds, {} deletions \
         cancelled, {} graces prolonged, {} roles taken, {} lost releases closed",
        opened.unwrap_or_default(),
        again.erased,
        again.removed,
        again.withdrawn,
        again.restricted,
        again.held,
        again.cancelled,
        again.paused,
        again.roles,
        again.released
    )
}

impl DrillArgs {
    pub(super) async fn run(self, output: Output) -> Result<(), ServerError> {
        let Self { home, to } = self;
        home.on_store(Makes::Nothing, async |home| {
            let app = home.open().await?;
            let ground = Ground {
                app: &app,
                vault: &home.vault,
                folder: &home.folder,
                store: &home.store,
                password: home.password(),
            };
            let findings = backup::drill(&ground, &to).await?;
            let line = |finding: &Finding| {
                let verdict = match finding.verdict {
                    Verdict::Holds => "ok  ",
                    Verdict::Fails => "FAIL",
                    Verdict::NotExamined => "not examined",
                };
                format!("{verdict}  {}: {}", finding.what, finding.fact)
            };
            let lines: Vec<String> = findings.iter().map(line).collect();
            output.say(lines.join("\n"), json!({ "findings": findings }))?;
            let fails = |it: &&Finding| it.verdict == Verdict::Fails;
            let failed: Vec<&str> = findings.iter().filter(fails).map(|it| it.what).collect();
            if failed.is_empty() { Ok(()) } else { Err(ServerError::Sick(failed.join(", "))) }
        })
        .await
    }
}
