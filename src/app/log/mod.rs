//! The verifiable log: its tree, what is published of it, and who read what.

pub mod access;
pub mod access_log;
pub mod audit;
pub mod origin;
pub mod published;
pub mod settings;
pub mod tree;
