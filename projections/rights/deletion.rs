//! Requests to delete, each with its state; and on the account, until when a confirmed request can be cancelled.
//! Rebuildable from the log. Filters and reason are sealed. An erasure removes the rows.

use chrono::{DateTime, Utc};
use context::{DeletionId, SubjectId};
use db::{FromRow, Query, Tx, sql};
use domain::{
    Choice,
    rights::deletion::{Deletion, DeletionEvent, DeletionState, Open, Scope},
};
use event_log::{Event, Inline, cqrs_es::Aggregate};
use serde::{Deserialize, Serialize};

use crate::{
    choice::choice,
    page::{Moment, Page, TimedPlace},
    rebuild::{Rebuild, rebuild_events},
};

/// Writes `read.deletions`, and `deletion_at` of `read.accounts`.
pub struct Deletions;

impl Inline for Deletions {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events.iter().filter(|event| event.aggregate_type == Deletion::TYPE) {
            match serde_json::from_str::<DeletionEvent>(&event.payload) {
                Ok(DeletionEvent::Requested { open, token_hash, sealed, .. }) => {
                    tx.queue(deletion_replaced(event));
                    tx.queue(deletion_requested(event, &open, &token_hash, sealed));
                }
                Ok(DeletionEvent::Confirmed { open, .. } | DeletionEvent::Paused { open, .. }) => {
                    tx.queue(deletion_confirmed(event, &open));
                    tx.queue(account_graced(event, open.grace_ends_at));
                }
                Ok(DeletionEvent::Cancelled { deletion, .. }) => {
                    tx.queue(deletion_ended(event, deletion, DeletionState::Cancelled, None));
                    tx.queue(account_graced(event, None));
                }
                Ok(DeletionEvent::Completed { deletion, removed }) => {
                    tx.queue(deletion_ended(event, deletion, DeletionState::Completed, Some(removed)));
                    tx.queue(account_graced(event, None));
                }
                // An erasure removes all rows of the person.
                Ok(DeletionEvent::Erased { .. }) | Err(_) => {}
            }
        }
    }
}

/// Marks a request that was not confirmed as replaced by the new request.
fn deletion_replaced(event: &Event) -> Query {
    Query::new(
        "-- deletion_replaced
        UPDATE read.deletions SET state = 'replaced', ended_at = $3, sequence = $2
        WHERE subject_id = $1 AND state = 'pending' AND sequence < $2",
    )
    .bind(event.subject_id.0)
    .bind(event.sequence)
    .bind(event.recorded_at)
}

fn deletion_requested(event: &Event, open: &Open, token_hash: &str, sealed: String) -> Query {
    Query::new(
        "-- deletion_requested
        INSERT INTO read.deletions
               (subject_id, deletion_id, sequence, scope, state, token_hash, sealed, requested_at, expires_at)
        VALUES ($1, $2, $3, $4, 'pending', decode($5, 'hex'), $6, $7, $8)
        ON CONFLICT DO NOTHING",
    )
    .bind(event.subject_id.0)
    .bind(open.deletion.0)
    .bind(event.sequence)
    .bind(open.scope.as_str())
    .bind(token_hash.to_owned())
    .bind(sealed)
    .bind(event.recorded_at)
    .bind(open.expires_at)
}

fn deletion_confirmed(event: &Event, open: &Open) -> Query {
    Query::new(
        "-- deletion_confirmed
        UPDATE read.deletions SET state = 'confirmed', grace_ends_at = $4, sequence = $3
        WHERE subject_id = $1 AND deletion_id = $2 AND sequence < $3",
    )
    .bind(event.subject_id.0)
    .bind(open.deletion.0)
    .bind(event.sequence)
    .bind(open.grace_ends_at)
}

