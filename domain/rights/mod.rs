//! What a person may demand: consent, taking along, giving back, deletion, restriction, retention, an overview.

pub mod consent;
pub mod deletion;
pub mod export;
pub mod hold;
pub mod restriction;
pub mod retention;
