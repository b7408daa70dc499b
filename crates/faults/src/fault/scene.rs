//! What a fault works on.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use crate::{machine::Machine, town::Town};

/// What a fault works on.
pub struct Scene<'a> {
    pub machine: &'a mut Machine,
    pub town: &'a Town,
    pub dice: &'a mut StdRng,
    /// How long what lasts a while lasts.
    pub hold: Duration,
}

impl Scene<'_> {
    /// Waits as long as what lasts a while lasts.
    pub async fn hold(&self) {
        tokio::time::sleep(self.hold).await;
    }

    /// Waits for up to so many milliseconds.
    pub async fn wait_a_moment(&mut self, milliseconds: u64) {
        let pause = self.dice.random_range(0..=milliseconds);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}
