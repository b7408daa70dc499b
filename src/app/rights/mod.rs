//! What a person has a right to: consent, export and import, deletion and erasure, restriction, retention, and an
//! overview.

pub mod consent;
pub mod consent_lapse;
pub mod controller;
pub mod decision;
pub mod deletion;
pub mod download;
pub mod erasure;
pub mod export;
pub mod export_item;
pub mod export_run;
pub mod export_source;
pub mod hold;
pub mod import;
pub mod import_check;
pub mod import_turn;
pub mod overview;
pub mod receipt;
pub mod restriction;
pub mod retention;
