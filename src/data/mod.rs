//! Files that a server keeps outside the database: its data folder with the secrets, the ledger of erasures, the newest
//! checkpoint.

pub mod home;
pub mod ledger;
pub mod new_file;
pub mod random;
pub mod watermark;
