//! Published statistics: which hospitals count, who was counted, and each release.

pub mod analytics;
pub mod parameters;
