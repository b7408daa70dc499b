//! Who somebody is: accounts, codes, sign-in, sessions, staff.

pub mod account;
pub mod asker;
pub mod code;
pub mod known;
pub mod limit;
pub mod profile;
pub mod remembered;
pub mod session;
pub mod sign_in;
pub mod staff;
