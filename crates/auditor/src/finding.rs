//! What can be wrong with a log. A finding names the first index that differs from what was signed, if that index is
//! known.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// The event at this index is not the event that was logged.
    Edited {
        index: u64,
        /// The columns that differ; empty if there is no copy to compare with.
        columns: Vec<String>,
    },
    /// The event at this index is not the event that was logged, and its time lies more than five minutes before the
    /// time of the event before it.
    BackDated {
        /// The index of the event.
        index: u64,
    },
    /// Events that were logged are missing.
    Removed {
        /// The index of the first missing event.
        index: u64,
        /// How many events are missing.
        count: u64,
    },
    /// An event stands where another event was logged.
    Reordered {
        /// The first index where another event stands.
        index: u64,
        /// The index at which the event that was logged there stands now.
        found_at: u64,
    },
    /// Events were added that were not logged.
    Inserted {
        /// The index of the first added event.
        index: u64,
        /// How many events were added.
        count: u64,
        /// The index of the event that the first added event repeats; `None` if it repeats no event.
        repeats: Option<u64>,
    },
    /// The log ends before the last leaf of the checkpoint.
    CutOff {
        /// The first missing index.
        index: u64,
        /// How many leaves the checkpoint covers.
        size: u64,
    },
    /// Events and tiles agree with each other, but not with what was signed: the tree was built anew.
    Rebuilt {
        /// Up to this size the log is what was signed.
        from: u64,
        /// The size of the first checkpoint that does not hold.
        to: u64,
    },
    /// The log's key has signed two trees that contradict each other.
    Forked {
        /// The size of the tree that the events do not have, or of both trees.
        size: u64,
    },
    /// Events before the first leaf of the tree are covered by no tree.
    Uncovered {
        /// How many such events there are: in front of the events that were kept, or instead of them.
        count: u64,
    },
    /// The events are what was signed, but a stored tile is not.
    TileAltered {
        level: u8,
        /// The number of the tile in its level.
        tile: u64,
    },
    /// The events that an earlier tree kept are not those that the first leaf of this tree commits to.
    KeptAltered {
        /// How many events were kept.
        size: u64,
    },
    NotWitnessed,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Edited { index, columns } if columns.is_empty() => {
                write!(f, "EDITED at {index}: not the event that was logged")
            }
            Self::Edited { index, columns } => write!(f, "EDITED at {index}: {} differ", columns.join(", ")),
            Self::BackDated { index } => write!(
                f,
                "BACK-DATED at {index}: not the event that was logged, and its time does not fit its neighbours'"
            ),
            Self::Removed { index, count } => {
                write!(f, "REMOVED at {index}: {count} event(s) that were logged are not there")
            }
            Self::Reordered { index, found_at } => {
                write!(f, "REORDERED at {index}: the event that was logged there stands at {found_at}")
            }
            Self::Inserted { index, count, repeats: None } => {
                write!(f, "INSERTED at {index}: {count} event(s) that were not logged")
            }
            Self::Inserted { index, count, repeats: Some(at) } => {
                write!(f, "INSERTED at {index}: {count} event(s) that were not logged, the first repeats {at}")
            }
            Self::CutOff { index, size } => write!(f, "CUT OFF at {index}: the checkpoint covers {size} leaves"),
            Self::Rebuilt { from, to } => {
                write!(f, "REBUILT at {from}, or behind it and before {to}: events and tiles are not what was signed")
            }
            Self::Forked { size } => {
                write!(f, "FORKED: the log's key has signed a tree of {size} leaves that contradicts another")
            }
            Self::Uncovered { count } => {
                write!(f, "UNCOVERED: {count} event(s) before the first leaf that no tree accounts for")
            }
            Self::TileAltered { level, tile } => {
                write!(f, "TILE ALTERED: level {level}, number {tile}; the events are sound")
            }
            Self::KeptAltered { size } => write!(
                f,
                "KEPT EVENTS ALTERED: the {size} events before this tree are not those that its first leaf commits to"
            ),
            Self::NotWitnessed => write!(f, "NOT WITNESSED: too few witnesses have cosigned the checkpoint"),
        }
    }
}

impl Finding {
    /// The first index that differs from what was signed, if it is known.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Edited { index, .. }
            | Self::BackDated { index }
            | Self::Removed { index, .. }
            | Self::Reordered { index, .. }
            | Self::Inserted { index, .. }
            | Self::CutOff { index, .. } => Some(*index),
            Self::Rebuilt { from, .. } => Some(*from),
            _ => None,
        }
    }
}
