//! What a person may demand: consent, export, deletion, restriction, retention; and the legal hold that bars a
//! deletion.

pub mod consent;
pub mod deletion;
pub mod export;
pub mod hold;
pub mod restriction;
pub mod retention;
