//! Records that are not removed.

pub mod list;
pub mod record;
pub mod store;
