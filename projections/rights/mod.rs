//! A person's decisions, requests and rules, and what an erasure removes.

pub mod consent;
pub mod deletion;
pub mod erasure;
pub mod export;
pub mod hold;
pub mod overview;
pub mod restriction;
pub mod retention;
