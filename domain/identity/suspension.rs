//! Suspension: an account with a suspicious pattern in the log cannot act for a while. A suspension ends by itself.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::{About, Described, event_types};

/// Until when an account is suspended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    until: Option<DateTime<Utc>>,
}

/// Suspends the account. An end before the end of an earlier suspension changes nothing.
#[derive(Clone, Debug)]
pub struct Suspend {
    /// The name of the rule that asks for the suspension.
    pub rule: String,
    pub until: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuspensionEvent {
    Suspended {
        /// The name of the rule that asked for the suspension.
        rule: String,
        until: DateTime<Utc>,
    },
}

event_types! {
    SuspensionEvent "1.0" {
        Suspended = "account.suspended",
    }
}

impl Described for Suspension {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
}

impl Aggregate for Suspension {
    const TYPE: &'static str = "suspension";
    type Command = Suspend;
    type Event = SuspensionEvent;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(&mut self, command: Suspend, _: &(), sink: &EventSink<Self>) -> Result<(), Self::Error> {
        let Suspend { rule, until } = command;
        if self.until.is_none_or(|known| known < until) {
            sink.write(SuspensionEvent::Suspended { rule, until }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: SuspensionEvent) {
        let SuspensionEvent::Suspended { until, .. } = event;
        self.until = Some(until);
    }
}

#[cfg(test)]
mod histories {
    use proptest::prelude::*;

    use super::*;
    use crate::whole_state::{Changes, Checked, time, word};

    impl Checked for Suspension {
        const CHANGES: &[Changes] = &[Changes { event: "account.suspended", sets: &["until"], clears: &[] }];

        fn commands() -> BoxedStrategy<Suspend> {
            (word(), time()).prop_map(|(rule, until)| Suspend { rule, until }).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use cqrs_es::test::TestFramework;

    use super::*;

    #[test]
    fn a_suspension_is_only_lengthened() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let suspended = |until| SuspensionEvent::Suspended { rule: "r".to_owned(), until };
        let suspend = |until| Suspend { rule: "r".to_owned(), until };
        let given = |events: Vec<SuspensionEvent>| TestFramework::<Suspension>::with(()).given(events);
        given(vec![]).when(suspend(at(9))).then_expect_events(vec![suspended(at(9))]);
        given(vec![suspended(at(9))]).when(suspend(at(9))).then_expect_events(vec![]);
        given(vec![suspended(at(9))]).when(suspend(at(10))).then_expect_events(vec![suspended(at(10))]);
    }
}
