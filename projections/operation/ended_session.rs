//! Sessions of the database that held a transaction for too long.

use db::{FromRow, Query, sql};

/// A session that was ended.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct EndedSession {
    /// The login that the session belonged to.
    pub login: String,
    /// The age of its transaction, in seconds.
    pub age_s: i32,
    /// The session's state in `pg_stat_activity`, such as `idle in transaction`.
    pub state: String,
}

/// Ends them, and names them.
pub fn sessions_end() -> Query {
    Query::new(sql!("-- sessions_end\nSELECT ", EndedSession::COLUMNS, " FROM watch.end_sessions()"))
}
