//! `lethe-audit`: the command line of the auditor. Refuses a password on the command line.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use auditor::{
    connection,
    error::AuditError,
    fold::Dimension,
    grant::Grant,
    mirror::mirror,
    proof::Checked,
    replay,
    report::Report,
    source::Source,
    verify::{Trust, Verified, verify},
    witness::{Witness, routes},
};
use clap::{Args, Parser, Subcommand};
use listen::{Connections, LimitedAcceptor, Limits};
use poem::{Endpoint, EndpointExt, http::StatusCode};
use serde_json::json;
use terminal::{Output, Shell, note};
use tokio::net::TcpListener;
use transparency::{LogKey, Policy};

const EXIT_CODES: &str = "Exit codes:
   0  done; everything that was examined holds
   1  failed, so that nothing is said about the log; the last line says why
   2  an argument is wrong
   3  a finding: something is not what was signed, or does not fit";

/// Verifies, copies, witnesses and replays the log of a Lethe server without trusting the server.
#[derive(Parser)]
#[command(name = "lethe-audit", version = terminal::VERSION, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stream every event and count; exits with 3 if something does not fit
    Replay(ReplayArgs),
    /// Compare every event with a signed checkpoint; exits with 3 if something does not fit, and names the first
    /// difference
    Verify(VerifyArgs),
    /// Copy a log into a folder, so that later logs can be verified against the copy
    Mirror(MirrorArgs),
    /// Check the proof that an event is in the log, without the log; exits with 3 if it does not hold
    Proof(ProofArgs),
    /// Cosign checkpoints that go on from the checkpoint that was cosigned before (C2SP tlog-witness)
    Witness(WitnessArgs),
    /// Print the completions of a shell, such as bash, zsh or fish
    Completions { shell: Shell },
}

/// Where a log is, and how to get access to it.
#[derive(Args)]
struct LogArgs {
    /// The log: a folder, http(s)://host/v1/log, or postgresql://lethe_auditor@host:port/name without a password
    #[arg(long, value_name = "DIR|URL|DATABASE")]
    log: String,
    /// The file with the password of the database, mode 0600
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The file with an access token of a member of staff, mode 0600; a server gives entries only for a token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl LogArgs {
    fn open(&self) -> Result<Source, AuditError> {
        Source::open(&self.log, self.password_file.as_deref(), self.token_file.as_deref())
    }
}

#[derive(Args)]
struct VerifyArgs {
    #[command(flatten)]
    log: LogArgs,
    /// A checkpoint that you received from outside; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    checkpoint: Vec<PathBuf>,
    /// The log's key, or a file that holds it
    #[arg(long, value_name = "VKEY", required_unless_present = "policy")]
    key: Option<String>,
    /// A policy instead of a key (C2SP tlog-policy): logs, witnesses, and how many of them must have cosigned
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    policy: Option<PathBuf>,
    /// A copy that was taken while the log was sound; differences from the copy are named by index and column
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
}

#[derive(Args)]
struct MirrorArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The log's key, or a file that holds it
    #[arg(long, value_name = "VKEY")]
    key: String,
    /// The folder for the copy
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Args)]
struct ReplayArgs {
    /// A database, as postgresql://lethe_auditor@host:port/name, without a password
    #[arg(long)]
    database: String,
    /// The file with the password, mode 0600; without it, PGPASSWORD or the password file of libpq
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// The file of a key that was granted with `lethe keys grant`; the content of one person's records is shown as well
    #[arg(long, value_name = "FILE")]
    subject_key: Option<PathBuf>,
    /// What to count by
    #[arg(long, value_enum, value_delimiter = ',', default_value = "type")]
    by: Vec<Dimension>,
}

#[derive(Args)]
struct ProofArgs {
    /// The proof (C2SP tlog-proof), as /v1/privacy/audit-log/{id}/proof and /v1/log/proofs/{index} give it
    #[arg(long, value_name = "FILE")]
    proof: PathBuf,
    /// The hash of the leaf in base64, as you know it from elsewhere: the proof must be of this leaf. Needed if the
    /// proof names none
    #[arg(long, value_name = "BASE64")]
    leaf_hash: Option<String>,
    /// The log's key, or a file that holds it
    #[arg(long, value_name = "VKEY")]
    key: String,
}

