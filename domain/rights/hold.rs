//! Legal holds: a duty to keep a person's data for a time (GDPR Art. 17(3)). While a hold stands nothing is deleted,
//! and a deletion that is asked for waits. The controller places a hold with a reason and an end, and a person who asks
//! for a deletion is told both. The reason is sealed.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    event::{About, Described, event_types},
    refusal::{Refused, Rule},
};

/// The end of a hold, or `None` if no hold was placed or the last one was lifted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    until: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub enum HoldCommand {
    /// Places a hold. It replaces an earlier hold.
    Place {
        until: DateTime<Utc>,
        /// The reason, sealed under the person's trail key.
        sealed: String,
        now: DateTime<Utc>,
    },
    Lift,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldEvent {
    Placed {
        until: DateTime<Utc>,
        /// The reason, sealed under the person's trail key.
        sealed: String,
    },
    Lifted {},
}

event_types! {
    HoldEvent "1.0" {
        Placed = "hold.placed",
        Lifted = "hold.lifted",
    }
}

impl Described for Hold {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &["held"];
    const REBUILT_IN: &'static [&'static str] = &["accounts"];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The end of the hold lies in the past.
    #[error("the end of a hold must lie ahead")]
    Past,
    #[error("there is no hold")]
    Missing,
}

impl Rule for HoldError {
    fn refused(&self) -> Refused {
        match self {
            Self::Past => Refused::invalid("until", "must lie in the future"),
            Self::Missing => Refused::NotFound("hold"),
        }
    }
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
mod histories {
    use proptest::prelude::*;

    use super::*;
    use crate::whole_state::{Changes, Checked, time, word};

    impl Checked for Hold {
        const CHANGES: &[Changes] = &[
            Changes { event: "hold.placed", sets: &["until"], clears: &[] },
            Changes { event: "hold.lifted", sets: &[], clears: &["until"] },
        ];

        fn commands() -> BoxedStrategy<HoldCommand> {
            prop_oneof![
                (time(), word(), time()).prop_map(|(until, sealed, now)| HoldCommand::Place { until, sealed, now }),
                Just(HoldCommand::Lift),
            ]
            .boxed()
        }
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
