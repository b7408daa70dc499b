//! Export: asking for a file of one's own data, and what becomes of it. One stream a request, named by its id. In clear stand
//! scopes, formats, states, counts and times; what filters say comes in sealed.
//!
//! A request waits until it is completed, failed or cancelled. A failed one can be tried again; a completed one can be
//! downloaded until it expires. Each event carries what the next decision needs.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    choice::{Choice, choice},
    event::event_types,
    rights::deletion::Scope,
};

choice! {
    /// The form of a file.
    ExportFormat { Json = "json", Csv = "csv" }
}

choice! {
    /// Why an export failed.
    ExportFailure { Store = "store_unavailable", Damaged = "data_damaged", GaveUp = "gave_up" }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// How much of a person's data.
    pub scope: Scope,
    /// In which form.
    pub format: ExportFormat,
    /// The filters, sealed under the person's trail key.
    pub sealed: String,
}

/// A request as its newest event leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Export {
    /// Nothing was asked for yet.
    #[default]
    Absent,
    /// The file is waited for.
    Waiting(Wanted),
    /// The file is there.
    Completed,
    /// There is no file, and it can be tried again.
    Failed(Wanted),
    /// It was cancelled, or the file has expired.
    Closed,
}

/// What may be done.
#[derive(Clone, Debug)]
pub enum ExportCommand {
    /// Ask for a file.
    Request(Wanted),
    /// Ask again for one that failed.
    Retry,
    /// Say that the file is there.
    Complete {
        /// How many records it holds.
        records: u64,
        /// Its size in bytes.
        size: u64,
        /// Its entity tag, which is random.
        etag: String,
        /// Until when it can be downloaded.
        expires_at: DateTime<Utc>,
    },
    /// Say that there will be no file.
    Fail(ExportFailure),
    /// Wait no longer.
    Cancel,
    /// Download the file.
    Download,
    /// Make a token with which whoever holds it can download the file.
    MakeToken {
        /// Until when.
        expires_at: DateTime<Utc>,
    },
    /// Let the file go.
    Expire,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportEvent {
    /// A file was asked for.
    Requested(Wanted),
    /// The file is there.
    Completed {
        /// How many records it holds.
        records: u64,
        /// Its size in bytes.
        size: u64,
        /// Its entity tag.
        etag: String,
        /// Until when it can be downloaded.
        expires_at: DateTime<Utc>,
    },
    /// The file could not be made.
    Failed {
        /// Why.
        reason: ExportFailure,
        /// What was asked for.
        #[serde(flatten)]
        wanted: Wanted,
    },
    /// The request was cancelled.
    Cancelled {},
    /// The file was downloaded, or a part of it.
    Downloaded {},
    /// A token was made, with which whoever holds it can download the file.
    TokenMade {
        /// Until when.
        expires_at: DateTime<Utc>,
    },
    /// The file has run out.
    Expired {},
}

event_types! {
    ExportEvent "1.0" {
        Requested = "export.requested",
        Completed = "export.completed",
        Failed = "export.failed",
        Cancelled = "export.cancelled",
        Downloaded = "export.downloaded",
        TokenMade = "export.token_made",
        Expired = "export.expired",
    }
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The request is not waiting any more.
    #[error("the export does not wait any more")]
    NotWaiting,
    /// Only a failed request can be tried again.
    #[error("the export did not fail")]
    NotFailed,
    /// There is no file, not yet or no longer.
    #[error("there is no file")]
    NoFile,
}

impl Export {
    fn decide(&self, command: ExportCommand) -> Result<ExportEvent, ExportError> {
        match (self, command) {
            (Self::Absent, ExportCommand::Request(wanted)) => Ok(ExportEvent::Requested(wanted)),
            (Self::Failed(wanted), ExportCommand::Retry) => Ok(ExportEvent::Requested(wanted.clone())),
            (Self::Waiting(_), ExportCommand::Complete { records, size, etag, expires_at }) => {
                Ok(ExportEvent::Completed { records, size, etag, expires_at })
            }
            (Self::Waiting(wanted), ExportCommand::Fail(reason)) => {
                Ok(ExportEvent::Failed { reason, wanted: wanted.clone() })
            }
            (Self::Waiting(_), ExportCommand::Cancel) => Ok(ExportEvent::Cancelled {}),
            (Self::Completed, ExportCommand::Download) => Ok(ExportEvent::Downloaded {}),
            (Self::Completed, ExportCommand::MakeToken { expires_at }) => Ok(ExportEvent::TokenMade { expires_at }),
            (Self::Completed, ExportCommand::Expire) => Ok(ExportEvent::Expired {}),
            (_, ExportCommand::Retry) => Err(ExportError::NotFailed),
            (_, ExportCommand::Download | ExportCommand::MakeToken { .. } | ExportCommand::Expire) => {
                Err(ExportError::NoFile)
            }
            _ => Err(ExportError::NotWaiting),
        }
    }
}

impl Aggregate for Export {
    const TYPE: &'static str = "export";
    type Command = ExportCommand;
    type Event = ExportEvent;
    type Error = ExportError;
    type Services = ();

