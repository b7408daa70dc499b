//! The origin of the tree over the log. After a restore of a backup that is older than the newest signed checkpoint,
//! the old tree cannot go on, so a new tree is opened. Its first leaf says what was signed, what was kept and what was
//! lost. The events are about no person.

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::{About, Described, event_types};

/// The origin of the tree that grows now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOrigin {
    origin: String,
}

/// A tree that was left: what was signed of it, and what the log still holds of it. Roots are in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbandonedTree {
    /// The origin of the tree: the first line of its checkpoints.
    pub previous: String,
    /// How many events of the log come before the first leaf of the tree.
    pub previous_begins: u64,
    /// How many of its leaves the log still holds.
    pub kept_size: u64,
    /// The root of the leaves that the log still holds.
    pub kept_root: String,
    /// The origin of the newest signed checkpoint: of this tree, or of a tree that is lost altogether.
    pub signed_origin: String,
    /// How many leaves the newest signed checkpoint covers.
    pub signed_size: u64,
    /// The root of the newest signed checkpoint.
    pub signed_root: String,
}

/// A command may be repeated; the second time it changes nothing.
#[derive(Clone, Debug)]
pub enum LogOriginCommand {
    Open {
        /// The origin of the new tree: the first line of its checkpoints.
        origin: String,
        /// The tree that is left.
        left: AbandonedTree,
    },
}

/// Each event carries the whole state of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogOriginEvent {
    /// A new tree was opened. This event is the first leaf of the new tree.
    OriginOpened {
        /// The origin of the new tree: the first line of its checkpoints.
        origin: String,
        /// The tree that was left.
        #[serde(flatten)]
        left: AbandonedTree,
        /// The first leaf of the old tree that is lost; absent if none is lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_from: Option<u64>,
        /// How many leaves are lost; absent if the newest signed checkpoint belongs to another tree, because then the
        /// number is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
    },
}

event_types! {
    LogOriginEvent "1.0" {
        OriginOpened = "log.origin_opened",
    }
}

impl Described for LogOrigin {
    const ABOUT: About = About::Nobody;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
}

impl Aggregate for LogOrigin {
    const TYPE: &'static str = "log";
    type Command = LogOriginCommand;
    type Event = LogOriginEvent;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(&mut self, command: LogOriginCommand, _: &(), sink: &EventSink<Self>) -> Result<(), Self::Error> {
        let LogOriginCommand::Open { origin, left } = command;
        if origin != self.origin {
            let same = left.signed_origin == left.previous;
            let lost = same.then(|| left.signed_size.saturating_sub(left.kept_size));
            let lost_from = (lost != Some(0)).then_some(left.kept_size);
            sink.write(LogOriginEvent::OriginOpened { origin, left, lost_from, lost }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: LogOriginEvent) {
        let LogOriginEvent::OriginOpened { origin, .. } = event;
        self.origin = origin;
    }
}

#[cfg(test)]
mod histories {
    use proptest::prelude::*;

    use super::*;
    use crate::whole_state::{Changes, Checked, word};

    impl Checked for LogOrigin {
        const CHANGES: &[Changes] = &[Changes { event: "log.origin_opened", sets: &["origin"], clears: &[] }];

        fn commands() -> BoxedStrategy<LogOriginCommand> {
            let left =
                (word(), word(), 0..9_u64, 0..9_u64).prop_map(|(previous, signed_origin, kept_size, signed_size)| {
                    AbandonedTree {
                        previous,
                        previous_begins: kept_size,
                        kept_size,
                        kept_root: "AAA=".to_owned(),
                        signed_origin,
                        signed_size,
                        signed_root: "BBB=".to_owned(),
                    }
                });
            (word(), left).prop_map(|(origin, left)| LogOriginCommand::Open { origin, left }).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn left() -> AbandonedTree {
        let text = |text: &str| text.to_owned();
        AbandonedTree {
            previous: text("lethe/a"),
            previous_begins: 0,
            kept_size: 7,
            kept_root: text("BBB="),
            signed_origin: text("lethe/a"),
            signed_size: 9,
            signed_root: text("AAA="),
        }
    }

    #[test]
    fn an_opening_says_what_is_lost_and_is_recorded_once() {
        let open = || LogOriginCommand::Open { origin: "lethe/a/2".to_owned(), left: left() };
        let opened = LogOriginEvent::OriginOpened {
            origin: "lethe/a/2".to_owned(),
            left: left(),
            lost_from: Some(7),
            lost: Some(2),
        };
        let framework = || TestFramework::<LogOrigin>::with(());
        framework().given_no_previous_events().when(open()).then_expect_events(vec![opened.clone()]);
        framework().given(vec![opened.clone()]).when(open()).then_expect_events(vec![]);
        let json = serde_json::to_string(&opened).expect("JSON");
        assert_eq!(
            json,
            r#"{"OriginOpened":{"origin":"lethe/a/2","previous":"lethe/a","previous_begins":0,"kept_size":7,"kept_root":"BBB=","signed_origin":"lethe/a","signed_size":9,"signed_root":"AAA=","lost_from":7,"lost":2}}"#
        );
        assert_eq!(serde_json::from_str::<LogOriginEvent>(&json).expect("read"), opened);
    }
}
