//! Entries about reads, and where a tree over the log begins.

pub mod access;
pub mod origin;
