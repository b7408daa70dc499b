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

use crate::{choice::choice, rebuild::Rebuild};

/// Writes `read.deletions`, and `deletion_at` of `read.accounts`.
pub struct Deletions;

impl Inline for Deletions {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events.iter().filter(|event| event.aggregate_type == Deletion::TYPE) {
            match serde_json::from_str::<DeletionEvent>(&event.payload) {
                Ok(DeletionEvent::Requested { open, token_hash, sealed, .. }) => {
                    tx.queue(replace(event));
                    tx.queue(requested(event, &open, &token_hash, sealed));
                }
                Ok(DeletionEvent::Confirmed { open, .. } | DeletionEvent::Paused { open, .. }) => {
                    tx.queue(confirmed(event, &open));
                    tx.queue(graced(event, open.grace_ends_at));
                }
                Ok(DeletionEvent::Cancelled { deletion, .. }) => {
                    tx.queue(ended(event, deletion, DeletionState::Cancelled, None));
                    tx.queue(graced(event, None));
                }
                Ok(DeletionEvent::Completed { deletion, removed }) => {
                    tx.queue(ended(event, deletion, DeletionState::Completed, Some(removed)));
                    tx.queue(graced(event, None));
                }
                // An erasure removes all rows of the person.
                Ok(DeletionEvent::Erased { .. }) | Err(_) => {}
            }
        }
    }
}

/// Marks a request that was not confirmed as replaced by the new request.
fn replace(event: &Event) -> Query {
    Query::new(
        "-- deletion_replaced
        UPDATE read.deletions SET state = 'replaced', ended_at = $3, sequence = $2
        WHERE subject_id = $1 AND state = 'pending' AND sequence < $2",
    )
    .bind(event.subject_id.0)
    .bind(event.sequence)
    .bind(event.recorded_at)
}

fn requested(event: &Event, open: &Open, token_hash: &str, sealed: String) -> Query {
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

fn confirmed(event: &Event, open: &Open) -> Query {
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

fn ended(event: &Event, deletion: DeletionId, state: DeletionState, removed: Option<u64>) -> Query {
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

fn graced(event: &Event, deletion_at: Option<DateTime<Utc>>) -> Query {
    Query::new(
        "-- account_graced
        UPDATE read.accounts SET deletion_at = $2 WHERE subject_id = $1",
    )
    .exactly(1)
    .bind(event.subject_id.0)
    .bind(deletion_at)
}

/// Makes a person's requests equal to the log.
pub const REBUILD: Rebuild = Rebuild { name: "deletions", statement: rebuild };

fn rebuild(subject: SubjectId) -> Query {
    Query::new(
        "-- deletions_rebuild
        WITH happened AS MATERIALIZED (
            SELECT sequence, event_type, recorded_at, (SELECT value FROM json_each(payload) LIMIT 1) AS body
            FROM log.events WHERE subject_id = $1 AND aggregate_type = 'deletion'
              AND EXISTS (SELECT FROM vault.subjects s WHERE s.subject_id = $1)),
        truth AS MATERIALIZED (
            SELECT (r.body->>'deletion')::uuid AS deletion_id, coalesce(e.sequence, n.sequence, c.sequence, r.sequence) AS sequence,
                   r.body->>'scope' AS scope,
                   CASE e.event_type WHEN 'deletion.cancelled' THEN 'cancelled' WHEN 'deletion.completed' THEN 'completed'
                        ELSE CASE WHEN c.sequence IS NOT NULL THEN 'confirmed' WHEN n.sequence IS NOT NULL THEN 'replaced'
                             ELSE 'pending' END END AS state,
                   decode(r.body->>'token_hash', 'hex') AS token_hash, r.body->>'sealed' AS sealed,
                   r.recorded_at AS requested_at, (r.body->>'expires_at')::timestamptz AS expires_at,
                   (c.body->>'grace_ends_at')::timestamptz AS grace_ends_at,
                   coalesce(e.recorded_at, CASE WHEN c.sequence IS NULL THEN n.recorded_at END) AS ended_at,
                   (e.body->>'removed')::bigint AS removed
            FROM happened r
            LEFT JOIN LATERAL (SELECT sequence, body FROM happened x
                               WHERE x.event_type IN ('deletion.confirmed', 'deletion.paused')
                                 AND x.body->>'deletion' = r.body->>'deletion'
                               ORDER BY x.sequence DESC LIMIT 1) c ON true
            LEFT JOIN happened e ON e.event_type IN ('deletion.cancelled', 'deletion.completed')
                                AND e.body->>'deletion' = r.body->>'deletion'
            LEFT JOIN LATERAL (SELECT sequence, recorded_at FROM happened x WHERE x.event_type = 'deletion.requested'
                               AND x.sequence > r.sequence AND e.sequence IS NULL AND c.sequence IS NULL
                               ORDER BY x.sequence LIMIT 1) n ON true
            WHERE r.event_type = 'deletion.requested'),
        removed AS (
            DELETE FROM read.deletions d WHERE d.subject_id = $1
            AND NOT EXISTS (SELECT FROM truth t WHERE t.deletion_id = d.deletion_id) RETURNING 1),
        corrected AS (
            UPDATE read.deletions d
            SET sequence = t.sequence, scope = t.scope, state = t.state, token_hash = t.token_hash, sealed = t.sealed,
                requested_at = t.requested_at, expires_at = t.expires_at, grace_ends_at = t.grace_ends_at,
                ended_at = t.ended_at, removed = t.removed
            FROM truth t
            WHERE d.subject_id = $1 AND d.deletion_id = t.deletion_id
              AND (d.sequence, d.scope, d.state, d.token_hash, d.sealed, d.requested_at, d.expires_at, d.grace_ends_at,
                   d.ended_at, d.removed) IS DISTINCT FROM
                  (t.sequence, t.scope, t.state, t.token_hash, t.sealed, t.requested_at, t.expires_at, t.grace_ends_at,
                   t.ended_at, t.removed)
            RETURNING 1),
        added AS (
            INSERT INTO read.deletions (subject_id, deletion_id, sequence, scope, state, token_hash, sealed, requested_at,
                                        expires_at, grace_ends_at, ended_at, removed)
            SELECT $1, t.* FROM truth t
            WHERE NOT EXISTS (SELECT FROM read.deletions d WHERE d.subject_id = $1 AND d.deletion_id = t.deletion_id)
            RETURNING 1)
        SELECT (SELECT count(*) FROM added) AS added, (SELECT count(*) FROM corrected) AS corrected,
               (SELECT count(*) FROM removed) AS removed",
    )
    .bind(subject.0)
}

/// A request as its owner sees it; what filters and reason say is sealed.
#[derive(FromRow)]
/// A request as its owner sees it.
pub struct DeletionRow {
    /// The request.
    #[row(sql = "deletion_id", with = DeletionId)]
    pub deletion: DeletionId,
    /// How much it is about.
    #[row(with = choice)]
    /// How much of the person's data the request is about.
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

/// The newest 100 requests of a person, newest first.
pub fn deletion_list(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- deletion_list
        SELECT ",
        DeletionRow::COLUMNS,
        " FROM read.deletions WHERE subject_id = $1 ORDER BY requested_at DESC LIMIT 100"
    ))
    .bind(subject.0)
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
