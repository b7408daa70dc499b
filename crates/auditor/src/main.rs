//! `lethe-audit`: the command line of the auditor. Refuses: a password on it.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use auditor::{
    fold::Dimension,
    place,
    replay::{self, AuditError},
    report::Report,
};
use clap::{Args, Parser, Subcommand};

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
