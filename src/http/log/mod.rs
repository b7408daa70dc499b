//! The caller's own audit log, and the published log.

pub mod audit;
pub mod published;
