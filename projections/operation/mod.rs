//! Jobs, counts of events, the lag of projections, and events that projections set aside.

pub mod activity;
pub mod dead_letter;
pub mod job;
pub mod lag;
