//! The compliance desk: alerts, breaches, openings, requests and their deadlines, the record of processing.

pub mod alert;
pub mod breach;
pub mod drill;
pub mod extension;
