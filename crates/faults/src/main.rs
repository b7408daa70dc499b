//! Faults: the real server under load, while processes die or stand still, the disk is full, the clock is wrong, and so
//! on. After each fault the server has to serve again by itself, and nothing that it acknowledged may be lost, done
//! twice, or unequal to the log.

mod check;
mod client;
mod disk;
mod export;
mod fault;
mod http;
mod leaver;
mod ledger;
mod machine;
mod outcome;
mod people;
mod post;
mod process;
mod programs;
mod report;
mod run;
mod tally;
mod town;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{
    fault::Fault,
    outcome::{Finding, Outcome},
    report::Round,
    run::Run,
};

/// Make faults while the server works, and check after each that nothing is lost, done twice or unequal.
#[derive(Parser)]
#[command(name = "faults")]
struct Cli {
    /// How many faults, one after another; each kind comes equally often
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Decides the order of the faults and what clients do
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a fault that lasts lasts, in seconds
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    hold: u64,
    /// Only these kinds
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    only: Vec<Fault>,
    /// Where the logs go if anything is found
    #[arg(long, default_value = "target/faults", value_name = "FOLDER")]
    logs: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return ExitCode::FAILURE;
    };
    // Whatever ends first: the machine is dropped, which ends its processes and unmounts its folder.
    let outcome = tokio::select! {
        outcome = rounds(&cli) => outcome,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("terminated".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes all rounds; returns whether nothing was found.
async fn rounds(cli: &Cli) -> Outcome<bool> {
    let mut run = Run::new(cli.rounds, cli.seed, Duration::from_secs(cli.hold), &cli.only).await?;
    let (began, mut rounds) = (Instant::now(), Vec::new());
    let outcome = all(&mut run, &mut rounds).await;
    println!("\n{}", report::table(&rounds));
    println!("{} rounds in {} s; {} people left", rounds.len(), began.elapsed().as_secs(), run.people_left());
    let is_sound = outcome.as_ref().is_ok_and(Vec::is_empty) && rounds.iter().all(|round| round.findings.is_empty());
    if is_sound {
        return Ok(true);
    }
    for (number, round) in (1..).zip(&rounds) {
        round.findings.iter().for_each(|finding| println!("round {number} ({}): {finding}", round.fault.name()));
    }
    run.machine.keep_logs(&cli.logs)?;
    let Cli { rounds, seed, hold, logs, .. } = cli;
    println!("logs are in {}; again: --rounds {rounds} --seed {seed} --hold {hold}", logs.display());
    for finding in outcome? {
        println!("at the end: {finding}");
    }
    Ok(false)
}

/// Makes all rounds, unless one leaves the server stuck, and stops the server. Returns what is found at its end.
async fn all(run: &mut Run, rounds: &mut Vec<Round>) -> Outcome<Vec<Finding>> {
    let faults = run.faults();
    for (number, fault) in (1..).zip(&faults) {
        let ended = run.round(*fault, number == faults.len()).await;
        let (round, detail) = ended.map_err(|error| format!("round {number} ({}): {error}", fault.name()))?;
        eprintln!("{}", line(number, &round, &detail));
        let is_stuck = round.to_serve.is_none();
        rounds.push(round);
        if is_stuck {
            return Ok(Vec::new());
        }
    }
    run.end().await
}

fn line(number: usize, round: &Round, detail: &str) -> String {
    let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    let served =
        round.to_serve.map_or("does not serve".to_owned(), |it| format!("serves after {:.1} s", it.as_secs_f64()));
    let counts = &round.counts;
    let findings: String = round.findings.iter().map(|finding| format!("\n    {finding}")).collect();
    format!(
        "{number:3} {}{detail}: {served}; {} requests, {} acknowledged, {} resolved{findings}",
        round.fault.name(),
        counts.requests,
        counts.acknowledged,
        counts.resolved
    )
}
