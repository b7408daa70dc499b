//! Published statistics: which hospitals count, who was counted, and each release.

pub mod hospital;
pub mod release;
