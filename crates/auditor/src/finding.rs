//! What can be wrong with a log, each with the first index that is not as it was signed, as far as that is known.

use serde::Serialize;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// The event at this index is not the one that was logged.
    Edited {
        /// Its index.
        index: u64,
        /// Which columns differ, where a copy tells.
        columns: Vec<String>,
    },
    /// The event at this index is not the one that was logged, and its time does not fit those around it.
    BackDated {
        /// Its index.
        index: u64,
    },
    /// Events that were logged are not there.
    Removed {
        /// The first of them.
        index: u64,
        /// How many.
        count: u64,
    },
    /// Events stand where others were logged first.
    Reordered {
        /// The first index where another event stands.
        index: u64,
        /// Where the event that was logged there stands now.
        found_at: u64,
    },
    /// Events stand there that were not logged.
    Inserted {
        /// The index of the first.
        index: u64,
        /// How many.
        count: u64,
        /// The index of the event that the first repeats, where it does.
        repeats: Option<u64>,
    },
    /// The log ends before the checkpoint's last leaf.
    CutOff {
        /// The first index that is not there.
        index: u64,
        /// How many leaves the checkpoint covers.
        size: u64,
    },
    /// Events and tiles agree, and are not what was signed: the tree was built anew.
    Rebuilt {
        /// Up to here the log is what was signed.
        from: u64,
        /// The first checkpoint that does not hold has so many leaves.
        to: u64,
    },
    /// The log's key has signed trees that contradict each other.
    Forked {
        /// The size of the one that the events do not have, or of both.
        size: u64,
    },
    /// Events stand before the tree's first leaf that it does not account for.
    Uncovered {
        /// How many, in front of or instead of those that were kept.
        count: u64,
    },
    /// The events are sound, and a stored tile is not.
    TileAltered {
        /// Its level.
        level: u8,
        /// Its number.
        tile: u64,
    },
    /// What an earlier tree kept is not what the first leaf of this one says.
    KeptAltered {
        /// How many events were kept.
        size: u64,
    },
    /// Too few witnesses have cosigned.
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
    /// The first index that is not as it was signed, as far as it is known.
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
