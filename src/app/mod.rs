//! What the server does, one file a capability: each command and query as one transaction, for HTTP and the command line alike.
//!
//! Rules live in `domain`, statements in `projections` and `vault`; here they meet: load, decide, seal, store. Nothing here
//! knows HTTP.

pub mod access;
pub mod account;
pub mod alert;
pub mod audit;
pub mod breach;
pub mod code;
pub mod compliance;
pub mod consent;
pub mod consent_lapse;
pub mod considered;
pub mod deletion;
pub mod download;
pub mod erasure;
mod error;
pub mod export;
pub mod export_run;
pub mod guest;
pub mod hold;
pub mod hospital;
pub mod import;
pub mod job;
pub mod keys;
pub mod log;
pub mod log_origin;
pub mod once;
pub mod opening;
pub mod overview;
pub mod processing_record;
pub mod profile;
pub mod projection;
pub mod readiness;
pub mod receipt;
pub mod record;
pub mod release;
pub mod restore;
pub mod restriction;
pub mod retention;
pub mod sign_in;
pub mod staff;
pub mod standing;
pub mod stream;
pub mod tree;

use std::sync::Arc;

use chrono::TimeDelta;
use context::Clock;
use db::Db;
use tokio::sync::Notify;
use vault::Vault;

use crate::{alert_rules::Rules, auth::Tokens, export::Store, jobs::AccessLog, ledger::Ledger, webhook::Endpoint};

pub use error::{AppError, Passing};
pub use standing::Standing;

/// One pool a login.
#[derive(Clone)]
pub struct Databases {
    /// Requests, under the tickets of those who make them.
    pub api: Db,
    /// Jobs.
    pub system: Db,
    /// The log of reads.
    pub access: Db,
    /// Releases of statistics.
    pub stats: Db,
}

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
    pub readiness: readiness::Readiness,
    /// What a restored backup must not bring back.
    pub ledger: Ledger,
    /// How the log is made verifiable.
    pub log: tree::LogSettings,
    /// What raises alerts, and who is told.
    pub alerts: Alerts,
    /// Where export files are.
    pub exports: Store,
    /// How often guests asked lately.
    pub guests: guest::GuestCounter,
    /// Who imports now.
    pub imports: import::Imports,
    /// Who is responsible for the data.
    pub controller: receipt::Controller,
    /// How long a confirmed deletion can be cancelled.
    pub grace: TimeDelta,
    /// Wakes whoever does the jobs of this server.
    pub wake: Arc<Notify>,
    /// The time of day.
    pub clock: Clock,
}
