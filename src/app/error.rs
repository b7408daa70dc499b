//! Why a command or a query was refused. It knows no HTTP; `http/problem.rs` makes problem documents of it.

use chrono::{DateTime, Utc};
use db::{DbError, Transient};
use domain::{
    Fault,
    desk::{alert::AlertError, breach::BreachError, extension::ExtensionError},
    identity::account::AccountError,
    operation::key_ring::KeyRingError,
    records::record::RecordError,
    rights::{
        consent::{ConsentError, Purpose},
        deletion::DeletionError,
        export::ExportError,
        hold::HoldError,
        restriction::RestrictionError,
        retention::RetentionError,
    },
    statistics::release::{PlanError, ReleaseError},
};
use event_log::cqrs_es::AggregateError;
use vault::{RingError, Unreadable};

use crate::{
    auth::{limits::Left, sessions::RefreshFault},
    data::{ledger::LedgerError, watermark::WatermarkError},
    export::StoreError,
};

/// A refusal, or a failure of ours.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Fields of the input are wrong.
    #[error("{}", .0.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Fault>),
    /// Nobody is signed in, or no longer.
    #[error("not signed in, or no longer")]
    SignedOut,
    /// The code is wrong, used, or too old, or was tried too often.
    #[error("the code is wrong, used, or too old")]
    CodeRefused,
    /// The refresh token is unknown, used, or too old.
    #[error("the refresh token is unknown, used, or too old")]
    RefreshRefused,
    /// The caller's role may not do this.
    #[error("this needs another role")]
    Forbidden,
    /// A guest may not do this; who signs in may.
    #[error("this needs an account")]
    SignInNeeded,
    /// The purpose has no valid consent.
    #[error("consent to the purpose is missing: {reason}")]
    ConsentNeeded {
        /// The purpose.
        purpose: Purpose,
        /// Never given, withdrawn, or given on an older notice.
        reason: &'static str,
    },
    /// An objection to the purpose stands.
    #[error("an objection to the purpose stands")]
    ObjectionStands,
    /// Processing is restricted.
    #[error("processing is restricted")]
    Restricted,
    /// A confirmed deletion waits for the end of its grace.
    #[error("a confirmed deletion is waiting")]
    DeletionWaiting,
    /// Another import of the same person runs.
    #[error("another import runs")]
    ImportRuns,
    /// The account is suspended for a while.
    #[error("the account is suspended until {until}")]
    Suspended {
        /// Its end.
        until: DateTime<Utc>,
    },
    /// An alert can't be acknowledged.
    #[error(transparent)]
    Alert(#[from] AlertError),
    /// A breach can't go on as asked.
    #[error(transparent)]
    Breach(#[from] BreachError),
    /// A request can't have more time.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
    /// A legal hold stands.
    #[error("a legal hold stands until {until}")]
    Held {
        /// Its end.
        until: DateTime<Utc>,
    },
    /// A request to delete can't go on as asked.
    #[error(transparent)]
    Deletion(#[from] DeletionError),
    /// The notice that was named is not the one that counts.
    #[error("the notice that counts is version {0}")]
    NoticeOutdated(String),
    /// There is no such thing.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// The address has an account.
    #[error("the address has an account")]
    AccountExists,
    /// The thing was changed since it was read.
    #[error("changed since it was read")]
    PreconditionFailed,
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
    /// A request with the same idempotency key is being worked on.
    #[error("a request with this idempotency key is being worked on")]
    InFlight,
    /// Too many requests.
    #[error("too many requests; try again in {retry_after_s} s")]
    Limited {
        /// When to try again, in seconds.
        retry_after_s: i64,
    },
    /// The database cannot serve now.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The ring cannot be used.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The ledger of erasures cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A request to export can't go on as asked.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Another export waits or is being written.
    #[error("another export is waiting")]
    ExportWaits,
    /// The store of export files cannot be used.
    #[error(transparent)]
    Exports(#[from] StoreError),
    /// A newer version of the server keeps a projection, which this one must not build with older code.
    #[error("a newer version of the server keeps this projection")]
    OutdatedCode,
    /// No published checkpoint covers the event yet.
    #[error("no published checkpoint covers this event yet")]
    Uncovered,
    /// The tree over the log does not go on from what was signed.
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
    /// The newest checkpoint outside the database is gone.
    #[error(
        "the database has signed checkpoints, and the file `checkpoint` of the data folder is missing: bring its newest copy back, \
         or save what auditors hold, or /v1/log/checkpoint served last, under that name"
    )]
    WatermarkMissing,
    /// The newest checkpoint outside the database cannot be used.
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    /// Something stored is not as we left it.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
}

/// A fault that ends by itself, or when the operator mends it: the same request may succeed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Others hold what the request needs, or it took too long: a lock, a connection, memory.
    Busy,
    /// A disk is full.
    StorageFull,
    /// The database can't be reached.
    Unreachable,
    /// The database misses files or takes no writes.
    OutOfOrder,
}

