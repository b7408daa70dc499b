//! What the server does: each command and query is one transaction and has one file, for HTTP and the command line
//! alike.
//!
//! Rules live in `domain`, statements in `projections` and `vault`. A capability brings them together: it loads,
//! decides, seals and stores. Nothing here knows HTTP.

pub mod databases;
pub mod desk;
pub mod error;
pub mod frame;
pub mod identity;
pub mod letter;
pub mod log;
pub mod operation;
pub mod reason;
pub mod records;
pub mod rights;
pub mod state;
pub mod statistics;

pub use databases::Databases;
pub use error::{AppError, Passing};
pub use state::{Alerts, App};
