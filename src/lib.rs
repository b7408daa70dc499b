//! The Lethe server: HTTP, jobs, files, mail and the command line's work. Rules live in `domain`, read models in
//! `projections`, keys in `crates/vault`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod auth;
pub mod backup;
pub mod data;
pub mod demo;
pub mod export;
pub mod http;
pub mod jobs;
pub mod mail;
pub mod server;
pub mod supervisor;
