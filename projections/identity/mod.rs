//! Accounts and their switches.

pub mod account;
