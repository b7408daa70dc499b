//! The key ring: that versions of its key-encryption key were published, came into use and were destroyed. About no person:
//! versions and counts only. What a server may do with its keys the vault decides; here stands what it did.

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::event::event_types;

/// Which versions there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    current: i32,
    living: Vec<i32>,
}

/// What was done to the ring. What is on record already is not recorded again, so that a step may be repeated.
#[derive(Clone, Debug)]
pub enum KeyRingCommand {
    /// A version was published.
    Publish {
        /// It.
        version: i32,
        /// The version that was current then.
        current: i32,
        /// All versions in the ring, it included.
        living: Vec<i32>,
    },
    /// A version became the current one, and nothing is under an older one any more.
    Rotate {
        /// It.
        version: i32,
        /// How many people's keys came under it at last.
        rewrapped: u64,
    },
    /// A version was destroyed.
    Destroy {
        /// It.
        version: i32,
        /// Whether an archive of keys had been taken after everything had left it.
        archived: bool,
    },
}

/// What happened to the ring. Each event carries the whole state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRingEvent {
    /// A version was published.
    Published {
        /// It.
        version: i32,
        /// The version under which new work is done.
        current: i32,
        /// All versions in the ring.
        living: Vec<i32>,
    },
    /// A version became the current one for everything.
    Rotated {
        /// How many people's keys came under it at last.
        rewrapped: u64,
        /// It.
        current: i32,
        /// All versions in the ring.
        living: Vec<i32>,
    },
    /// A version was destroyed.
    Destroyed {
        /// It.
        version: i32,
        /// Whether an archive of keys had been taken after everything had left it.
        archived: bool,
        /// The version under which new work is done.
        current: i32,
        /// All versions in the ring.
        living: Vec<i32>,
    },
}

event_types! {
    KeyRingEvent "1.0" {
        Published = "key_ring.published",
        Rotated = "key_ring.rotated",
        Destroyed = "key_ring.destroyed",
    }
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// The version is the current one, as far as the log knows.
    #[error("version {0} of the key-encryption key is the current one")]
    Current(i32),
}

impl Aggregate for KeyRing {
    const TYPE: &'static str = "key_ring";
    type Command = KeyRingCommand;
    type Event = KeyRingEvent;
    type Error = KeyRingError;
    type Services = ();

    async fn handle(&mut self, command: KeyRingCommand, _: &(), sink: &EventSink<Self>) -> Result<(), KeyRingError> {
        let event = match command {
            KeyRingCommand::Publish { version, .. } if self.living.contains(&version) => return Ok(()),
            KeyRingCommand::Publish { version, current, living } => {
                KeyRingEvent::Published { version, current, living }
            }
            KeyRingCommand::Rotate { version, .. } if version <= self.current => return Ok(()),
            KeyRingCommand::Rotate { version, rewrapped } => {
                KeyRingEvent::Rotated { rewrapped, current: version, living: self.living.clone() }
            }
            KeyRingCommand::Destroy { version, .. } if !self.living.contains(&version) => return Ok(()),
            KeyRingCommand::Destroy { version, .. } if version >= self.current => {
                return Err(KeyRingError::Current(version));
            }
            KeyRingCommand::Destroy { version, archived } => {
                let living = self.living.iter().copied().filter(|other| *other != version).collect();
                KeyRingEvent::Destroyed { version, archived, current: self.current, living }
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: KeyRingEvent) {
        let (KeyRingEvent::Published { current, living, .. }
        | KeyRingEvent::Rotated { current, living, .. }
        | KeyRingEvent::Destroyed { current, living, .. }) = event;
        *self = Self { current, living };
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn published() -> KeyRingEvent {
        KeyRingEvent::Published { version: 2, current: 1, living: vec![1, 2] }
    }

    fn rotated() -> KeyRingEvent {
        KeyRingEvent::Rotated { rewrapped: 3, current: 2, living: vec![1, 2] }
    }

    fn destroyed() -> KeyRingEvent {
        KeyRingEvent::Destroyed { version: 1, archived: true, current: 2, living: vec![2] }
    }

    fn publish() -> KeyRingCommand {
        KeyRingCommand::Publish { version: 2, current: 1, living: vec![1, 2] }
    }

    const ROTATE: KeyRingCommand = KeyRingCommand::Rotate { version: 2, rewrapped: 3 };
    const DESTROY: KeyRingCommand = KeyRingCommand::Destroy { version: 1, archived: true };

    #[test]
    fn each_step_is_recorded_once() {
        let with = |events: Vec<KeyRingEvent>| TestFramework::<KeyRing>::with(()).given(events);
        with(vec![]).when(publish()).then_expect_events(vec![published()]);
        with(vec![published()]).when(publish()).then_expect_events(vec![]);
        with(vec![published()]).when(ROTATE).then_expect_events(vec![rotated()]);
        with(vec![published(), rotated()]).when(ROTATE).then_expect_events(vec![]);
        with(vec![published(), rotated()]).when(DESTROY).then_expect_events(vec![destroyed()]);
        with(vec![published(), rotated(), destroyed()]).when(DESTROY).then_expect_events(vec![]);
    }

    #[test]
    fn the_current_version_is_not_destroyed() {
        let with = |events: Vec<KeyRingEvent>| TestFramework::<KeyRing>::with(()).given(events);
        with(vec![published()]).when(DESTROY).then_expect_error(KeyRingError::Current(1));
        let newer = KeyRingCommand::Destroy { version: 2, archived: true };
        with(vec![published(), rotated()]).when(newer).then_expect_error(KeyRingError::Current(2));
    }
}
