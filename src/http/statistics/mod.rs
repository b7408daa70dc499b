//! Published statistics and their parameters.

pub mod analytics;
pub mod parameters;
