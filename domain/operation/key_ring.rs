//! The history of the key ring: versions of its key-encryption key are published, come into use and are destroyed. The
//! events hold versions and counts and are about no person. The vault decides what a server may do with its keys; this
//! stream records what the server did.

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    event::{About, Described, event_types},
    refusal::{Refused, Rule},
};

/// The versions in the ring, and the current version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    current: i32,
    living: Vec<i32>,
}

/// What the log holds already is not recorded again, so that a step may be repeated.
#[derive(Clone, Debug)]
pub enum KeyRingCommand {
    Publish {
        version: i32,
        /// The version that was current at the time.
        current: i32,
        /// All versions in the ring, including the new one.
        living: Vec<i32>,
    },
    /// A version became the current one, and no key is wrapped under an older version any more.
    Rotate {
        version: i32,
        /// How many people's keys were wrapped anew by the run that finished the rotation.
        rewrapped: u64,
    },
    Destroy {
        version: i32,
        /// Whether an archive of the keys had been taken after no key was under this version any more.
        archived: bool,
    },
}

/// Each event carries the whole state of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRingEvent {
    Published {
        version: i32,
        /// The version under which keys are wrapped now.
        current: i32,
        /// All versions in the ring, including the new one.
        living: Vec<i32>,
    },
    /// A version became the current one, and no key is wrapped under an older version any more.
    Rotated {
        /// How many people's keys were wrapped anew by the run that finished the rotation.
        rewrapped: u64,
        current: i32,
        living: Vec<i32>,
    },
    Destroyed {
        version: i32,
        /// Whether an archive of the keys had been taken after no key was under this version any more.
        archived: bool,
        current: i32,
        /// The versions that are left in the ring.
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

impl Described for KeyRing {
    const ABOUT: About = About::Nobody;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// The version is the current one, or newer than the current one that the log knows.
    #[error("the ring and the log disagree: version {0} of the key-encryption key is the current one")]
    Current(i32),
}

impl Rule for KeyRingError {
    fn refused(&self) -> Refused {
        Refused::Damaged
    }
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
mod histories {
    use proptest::prelude::*;

    use super::*;
    use crate::whole_state::{Changes, Checked};

    impl Checked for KeyRing {
        const CHANGES: &[Changes] = &[
            Changes { event: "key_ring.published", sets: &["current", "living"], clears: &[] },
            Changes { event: "key_ring.rotated", sets: &["current"], clears: &[] },
            Changes { event: "key_ring.destroyed", sets: &["living"], clears: &["living"] },
        ];

        fn commands() -> BoxedStrategy<KeyRingCommand> {
            let version = || 1..6_i32;
            prop_oneof![
                (version(), version(), prop::collection::vec(version(), 0..4)).prop_map(
                    |(version, current, mut living)| {
                        living.push(version);
                        KeyRingCommand::Publish { version, current, living }
                    }
                ),
                (version(), 0..3_u64).prop_map(|(version, rewrapped)| KeyRingCommand::Rotate { version, rewrapped }),
                (version(), any::<bool>())
                    .prop_map(|(version, archived)| KeyRingCommand::Destroy { version, archived }),
            ]
            .boxed()
        }
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
