//! What a person may demand: consent, taking along, giving back, deletion, restriction, retention, an overview.

pub mod consent;
pub mod deletion;
pub mod download;
pub mod export;
pub mod import;
pub mod overview;
pub mod restriction;
pub mod retention;
