//! Histories of the key ring, of drills and of the log's origin: streams about no person.

use proptest::prelude::*;

use super::{Changes, Checked, time, word};
use crate::{
    desk::drill::{Drill, DrillResult},
    log::origin::{AbandonedTree, LogOrigin, LogOriginCommand},
    operation::key_ring::{KeyRing, KeyRingCommand},
};

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
            (version(), any::<bool>()).prop_map(|(version, archived)| KeyRingCommand::Destroy { version, archived }),
        ]
        .boxed()
    }
}

impl Checked for Drill {
    const CHANGES: &[Changes] = &[Changes { event: "drill.completed", sets: &[], clears: &[] }];

    fn commands() -> BoxedStrategy<DrillResult> {
        (time(), 0..9_u32, 0..9_u32, 0..9_u32)
            .prop_map(|(at, holds, fails, not_examined)| DrillResult { at, holds, fails, not_examined })
            .boxed()
    }
}

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
