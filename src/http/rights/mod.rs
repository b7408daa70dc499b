//! The rights of a person over their data.

pub mod consent;
pub mod deletion;
pub mod download;
pub mod export;
pub mod import;
pub mod overview;
pub mod restriction;
pub mod retention;
