//! The drill: that a copy of the living system was restored, and whether what was erased stayed away. About no person.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, DomainEvent, event_sink::EventSink};
use serde::{Deserialize, Serialize};

/// The newest drill.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

impl DomainEvent for DrillEvent {
    fn event_type(&self) -> String {
        "drill.completed".to_owned()
    }
    fn event_version(&self) -> String {
        "1.0".to_owned()
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
