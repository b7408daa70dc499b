//! Records that are not removed.

pub mod record;
