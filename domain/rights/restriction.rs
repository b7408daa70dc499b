//! Restriction (GDPR Art. 18): while it stands, a person's data is stored and not used otherwise. The person sets and
//! lifts it. Each person has one stream, which holds states and times only.

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    event::{About, Described, event_types},
    refusal::{Refused, Rule},
};

/// Whether a person's data is restricted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    set: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum RestrictionCommand {
    Set,
    Lift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestrictionEvent {
    Set {},
    Lifted {},
}

event_types! {
    RestrictionEvent "1.0" {
        Set = "restriction.set",
        Lifted = "restriction.lifted",
    }
}

impl Described for Restriction {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &["restricted"];
    const REBUILT_IN: &'static [&'static str] = &["accounts"];
}

/// No command is refused: setting or lifting twice changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestrictionError {}

impl Rule for RestrictionError {
    fn refused(&self) -> Refused {
        match *self {}
    }
}

impl Aggregate for Restriction {
    const TYPE: &'static str = "restriction";
    type Command = RestrictionCommand;
    type Event = RestrictionEvent;
    type Error = RestrictionError;
    type Services = ();

    async fn handle(
        &mut self,
        command: RestrictionCommand,
        _: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), RestrictionError> {
        match (command, self.set) {
            (RestrictionCommand::Set, false) => sink.write(RestrictionEvent::Set {}, self).await,
            (RestrictionCommand::Lift, true) => sink.write(RestrictionEvent::Lifted {}, self).await,
            (RestrictionCommand::Set, true) | (RestrictionCommand::Lift, false) => {}
        }
        Ok(())
    }

    fn apply(&mut self, event: RestrictionEvent) {
        self.set = event == RestrictionEvent::Set {};
    }
}

#[cfg(test)]
mod histories {
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::whole_state::{Changes, Checked};

    impl Checked for Restriction {
        const CHANGES: &[Changes] = &[
            Changes { event: "restriction.set", sets: &[], clears: &[] },
            Changes { event: "restriction.lifted", sets: &[], clears: &["set"] },
        ];

        fn commands() -> BoxedStrategy<RestrictionCommand> {
            select(vec![RestrictionCommand::Set, RestrictionCommand::Lift]).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    #[test]
    fn it_is_set_and_lifted_once() {
        let given = |events: Vec<RestrictionEvent>| TestFramework::<Restriction>::with(()).given(events);
        given(vec![]).when(RestrictionCommand::Set).then_expect_events(vec![RestrictionEvent::Set {}]);
        given(vec![RestrictionEvent::Set {}]).when(RestrictionCommand::Set).then_expect_events(vec![]);
        given(vec![RestrictionEvent::Set {}])
            .when(RestrictionCommand::Lift)
            .then_expect_events(vec![RestrictionEvent::Lifted {}]);
        given(vec![RestrictionEvent::Lifted {}]).when(RestrictionCommand::Lift).then_expect_events(vec![]);
        for (event, stored) in
            [(RestrictionEvent::Set {}, r#"{"Set":{}}"#), (RestrictionEvent::Lifted {}, r#"{"Lifted":{}}"#)]
        {
            assert_eq!(serde_json::to_string(&event).expect("stores"), stored);
            assert_eq!(serde_json::from_str::<RestrictionEvent>(stored).expect("loads"), event);
        }
    }
}
