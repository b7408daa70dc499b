//! What the compliance desk asks of the log.

pub mod alert;
pub mod compliance;
