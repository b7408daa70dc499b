//! `lethe stats`: plans what is published and when, releases by hand, adds to the public list of hospitals, and
//! evaluates the statistics.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Subcommand, ValueEnum};
use domain::{
    Choice,
    quarter::Quarter,
    statistics::plan::{Plan, Policy, Revision},
};
use lethe::{
    app::statistics::{hospital, release},
    data::{home::HomeError, new_file::NewFile},
    demo::{evaluate, hospitals},
    server::ServerError,
};
use serde_json::json;
use terminal::Output;

use crate::cli::home::{HomeArgs, Makes};

#[derive(Subcommand)]
pub(super) enum StatsCommand {
    /// Release a closed quarter, or show what was released of it
    Release {
        #[command(flatten)]
        home: HomeArgs,
        /// The quarter, as 2025-Q1
        #[arg(long, value_parser = quarter)]
        period: Quarter,
        /// 0 for the first release, 1 for the revision that was scheduled
        #[arg(long, default_value_t = 0)]
        revision: u32,
    },
    /// Say what is published from a quarter on that has not begun
    Plan {
        #[command(flatten)]
        home: HomeArgs,
        /// The first quarter, as 2026-Q1
        #[arg(long, value_parser = quarter)]
        from: Quarter,
        /// full: by state, specialty and role, and by hospital; small: by state and role alone
        #[arg(long, value_enum)]
        plan: PlanName,
        /// Schedule one revision of each quarter, for this part of the budget, 10 to 50
        #[arg(long, value_name = "PERCENT", requires = "revision_after_days")]
        revision_percent: Option<u32>,
        /// When: so many days after the first release, 30 to 730
        #[arg(long, value_name = "DAYS", requires = "revision_percent")]
        revision_after_days: Option<u32>,
    },
    /// Say how good the statistics are, on simulated people, beside the mechanism that was asked for first
    Evaluate {
        /// From what people and noise are made
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where people work: a CSV with the columns `name` and `state`, the largest first; without it a short list of our own
        #[arg(long)]
        hospitals: Option<PathBuf>,
        /// Where to put the figure, as SVG; nothing may stand there yet
        #[arg(long)]
        figure: Option<PathBuf>,
    },
    /// Add to the public list of hospitals that there are cells for, from the next quarter on
    Hospitals {
        #[command(flatten)]
        home: HomeArgs,
        /// A CSV with the columns `name` and `state`; a hospital's id is made of its name
        #[arg(long)]
        file: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum PlanName {
    Full,
    Small,
}

fn quarter(text: &str) -> Result<Quarter, &'static str> {
    text.parse()
}

impl StatsCommand {
    pub(super) async fn run(self, output: Output) -> Result<(), ServerError> {
        let home = match &self {
            Self::Evaluate { seed, hospitals, figure } => {
                return evaluated(output, *seed, hospitals.as_deref(), figure.as_deref());
            }
            Self::Release { home, .. } | Self::Plan { home, .. } | Self::Hospitals { home, .. } => home,
        };
        home.on_store(Makes::Nothing, async |home| {
            let app = home.open().await?;
            match &self {
                Self::Release { period, revision, .. } => {
                    let released = release::make(&app, *period, *revision).await?;
                    let how = if released.is_new { "released now" } else { "was released before, and stays" };
                    let (published, drawn) = (released.published, released.row.computed_at);
                    let told = format!(
                        "{period}, revision {revision}: {how}; {published} cells are published, drawn {}, sha256 {}",
                        drawn.format("%Y-%m-%d %H:%M UTC"),
                        released.row.sha256
                    );
                    let json = json!({
                        "period": period.to_string(),
                        "revision": revision,
                        "released_now": released.is_new,
                        "cells_published": published,
                        "computed_at": drawn,
                        "sha256": released.row.sha256,
                    });
                    output.say(told, json)?;
                }
                Self::Plan { from, plan, revision_percent, revision_after_days, .. } => {
                    let revision = revision_percent.zip(*revision_after_days);
                    let revision = revision.map(|(percent, after_days)| Revision { percent, after_days });
                    let plan = match plan {
                        PlanName::Full => Plan::Full,
                        PlanName::Small => Plan::Small,
                    };
                    release::plan(&app, *from, Policy { plan, revision }).await?;
                    let json = json!({
                        "from": from.to_string(),
                        "plan": plan.as_str(),
                        "revision_percent": revision.map(|revision| revision.percent),
                        "revision_after_days": revision.map(|revision| revision.after_days),
                    });
                    output.say(format_args!("planned from {from} on"), json)?;
                }
                Self::Evaluate { .. } => {}
                Self::Hospitals { file, .. } => {
                    let hospitals = listed(file)?;
                    let ids: Vec<String> = hospitals.into_iter().map(|hospital| hospital.hospital_id).collect();
                    let added = hospital::add(&app, &ids).await?;
                    let known = ids.len().saturating_sub(added.count);
                    let told = format!("{} added, from {} on; {known} were on the list", added.count, added.from);
                    let json = json!({ "added": added.count, "from": added.from.to_string(), "known": known });
                    output.say(told, json)?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn listed(file: &Path) -> Result<Vec<hospitals::Hospital>, HomeError> {
    hospitals::read(file).map_err(|error| HomeError::Malformed(file.into(), error.to_string()))
}

/// Prints the evaluation, and writes its figure if a file is named.
fn evaluated(output: Output, seed: u64, hospitals: Option<&Path>, figure: Option<&Path>) -> Result<(), ServerError> {
    let hospitals = hospitals.map_or_else(|| Ok(hospitals::built_in()), listed)?;
    let figure =
        figure.map(|path| NewFile::create(path).map_err(|error| HomeError::Io(path.into(), error))).transpose()?;
    let quarter = quarter("2025-Q2").expect("a quarter");
    let evaluations = [(50_000, Plan::Full), (5_000, Plan::Small)];
    let evaluations = evaluations.map(|(people, plan)| evaluate::evaluate(seed, people, quarter, plan, &hospitals));
    output.say(evaluate::report(&evaluations).trim_end(), evaluate::object(&evaluations))?;
    if let Some(mut file) = figure {
        let path = file.path().to_owned();
        let written = file.write_all(evaluate::figure(&evaluations[0]).as_bytes()).and_then(|()| file.finish());
        written.map_err(|error| HomeError::Io(path, error))?;
    }
    Ok(())
}
