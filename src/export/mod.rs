//! Export files: what is in them, how each format writes it, how a file is sealed and where it lies.
//!
//! ```text
//! source ── pages of values ── format ── bytes ── file (seals pieces) ── store (folder, or bucket)
//! ```
//!
//! Promises: memory stays flat however much there is; everything of a person lies under one prefix of the store; nothing that
//! reaches the store is in clear. Refuses: compression, by which a length would say more than a size.

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
