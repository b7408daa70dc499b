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
mod restore;
mod scan;

pub use archive::{ArchiveError, Content, Manifest};
pub use create::create;
pub use drill::{Finding, Ground, Verdict, drill};
pub use restore::{Restored, restore};

/// How far a restore has come with the step that it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is counted: rows loaded, people whose read models are made.
    pub step: &'static str,
    /// How many are done.
    pub done: u64,
    /// How many there are in all.
    pub total: u64,
}

/// Who is told of a restore's progress.
pub type Watch<'w> = &'w (dyn Fn(Progress) + Send + Sync);
