//! Running the service: jobs, keys, projections, readiness, what follows a restore.

pub mod key_ring;
