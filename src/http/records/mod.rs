//! Records of every kind, work days, and what guests have evaluated.

pub mod guest;
pub mod record;
pub mod work_day;
