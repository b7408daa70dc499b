//! What people submit, of every kind alike, and what guests have evaluated.

pub mod guest;
pub mod record;
pub mod work_day;