impl AppError {
    /// One field, or parameter, that is wrong.
    pub fn parameter(field: &str, message: &str) -> Self {
        Self::Invalid(vec![Fault::new(field, message)])
    }

    /// Which passing fault this is; `None` for refusals and for faults that stay.
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

/// A full disk of ours is the same to a client as a full disk of the database.
fn of_disk(error: &std::io::Error) -> Option<Passing> {
    use std::io::ErrorKind;
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    full.then_some(Passing::StorageFull)
}

impl Transient for AppError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_transient())
    }
}

impl From<Unreadable> for AppError {
    fn from(error: Unreadable) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl<E: std::error::Error + Into<AppError>> From<AggregateError<E>> for AppError {
    fn from(error: AggregateError<E>) -> Self {
        match error {
            AggregateError::UserError(error) => error.into(),
            // The cause may quote what it could not read.
            _ => Self::Corrupt("an event does not load".to_owned()),
        }
    }
}

impl From<std::convert::Infallible> for AppError {
    fn from(error: std::convert::Infallible) -> Self {
        match error {}
    }
}

impl From<KeyRingError> for AppError {
    fn from(error: KeyRingError) -> Self {
        Self::Corrupt(format!("the ring and the log disagree: {error}"))
    }
}

impl From<RecordError> for AppError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Invalid(faults) => Self::Invalid(faults),
            RecordError::Missing => Self::Missing("record"),
        }
    }
}

impl From<AccountError> for AppError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Exists => Self::AccountExists,
            AccountError::Unknown => Self::Missing("account"),
        }
    }
}

impl From<ConsentError> for AppError {
    fn from(error: ConsentError) -> Self {
        match error {
            ConsentError::NoticeOutdated { current } => Self::NoticeOutdated(current),
            ConsentError::ObjectionStands => Self::ObjectionStands,
        }
    }
}

impl From<RestrictionError> for AppError {
    fn from(error: RestrictionError) -> Self {
        match error {}
    }
}

impl From<RetentionError> for AppError {
    fn from(error: RetentionError) -> Self {
        Self::parameter("data_retention_days", &error.to_string())
    }
}

impl From<ReleaseError> for AppError {
    fn from(error: ReleaseError) -> Self {
        Self::parameter("period", &error.to_string())
    }
}

impl From<PlanError> for AppError {
    fn from(error: PlanError) -> Self {
        let field = if error == PlanError::Revision { "revision" } else { "from" };
        Self::parameter(field, &error.to_string())
    }
}

impl From<HoldError> for AppError {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Past => Self::parameter("until", "must lie in the future"),
            HoldError::Missing => Self::Missing("hold"),
        }
    }
}

impl From<RefreshFault> for AppError {
    fn from(fault: RefreshFault) -> Self {
        match fault {
            RefreshFault::Moved => Self::Corrupt("a refresh token was moved to another person".to_owned()),
            RefreshFault::RanOut => Self::RefreshRefused,
        }
    }
}

impl From<Left> for AppError {
    /// The refusal of a request that was one too many.
    fn from(left: Left) -> Self {
        Self::Limited { retry_after_s: left.retry_after_s() }
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
