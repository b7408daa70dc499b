//! `lethe projections`: shows the state of read models, rebuilds one, and tries again events that one could not apply.
//! Works while servers run.

use clap::Subcommand;
use lethe::{
    app::operation::projection::{self, Overview, Rebuilt},
    server::ServerError,
};

use crate::cli::home::HomeArgs;

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
    pub(super) async fn run(self) -> Result<(), ServerError> {
        let (Self::List { home } | Self::Rebuild { home, .. } | Self::Retry { home, .. }) = &self;
        home.on_store(false, async |home| {
            let app = home.open().await?;
            match &self {
                Self::List { .. } => print(&projection::list(&app).await?, app.clock.now()),
                Self::Rebuild { name, .. } => report(name, projection::rebuild(&app, name).await?),
                Self::Retry { name, .. } => {
                    let (applied, kept) = projection::retry(&app, name).await?;
                    println!("{name}: {applied} applied, {kept} still not");
                }
            }
            Ok(())
        })
        .await
    }
}

fn report(name: &str, rebuilt: Rebuilt) {
    match rebuilt {
        Rebuilt::Swapped { generation } => println!("{name}: generation {generation} is shown"),
        Rebuilt::Compared { people, repaired } => println!(
            "{name}: {people} people compared, {} rows added, {} corrected, {} removed",
            repaired.added, repaired.corrected, repaired.removed
        ),
    }
}

fn print(overview: &Overview, now: chrono::DateTime<chrono::Utc>) {
    for it in &overview.projections {
        let waited_ms = it.waiting_since.map_or(0, |since| (now - since).num_milliseconds().max(0));
        let building =
            it.building.map(|generation| format!(", generation {generation} is being built")).unwrap_or_default();
        println!(
            "{}: generation {} (code {}){building}, at {}; {} events and {waited_ms} ms behind; {} dead letters",
            it.name, it.active, it.code_version, it.position.position, it.lag_events, it.dead_letters
        );
    }
    for letter in &overview.dead_letters {
        println!(
            "dead letter of {}: event {}, {}, tried {} times, last at {}",
            letter.projection, letter.position.position, letter.reason, letter.attempts, letter.tried_at
        );
    }
    if !overview.held_by.is_empty() {
        println!("held back by open transactions of the backends {:?}", overview.held_by);
    }
    println!("records, consents, accounts: written with the commands themselves");
}
