//! What can go wrong between us and PostgreSQL, sorted by what the caller can do about it.

use tokio_postgres::error::SqlState;

/// A failed statement or connection. Its text never holds a bound value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DbError {
    /// Another transaction was faster: a unique key or a serialisation failure. The transaction can be tried again.
    #[error("another transaction was faster ({0})")]
    Conflict(String),
    /// A policy or a grant refused the statement.
    #[error("row-level security refused the statement")]
    Refused,
    /// The ticket of the transaction expired before a statement began, or its session did not accept it. The transaction can
    /// be tried again, with a fresh ticket in a fresh session.
    #[error("the ticket ran out before a statement began, or was not accepted")]
    TicketRanOut,
    /// No connection could be made, or the connection broke.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The database refused the login: its password, its right to connect, or the way of the connection.
    #[error("the database refused the login ({code})")]
    LoginRefused {
        /// The SQLSTATE.
        code: String,
    },
    /// A lock, a connection, memory or the time for a statement ran out. The same statement may succeed in a moment.
    #[error("the database is busy ({code}): {message}")]
    Busy {
        /// The SQLSTATE.
        code: String,
        /// The primary message.
        message: String,
    },
    /// The database's disk is full. It can be read, but writes nothing until somebody makes room.
    #[error("the database's disk is full ({code}): {message}")]
    StorageFull {
        /// The SQLSTATE.
        code: String,
        /// The primary message.
        message: String,
    },
    /// The database lacks a file, cannot read or write one, or accepts no writes. It works again after its operator has
    /// repaired it, mostly by a restart.
    #[error("the database is out of order ({code}): {message}")]
    OutOfOrder {
        /// The SQLSTATE.
        code: String,
        /// The primary message.
        message: String,
    },
    /// Any other error, which is a fault of ours.
    #[error("the database refused a statement ({code}): {message}")]
    Fault {
        /// The SQLSTATE.
        code: String,
        /// The primary message; the detail, which may quote values, is left out.
        message: String,
    },
}

/// How the names of the policies begin that refuse keys under a version that a rotation has left. A transaction that is
/// refused so began before the rotation. When it is tried again, it takes the newest version.
const RING_FLOOR: &str = "\"subjects_floor_";
/// The SQLSTATE by which the database says that a ticket expired (`sql/V20`).
const TICKET_RAN_OUT: &str = "LT001";

/// The SQLSTATE of a transaction that took longer than `transaction_timeout` (PostgreSQL 17).
const TRANSACTION_TIMEOUT: &str = "25P04";
/// The SQLSTATE of a session that was idle inside a transaction for too long, and was ended.
const IDLE_IN_TRANSACTION: &str = "25P03";

/// Whether trying the whole transaction again may help.
pub trait Transient {
    /// True for conflicts and for expired tickets.
    fn is_transient(&self) -> bool;
    /// True for a lock that another transaction held for longer than this one was to wait.
    fn is_lock_taken(&self) -> bool;
}

/// The SQLSTATE of a lock that was not got in time.
const LOCK_TAKEN: &str = "55P03";

impl Transient for DbError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::TicketRanOut)
    }

    fn is_lock_taken(&self) -> bool {
        matches!(self, Self::Busy { code, .. } if code == LOCK_TAKEN)
    }
}

impl DbError {
    /// Whether the fault lies with the database's state and not with the statement: the same statement may succeed
    /// later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Conflict(_)
            | Self::TicketRanOut
            | Self::Unreachable(_)
            | Self::LoginRefused { .. }
            | Self::Busy { .. }
            | Self::StorageFull { .. }
            | Self::OutOfOrder { .. } => true,
            Self::Refused | Self::Fault { .. } => false,
        }
    }

    /// The kind of an error that PostgreSQL reports (appendix A of its manual, "PostgreSQL Error Codes").
    fn of_code(code: &SqlState, message: &str) -> Self {
        let (class, message) = (code.code().get(..2).unwrap_or_default(), message.to_owned());
        let code = code.code().to_owned();
        match (class, code.as_str()) {
            // 57P: the server stops, starts or ends the session. 3D000 and 28 come while connecting only.
            (_, "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | IDLE_IN_TRANSACTION | "53300" | "3D000")
            | ("08", _) => Self::Unreachable(message),
            ("28", _) => Self::LoginRefused { code },
            (_, "53100") => Self::StorageFull { code, message },
            // 53: out of memory, or beyond another limit of the server. 57014: a statement took too long.
            (_, "57014" | LOCK_TAKEN | TRANSACTION_TIMEOUT) | ("53", _) => Self::Busy { code, message },
            // 58: files that are missing or cannot be read. 25006: the database takes no writes, as a standby does.
            (_, "25006") | ("58", _) => Self::OutOfOrder { code, message },
            _ => Self::Fault { code, message },
        }
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
        Self::of_code(code, db.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_the_kind_that_its_caller_can_act_on() {
        let kind = |code: &str| match DbError::of_code(&SqlState::from_code(code), "a message") {
            DbError::Unreachable(_) | DbError::LoginRefused { .. } => "unreachable",
            DbError::Busy { .. } => "busy",
            DbError::StorageFull { .. } => "full",
            DbError::OutOfOrder { .. } => "out of order",
            DbError::Fault { .. } => "fault",
            DbError::Conflict(_) | DbError::TicketRanOut | DbError::Refused => "another",
        };
        for (expected, codes) in [
            ("unreachable", &["57P01", "57P02", "57P03", "57P05", "08006", "08001", "53300", "28P01", "25P03"][..]),
            ("busy", &["57014", "55P03", "53200", "53000", "53400", "25P04"]),
            ("full", &["53100"]),
            ("out of order", &["58P01", "58030", "58000", "25006"]),
            ("fault", &["22021", "23514", "42601", "42P01", "XX001", "25P02", "54000"]),
        ] {
            for code in codes {
                assert_eq!(kind(code), expected, "{code}");
            }
        }
        assert!(DbError::of_code(&SqlState::from_code("53100"), "").is_passing());
        assert!(!DbError::of_code(&SqlState::from_code("42601"), "").is_passing());
    }
}
