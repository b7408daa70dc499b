//! Running the service: jobs, keys, projections, readiness, what follows a restore.

pub mod activity;
pub mod dead_letter;
pub mod job;
pub mod lag;
