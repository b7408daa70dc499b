//! The drill: that a copy of the living system was restored, and whether what was erased stayed away. About no person.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::event_types;

/// The newest drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill;

/// A drill came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When.
    pub at: DateTime<Utc>,
    /// How many promises were found to hold.
    pub holds: u32,
    /// How many were not.
    pub fails: u32,
    /// How many could not be looked at.
    pub not_examined: u32,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrillEvent {
    /// A drill came to its end.
    Completed(Outcome),
}

event_types! {
    DrillEvent "1.0" {
        Completed = "drill.completed",
    }
}

impl Aggregate for Drill {
    const TYPE: &'static str = "drill";
    type Command = Outcome;
    type Event = DrillEvent;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(&mut self, outcome: Outcome, _: &(), sink: &EventSink<Self>) -> Result<(), Self::Error> {
        sink.write(DrillEvent::Completed(outcome), self).await;
        Ok(())
    }

    fn apply(&mut self, _: DrillEvent) {}
}
