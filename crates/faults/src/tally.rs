//! Counts of a round.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was counted since the last [`Tally::take`].
#[derive(Default)]
pub struct Tally {
    requests: AtomicU64,
    acknowledged: AtomicU64,
    resolved: AtomicU64,
}

/// The counts of a round, or the sum of several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub requests: u64,
    /// Answers of class 2xx.
    pub acknowledged: u64,
    /// Commands whose outcome was unknown, until a repetition with the same key was answered.
    pub resolved: u64,
}

impl Tally {
    pub fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub fn acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    pub fn resolved(&self) {
        self.resolved.fetch_add(1, Ordering::Relaxed);
    }

    pub fn take(&self) -> Counts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Counts {
            requests: take(&self.requests),
            acknowledged: take(&self.acknowledged),
            resolved: take(&self.resolved),
        }
    }
}
