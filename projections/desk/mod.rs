//! What the compliance desk reads from the log.

pub mod alert;
pub mod compliance;
pub mod trail;
