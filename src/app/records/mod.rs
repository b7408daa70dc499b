//! What people submit, of every kind alike, and what guests have evaluated.

pub(crate) mod filed;
pub mod guest;
pub mod list;
pub mod opened;
pub mod present;
pub mod record;
pub mod version;
