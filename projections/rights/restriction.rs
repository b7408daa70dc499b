//! Restriction: since when a person's data is only stored. Rebuildable from the log (with `accounts`). Holds a time
//! beside the random id. An erasure removes the row.
//!
//! The switches of an account have no sequence of their own, and need none: the events of one person are written under
//! that person's lock, one transaction after the other, and each event carries the whole state of its switch.

use chrono::{DateTime, Utc};
use context::SubjectId;
use db::{Query, Tx};
use domain::rights::restriction::{Restriction, RestrictionEvent};
use event_log::{Event, Inline, cqrs_es::Aggregate};

/// Writes `restricted_at` of `read.accounts`.
pub struct Restrictions;

impl Inline for Restrictions {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events.iter().filter(|event| event.aggregate_type == Restriction::TYPE) {
            let Ok(restriction) = serde_json::from_str::<RestrictionEvent>(&event.payload) else { continue };
            let since = matches!(restriction, RestrictionEvent::Set {}).then_some(event.recorded_at);
            tx.queue(account_restricted(event.subject_id, since));
        }
    }
}

fn account_restricted(subject: SubjectId, since: Option<DateTime<Utc>>) -> Query {
    Query::new(
        "-- account_restricted
        UPDATE read.accounts SET restricted_at = $2 WHERE subject_id = $1",
    )
    .exactly(1)
    .bind(subject.0)
    .bind(since)
}
