//! Accounts: when an account was registered. Rebuildable from the log. No personal value; an erasure removes the row.

use chrono::{DateTime, Utc};
use context::{Ctx, SubjectId};
use db::{FromRow, Query, Row, Tx, sql};
use event_log::{Event, Inline};

use crate::rebuild::Rebuild;

/// Writes `read.accounts`.
pub struct Accounts;

impl Inline for Accounts {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events {
            if event.event_type == "account.registered" {
                tx.queue(
                    Query::new(
                        "-- account_registered
                        INSERT INTO read.accounts (subject_id, sequence, registered_at) VALUES ($1, $2, $3)
                        ON CONFLICT (subject_id) DO NOTHING",
                    )
                    .bind(event.subject_id.0)
                    .bind(event.sequence)
                    .bind(event.recorded_at),
                );
            }
        }
    }
}

/// When the account was registered.
pub fn account_get(subject: SubjectId) -> Query {
    Query::new(
        "-- account_get
        SELECT registered_at FROM read.accounts WHERE subject_id = $1",
    )
    .bind(subject.0)
}

/// The switches of an account as they stand.
#[derive(Clone, Debug, Default, FromRow)]
pub struct SwitchesRow {
    /// When processing was restricted; `None` if it is not restricted.
    pub restricted_at: Option<DateTime<Utc>>,
    /// The end of a legal hold, also if it is over.
    pub held_until: Option<DateTime<Utc>>,
    /// The reason of the hold, sealed under the person's trail key.
    pub hold_sealed: Option<String>,
}

impl SwitchesRow {
    /// Reads the row of [`switches_get`]. Without a row, no switch is set.
    pub fn of(rows: &[Row]) -> Self {
        rows.first().map(Self::from_row).unwrap_or_default()
    }

    /// The end of a legal hold that has not ended.
    pub fn held(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.held_until.filter(|until| *until > now)
    }

    /// Whether records are kept although their retention is over, because processing is restricted or a hold stands.
    pub fn keeps(&self, now: DateTime<Utc>) -> bool {
        self.restricted_at.is_some() || self.held(now).is_some()
    }
}

pub fn switches_get(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- switches_get
        SELECT ",
        SwitchesRow::COLUMNS,
        " FROM read.accounts WHERE subject_id = $1"
    ))
    .bind(subject.0)
}

/// The newest event of the account's stream.
pub fn account_newest(ctx: &Ctx) -> Query {
    crate::log::audit::newest(ctx.subject, "account", &ctx.subject.to_string())
}

/// Makes a person's row equal to the log, switches included. A person who was erased has no row.
pub const REBUILD: Rebuild = Rebuild { name: "accounts", statement: rebuild };

/// Each switch follows from the newest event that sets or clears it. `Restrictions`, `Holds` and `Deletions` write the
/// switches in daily use.
fn rebuild(subject: SubjectId) -> Query {
    Query::new(
        "-- accounts_rebuild
        WITH newest AS MATERIALIZED (
            SELECT DISTINCT ON (aggregate_type) aggregate_type, event_type, payload, recorded_at
            FROM log.events
            WHERE subject_id = $1 AND aggregate_type IN ('restriction', 'hold', 'deletion')
              AND event_type IN ('restriction.set', 'restriction.lifted', 'hold.placed', 'hold.lifted',
                                 'deletion.confirmed', 'deletion.paused', 'deletion.cancelled', 'deletion.completed')
            ORDER BY aggregate_type, sequence DESC),
        truth AS MATERIALIZED (
            SELECT e.sequence, e.recorded_at AS registered_at,
                   (SELECT n.recorded_at FROM newest n WHERE n.event_type = 'restriction.set') AS restricted_at,
                   (SELECT coalesce(n.payload#>>'{Confirmed,grace_ends_at}', n.payload#>>'{Paused,grace_ends_at}')::timestamptz
                    FROM newest n WHERE n.event_type IN ('deletion.confirmed', 'deletion.paused')) AS deletion_at,
                   (SELECT (n.payload#>>'{Placed,until}')::timestamptz FROM newest n
                    WHERE n.event_type = 'hold.placed') AS held_until,
                   (SELECT n.payload#>>'{Placed,sealed}' FROM newest n WHERE n.event_type = 'hold.placed') AS hold_sealed
            FROM log.events e
            WHERE e.subject_id = $1 AND e.aggregate_type = 'account' AND e.aggregate_id = $1::text
              AND e.event_type = 'account.registered'
              AND EXISTS (SELECT FROM vault.subjects s WHERE s.subject_id = e.subject_id)
            ORDER BY e.sequence LIMIT 1),
        removed AS (
            DELETE FROM read.accounts a WHERE a.subject_id = $1 AND NOT EXISTS (SELECT FROM truth) RETURNING 1),
        corrected AS (
            UPDATE read.accounts a
            SET sequence = t.sequence, registered_at = t.registered_at, restricted_at = t.restricted_at,
                deletion_at = t.deletion_at, held_until = t.held_until, hold_sealed = t.hold_sealed
            FROM truth t
            WHERE a.subject_id = $1
              AND (a.sequence, a.registered_at, a.restricted_at, a.deletion_at, a.held_until, a.hold_sealed)
                  IS DISTINCT FROM
                  (t.sequence, t.registered_at, t.restricted_at, t.deletion_at, t.held_until, t.hold_sealed)
            RETURNING 1),
        added AS (
            INSERT INTO read.accounts
                   (subject_id, sequence, registered_at, restricted_at, deletion_at, held_until, hold_sealed)
            SELECT $1, t.* FROM truth t
            WHERE NOT EXISTS (SELECT FROM read.accounts a WHERE a.subject_id = $1)
            RETURNING 1)
        SELECT (SELECT count(*) FROM added) AS added, (SELECT count(*) FROM corrected) AS corrected,
               (SELECT count(*) FROM removed) AS removed",
    )
    .bind(subject.0)
}
