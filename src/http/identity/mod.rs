//! Sign-in, and the caller's own account.

pub mod account;
pub mod sign_in;
