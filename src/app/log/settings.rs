//! Settings that make a server's log verifiable.

use tokio::sync::Semaphore;
use transparency::Policy;

use crate::data::watermark::Watermark;

pub struct LogSettings {
    /// The first line of the log's checkpoints; `None`: it is derived from the log's key.
    pub origin: Option<String>,
    /// The witnesses that must cosign a checkpoint before it is published; `None`: no witness is asked.
    pub policy: Option<Policy>,
    /// The file outside the database with the newest checkpoint.
    pub watermark: Watermark,
    /// Lets two public reads of the log go on at once, because they share connections with jobs.
    pub readers: Semaphore,
}

impl LogSettings {
    pub fn new(origin: Option<String>, policy: Option<Policy>, watermark: Watermark) -> Self {
        Self { origin, policy, watermark, readers: Semaphore::new(2) }
    }
}
