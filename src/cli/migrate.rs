//! `lethe migrate`: brings a database to this version, or archives the data of the service before.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use context::Clock;
use lethe::{
    backup::legacy::{self, Source, manifest_path},
    data::home::Database,
    server::ServerError,
};
use serde_json::json;
use terminal::Output;

use crate::cli::home::{HomeArgs, Makes, required_secret};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    home: HomeArgs,
    #[command(subcommand)]
    legacy: Option<LegacyCommand>,
}

#[derive(Subcommand)]
enum LegacyCommand {
    /// Archive the anonymous weekly submissions of the service before as CSV with a manifest
    LegacyWeekly {
        /// An SQLite file, or postgresql://user@host:port/name
        source: String,
        /// The CSV file to write; its manifest stands beside it
        #[arg(long, default_value = "weekly_submissions.csv")]
        to: PathBuf,
        /// The file of the database's password, mode 0600
        #[arg(long)]
        source_password_file: Option<PathBuf>,
        /// Drop weekly_submissions, reports and verification_requests, once the archive was read back and is whole
        #[arg(long)]
        drop: bool,
    },
}

impl MigrateArgs {
    pub(super) async fn run(self, output: Output) -> Result<(), ServerError> {
        let Some(LegacyCommand::LegacyWeekly { source, to, source_password_file, drop }) = self.legacy else {
            return self
                .home
                .on_store(Makes::All, async |home| {
                    home.migrate().await?;
                    let newest = db::newest_migration();
                    Ok(output.say(format_args!("migration {newest} is the newest"), json!({ "migration": newest }))?)
                })
                .await;
        };
        let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| source.starts_with(scheme));
        let source = if is_url {
            let password = source_password_file.as_deref().map(required_secret).transpose()?;
            Source::Postgres(Database::parse(&source)?, password)
        } else {
            Source::Sqlite(source.into())
        };
        let manifest = legacy::archive(source, &to, drop, Clock::system().now()).await?;
        let told = format!(
            "{} rows are in {}, sha256 {}; the manifest is {}\n{}",
            manifest.rows,
            to.display(),
            manifest.sha256,
            manifest_path(&to).display(),
            if drop { "the old tables are dropped" } else { "the old tables are as they were; --drop drops them" }
        );
        let json = json!({
            "rows": manifest.rows,
            "written_to": to,
            "sha256": manifest.sha256,
            "manifest": manifest_path(&to),
            "dropped": drop,
        });
        Ok(output.say(told, json)?)
    }
}
