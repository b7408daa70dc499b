//! Legal holds: until when a person's data must be kept. Rebuildable from the log (with `accounts`). The reason is
//! sealed. An erasure removes the row. Events are written in order under the person's lock, as for all switches (see
//! `restriction.rs`).

use chrono::{DateTime, Utc};
use context::SubjectId;
use db::{Query, Tx};
use domain::rights::hold::{Hold, HoldEvent};
use event_log::{Event, Inline, cqrs_es::Aggregate};

/// Writes `held_until` and `hold_sealed` of `read.accounts`.
pub struct Holds;

impl Inline for Holds {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events.iter().filter(|event| event.aggregate_type == Hold::TYPE) {
            match serde_json::from_str::<HoldEvent>(&event.payload) {
                Ok(HoldEvent::Placed { until, sealed }) => {
                    tx.queue(account_held(event.subject_id, Some(until), Some(sealed)))
                }
                Ok(HoldEvent::Lifted {}) => tx.queue(account_held(event.subject_id, None, None)),
                Err(_) => {}
            }
        }
    }
}

fn account_held(subject: SubjectId, until: Option<DateTime<Utc>>, sealed: Option<String>) -> Query {
    Query::new(
        "-- account_held
        UPDATE read.accounts SET held_until = $2, hold_sealed = $3 WHERE subject_id = $1",
    )
    .exactly(1)
    .bind(subject.0)
    .bind(until)
    .bind(sealed)
}
