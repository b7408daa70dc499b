//! Reading on: every event once, in commit order, and none lost to a transaction that is still open.
//!
//! A page and its bound come from one statement. The bound is the oldest transaction that is still running. No event
//! can appear below the bound any more, so a reader never passes an event that commits later. `txid` orders the
//! transactions, `position` the events within a transaction.

use db::{Query, Row};

use crate::Event;

/// A position in the log. A reader at this position has read everything up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub txid: u64,
    /// The number of the event among all events.
    pub position: i64,
}

pub struct Reader {
    after: Position,
    limit: i64,
}

impl Reader {
    /// A reader that goes on after `after`, with `limit` events a page.
    pub fn new(after: Position, limit: i64) -> Self {
        Self { after, limit }
    }

    pub fn page(&self) -> Query {
        Query::new(
            "-- log_page
            SELECT txid::text, position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text,
                   metadata::text, event_id, subject_id, kind, recorded_at
            FROM log.events
            WHERE (txid, position) > ($1::text::xid8, $2) AND txid < pg_snapshot_xmin(pg_current_snapshot())
            ORDER BY events.txid, events.position LIMIT $3",
        )
        .bind(self.after.txid.to_string())
        .bind(self.after.position)
        .bind(self.limit)
    }

    /// Takes the rows of a page, and moves the reader behind them.
    pub fn take(&mut self, rows: &[Row]) -> Vec<(Position, Event)> {
        let page: Vec<_> = rows
            .iter()
            .map(|row| {
                let txid = row.get::<_, &str>(0).parse().expect("xid8 is a number");
                (Position { txid, position: row.get(1) }, Event::from_row(row, 2))
            })
            .collect();
        self.after = page.last().map_or(self.after, |(position, _)| *position);
        page
    }

    pub fn position(&self) -> Position {
        self.after
    }
}

/// The process ids of the backends whose open transaction holds readers back.
pub fn holders() -> Query {
    Query::new(
        "-- log_holders
        SELECT DISTINCT pid FROM pg_locks
        WHERE locktype = 'transactionid' AND granted AND mode = 'ExclusiveLock'
          AND transactionid = pg_snapshot_xmin(pg_current_snapshot())::xid",
    )
}
