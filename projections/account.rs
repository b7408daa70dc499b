//! Accounts: since when an account exists. Rebuildable from the log; no personal value; an erasure removes the row.

use context::{Ctx, SubjectId};
use db::{Query, Tx};
use event_log::{Event, Inline};

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

/// Since when the account exists.
pub fn account_get(subject: SubjectId) -> Query {
    Query::new(
        "-- account_get
        SELECT registered_at FROM read.accounts WHERE subject_id = $1",
    )
    .bind(subject.0)
}

/// The newest event of the account's stream.
pub fn account_newest(ctx: &Ctx) -> Query {
    crate::audit::newest(ctx.subject, "account", &ctx.subject.to_string())
}
