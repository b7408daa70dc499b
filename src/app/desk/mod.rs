//! The compliance desk: alerts, breaches, openings, requests and their deadlines, the record of processing.

pub mod alert;
pub mod alert_rules;
pub mod breach;
pub mod compliance;
pub mod extension;
pub mod opening;
pub mod processing_record;
pub mod webhook;
