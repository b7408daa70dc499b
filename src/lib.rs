//! The Lethe server: how things get in and out. Rules live in `domain`, read models in `projections`, keys in `crates/vault`.

pub mod alert_rules;
pub mod app;
pub mod auth;
pub mod backup;
mod crash;
pub mod demo;
pub mod doctor;
pub mod evaluate;
pub mod export;
pub mod http;
pub mod jobs;
mod json;
pub mod ledger;
pub mod legacy;
pub mod mail;
pub mod new_file;
pub mod place;
pub mod server;
mod spreadsheet;
pub mod supervisor;
pub mod watermark;
pub mod webhook;
