//! What a server keeps in files: its data folder with its secrets, the ledger of erasures, the newest checkpoint.

pub mod ledger;
pub mod new_file;
pub mod place;
pub mod random;
pub mod watermark;
