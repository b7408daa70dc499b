//! Accounts: since when an account exists. Rebuildable from the log; no personal value; an erasure removes the row.

use chrono::{DateTime, Utc};
use context::{Ctx, SubjectId};
use db::{Query, Row, Tx};
use event_log::{Event, Inline};
use uuid::Uuid;

/// Keeps `read.accounts`.
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

/// Since when the account exists, its public id, and the id's MAC.
pub fn account_get(subject: SubjectId) -> Query {
    Query::new(
        "-- account_get
        SELECT a.registered_at, u.user_id, u.mac FROM read.accounts a JOIN auth.users u USING (subject_id)
        WHERE a.subject_id = $1",
    )
    .bind(subject.0)
}

/// One account.
pub struct AccountRow {
    /// Since when it exists.
    pub registered_at: DateTime<Utc>,
    /// Its public id.
    pub user_id: Uuid,
    /// The MAC of the public id's row.
    pub mac: Vec<u8>,
}

impl AccountRow {
    /// Reads a row of [`account_get`].
    pub fn from_row(row: &Row) -> Self {
        Self { registered_at: row.get(0), user_id: row.get(1), mac: row.get(2) }
    }
}

/// The newest event of the account's stream.
pub fn account_newest(ctx: &Ctx) -> Query {
    crate::audit::newest(ctx.subject, "account", &ctx.subject.to_string())
}
