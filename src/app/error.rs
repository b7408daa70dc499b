//! Why a command or a query was refused. This file knows no HTTP; `http/problem.rs` turns these errors into problem
//! documents.

use chrono::{DateTime, NaiveDate, Utc};
use db::{DbError, Transient};
use domain::{
    Fault,
    refusal::{Conflict, Rule},
    rights::consent::Purpose,
};
use event_log::cqrs_es::AggregateError;
use vault::{RingError, Unreadable};

use crate::{
    auth::{limits::Allowance, sessions::RefreshFault},
    data::{ledger::LedgerError, watermark::WatermarkError},
    export::StoreError,
};

/// Why a command or a query was refused, or why it failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Fields of the input are wrong.
    #[error("{}", .0.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Fault>),
    /// Nobody is signed in, or the session has ended.
    #[error("not signed in, or no longer")]
    SignedOut,
    /// The person whom a good token names was erased.
    #[error("erased on {day}")]
    Erased {
        /// The day of the certificate, in UTC.
        day: NaiveDate,
    },
    /// The code is wrong, used, or too old, or was tried too often.
    #[error("the code is wrong, used, or too old")]
    CodeRefused,
    /// The refresh token is unknown, used, or too old.
    #[error("the refresh token is unknown, used, or too old")]
    RefreshRefused,
    /// The caller's role may not do this.
    #[error("this needs another role")]
    Forbidden,
    /// Guests may not do this; people with an account may.
    #[error("this needs an account")]
    SignInNeeded,
    /// The purpose has no valid consent.
    #[error("consent to the purpose is missing: {reason}")]
    ConsentNeeded {
        purpose: Purpose,
        /// The consent was never given, or withdrawn, or given on an older notice.
        reason: &'static str,
    },
    /// Processing is restricted.
    #[error("processing is restricted")]
    Restricted,
    /// A confirmed deletion waits for the end of its grace.
    #[error("a confirmed deletion is waiting")]
    DeletionWaiting,
    /// The person has another import running.
    #[error("another import runs")]
    ImportRuns,
    /// The account is suspended for a while, because a rule found a suspicious pattern.
    #[error("the account is suspended until {until}")]
    Suspended {
        /// The end of the suspension.
        until: DateTime<Utc>,
        /// How many seconds are left until then.
        left_s: i64,
    },
    /// A legal hold is in force.
    #[error("a legal hold stands until {until}")]
    HoldStands {
        /// The end of the hold.
        until: DateTime<Utc>,
    },
    /// A rule of the domain does not allow the command in the present state.
    #[error("{rule}")]
    Conflict {
        /// What the client is told.
        told: Conflict,
        /// The rule's own error.
        rule: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The thing with this name does not exist.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The version of the record is not one that the caller expects.
    #[error("changed since it was read")]
    PreconditionFailed,
    #[error("the idempotency key was used with another body")]
    KeyReused,
    #[error("a request with this idempotency key is being worked on")]
    InFlight,
    #[error("too many requests; try again in {retry_after_s} s")]
    Limited {
        /// After so many seconds the request may be tried again.
        retry_after_s: i64,
        /// What is left of the limit; `None` if the limit is not one on the requests of a caller.
        left: Option<Allowance>,
    },
    /// The database failed or can't serve now.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The key ring cannot be used.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The ledger of erasures cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The person has another export that waits or is being written.
    #[error("another export is waiting")]
    ExportWaits,
    /// The store of export files, or the disk for imports, cannot be used.
    #[error(transparent)]
    Exports(#[from] StoreError),
    /// A newer version of the server builds this projection, so this version must not build it with its older code.
    #[error("a newer version of the server keeps this projection")]
    OutdatedCode,
    /// No published checkpoint covers the event yet.
    #[error("no published checkpoint covers this event yet")]
    Uncovered,
    /// The tree over the log does not continue from the newest signed checkpoint.
    #[error(
        "the log does not go on from the checkpoint of {size} leaves that was signed for {origin}: the database was rolled \
         back, cut or exchanged, and gets no signature"
    )]
    LogNotContinued {
        /// The origin of that checkpoint.
        origin: String,
        /// How many leaves it covers.
        size: u64,
    },
    /// The file with the newest checkpoint outside the database is missing.
    #[error(
        "the database has signed checkpoints, and the file `checkpoint` of the data folder is missing: bring its newest copy back, \
         or save what auditors hold, or /v1/log/checkpoint served last, under that name"
    )]
    WatermarkMissing,
    /// The file with the newest checkpoint outside the database cannot be used.
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    /// Stored data is not as the server wrote it.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
}

