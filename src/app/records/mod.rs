//! What people submit, of every kind alike, and what guests have evaluated.

pub mod guest;
pub mod once;
pub mod opened;
pub mod record;
