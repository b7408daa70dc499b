//! Export files: their contents, how each format writes them, how a file is sealed and where it is stored; and how a file
//! that comes back is checked and read.
//!
//! ```text
//! source ── pages of values ── format ── bytes ── file (seals pieces) ── store (folder, or bucket)
//! pages of records ── document (checks the proof) ── bytes ── spool (seals pieces on disk)
//! ```
//!
//! Promises: memory stays flat whatever the size of the data; all files of a person have one prefix in the store;
//! nothing in the store is in clear. Refuses: compression, because a compressed length would tell something about the
//! content.

mod columns;
mod contents;
mod csv;
mod csv_pages;
mod document;
mod explain;
mod file;
mod formats;
mod json;
mod json_pages;
mod page;
mod proof;
mod refused;
mod spool;
pub mod spreadsheet;
mod store;
mod unzip;
mod zip;

pub use contents::{Contents, Format, Part, Section};
pub use formats::format_of;

pub use document::{Document, Pages};
pub use file::{FilePlace, FileReader, FileWriter};
pub use json::BEFORE_PROOF;
pub use page::{Metadata, Page, VERSION};
pub use proof::{Proof, check, prove};
pub use refused::Refused;
pub use spool::{Spool, SpoolWriter};
pub use store::{Bucket, FileName, Store, StoreError};
