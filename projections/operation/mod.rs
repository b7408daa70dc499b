//! Jobs, counts of events, the lag of projections, events that projections set aside, and what keeps the database well.

pub mod activity;
pub mod dead_letter;
pub mod ended_session;
pub mod expired;
pub mod job;
pub mod lag;
pub mod readiness;
pub mod restore;
