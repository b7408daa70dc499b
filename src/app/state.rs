//! Everything that a command or a query needs, made once when a server starts.

use std::sync::Arc;

use chrono::TimeDelta;
use context::Clock;
use tokio::sync::Notify;
use vault::Vault;

use crate::{
    app::{
        Databases,
        desk::{alert_rules::Rules, webhook::Endpoint},
        log::{access_log::AccessLog, settings::LogSettings},
        operation::readiness::Readiness,
        records::guest::GuestCounter,
        rights::{controller::Controller, import_turn::Imports},
    },
    auth::Tokens,
    data::ledger::Ledger,
    export::Store,
};

/// What raises alerts, and who is told.
#[derive(Clone)]
pub struct Alerts {
    /// The rules.
    pub rules: Rules,
    /// Webhooks.
    pub endpoints: Vec<Endpoint>,
    /// Who is mailed.
    pub mail: Option<String>,
}

impl Default for Alerts {
    /// The rules that are built in, and nobody is told.
    fn default() -> Self {
        Self { rules: Rules::built_in(), endpoints: Vec::new(), mail: None }
    }
}

/// Everything a command or a query needs.
pub struct App {
    /// The pools.
    pub db: Databases,
    /// Keys.
    pub vault: Arc<Vault>,
    /// Access tokens.
    pub tokens: Tokens,
    /// Where reads are recorded.
    pub access_log: AccessLog,
    /// Whether the server can do its work.
    pub readiness: Readiness,
    /// What a restored backup must not bring back.
    pub ledger: Ledger,
    /// How the log is made verifiable.
    pub log: LogSettings,
    /// What raises alerts, and who is told.
    pub alerts: Alerts,
    /// Where export files are.
    pub exports: Store,
    /// How often guests asked lately.
    pub guests: GuestCounter,
    /// Who imports now.
    pub imports: Imports,
    /// Who is responsible for the data.
    pub controller: Controller,
    /// How long a confirmed deletion can be cancelled.
    pub grace: TimeDelta,
    /// Wakes whoever does the jobs of this server.
    pub wake: Arc<Notify>,
    /// The time of day.
    pub clock: Clock,
}