/// A fault that ends by itself or once the operator repairs something, so that the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// A lock, a connection or memory is in use by others, or the request took too long.
    Busy,
    /// A disk is full.
    StorageFull,
    /// The database can't be reached.
    Unreachable,
    /// The database lacks files or accepts no writes.
    OutOfOrder,
}

impl AppError {
    /// A refusal because one field or parameter is wrong.
    pub fn parameter(field: &str, message: &str) -> Self {
        Self::Invalid(vec![Fault::new(field, message)])
    }

    /// The refusal of an act while the account is suspended.
    pub fn suspended(until: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self::Suspended { until, left_s: (until - now).num_seconds().max(1) }
    }

    /// The refusal of a rule of the domain.
    pub fn of_rule(error: impl Rule) -> Self {
        match error.refused() {
            domain::Refused::Invalid(faults) => Self::Invalid(faults),
            domain::Refused::NotFound(what) => Self::NotFound(what),
            domain::Refused::Conflict(told) => Self::Conflict { told, rule: Box::new(error) },
            domain::Refused::Damaged => Self::Corrupt(error.to_string()),
        }
    }

    /// The rule's own error, if a rule of this kind refused because of the present state.
    pub fn rule<E: Rule>(&self) -> Option<&E> {
        match self {
            Self::Conflict { rule, .. } => rule.downcast_ref(),
            _ => None,
        }
    }

    /// The passing fault that this error is; `None` for refusals and for faults that do not end by themselves.
    pub fn passing(&self) -> Option<Passing> {
        match self {
            Self::Db(DbError::Conflict(_) | DbError::TicketRanOut | DbError::Busy { .. }) => Some(Passing::Busy),
            Self::Db(DbError::StorageFull { .. }) => Some(Passing::StorageFull),
            Self::Db(DbError::Unreachable(_) | DbError::LoginRefused { .. }) => Some(Passing::Unreachable),
            Self::Db(DbError::OutOfOrder { .. }) => Some(Passing::OutOfOrder),
            Self::Ledger(LedgerError::Io(_, error)) | Self::Watermark(WatermarkError::Io(_, error)) => of_disk(error),
            Self::Exports(error) => of_disk(error.io()),
            _ => None,
        }
    }
}

/// A full disk of the server is the same to a client as a full disk of the database.
fn of_disk(error: &std::io::Error) -> Option<Passing> {
    use std::io::ErrorKind;
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    full.then_some(Passing::StorageFull)
}

impl Transient for AppError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_transient())
    }

    fn is_lock_taken(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_lock_taken())
    }
}

impl From<Unreadable> for AppError {
    fn from(error: Unreadable) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl<E: Rule> From<AggregateError<E>> for AppError {
    fn from(error: AggregateError<E>) -> Self {
        match error {
            AggregateError::UserError(error) => Self::of_rule(error),
            // The cause is left out, because it may quote the value that could not be read.
            _ => Self::Corrupt("an event does not load".to_owned()),
        }
    }
}

impl From<RefreshFault> for AppError {
    fn from(fault: RefreshFault) -> Self {
        match fault {
            RefreshFault::NotOurs => Self::Corrupt("a refresh token was moved to another person".to_owned()),
            RefreshFault::RanOut => Self::RefreshRefused,
        }
    }
}

impl From<Allowance> for AppError {
    /// The refusal of a request that exceeds a limit.
    fn from(left: Allowance) -> Self {
        Self::Limited { retry_after_s: left.retry_after_s(), left: Some(left) }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_of_the_servers_own_passes_like_one_of_the_database() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let ledger = |error| AppError::from(LedgerError::Io("erasures.ledger".into(), error));
        assert_eq!(ledger(full()).passing(), Some(Passing::StorageFull));
        assert_eq!(AppError::from(StoreError::from(full())).passing(), Some(Passing::StorageFull));
        assert_eq!(ledger(io::Error::from(io::ErrorKind::PermissionDenied)).passing(), None);
        assert_eq!(AppError::Corrupt("x".to_owned()).passing(), None);
    }
}
