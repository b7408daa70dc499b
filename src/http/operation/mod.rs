//! Running the service: jobs, keys, projections, readiness, what follows a restore.

pub mod admin;
pub mod health;
pub mod job;
