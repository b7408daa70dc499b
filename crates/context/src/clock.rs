//! The only code that reads the time of day.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A source of time: the machine's clock, plus an offset that tests move.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_us: Arc<AtomicI64>,
}

impl Clock {
    pub fn system() -> Self {
        Self::default()
    }

    /// The present time in whole microseconds.
    #[expect(clippy::disallowed_methods, reason = "every other place asks this clock")]
    pub fn now(&self) -> DateTime<Utc> {
        (Utc::now() + TimeDelta::microseconds(self.offset_us.load(Ordering::Relaxed))).trunc_subsecs(6)
    }

    /// Moves this clock and all its clones forward. Only tests do that.
    pub fn advance(&self, by: TimeDelta) {
        self.offset_us.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }
}
