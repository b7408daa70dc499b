//! Backups: an archive of the log and one of the keys, a database brought back from such a pair, and the drill that
//! proves that erased data does not come back.
//!
//! The log opens nothing without keys, and the keys tell nothing without the log. So neither archive alone is a copy of
//! the data, if they are kept in different places. A restore pairs an old log with the newest keys: data that was
//! deleted in between has no key any more.

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

/// The tables whose rows a backup holds.
pub fn tables() -> impl Iterator<Item = &'static str> {
    create::LOG.iter().chain(create::KEYS).map(|(table, _)| *table)
}
