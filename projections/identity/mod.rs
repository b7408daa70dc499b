//! Accounts, their switches, and what decides whether a person may act.

pub mod account;
pub mod standing;
