//! Alerts, breaches, extensions of deadlines, drills.

pub mod alert;
pub mod breach;
pub mod drill;
pub mod extension;
