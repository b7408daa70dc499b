//! Running the service: jobs, keys, projections, readiness, what follows a restore.

pub mod catch_up;
pub mod generation;
pub mod job;
pub mod keys;
pub mod projection;
pub mod readiness;
pub mod request_limit;
pub mod restore;
