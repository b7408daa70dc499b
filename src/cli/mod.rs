//! The command line's commands and arguments. Secrets are read from files, never from arguments.

mod backup;
mod hold;
mod home;
mod keys;
mod migrate;
mod progress;
mod projection;
mod serve;
mod settings;
mod staff;
mod stats;

use std::path::PathBuf;

use chrono::TimeDelta;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use context::Clock;
use lethe::{
    data::home::Folder,
    demo::{self, Demo},
    http,
    server::{ServerError, doctor},
};
use serde_json::json;
use terminal::{Output, Shell};

use crate::cli::home::{HomeArgs, Makes, asked_to_stop};

const EXIT_CODES: &str = "Exit codes:
   0  done
   1  failed; the last line says why
   2  the command line, a variable or the configuration file can't be read
   3  `doctor` or `drill` has found a fault
  75  the server's own PostgreSQL can't be brought up, which may pass";

/// An event-sourced server that remembers what happened and can forget who it happened to.
#[derive(Parser)]
#[command(name = "lethe", version = terminal::VERSION, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a server of its own with invented people, to try things on
    Demo(DemoArgs),
    /// Serve; without --database on a PostgreSQL of its own
    Serve(Box<serve::ServeArgs>),
    /// Bring a database to this version: roles, tables, policies; or archive what the service before kept
    Migrate(migrate::MigrateArgs),
    /// Check roles, policies, PostgreSQL's version, the key ring and the clock
    Doctor(HomeArgs),
    /// Manage members of staff
    #[command(subcommand)]
    Staff(staff::StaffCommand),
    /// Place or lift a legal hold, while which nothing of a person is deleted
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Show read models, and build them anew from the log
    #[command(subcommand)]
    Projections(projection::ProjectionCommand),
    /// Show, rotate and destroy keys of the ring
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show and rotate the keys that sign access tokens
    #[command(subcommand)]
    Jwt(keys::JwtCommand),
    /// Take a backup
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Bring an empty database back from an archive of the log and the newest archive of the keys
    Restore(backup::RestoreArgs),
    /// Prove that what was erased does not come back from an older backup; rotates the key ring
    Drill(backup::DrillArgs),
    /// Plan and release published statistics
    #[command(subcommand)]
    Stats(stats::StatsCommand),
    /// Print the OpenAPI document
    Openapi {
        /// In the words of OpenAPI 3.0, for generators that know no newer ones
        #[arg(long)]
        older: bool,
    },
    /// Print the completions of a shell, such as bash, zsh or fish
    Completions { shell: Shell },
}

#[derive(Args)]
struct DemoArgs {
    /// The data folder
    #[arg(long, default_value = ".lethe")]
    data: PathBuf,
    /// The TCP port on loopback; 0 for any
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// How many people
    #[arg(long, default_value_t = 2000)]
    people: usize,
    /// From what people are made; nothing secret comes of it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a confirmed deletion can be cancelled, in seconds
    #[arg(long, default_value_t = 60)]
    grace: u32,
    /// The hospitals they work at: a CSV with the columns `name` and `state`
    #[arg(long)]
    hospitals: Option<PathBuf>,
}

impl Cli {
    /// Reads arguments, variables and the configuration file. Ends the program where something is wrong.
    pub fn read() -> Self {
        let command = settings::with_variables(Self::command());
        let mut cli = Self::parsed(&command.clone().get_matches());
        if let Command::Serve(args) = &cli.command {
            let (matches, settings) = settings::read(&command, args.config.as_deref());
            cli = Self::parsed(&matches);
            if let Command::Serve(args) = &mut cli.command {
                args.settings = settings;
            }
        }
        cli
    }

    fn parsed(matches: &ArgMatches) -> Self {
        Self::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
    }

    pub async fn run(self) -> Result<(), ServerError> {
        let output = self.output;
        match self.command {
            Command::Demo(args) => {
                let folder = Folder::open(&args.data)?;
                let demo = Demo {
                    people: args.people,
                    seed: args.seed,
                    hospitals: args.hospitals,
                    port: args.port,
                    grace: TimeDelta::seconds(i64::from(args.grace)),
                    sender: "Lethe <lethe@localhost.example>".to_owned(),
                };
                demo::run(&demo, &folder, &progress::watch(), output, asked_to_stop()?).await
            }
            Command::Serve(args) => args.run(output).await,
            Command::Migrate(args) => args.run(output).await,
            Command::Doctor(args) => {
                args.on_store(Makes::Nothing, async |home| {
                    let clock = Clock::system();
                    let found = doctor::find(&home.folder, &home.store.database, &home.vault, &clock).await?;
                    output.say(found.lines().join("\n"), json!({ "findings": found.0 }))?;
                    found.verdict()
                })
                .await
            }
            Command::Staff(command) => command.run(output).await,
            Command::Hold(command) => command.run(output).await,
            Command::Projections(command) => command.run(output).await,
            Command::Keys(command) => command.run(output).await,
            Command::Jwt(command) => command.run(output).await,
            Command::Backup(command) => command.run(output).await,
            Command::Restore(args) => args.run(output).await,
            Command::Drill(args) => args.run(output).await,
            Command::Stats(command) => command.run(output).await,
            Command::Openapi { older } => {
                Ok(terminal::print(&if older { http::document_3_0() } else { http::document() })?)
            }
            Command::Completions { shell } => Ok(terminal::completions::<Self>(shell)?),
        }
    }
}
