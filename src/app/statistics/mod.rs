//! Published statistics: which hospitals count, who was counted, and each release.

pub mod considered;
pub mod hospital;
pub mod loading;
pub mod release;
