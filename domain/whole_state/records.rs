//! Histories of records, of every kind.

use std::fmt;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    kinds::{KINDS, Shape, WORK_DAY, WorkDay},
    records::record::{Record, RecordCommand},
    whole_state::{Changes, Checked},
};

impl fmt::Debug for RecordCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit { kind, .. } => write!(f, "Submit({})", kind.name()),
            Self::Remove => f.write_str("Remove"),
        }
    }
}

impl Checked for Record {
    const CHANGES: &[Changes] = &[
        Changes { event: "record.submitted", sets: &[], clears: &[] },
        Changes { event: "record.amended", sets: &["body"], clears: &["body"] },
        Changes { event: "record.removed", sets: &["state"], clears: &["body"] },
    ];

    /// A record has one kind, and examples of a kind are alike. So most commands submit the same work day with
    /// different minutes, and the examples of all kinds show that each body can be stored and loaded again.
    fn commands() -> BoxedStrategy<RecordCommand> {
        let today = "2026-03-02".parse().expect("a date");
        let day = (0..3_u16).prop_map(move |minutes| {
            let day = WorkDay { date: today, actual_minutes: 500 + minutes, ..WorkDay::example() };
            RecordCommand::Submit { kind: WORK_DAY, body: day.to_body(), today }
        });
        let example = (0..KINDS.len()).prop_map(move |kind| RecordCommand::Submit {
            kind: KINDS[kind],
            body: KINDS[kind].example(),
            today,
        });
        prop_oneof![8 => day, 4 => example, 1 => Just(RecordCommand::Remove)].boxed()
    }

    fn fields(&self) -> Value {
        match self {
            Self::Absent => json!({ "state": "absent" }),
            Self::Living(body) => json!({ "state": "living", "body": body.reveal() }),
            Self::Removed => json!({ "state": "removed" }),
        }
    }
}
