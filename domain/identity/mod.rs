//! Accounts and their suspensions.

pub mod account;
pub mod suspension;
