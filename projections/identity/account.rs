//! Accounts: when an account was registered. Rebuildable from the log. No personal value; an erasure removes the row.

use chrono::{DateTime, Utc};
use context::{Ctx, SubjectId};
use db::{FromRow, Query, Row, Tx, sql};
use domain::{
    identity::account::Account,
    rights::{deletion::Deletion, hold::Hold, restriction::Restriction},
};
use event_log::{Event, Inline, cqrs_es::Aggregate};

use crate::{
    rebuild::{Rebuild, rebuild_events},
    rights::{deletion::Deletions, hold::Holds, restriction::Restrictions},
};

/// Writes `read.accounts`.
pub struct Accounts;

impl Inline for Accounts {
    fn project(&self, events: &[Event], tx: &Tx) {
        let registered: Vec<&Event> = events.iter().filter(|event| event.event_type == "account.registered").collect();
        if !registered.is_empty() {
            tx.queue(account_registered(&registered));
        }
    }
}

fn account_registered(events: &[&Event]) -> Query {
    Query::new(
        "-- account_registered
        INSERT INTO read.accounts (subject_id, sequence, registered_at)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[])
        ON CONFLICT (subject_id) DO NOTHING",
    )
    .list(events.iter().map(|event| event.subject_id.0).collect())
    .list(events.iter().map(|event| event.sequence).collect())
    .list(events.iter().map(|event| event.recorded_at).collect())
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
    crate::log::audit::stream_newest(ctx.subject, "account", &ctx.subject.to_string())
}

/// Whether a staff role was ever taken from the person.
pub fn role_taken(ctx: &Ctx) -> Query {
    Query::new(
        "-- role_taken
        SELECT 1 FROM log.events
        WHERE subject_id = $1 AND aggregate_type = 'account' AND aggregate_id = $2 AND event_type = 'account.role_taken'
        LIMIT 1",
    )
    .bind(ctx.subject.0)
    .bind(ctx.subject.to_string())
}

/// Makes a person's row equal to the log, switches included.
pub const REBUILD: Rebuild = Rebuild {
    name: "accounts",
    events: |subjects| rebuild_events(subjects, &[Account::TYPE, Restriction::TYPE, Hold::TYPE, Deletion::TYPE]),
    projections: &[&Accounts, &Restrictions, &Holds, &Deletions],
    rows: "-- accounts_rows\nSELECT subject_id::text AS key, to_json(r)::text AS row FROM read.accounts r WHERE subject_id = ANY ($1)",
    clear: "-- accounts_clear\nDELETE FROM read.accounts WHERE subject_id = ANY ($1)",
};
