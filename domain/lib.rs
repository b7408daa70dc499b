//! What may happen: accounts, consents, records and their kinds. Pure: no I/O, no clock, no randomness.
//!
//! Every event here carries the whole state of its stream, so loading a stream reads its newest event only.

pub mod access;
pub mod account;
pub mod alert;
pub mod breach;
pub mod choice;
pub mod consent;
pub mod deletion;
pub mod drill;
pub mod export;
pub mod extension;
pub mod fault;
pub mod filter;
pub mod hold;
pub mod hospital;
pub mod key_ring;
pub mod kinds;
pub mod log_origin;
pub mod number;
pub mod quarter;
pub mod record;
pub mod release;
pub mod restriction;
pub mod retention;
pub mod roll_up;
pub mod suspension;
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
