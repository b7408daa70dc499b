//! How far the database's clock is from ours. Tickets expire by the database's clock, and the log accepts events by it,
//! but the times of events are ours.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use context::Clock;
use tokio_postgres::Client;

use crate::{Db, DbError};

const SAMPLES: usize = 5;

/// What both clocks showed at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The time of the server's clock.
    pub ours: DateTime<Utc>,
    /// The time of the database's clock.
    pub theirs: DateTime<Utc>,
}

impl Clocks {
    /// Asks a database for its time, several times. The fastest answer counts, and half of its round trip is taken for
    /// the way back.
    pub async fn compare(client: &Client, clock: &Clock) -> Result<Self, DbError> {
        let statement = client.prepare("SELECT pg_catalog.clock_timestamp()").await?;
        let mut best: Option<(Duration, Self)> = None;
        for _ in 0..SAMPLES {
            let (before, started) = (clock.now(), Instant::now());
            let theirs = client.query_one(&statement, &[]).await?.get(0);
            let took = started.elapsed();
            if best.is_none_or(|(soonest, _)| took < soonest) {
                best = Some((took, Self { ours: before + took / 2, theirs }));
            }
        }
        Ok(best.expect("there was a sample").1)
    }

    pub fn apart(&self) -> TimeDelta {
        (self.theirs - self.ours).abs()
    }
}

impl Db {
    /// Compares our clock with the database's.
    pub async fn clocks(&self, clock: &Clock) -> Result<Clocks, DbError> {
        Clocks::compare(&self.get().await?.client, clock).await
    }
}
