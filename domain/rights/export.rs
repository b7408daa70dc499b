//! Export: asking for a file of one's own data, and what becomes of the request. Each request is a stream, named by the
//! request's id. Scopes, formats, states, counts and times stand in clear; filters are sealed.
//!
//! A request waits until it is completed, failed or cancelled. A failed request can be tried again; a completed one can
//! be downloaded until it expires. Each event carries everything that the next decision needs.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    choice::choice,
    event::{About, Described, event_types},
    refusal::{ProblemType, Refused, Rule},
    rights::deletion::Scope,
};

choice! {
    ExportFormat { Json = "json", Csv = "csv" }
}

choice! {
    /// The state of a request to export.
    ExportState {
        Pending = "pending",
        /// The file is being written.
        Processing = "processing",
        Completed = "completed",
        Failed = "failed",
        /// The time to download the file is over.
        Expired = "expired",
        Cancelled = "cancelled",
    }
}

choice! {
    /// Why an export failed.
    ExportFailure { Store = "store_unavailable", Damaged = "data_damaged", GaveUp = "gave_up" }
}

/// What a person asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportSpec {
    pub scope: Scope,
    pub format: ExportFormat,
    /// The filters, sealed under the person's trail key.
    pub sealed: String,
}

/// A request after its newest event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Export {
    #[default]
    Absent,
    /// The file is not made yet.
    Waiting(ExportSpec),
    /// The file can be downloaded.
    Completed,
    /// The file could not be made. The request can be tried again.
    Failed(ExportSpec),
    /// The request was cancelled, or the file has expired.
    Closed,
}

#[derive(Clone, Debug)]
pub enum ExportCommand {
    Request(ExportSpec),
    /// Asks again for a file that could not be made.
    Retry,
    /// Notes that the file can be downloaded.
    Complete {
        /// How many records it holds.
        records: u64,
        /// Its size in bytes.
        size: u64,
        /// The entity tag of the file, which is random.
        etag: String,
        /// Until when it can be downloaded.
        expires_at: DateTime<Utc>,
    },
    /// Notes that the file could not be made.
    Fail(ExportFailure),
    Cancel,
    Download,
    /// Makes a token. Anybody who holds the token can download the file.
    MakeToken {
        /// Until when the token can be used.
        expires_at: DateTime<Utc>,
    },
    /// Notes that the time to download the file is over.
    Expire,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportEvent {
    Requested(ExportSpec),
    Completed {
        /// How many records it holds.
        records: u64,
        /// Its size in bytes.
        size: u64,
        etag: String,
        /// Until when it can be downloaded.
        expires_at: DateTime<Utc>,
    },
    Failed {
        reason: ExportFailure,
        #[serde(flatten)]
        wanted: ExportSpec,
    },
    Cancelled {},
    /// The file, or a part of it, was downloaded.
    Downloaded {},
    /// A token was made. Anybody who holds the token can download the file.
    TokenMade {
        /// Until when the token can be used.
        expires_at: DateTime<Utc>,
    },
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

const CLOSED: ProblemType = ProblemType {
    name: "export-closed",
    title: "The export is not in a state for this",
    advice: "Only an export that waits or is being written can be cancelled, and only one that failed can be tried again. See its `status`.",
};

impl Described for Export {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &[];
    const REBUILT_IN: &'static [&'static str] = &[];
    const CONFLICTS: &'static [ProblemType] = &[CLOSED];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    #[error("the export does not wait any more")]
    NotWaiting,
    /// Only a failed request can be tried again.
    #[error("the export did not fail")]
    NotFailed,
    /// The file is not made yet, or is gone.
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

impl Rule for ExportError {
    fn refused(&self) -> Refused {
        match self {
            Self::NoFile => Refused::NotFound("export"),
            Self::NotWaiting | Self::NotFailed => {
                Refused::explained(CLOSED, format!("As asked it cannot go on: {self}."))
            }
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
mod histories {
    use proptest::{prelude::*, sample::select};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        rights::deletion::histories::scope,
        whole_state::{Changes, Checked, time, word},
    };

    impl Checked for Export {
        const CHANGES: &[Changes] = &[
            Changes { event: "export.requested", sets: &["state"], clears: &[] },
            Changes { event: "export.completed", sets: &["state"], clears: &["wanted"] },
            Changes { event: "export.failed", sets: &["state"], clears: &[] },
            Changes { event: "export.cancelled", sets: &["state"], clears: &["wanted"] },
            Changes { event: "export.downloaded", sets: &[], clears: &[] },
            Changes { event: "export.token_made", sets: &[], clears: &[] },
            Changes { event: "export.expired", sets: &["state"], clears: &[] },
        ];

        fn commands() -> BoxedStrategy<ExportCommand> {
            let format = select(vec![ExportFormat::Json, ExportFormat::Csv]);
            let wanted =
                (scope(), format, word()).prop_map(|(scope, format, sealed)| ExportSpec { scope, format, sealed });
            let failure = select(vec![ExportFailure::Store, ExportFailure::Damaged, ExportFailure::GaveUp]);
            let complete = (0..9_u64, word(), time()).prop_map(|(records, etag, expires_at)| ExportCommand::Complete {
                records,
                size: 900,
                etag,
                expires_at,
            });
            prop_oneof![
                6 => wanted.prop_map(ExportCommand::Request),
                6 => failure.prop_map(ExportCommand::Fail),
                6 => Just(ExportCommand::Retry),
                3 => complete,
                1 => Just(ExportCommand::Cancel),
                3 => Just(ExportCommand::Download),
                3 => time().prop_map(|expires_at| ExportCommand::MakeToken { expires_at }),
                1 => Just(ExportCommand::Expire),
            ]
            .boxed()
        }

        fn fields(&self) -> Value {
            match self {
                Self::Absent => json!({ "state": "absent" }),
                Self::Waiting(wanted) => json!({ "state": "waiting", "wanted": wanted }),
                Self::Completed => json!({ "state": "completed" }),
                Self::Failed(wanted) => json!({ "state": "failed", "wanted": wanted }),
                Self::Closed => json!({ "state": "closed" }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::{AggregateTestExecutor, TestFramework};

    use super::*;

    fn given(events: Vec<ExportEvent>) -> AggregateTestExecutor<Export> {
        TestFramework::<Export>::with(()).given(events)
    }

    fn wanted() -> ExportSpec {
        ExportSpec { scope: Scope::Full, format: ExportFormat::Json, sealed: "c2VhbGVk".to_owned() }
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
