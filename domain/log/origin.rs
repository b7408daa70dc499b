//! The origin of the tree over the log: a restore of a backup that is older than what was signed can't go on with the old tree,
//! and opens a new one. Its first leaf says so: what was signed, what was kept, what was lost. About no person.

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::event_types;

/// The tree that grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOrigin {
    origin: String,
}

/// A tree that was left, as it was and as far as it was kept. Roots are in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The first line of its checkpoints.
    pub previous: String,
    /// So many events of the log come before its first leaf.
    pub previous_begins: u64,
    /// How many of its leaves the log still holds.
    pub kept_size: u64,
    /// The root of these.
    pub kept_root: String,
    /// The first line of the newest checkpoint that was signed: of this tree, or of one that is lost altogether.
    pub signed_origin: String,
    /// How many leaves that covers.
    pub signed_size: u64,
    /// Its root.
    pub signed_root: String,
}

/// What is done to the origin. A step may be repeated.
#[derive(Clone, Debug)]
pub enum LogOriginCommand {
    /// Open a new tree.
    Open {
        /// The first line of its checkpoints.
        origin: String,
        /// The tree before.
        left: Left,
    },
}

/// What happened to the origin. Each event carries the whole state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogOriginEvent {
    /// A new tree was opened; this is its first leaf.
    OriginOpened {
        /// The first line of its checkpoints.
        origin: String,
        /// The tree before.
        #[serde(flatten)]
        left: Left,
        /// The first leaf of the tree before that is lost, where one is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_from: Option<u64>,
        /// How many leaves are lost, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
    },
}

event_types! {
    LogOriginEvent "1.0" {
        OriginOpened = "log.origin_opened",
    }
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
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn left() -> Left {
        let text = |text: &str| text.to_owned();
        Left {
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
