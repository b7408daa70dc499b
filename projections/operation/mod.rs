//! Jobs, the activity of the log, how far projections are, and events that they set aside.

pub mod activity;
pub mod dead_letter;
pub mod job;
pub mod lag;
