//! The compliance desk: alerts, breaches, openings, requests and their deadlines, the record of processing.

pub mod alert;
pub mod breach;
pub mod compliance;
pub mod processing_record;
pub mod trail;
