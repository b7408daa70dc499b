//! The compliance desk.

pub mod alert;
pub mod breach;
pub mod compliance;
pub mod processing_record;
pub mod trail;
