//! What may happen: accounts, consents, records and their kinds. Pure: no I/O, no clock, no randomness.
//!
//! Every event here carries the whole state of its stream, so loading a stream reads its newest event only.

pub mod access;
pub mod account;
pub mod choice;
pub mod consent;
pub mod fault;
pub mod kinds;
pub mod quarter;
pub mod record;

pub use choice::{Choice, RoleLevel, Source, Specialty, StateCode};
pub use fault::Fault;
pub use kinds::{Body, Kind};
