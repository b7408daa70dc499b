//! A person's own events, straight from the log.

pub mod audit;