fn deletion_ended(event: &Event, deletion: DeletionId, state: DeletionState, removed: Option<u64>) -> Query {
    Query::new(
        "-- deletion_ended
        UPDATE read.deletions SET state = $4, ended_at = $5, removed = $6, sequence = $3
        WHERE subject_id = $1 AND deletion_id = $2 AND sequence < $3",
    )
    .bind(event.subject_id.0)
    .bind(deletion.0)
    .bind(event.sequence)
    .bind(state.as_str())
    .bind(event.recorded_at)
    .bind(removed.map(|removed| i64::try_from(removed).unwrap_or(i64::MAX)))
}

fn account_graced(event: &Event, deletion_at: Option<DateTime<Utc>>) -> Query {
    Query::new(
        "-- account_graced
        UPDATE read.accounts SET deletion_at = $2 WHERE subject_id = $1",
    )
    .exactly(1)
    .bind(event.subject_id.0)
    .bind(deletion_at)
}

/// Makes people's requests equal to the log. The rows of their accounts must be there, because a confirmed request is noted in it.
pub const REBUILD: Rebuild = Rebuild {
    name: "deletions",
    events: |subjects| rebuild_events(subjects, &[Deletion::TYPE]),
    projections: &[&Deletions],
    rows: "-- deletions_rows\nSELECT deletion_id::text AS key, to_json(r)::text AS row FROM read.deletions r WHERE subject_id = ANY ($1)",
    clear: "-- deletions_clear\nDELETE FROM read.deletions WHERE subject_id = ANY ($1)",
};

/// A request as its owner sees it.
#[derive(FromRow, Serialize, Deserialize)]
pub struct DeletionRow {
    /// The request.
    #[row(sql = "deletion_id", with = DeletionId)]
    pub deletion: DeletionId,
    /// How much of the person's data the request is about.
    #[row(with = choice)]
    pub scope: Scope,
    /// Where it stands.
    #[row(with = choice)]
    pub state: DeletionState,
    /// Filters and reason, sealed under the trail key.
    pub sealed: String,
    /// When the person asked.
    pub requested_at: DateTime<Utc>,
    /// Until when the request can be confirmed.
    pub expires_at: DateTime<Utc>,
    /// Until when the request can be cancelled; `None` until it is confirmed.
    pub grace_ends_at: Option<DateTime<Utc>>,
    /// When the request was carried out, cancelled or replaced.
    pub ended_at: Option<DateTime<Utc>>,
    /// How many records were removed; `None` unless the request was carried out.
    pub removed: Option<i64>,
}

impl DeletionRow {
    /// Where the request stands in [`deletion_list`].
    pub fn place(&self) -> TimedPlace {
        (Moment(self.requested_at), self.deletion.0)
    }
}

/// A page of a person's requests, newest first.
pub fn deletion_list(subject: SubjectId, page: &Page<TimedPlace>) -> Query {
    let (at, id) = page.before();
    Query::new(sql!(
        "-- deletion_list
        SELECT ",
        DeletionRow::COLUMNS,
        " FROM read.deletions WHERE subject_id = $1 AND (requested_at, deletion_id) < ($2, $3)
        ORDER BY requested_at DESC, deletion_id DESC LIMIT $4"
    ))
    .bind(subject.0)
    .bind(at)
    .bind(id)
    .bind(page.rows())
}

pub fn deletion_get(subject: SubjectId, deletion: DeletionId) -> Query {
    Query::new(sql!(
        "-- deletion_get
        SELECT ",
        DeletionRow::COLUMNS,
        " FROM read.deletions WHERE subject_id = $1 AND deletion_id = $2"
    ))
    .bind(subject.0)
    .bind(deletion.0)
}

/// A person's request whose token has this keyed hash.
pub fn deletion_by_token(subject: SubjectId, token_hash: [u8; 32]) -> Query {
    Query::new(sql!(
        "-- deletion_by_token
        SELECT ",
        DeletionRow::COLUMNS,
        " FROM read.deletions WHERE subject_id = $1 AND token_hash = $2"
    ))
    .bind(subject.0)
    .bind(token_hash.to_vec())
}
