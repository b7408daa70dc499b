//! What may happen: accounts, consents, records and their kinds. Pure: no I/O, no clock, no randomness.
//!
//! Every event here carries the whole state of its stream, so loading a stream reads its newest event only.

pub mod choice;
pub mod desk;
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
pub mod rights;
pub mod statistics;
pub mod text;

pub use choice::{AgeGroup, Choice, Gender, RoleLevel, Source, Specialty, StateCode, TestType};
pub use fault::Fault;
pub use kinds::{Body, Kind};

/// Every type of event that the log may hold, by family.
pub const EVENT_TYPES: &[&str] = &[
    "account.registered",
    "account.code_requested",
    "account.signed_in",
    "account.sign_in_failed",
    "account.refreshed",
    "account.signed_out",
    "account.refresh_reused",
    "account.role_given",
    "account.suspended",
    "access.refused",
    "alert.raised",
    "alert.acknowledged",
    "breach.opened",
    "breach.assessed",
    "breach.notified",
    "breach.closed",
    "consent.granted",
    "consent.withdrawn",
    "consent.lapsed",
    "data.accessed",
    "data.opened",
    "deletion.requested",
    "deletion.confirmed",
    "deletion.cancelled",
    "deletion.paused",
    "deletion.completed",
    "drill.completed",
    "request.extended",
    "subject.erased",
    "export.requested",
    "export.completed",
    "export.failed",
    "export.cancelled",
    "export.downloaded",
    "export.token_made",
    "export.expired",
    "hold.placed",
    "hold.lifted",
    "objection.raised",
    "objection.lifted",
    "key_ring.published",
    "key_ring.rotated",
    "key_ring.destroyed",
    "log.origin_opened",
    "record.submitted",
    "record.amended",
    "record.removed",
    "restriction.set",
    "restriction.lifted",
    "retention.set",
    "stats.considered",
    "stats.hospitals_listed",
    "stats.lost",
    "stats.planned",
    "stats.released",
];
