//! The bench: how fast the server is, as ratios to what PostgreSQL itself does with the same rows in the same run.
//!
//! Machines are noisy: compare within one run only. Rounds are interleaved and medians printed.

mod daily;
mod erasure;
mod export;
mod filler;
mod growth;
mod import;
mod lists;
mod load;
mod outcome;
mod peers;
mod pgbench;
mod plot;
mod release;
mod restore;
mod small;
mod stage;
mod tree;
mod verify;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{load::Load, outcome::BenchResult};

/// How fast the server is.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// `POST /v1/work-events/daily` over HTTP, everything switched on, against pgbench with the same rows (P)
    Daily {
        #[command(flatten)]
        load: Load,
        /// Instead, what each statement costs PostgreSQL (pg_stat_statements)
        #[arg(long)]
        statements: bool,
    },
    /// The same load beside stock `cqrs-es` with `postgres-es`, in the same run and on the same cluster
    Peers(Load),
    /// Batches of 31 days beside single days, and the list of a quarter beside the same SELECT by pgbench
    Lists(Load),
    /// An export of 1,000 records from the request to the file, and the server's memory during one of very many
    Export {
        /// Rounds of the timed export, of which the median counts
        #[arg(long, default_value_t = 15)]
        rounds: usize,
        /// Records of the large export; 0 leaves it out
        #[arg(long, default_value_t = 1_000_000)]
        records: usize,
    },
    /// An import of very many records in both formats, and the server's memory during it
    Import {
        /// Records of the file
        #[arg(long, default_value_t = 1_000_000)]
        records: usize,
    },
    /// An erasure of a person with 10,000 events, from the confirmation to the end
    Erasure {
        /// How many people, of whom the median counts
        #[arg(long, default_value_t = 5)]
        people: usize,
        /// Events of each person
        #[arg(long, default_value_t = 10_000)]
        events: usize,
    },
    /// What the tree over the log costs the commands
    Tree {
        /// Seconds of each measurement
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Rounds, of which the median counts
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// What requests cost while the log grows to each of these sizes
    Growth {
        /// Events of the log at which to measure
        #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000, 10_000_000])]
        events: Vec<u64>,
        /// Seconds of each measurement of submissions
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Where to write the plot (SVG)
        #[arg(long)]
        plot: Option<PathBuf>,
    },
    /// The verification of a log, against hashing the same bytes
    Verify {
        /// How many events
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Rounds, of which the median counts
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// The server within 256 MiB of memory and 24 connections: its start, the daily load, and large exports (as root)
    Small,
    /// A backup and a restore of a large log that holds one person with 50,000 events
    Restore {
        /// How many events there are in all, roughly
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
    },
    /// A release of statistics, unsealing included, in a process of its own
    Release {
        /// How many people
        #[arg(long, default_value_t = 50_000)]
        people: usize,
        /// Work days of each person
        #[arg(long, default_value_t = 60)]
        days: usize,
    },
}

#[tokio::main]
async fn main() -> BenchResult<()> {
    match Cli::parse().what {
        What::Daily { load, statements: true } => daily::run_statements(&load).await,
        What::Daily { load, .. } => daily::run(&load).await,
        What::Lists(load) => lists::run(&load).await,
        What::Peers(load) => peers::run(&load).await,
        What::Export { rounds, records } => export::run(rounds, records).await,
        What::Small => small::run().await,
        What::Import { records } => import::run(records).await,
        What::Erasure { people, events } => erasure::run(people, events).await,
        What::Tree { seconds, rounds } => tree::run(seconds, rounds).await,
        What::Growth { events, seconds, plot } => growth::run(&events, seconds, plot.as_deref()).await,
        What::Verify { events, rounds } => verify::run(events, rounds).await,
        What::Restore { events } => restore::run(events).await,
        What::Release { people, days } => release::run(people, days).await,
    }
}
