//! What requests have in common: who asks, from where, and how each part of a request is read.

pub mod caller;
pub mod client;
pub mod contract;
pub mod cursor;
pub mod etag;
pub mod filter;
pub mod header_field;
pub mod in_time;
pub mod input;
pub mod limit;
pub mod number;
pub mod patch;
pub mod target;
pub mod text;
