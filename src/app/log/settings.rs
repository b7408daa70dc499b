//! How a server makes its log verifiable.

use tokio::sync::Semaphore;
use transparency::Policy;

use crate::data::watermark::Watermark;

/// How the log is made verifiable.
pub struct LogSettings {
    /// The first line of its checkpoints; where none is named, one is made of the key.
    pub origin: Option<String>,
    /// Which witnesses must cosign before a checkpoint is published; none: no witness is asked.
    pub policy: Option<Policy>,
    /// The newest checkpoint outside the database.
    pub watermark: Watermark,
    /// So many public reads of the log go on at once: they share connections with jobs.
    pub readers: Semaphore,
}

impl LogSettings {
    /// Settings on the files of a data folder.
    pub fn new(origin: Option<String>, policy: Option<Policy>, watermark: Watermark) -> Self {
        Self { origin, policy, watermark, readers: Semaphore::new(2) }
    }
}
