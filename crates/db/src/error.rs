//! What can go wrong between us and PostgreSQL, told apart by what the caller can do about it.

use tokio_postgres::error::SqlState;

/// A failed statement or connection. Its text never holds a bound value.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Another transaction was faster: a unique key or a serialisation failure. Worth another try.
    #[error("another transaction was faster ({0})")]
    Conflict(String),
    /// A policy or a grant refused the statement.
    #[error("row-level security refused the statement")]
    Refused,
    /// The transaction's ticket ran out before a statement of it began. Worth another try, with a fresh one.
    #[error("the ticket ran out before a statement began")]
    TicketRanOut,
    /// No connection could be had, or it broke.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Anything else: a fault of ours.
    #[error("the database refused a statement ({code}): {message}")]
    Fault {
        /// The SQLSTATE.
        code: String,
        /// The primary message; the detail, which may quote values, is left out.
        message: String,
    },
}

/// How the names of the policies begin that refuse keys under a version which a rotation has left behind. Such a transaction
/// began before the rotation came by; tried again, it takes the newest version.
const RING_FLOOR: &str = "\"subjects_floor_";
/// The SQLSTATE by which the database says that a ticket ran out (`sql/V13`).
const TICKET_RAN_OUT: &str = "LT001";

/// Whether trying the whole transaction again may help.
pub trait Transient {
    /// True for conflicts, and for tickets that ran out.
    fn is_transient(&self) -> bool;
}

impl Transient for DbError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::TicketRanOut)
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Unreachable(error.to_string());
        };
        let code = db.code();
        if [SqlState::UNIQUE_VIOLATION, SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED]
            .contains(code)
        {
            return Self::Conflict(db.constraint().unwrap_or(code.code()).to_owned());
        }
        if code.code() == TICKET_RAN_OUT {
            return Self::TicketRanOut;
        }
        if *code == SqlState::INSUFFICIENT_PRIVILEGE && db.message().contains(RING_FLOOR) {
            return Self::Conflict("ring_floor".to_owned());
        }
        if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            return Self::Refused;
        }
        if code.code().starts_with("57P") || code.code().starts_with("08") || *code == SqlState::TOO_MANY_CONNECTIONS {
            return Self::Unreachable(db.message().to_owned());
        }
        Self::Fault { code: code.code().to_owned(), message: db.message().to_owned() }
    }
}
