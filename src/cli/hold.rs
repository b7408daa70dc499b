//! `lethe hold`: places a legal hold on a person's data, or lifts it.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use domain::kinds::instant;
use lethe::{app::rights::hold, server::ServerError};
use serde_json::json;
use terminal::Output;

use crate::cli::home::{HomeArgs, Makes, normalise, required_secret};

#[derive(Subcommand)]
pub enum HoldCommand {
    /// Place a hold, or another in its place; a person who asks, or whose deletion waits for it, is told its reason and its end
    Place {
        #[command(flatten)]
        home: HomeArgs,
        /// The person's e-mail address
        #[arg(long)]
        email: String,
        /// Its end, as 2027-01-31T00:00:00Z
        #[arg(long, value_parser = until)]
        until: DateTime<Utc>,
        /// The file of its reason, mode 0600: 10 to 500 characters that the person is told
        #[arg(long)]
        reason_file: PathBuf,
    },
    /// Lift it
    Lift {
        #[command(flatten)]
        home: HomeArgs,
        /// The person's e-mail address
        #[arg(long)]
        email: String,
    },
}

impl HoldCommand {
    pub async fn run(self, output: Output) -> Result<(), ServerError> {
        match self {
            Self::Place { home, email, until, reason_file } => {
                let reason = required_secret(&reason_file)?;
                hold(home, output, &email, Some((until, reason.trim()))).await
            }
            Self::Lift { home, email } => hold(home, output, &email, None).await,
        }
    }
}

fn until(text: &str) -> Result<DateTime<Utc>, &'static str> {
    instant(text).ok_or("must be a time such as 2027-01-31T00:00:00Z")
}

async fn hold(
    home: HomeArgs,
    output: Output,
    email: &str,
    hold: Option<(DateTime<Utc>, &str)>,
) -> Result<(), ServerError> {
    let email = &normalise(email)?;
    home.on_store(Makes::Nothing, async |home| {
        hold::decide(&*home.open().await?, email, hold).await?;
        let until = hold.map(|(until, _)| until);
        let told =
            until.map_or_else(|| "the hold is lifted".to_owned(), |until| format!("the hold stands until {until:?}"));
        Ok(output.say(told, json!({ "held_until": until }))?)
    })
    .await
}
