//! The state of the service: health, projections, jobs.

pub mod admin;
pub mod health;
pub mod job;