    async fn handle(&mut self, command: ExportCommand, _: &(), sink: &EventSink<Self>) -> Result<(), ExportError> {
        let event = self.decide(command)?;
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: ExportEvent) {
        *self = match event {
            ExportEvent::Requested(wanted) => Self::Waiting(wanted),
            ExportEvent::Completed { .. } | ExportEvent::Downloaded {} | ExportEvent::TokenMade { .. } => {
                Self::Completed
            }
            ExportEvent::Failed { wanted, .. } => Self::Failed(wanted),
            ExportEvent::Cancelled {} | ExportEvent::Expired {} => Self::Closed,
        };
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::{AggregateTestExecutor, TestFramework};

    use super::*;

    fn given(events: Vec<ExportEvent>) -> AggregateTestExecutor<Export> {
        TestFramework::<Export>::with(()).given(events)
    }

    fn wanted() -> Wanted {
        Wanted { scope: Scope::Full, format: ExportFormat::Json, sealed: "c2VhbGVk".to_owned() }
    }

    fn completed() -> ExportEvent {
        ExportEvent::Completed { records: 3, size: 900, etag: "e1".to_owned(), expires_at: DateTime::UNIX_EPOCH }
    }

    fn complete() -> ExportCommand {
        ExportCommand::Complete { records: 3, size: 900, etag: "e1".to_owned(), expires_at: DateTime::UNIX_EPOCH }
    }

    fn failed() -> ExportEvent {
        ExportEvent::Failed { reason: ExportFailure::Store, wanted: wanted() }
    }

    #[test]
    fn a_request_is_completed_downloaded_and_runs_out() {
        let requested = ExportEvent::Requested(wanted());
        given(vec![]).when(ExportCommand::Request(wanted())).then_expect_events(vec![requested.clone()]);
        given(vec![requested]).when(complete()).then_expect_events(vec![completed()]);
        given(vec![completed()]).when(ExportCommand::Download).then_expect_events(vec![ExportEvent::Downloaded {}]);
        let downloaded = ExportEvent::Downloaded {};
        given(vec![downloaded.clone()]).when(ExportCommand::Download).then_expect_events(vec![downloaded.clone()]);
        given(vec![downloaded]).when(ExportCommand::Expire).then_expect_events(vec![ExportEvent::Expired {}]);
    }

    #[test]
    fn a_token_is_made_for_a_file_that_is_there_and_leaves_it_there() {
        let make = || ExportCommand::MakeToken { expires_at: DateTime::UNIX_EPOCH };
        let made = ExportEvent::TokenMade { expires_at: DateTime::UNIX_EPOCH };
        given(vec![completed()]).when(make()).then_expect_events(vec![made.clone()]);
        given(vec![made.clone()]).when(ExportCommand::Download).then_expect_events(vec![ExportEvent::Downloaded {}]);
        for other in [ExportEvent::Requested(wanted()), failed(), ExportEvent::Cancelled {}, ExportEvent::Expired {}] {
            given(vec![other]).when(make()).then_expect_error(ExportError::NoFile);
        }
        let stored = r#"{"TokenMade":{"expires_at":"1970-01-01T00:00:00Z"}}"#;
        assert_eq!(serde_json::to_string(&made).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<ExportEvent>(stored).expect("loads"), made);
    }

    #[test]
    fn a_failed_request_is_tried_again_from_its_newest_event_alone() {
        let requested = ExportEvent::Requested(wanted());
        given(vec![requested.clone()])
            .when(ExportCommand::Fail(ExportFailure::Store))
            .then_expect_events(vec![failed()]);
        given(vec![failed()]).when(ExportCommand::Retry).then_expect_events(vec![requested.clone()]);
        for other in [requested, completed(), ExportEvent::Cancelled {}] {
            given(vec![other]).when(ExportCommand::Retry).then_expect_error(ExportError::NotFailed);
        }
    }

    #[test]
    fn only_what_waits_is_cancelled_and_only_a_file_that_is_there_is_downloaded() {
        given(vec![ExportEvent::Requested(wanted())])
            .when(ExportCommand::Cancel)
            .then_expect_events(vec![ExportEvent::Cancelled {}]);
        for other in [completed(), failed(), ExportEvent::Cancelled {}, ExportEvent::Expired {}] {
            given(vec![other]).when(ExportCommand::Cancel).then_expect_error(ExportError::NotWaiting);
        }
        for other in [ExportEvent::Requested(wanted()), failed(), ExportEvent::Cancelled {}, ExportEvent::Expired {}] {
            given(vec![other.clone()]).when(ExportCommand::Download).then_expect_error(ExportError::NoFile);
            given(vec![other]).when(ExportCommand::Expire).then_expect_error(ExportError::NoFile);
        }
        given(vec![ExportEvent::Cancelled {}]).when(complete()).then_expect_error(ExportError::NotWaiting);
    }

    #[test]
    fn stored_events_of_every_version_load() {
        let stored = r#"{"Failed":{"reason":"store_unavailable","scope":"full","format":"json","sealed":"c2VhbGVk"}}"#;
        assert_eq!(serde_json::to_string(&failed()).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<ExportEvent>(stored).expect("loads"), failed());
        let stored = r#"{"Completed":{"records":3,"size":900,"etag":"e1","expires_at":"1970-01-01T00:00:00Z"}}"#;
        assert_eq!(serde_json::to_string(&completed()).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<ExportEvent>(stored).expect("loads"), completed());
    }
}
