//! The verifiable log: its tree, what is published of it, and who read what.

pub mod audit;
pub mod published;
