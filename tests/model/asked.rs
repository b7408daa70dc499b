//! Exports and deletions that a person asked for, in their present state.

use crate::model::{state::DAY, told::Contents};

/// How long the file of an export can be downloaded.
const FILE: u64 = 7 * DAY;

#[derive(Clone, Debug)]
pub struct Export {
    pub days: Option<(u8, u8)>,
    pub state: ExportState,
}

#[derive(Clone, Debug)]
pub enum ExportState {
    /// The server tries to write the file at this time or later.
    Pending(u64),
    Completed(u64, Option<Contents>),
    Cancelled,
}

#[derive(Clone, Debug)]
pub struct Deletion {
    pub days: Option<(u8, u8)>,
    pub asked_at: u64,
    pub state: DeletionState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionState {
    Pending,
    /// The grace ends at this time.
    Confirmed(u64),
    Cancelled,
    Replaced,
    /// So many records went; `None` if others may have gone in the same moment for their age.
    Completed(Option<u64>),
}

impl Export {
    pub fn status(&self, now: u64) -> &'static str {
        match self.state {
            ExportState::Pending(_) => "pending",
            ExportState::Completed(at, _) if now >= at + FILE => "expired",
            ExportState::Completed(..) => "completed",
            ExportState::Cancelled => "cancelled",
        }
    }
}

impl Deletion {
    /// Whether it waits for its confirmation, or for the end of its grace.
    pub fn is_open(&self, now: u64) -> bool {
        match self.state {
            DeletionState::Pending => now < self.asked_at + DAY,
            DeletionState::Confirmed(_) => true,
            DeletionState::Cancelled | DeletionState::Replaced | DeletionState::Completed(_) => false,
        }
    }
}

impl DeletionState {
    pub fn status(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed(_) => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Replaced => "replaced",
            Self::Completed(_) => "completed",
        }
    }
}
