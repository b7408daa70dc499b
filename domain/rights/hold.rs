//! Legal holds: a duty to keep a person's data for a time (GDPR Art. 17(3)). While one stands nothing is deleted, and a deletion
//! that is asked for waits. The controller places it, with a reason and an end; whoever asks is told both. The reason comes in
//! sealed.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::event_types;

/// Whether a hold stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    until: Option<DateTime<Utc>>,
}

/// What may be done.
#[derive(Clone, Debug)]
pub enum HoldCommand {
    /// Place a hold, or another in its place.
    Place {
        /// Its end.
        until: DateTime<Utc>,
        /// Its reason, sealed.
        sealed: String,
        /// The present time.
        now: DateTime<Utc>,
    },
    /// Lift it.
    Lift,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldEvent {
    /// A hold was placed.
    Placed {
        /// Its end.
        until: DateTime<Utc>,
        /// Its reason, sealed under the person's trail key.
        sealed: String,
    },
    /// It was lifted.
    Lifted {},
}

event_types! {
    HoldEvent "1.0" {
        Placed = "hold.placed",
        Lifted = "hold.lifted",
    }
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// A hold that is over before it begins.
    #[error("the end of a hold must lie ahead")]
    Past,
    /// There is none to lift.
    #[error("there is no hold")]
    Missing,
}

impl Aggregate for Hold {
    const TYPE: &'static str = "hold";
    type Command = HoldCommand;
    type Event = HoldEvent;
    type Error = HoldError;
    type Services = ();

    async fn handle(&mut self, command: HoldCommand, _: &(), sink: &EventSink<Self>) -> Result<(), HoldError> {
        let event = match command {
            HoldCommand::Place { until, now, .. } if until <= now => return Err(HoldError::Past),
            HoldCommand::Place { until, sealed, .. } => HoldEvent::Placed { until, sealed },
            HoldCommand::Lift if self.until.is_none() => return Err(HoldError::Missing),
            HoldCommand::Lift => HoldEvent::Lifted {},
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: HoldEvent) {
        self.until = match event {
            HoldEvent::Placed { until, .. } => Some(until),
            HoldEvent::Lifted {} => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use cqrs_es::test::TestFramework;

    use super::*;

    #[test]
    fn a_hold_ends_in_the_future_and_is_lifted_once() {
        let given = |events: Vec<HoldEvent>| TestFramework::<Hold>::with(()).given(events);
        let (now, sealed) = (DateTime::UNIX_EPOCH, "c2VhbGVk".to_owned());
        let until = now + TimeDelta::days(30);
        let placed = HoldEvent::Placed { until, sealed: sealed.clone() };
        let place = |until| HoldCommand::Place { until, sealed: sealed.clone(), now };
        given(vec![]).when(place(until)).then_expect_events(vec![placed.clone()]);
        given(vec![]).when(place(now)).then_expect_error(HoldError::Past);
        given(vec![placed.clone()]).when(HoldCommand::Lift).then_expect_events(vec![HoldEvent::Lifted {}]);
        given(vec![HoldEvent::Lifted {}]).when(HoldCommand::Lift).then_expect_error(HoldError::Missing);
        let stored = r#"{"Placed":{"until":"1970-01-31T00:00:00Z","sealed":"c2VhbGVk"}}"#;
        assert_eq!(serde_json::to_string(&placed).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<HoldEvent>(stored).expect("loads"), placed);
        assert_eq!(serde_json::to_string(&HoldEvent::Lifted {}).expect("stores"), r#"{"Lifted":{}}"#);
    }
}
