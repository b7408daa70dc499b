//! `lethe projections`: shows the state of read models, rebuilds one, and tries again events that one could not apply.
//! Works while servers run.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use lethe::{
    app::operation::projection::{self, Overview, Rebuilt},
    server::ServerError,
};
use projections::{
    operation::{dead_letter::DeadLetter, lag::LagRow},
    rebuild::Repaired,
};
use serde_json::{Value, json};
use terminal::Output;

use crate::cli::home::{HomeArgs, Makes};

#[derive(Subcommand)]
pub(super) enum ProjectionCommand {
    /// Show how far each projection has come, how far it is behind, and what it could not apply
    List {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Build a read model anew from the log, while it goes on being read and written
    Rebuild {
        #[command(flatten)]
        home: HomeArgs,
        /// activity, records, consents or accounts
        name: String,
    },
    /// Try again the events that a projection could not apply
    Retry {
        #[command(flatten)]
        home: HomeArgs,
        /// activity
        name: String,
    },
}

impl ProjectionCommand {
    pub(super) async fn run(self, output: Output) -> Result<(), ServerError> {
        let (Self::List { home } | Self::Rebuild { home, .. } | Self::Retry { home, .. }) = &self;
        home.on_store(Makes::Nothing, async |home| {
            let app = home.open().await?;
            match &self {
                Self::List { .. } => {
                    let (overview, now) = (projection::list(&app).await?, app.clock.now());
                    output.say(lines(&overview, now), object(&overview, now))?;
                }
                Self::Rebuild { name, .. } => {
                    let (told, json) = report(name, projection::rebuild(&app, name).await?);
                    output.say(told, json)?;
                }
                Self::Retry { name, .. } => {
                    let (applied, kept) = projection::retry(&app, name).await?;
                    let told = format!("{name}: {applied} applied, {kept} still not");
                    output.say(told, json!({ "name": name, "applied": applied, "kept": kept }))?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn report(name: &str, rebuilt: Rebuilt) -> (String, Value) {
    match rebuilt {
        Rebuilt::Swapped { generation } => {
            (format!("{name}: generation {generation} is shown"), json!({ "name": name, "generation": generation }))
        }
        Rebuilt::Compared { people, repaired: Repaired { added, corrected, removed } } => (
            format!("{name}: {people} people compared, {added} rows added, {corrected} corrected, {removed} removed"),
            json!({ "name": name, "people": people, "added": added, "corrected": corrected, "removed": removed }),
        ),
    }
}

/// How long the oldest event that a projection has not applied waits, in milliseconds.
fn waited_ms(row: &LagRow, now: DateTime<Utc>) -> i64 {
    row.waiting_since.map_or(0, |since| (now - since).num_milliseconds().max(0))
}

fn lines(overview: &Overview, now: DateTime<Utc>) -> String {
    let projection = |it: &LagRow| {
        let building =
            it.building.map(|generation| format!(", generation {generation} is being built")).unwrap_or_default();
        format!(
            "{}: generation {} (code {}){building}, at {}; {} events and {} ms behind; {} dead letters",
            it.name,
            it.active,
            it.code_version,
            it.position.position,
            it.lag_events,
            waited_ms(it, now),
            it.dead_letters
        )
    };
    let letter = |it: &DeadLetter| {
        format!(
            "dead letter of {}: event {}, {}, tried {} times, last at {}",
            it.projection, it.position.position, it.reason, it.attempts, it.tried_at
        )
    };
    let held = (!overview.held_by.is_empty())
        .then(|| format!("held back by open transactions of the backends {:?}", overview.held_by));
    let projections = overview.projections.iter().map(projection);
    let lines = projections.chain(overview.dead_letters.iter().map(letter)).chain(held);
    let inline = "records, consents, accounts: written with the commands themselves".to_owned();
    lines.chain([inline]).collect::<Vec<_>>().join("\n")
}

fn object(overview: &Overview, now: DateTime<Utc>) -> Value {
    let projection = |it: &LagRow| {
        json!({
            "name": it.name,
            "generation": it.active,
            "code_version": it.code_version,
            "building": it.building,
            "position": it.position.position,
            "lag_events": it.lag_events,
            "lag_ms": waited_ms(it, now),
            "dead_letters": it.dead_letters,
        })
    };
    let letter = |it: &DeadLetter| {
        json!({
            "projection": it.projection,
            "position": it.position.position,
            "reason": it.reason,
            "attempts": it.attempts,
            "tried_at": it.tried_at,
        })
    };
    json!({
        "projections": overview.projections.iter().map(projection).collect::<Vec<_>>(),
        "dead_letters": overview.dead_letters.iter().map(letter).collect::<Vec<_>>(),
        "held_by": overview.held_by,
    })
}
