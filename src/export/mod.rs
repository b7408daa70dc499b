//! Export files: their contents, how each format writes them, how a file is sealed and where it is stored.
//!
//! ```text
//! source ── pages of values ── format ── bytes ── file (seals pieces) ── store (folder, or bucket)
//! ```
//!
//! Promises: memory stays flat whatever the size of the data; all files of a person have one prefix in the store;
//! nothing in the store is in clear. Refuses: compression, because a compressed length would tell something about the
//! content.

mod columns;
mod contents;
mod csv;
mod file;
mod formats;
mod json;
mod proof;
mod read;
pub mod spreadsheet;
mod store;
mod zip;

pub use contents::{Contents, Format, Part, Section};
pub use formats::format_of;

pub use file::{FilePlace, FileReader, FileWriter};
pub use json::BEFORE_PROOF;
pub use proof::{Proof, check, prove};
pub use read::{Document, read};
pub use store::{Bucket, FileName, Store, StoreError};
