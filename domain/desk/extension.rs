//! Deadlines of requests (GDPR Art. 12(3)): one month from receipt, and two more months if the person is told the
//! reason within the first month. The reason is sealed in the trail of the event.

use chrono::{DateTime, Months, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    event::{About, Described, event_types},
    refusal::{ProblemType, Refused, Rule},
};

/// The deadline of a request: one month after `received_at`, or three months if it was extended.
pub fn due_at(received_at: DateTime<Utc>, extended: bool) -> DateTime<Utc> {
    received_at.checked_add_months(Months::new(if extended { 3 } else { 1 })).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Whether the deadline of a request was extended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    extended: bool,
}

/// Extends the deadline of a request by two months.
#[derive(Clone, Debug)]
pub struct Extend {
    pub received_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtensionEvent {
    Extended {
        /// The new deadline.
        due_at: DateTime<Utc>,
    },
}

event_types! {
    ExtensionEvent "1.0" {
        Extended = "request.extended",
    }
}

const NO_EXTENSION: ProblemType = ProblemType {
    name: "no-extension",
    title: "The request can't have more time",
    advice: "A request is extended once, and only within the month in which the person can be told (GDPR Art. 12(3)).",
};

impl Described for Extension {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
    const CONFLICTS: &'static [ProblemType] = &[NO_EXTENSION];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    #[error("the month in which a person can be told is over")]
    TooLate,
    #[error("a request is extended once")]
    Twice,
}

impl Rule for ExtensionError {
    fn refused(&self) -> Refused {
        Refused::explained(NO_EXTENSION, format!("{self}."))
    }
}

impl Aggregate for Extension {
    const TYPE: &'static str = "extension";
    type Command = Extend;
    type Event = ExtensionEvent;
    type Error = ExtensionError;
    type Services = ();

    async fn handle(&mut self, command: Extend, _: &(), sink: &EventSink<Self>) -> Result<(), ExtensionError> {
        if self.extended {
            return Err(ExtensionError::Twice);
        }
        if command.now > due_at(command.received_at, false) {
            return Err(ExtensionError::TooLate);
        }
        let event = ExtensionEvent::Extended { due_at: due_at(command.received_at, true) };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, _: ExtensionEvent) {
        self.extended = true;
    }
}

#[cfg(test)]
mod histories {
    use proptest::prelude::*;

    use super::*;
    use crate::whole_state::{Changes, Checked, time};

    impl Checked for Extension {
        const CHANGES: &[Changes] = &[Changes { event: "request.extended", sets: &[], clears: &[] }];

        fn commands() -> BoxedStrategy<Extend> {
            (time(), time()).prop_map(|(received_at, now)| Extend { received_at, now }).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use cqrs_es::test::TestFramework;

    use super::*;

    #[test]
    fn a_request_is_extended_once_and_within_its_month() {
        let received_at: DateTime<Utc> = "2026-01-31T12:00:00Z".parse().expect("a time");
        assert_eq!(due_at(received_at, false).to_rfc3339(), "2026-02-28T12:00:00+00:00");
        assert_eq!(due_at(received_at, true).to_rfc3339(), "2026-04-30T12:00:00+00:00");
        let extend = |now| Extend { received_at, now };
        let extended = ExtensionEvent::Extended { due_at: due_at(received_at, true) };
        let given = |events: Vec<ExtensionEvent>| TestFramework::<Extension>::with(()).given(events);
        let month = due_at(received_at, false);
        given(vec![]).when(extend(month)).then_expect_events(vec![extended.clone()]);
        given(vec![]).when(extend(month + TimeDelta::seconds(1))).then_expect_error(ExtensionError::TooLate);
        given(vec![extended]).when(extend(received_at)).then_expect_error(ExtensionError::Twice);
    }
}
