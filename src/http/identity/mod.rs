//! Who somebody is: accounts, codes, sign-in, sessions, staff.

pub mod account;
pub mod sign_in;
