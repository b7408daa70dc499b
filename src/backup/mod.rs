//! Backups: the log and the keys in archives apart, bringing a database back from a pair of them, and the drill that proves that
//! what was erased does not come back.
//!
//! A log opens nothing by itself, and keys say nothing by themselves; kept in different places, neither copy is a copy of the
//! data. A restore pairs an old log with the newest keys: what was deleted in between has no key any more.

mod archive;
mod create;
mod drill;
pub mod legacy;
mod load;
mod progress;
mod restore;
mod scan;

pub use progress::{Progress, Watch};

pub use archive::{ArchiveError, Content, Manifest};
pub use create::create;
pub use drill::{Finding, Ground, Verdict, drill};
pub use restore::{Restored, restore};
