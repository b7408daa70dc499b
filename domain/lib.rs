//! What may happen: accounts, consents, records and their kinds. Pure: no I/O, no clock, no randomness.
//!
//! Every event here carries the whole state of its stream, so loading a stream reads its newest event only.
//! `whole_state` checks this property for every aggregate.

pub mod aggregates;
pub mod choice;
pub mod desk;
pub mod event;
pub mod fault;
pub mod filter;
pub mod identity;
pub mod json;
pub mod kinds;
pub mod log;
pub mod number;
pub mod operation;
pub mod quarter;
pub mod records;
pub mod refusal;
pub mod rights;
pub mod schema;
pub mod statistics;
pub mod text;
#[cfg(test)]
pub(crate) mod whole_state;

pub use aggregates::EVENT_TYPES;
pub use choice::{AgeGroup, Choice, Gender, RoleLevel, Source, Specialty, StateCode, TestType};
pub use fault::Fault;
pub use kinds::{Body, Kind};
pub use refusal::{ProblemType, Refused, Rule};
