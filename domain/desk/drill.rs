//! Drills: a copy of the living system is restored, to see whether erased data stays away. The events are about no
//! person.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::{About, Described, event_types};

/// A drill. No command depends on an earlier drill, so the state is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill;

/// The result of a finished drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillResult {
    pub at: DateTime<Utc>,
    /// How many promises held.
    pub holds: u32,
    /// How many promises did not hold.
    pub fails: u32,
    /// How many promises could not be examined.
    pub not_examined: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrillEvent {
    Completed(DrillResult),
}

event_types! {
    DrillEvent "1.0" {
        Completed = "drill.completed",
    }
}

impl Described for Drill {
    const ABOUT: About = About::Nobody;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
}

impl Aggregate for Drill {
    const TYPE: &'static str = "drill";
    type Command = DrillResult;
    type Event = DrillEvent;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(&mut self, outcome: DrillResult, _: &(), sink: &EventSink<Self>) -> Result<(), Self::Error> {
        sink.write(DrillEvent::Completed(outcome), self).await;
        Ok(())
    }

    fn apply(&mut self, _: DrillEvent) {}
}

#[cfg(test)]
mod histories {
    use proptest::prelude::*;

    use super::*;
    use crate::whole_state::{Changes, Checked, time};

    impl Checked for Drill {
        const CHANGES: &[Changes] = &[Changes { event: "drill.completed", sets: &[], clears: &[] }];

        fn commands() -> BoxedStrategy<DrillResult> {
            (time(), 0..9_u32, 0..9_u32, 0..9_u32)
                .prop_map(|(at, holds, fails, not_examined)| DrillResult { at, holds, fails, not_examined })
                .boxed()
        }
    }
}
