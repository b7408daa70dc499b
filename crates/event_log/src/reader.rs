//! Reading on: every event once, in commit order, and none lost to a transaction that is still open.
//!
//! A page and its bound come from one statement. The bound is the oldest transaction that is still running. No event
//! can appear below the bound any more, so a reader never passes an event that commits later. `txid` orders the
//! transactions, `position` the events within a transaction.

use db::{FromRow, Query, Row, sql};

use crate::Event;

/// How far a reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromRow)]
pub struct Position {
    /// The transaction's id.
    #[row(sql = "txid::text", with = txid_of)]
    pub txid: u64,
    /// The number of the event among all events.
    pub position: i64,
}

fn txid_of(text: &str) -> u64 {
    text.parse().expect("PostgreSQL writes an xid8 as a number")
}

/// An event with its position in the log.
#[derive(Clone, Debug, FromRow)]
pub struct PlacedEvent {
    #[row(flatten)]
    pub position: Position,
    #[row(flatten)]
    pub event: Event,
}

/// Pages through the log.
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
        Query::new(sql!(
            "-- log_page
            SELECT ",
            PlacedEvent::COLUMNS,
            "
            FROM log.events
            WHERE (txid, position) > ($1::text::xid8, $2) AND txid < pg_snapshot_xmin(pg_current_snapshot())
            ORDER BY events.txid, events.position LIMIT $3"
        ))
        .bind(self.after.txid.to_string())
        .bind(self.after.position)
        .bind(self.limit)
    }

    /// Takes the rows of a page, and moves the reader behind them.
    pub fn take(&mut self, rows: &[Row]) -> Vec<PlacedEvent> {
        let page = PlacedEvent::from_rows(rows);
        self.after = page.last().map_or(self.after, |newest| newest.position);
        page
    }

    pub fn position(&self) -> Position {
        self.after
    }
}

/// The process ids of the backends whose open transaction holds readers back.
pub fn log_holders() -> Query {
    Query::new(
        "-- log_holders
        SELECT DISTINCT pid FROM pg_locks
        WHERE locktype = 'transactionid' AND granted AND mode = 'ExclusiveLock'
          AND transactionid = pg_snapshot_xmin(pg_current_snapshot())::xid",
    )
}
