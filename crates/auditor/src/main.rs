//! `lethe-audit`: replays the log of a Lethe database with a stock `postgres-es` repository and counts what it finds.
//!
//! Promises: no code of the server takes part, so that an auditor need not trust it; the log is read in one read-only
//! snapshot; the same counts are taken twice, by the repository and by plain SQL, and a difference is a finding. Refuses: a
//! password on the command line. It opens no sealed value and needs no key.

mod fold;
mod place;
mod replay;
mod report;
mod stream;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use fold::Dimension;
use replay::AuditError;
use report::Report;

/// Replays the log of a Lethe database and counts what it finds.
#[derive(Parser)]
#[command(name = "lethe-audit", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stream every event and count; ends with 1 where something does not fit
    Replay(ReplayArgs),
}

#[derive(Args)]
struct ReplayArgs {
    /// A database, as postgresql://lethe_auditor@host:port/name, without a password
    #[arg(long)]
    database: String,
    /// The file of the password, mode 0600; without it, PGPASSWORD or the password file of libpq
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// What to count by
    #[arg(long, value_enum, value_delimiter = ',', default_value = "type")]
    by: Vec<Dimension>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Command::Replay(args) = Cli::parse().command;
    match replay(&args).await {
        Ok(sound) if sound => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lethe-audit: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Replays and prints; says whether everything fits.
async fn replay(args: &ReplayArgs) -> Result<bool, AuditError> {
    let options = place::options(&args.database, args.password_file.as_deref())?;
    let report: Report = replay::run(options, &args.by).await?;
    let text = if args.json { report.json() } else { report.table() };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(report.findings.is_empty())
}
