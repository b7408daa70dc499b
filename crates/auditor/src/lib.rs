//! Replays the log of a Lethe database with a stock `postgres-es` repository and counts what it finds.
//!
//! Promises: no code of the server takes part, so that an auditor need not trust it; the log is read in one read-only
//! snapshot; the same counts are taken twice, by the repository and by plain SQL, and a difference is a finding. It
//! needs no key, and opens sealed values only with a granted key.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod connection;
pub mod error;
pub mod finding;
pub mod fold;
pub mod grant;
pub mod mirror;
pub mod proof;
pub mod replay;
pub mod report;
pub mod source;
pub mod state;
pub mod stream;
pub mod verify;
pub mod witness;