#[derive(Args)]
struct WitnessArgs {
    /// The folder with the witness's key and the checkpoints that it has seen; a key is made if there is none
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The name of the witness, as cosignatures show it, such as witness.example.org
    #[arg(long)]
    name: String,
    /// The key of a log to cosign, or a file that holds it; may be given several times
    #[arg(long, value_name = "VKEY", required = true)]
    key: Vec<String>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Cli { output, command } = Cli::parse();
    let outcome = match command {
        Command::Replay(args) => replay(&args, output).await,
        Command::Verify(args) => verified(&args, output).await,
        Command::Mirror(args) => copied(&args, output).await,
        Command::Proof(args) => proved(&args, output),
        Command::Witness(args) => witness(&args, output).await,
        Command::Completions { shell } => terminal::completions::<Cli>(shell).map(|()| true).map_err(AuditError::from),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => terminal::FOUND.into(),
        Err(error) => {
            note(format_args!("lethe-audit: {error}"));
            error.exit_code().into()
        }
    }
}

/// The key in `text`, or in the file that `text` names.
fn key(text: &str) -> Result<LogKey, AuditError> {
    let held = std::fs::read_to_string(text).unwrap_or_else(|_| text.to_owned());
    Ok(LogKey::parse(held.trim())?)
}

/// Verifies and prints the findings. Returns whether everything fits.
async fn verified(args: &VerifyArgs, output: Output) -> Result<bool, AuditError> {
    let policy = match (&args.key, &args.policy) {
        (Some(text), _) => Policy::of(key(text)?),
        (None, Some(file)) => Policy::parse(&std::fs::read_to_string(file)?)?,
        (None, None) => return Err(AuditError::NoCheckpoint),
    };
    let checkpoints = args.checkpoint.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let against = args.against.clone().map(Source::Folder);
    let source = args.log.open()?;
    let trust = Trust { policy: &policy, checkpoints: &checkpoints, against: against.as_ref() };
    let found: Verified = verify(&source, &trust).await?;
    output.say(lines(&found).trim_end(), &found)?;
    Ok(found.findings.is_empty())
}

fn lines(found: &Verified) -> String {
    let mut text = String::new();
    if let Some(opening) = &found.goes_on_from {
        text += &format!("goes on from an earlier tree: {opening}\n");
    }
    for finding in &found.findings {
        text += &format!("{finding}\n");
    }
    if found.findings.is_empty() {
        let Verified { origin, size, checkpoints, .. } = found;
        text += &format!("{origin}: {size} events are what was signed ({checkpoints} checkpoint(s) hold)\n");
    }
    text
}

async fn copied(args: &MirrorArgs, output: Output) -> Result<bool, AuditError> {
    let checkpoint = mirror(&args.log.open()?, &key(&args.key)?, &args.to).await?;
    let (origin, size) = (checkpoint.origin, checkpoint.size);
    output.say(format_args!("{origin}: {size} events copied"), json!({ "origin": origin, "size": size }))?;
    Ok(true)
}

/// Checks a proof with the log's key, without the log. Returns whether the proof holds.
fn proved(args: &ProofArgs, output: Output) -> Result<bool, AuditError> {
    let checked = Checked::of(&std::fs::read_to_string(&args.proof)?, &key(&args.key)?, args.leaf_hash.as_deref())?;
    output.say(&checked, &checked)?;
    Ok(checked.holds)
}

/// Serves until it is interrupted.
async fn witness(args: &WitnessArgs, output: Output) -> Result<bool, AuditError> {
    tracing_subscriber::fmt().with_writer(io::stderr).log_internal_errors(false).init();
    let logs = args.key.iter().map(|text| key(text)).collect::<Result<_, _>>()?;
    let witness = Arc::new(Witness::open(&args.state, &args.name, logs)?);
    let (limits, listener) = (Limits::default(), TcpListener::bind(args.listen).await?);
    let connections = Connections::new(limits, Vec::new());
    let listener = LimitedAcceptor::new(listener, connections.clone());
    output.say(witness.vkey(), json!({ "vkey": witness.vkey() }))?;
    let stopping = connections.clone();
    let stop = async move {
        // If waiting for the signal fails, the witness goes on serving.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        stopping.stop();
    };
    let routes = routes(witness).around(move |next, request| {
        let connections = connections.clone();
        async move {
            let _work = connections.begin(&request);
            let answer = connections.in_time(next.call(request)).await;
            answer.unwrap_or_else(|| Ok(StatusCode::SERVICE_UNAVAILABLE.into()))
        }
    });
    poem::Server::new_with_acceptor(listener).run_with_graceful_shutdown(routes, stop, Some(limits.stop)).await?;
    Ok(true)
}

/// Replays and prints the report. Returns whether everything fits.
async fn replay(args: &ReplayArgs, output: Output) -> Result<bool, AuditError> {
    let options = connection::connect_options(&args.database, args.password_file.as_deref())?;
    let grant = args.subject_key.as_deref().map(Grant::read).transpose()?;
    let report: Report = replay::run(options, &args.by, grant.as_ref()).await?;
    output.say(report.table().trim_end(), &report)?;
    Ok(report.findings.is_empty())
}
