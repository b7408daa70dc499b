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

/// Every type of event that the log may hold, by family.
pub const EVENT_TYPES: &[&str] = &[
    "account.registered",
    "account.signed_in",
    "account.sign_in_failed",
    "account.signed_out",
    "account.refresh_reused",
    "account.role_given",
    "consent.granted",
    "consent.withdrawn",
    "data.accessed",
    "record.submitted",
    "record.amended",
    "record.removed",
];
