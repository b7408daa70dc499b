//! What the server does, one file a capability: each command and query as one transaction, for HTTP and the command line alike.
//!
//! Rules live in `domain`, statements in `projections` and `vault`; here they meet: load, decide, seal, store. Nothing here
//! knows HTTP.

pub mod access;
pub mod account;
pub mod audit;
pub mod consent;
mod error;
pub mod once;
mod profile;
pub mod record;
pub mod sign_in;
mod staff;
mod standing;

use std::sync::Arc;

use context::Clock;
use db::Db;
use vault::Vault;

pub use error::AppError;
pub use standing::Standing;

use crate::{auth::Tokens, jobs::AccessLog};

/// One pool a login.
#[derive(Clone)]
pub struct Databases {
    /// Requests, under the tickets of those who make them.
    pub api: Db,
    /// Jobs.
    pub system: Db,
    /// The log of reads.
    pub access: Db,
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
    /// The time of day.
    pub clock: Clock,
}
