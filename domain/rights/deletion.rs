//! Deletion: asking for it, confirming it, cancelling it, and carrying it out once. A person has one stream, so that
//! there is one request at a time. Scopes, states and times stand in clear; filters and reason are sealed.
//!
//! Nothing is deleted without a second step (requirement R10): the request mails a token, and only a person who shows
//! the token and types the phrase can confirm. Then a grace runs, in which the same token cancels. After two cancelled
//! requests the next request must wait for a day (R10.5). While the person's account is suspended the grace pauses, so
//! that nobody loses time to cancel because a thief used their session.

use chrono::{DateTime, TimeDelta, Utc};
use context::DeletionId;
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    choice::choice,
    event::{About, Described, event_types},
    refusal::{ProblemType, Refused, Rule},
};

choice! {
    /// How much of a person's data a request is about.
    Scope { Full = "full", Partial = "partial", SessionsOnly = "sessions_only" }
}

choice! {
    /// The state of a request.
    DeletionState {
        Pending = "pending", Confirmed = "confirmed", Completed = "completed", Cancelled = "cancelled",
        Replaced = "replaced",
    }
}

/// The number of cancelled requests after which the next request must wait.
const CANCELLED_BEFORE_WAIT: usize = 2;
/// How long the next request must wait, from the last cancellation on.
const WAIT: TimeDelta = TimeDelta::days(1);

impl Scope {
    /// The phrase that a person types to confirm a deletion.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Full => "delete everything about me",
            Self::Partial | Self::SessionsOnly => "delete these records",
        }
    }
}

/// A request that is not cancelled, replaced or carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub deletion: DeletionId,
    pub scope: Scope,
    /// Until when the request can be confirmed.
    pub expires_at: DateTime<Utc>,
    /// When the grace ends; `None` until the request is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ends_at: Option<DateTime<Utc>>,
    /// Until when the grace pauses; `None` if no suspension began while the grace ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<DateTime<Utc>>,
}

/// A person's requests: the open one, and the times at which others were cancelled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    open: Option<Open>,
    cancelled: Vec<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub enum DeletionCommand {
    /// Asks for a deletion. The new request replaces a request that was not confirmed.
    Request {
        /// The new request, which is not confirmed.
        open: Open,
        /// The keyed hash of the mailed token, hexadecimal.
        token_hash: String,
        /// Filters and reason, sealed under the person's trail key.
        sealed: String,
        now: DateTime<Utc>,
    },
    /// Confirms the request. The caller has checked token and phrase.
    Confirm {
        deletion: DeletionId,
        /// How long the request can be cancelled from now on.
        grace: TimeDelta,
        now: DateTime<Utc>,
    },
    /// Cancels the request, before its grace is over.
    Cancel {
        deletion: DeletionId,
        /// Must lie before the end of the grace.
        now: DateTime<Utc>,
    },
    /// Pauses the grace of a confirmed request, because the account is suspended: the rest of the grace runs from the
    /// end of the suspension on. Nothing changes if no request is confirmed, or if the grace pauses as long already.
    Pause {
        /// The end of the suspension.
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    },
    /// Prolongs the grace of a confirmed request again, because a restored backup brought the request back with an
    /// earlier end.
    PauseAgain {
        deletion: DeletionId,
        /// The end of the suspension.
        paused_until: DateTime<Utc>,
        /// When the grace ends now.
        grace_ends_at: DateTime<Utc>,
    },
    /// Carries the request out, once its grace is over.
    Execute {
        deletion: DeletionId,
        /// How many records are removed.
        removed: u64,
        now: DateTime<Utc>,
    },
    /// Erases a person without a request in this log. The person came back with a restored backup although the ledger
    /// says that they were erased, or was made up by the drill.
    Repeat {
        deletion: DeletionId,
        /// How many records are removed.
        removed: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionEvent {
    Requested {
        #[serde(flatten)]
        open: Open,
        /// The keyed hash of the mailed token, hexadecimal.
        token_hash: String,
        /// Filters and reason, sealed under the person's trail key.
        sealed: String,
        /// When earlier requests were cancelled.
        cancelled: Vec<DateTime<Utc>>,
    },
    Confirmed {
        /// The request, with the end of its grace.
        #[serde(flatten)]
        open: Open,
        /// When earlier requests were cancelled.
        cancelled: Vec<DateTime<Utc>>,
    },
    /// The grace pauses and ends later.
    Paused {
        /// The request, with the new end of its grace.
        #[serde(flatten)]
        open: Open,
        /// When earlier requests were cancelled.
        cancelled: Vec<DateTime<Utc>>,
    },
    Cancelled {
        deletion: DeletionId,
        /// The times at which requests were cancelled, this request last.
        cancelled: Vec<DateTime<Utc>>,
    },
    /// The request was carried out, and the account stays.
    Completed {
        deletion: DeletionId,
        /// How many records were removed.
        removed: u64,
    },
    /// The request was carried out, and the person is erased. No event follows in any stream of this person.
    Erased {
        deletion: DeletionId,
        /// How many records were removed.
        removed: u64,
    },
}

event_types! {
    DeletionEvent "1.0" {
        Requested = "deletion.requested",
        Confirmed = "deletion.confirmed",
        Paused = "deletion.paused",
        Cancelled = "deletion.cancelled",
        Completed = "deletion.completed",
        Erased = "subject.erased",
    }
}

/// A confirmed deletion bars whatever brings in something new.
pub const WAITING: ProblemType = ProblemType {
    name: "deletion-waiting",
    title: "A confirmed deletion is waiting",
    advice: "A deletion is confirmed and its grace runs. Until it is carried out or cancelled nothing new is taken.",
};
const COOLING_OFF: ProblemType = ProblemType {
    name: "cooling-off",
    title: "Two requests were cancelled; the next may come later",
    advice: "Whoever cancels two deletions in a row waits a day before the next request. `detail` says until when.",
};
const CONFIRMED: ProblemType = ProblemType {
    name: "deletion-confirmed",
    title: "The deletion is confirmed already",
    advice: "The grace runs, and nothing else has to be done. It can be cancelled as long as the grace runs.",
};
const CLOSED: ProblemType = ProblemType {
    name: "deletion-closed",
    title: "The request was cancelled, replaced, carried out, or is too old",
    advice: "The token leads to a request that is over. Ask for the deletion again if it is still wanted.",
};
const GRACE_OVER: ProblemType = ProblemType {
    name: "grace-over",
    title: "The grace period is over; it can't be cancelled any more",
    advice: "The deletion is being carried out, or was.",
};
const GRACE_RUNS: ProblemType = ProblemType {
    name: "grace-runs",
    title: "The grace period is not over yet",
    advice: "The deletion is carried out once its grace is over.",
};

impl Described for Deletion {
    const ABOUT: About = About::Person;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &["erasing", "not_erased", "erased", "cancelled", "paused"];
    const REBUILT_IN: &'static [&'static str] = &["deletions", "accounts"];
    const CONFLICTS: &'static [ProblemType] = &[WAITING, COOLING_OFF, CONFIRMED, CLOSED, GRACE_OVER, GRACE_RUNS];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeletionError {
    /// A confirmed request waits for the end of its grace.
    #[error("a confirmed request is waiting")]
    Waiting,
    #[error("two requests were cancelled; the next may come at {until}")]
    CoolingOff {
        /// When the next request may come.
        until: DateTime<Utc>,
    },
    #[error("the request is confirmed already")]
    Confirmed,
    /// The request was cancelled, replaced or carried out, or the time to confirm it is over.
    #[error("the request is closed")]
    Closed,
    #[error("the grace period is over")]
    GracePeriodOver,
    #[error("the grace period is not over")]
    GracePeriodRuns,
}

impl Deletion {
    fn opened(&self, deletion: DeletionId) -> Result<&Open, DeletionError> {
        self.open.as_ref().filter(|open| open.deletion == deletion).ok_or(DeletionError::Closed)
    }

    /// The event that pauses the grace; `None` if there is nothing to pause.
    fn pause(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> Option<DeletionEvent> {
        let open = self.open.as_ref()?;
        // If the grace pauses already, none of it has run since the pause began.
        let from = open.paused_until.map_or(now, |paused| paused.max(now));
        let left = (open.grace_ends_at? - from).max(TimeDelta::zero());
        let open = Open { grace_ends_at: Some(until + left), paused_until: Some(until), ..open.clone() };
        (until > from).then(|| DeletionEvent::Paused { open, cancelled: self.cancelled.clone() })
    }

    /// The event of a command; `None` if the command changes nothing.
    fn decide(&self, command: DeletionCommand) -> Result<Option<DeletionEvent>, DeletionError> {
        let event = match command {
            DeletionCommand::Pause { until, now } => return Ok(self.pause(until, now)),
            DeletionCommand::PauseAgain { deletion, paused_until, grace_ends_at } => {
                let open = self.opened(deletion)?;
                if open.grace_ends_at.is_none_or(|end| end >= grace_ends_at) {
                    return Ok(None);
                }
                let (grace_ends_at, paused_until) = (Some(grace_ends_at), Some(paused_until));
                let open = Open { grace_ends_at, paused_until, ..open.clone() };
                DeletionEvent::Paused { open, cancelled: self.cancelled.clone() }
            }
            DeletionCommand::Request { open, token_hash, sealed, now } => {
                if self.open.as_ref().is_some_and(|open| open.grace_ends_at.is_some()) {
                    return Err(DeletionError::Waiting);
                }
                let mut cancelled = self.cancelled.clone();
                if cancelled.len() >= CANCELLED_BEFORE_WAIT {
                    let until = cancelled.last().copied().unwrap_or_default() + WAIT;
                    if now < until {
                        return Err(DeletionError::CoolingOff { until });
                    }
                    cancelled.clear();
                }
                DeletionEvent::Requested { open, token_hash, sealed, cancelled }
            }
            DeletionCommand::Confirm { deletion, grace, now } => {
                let open = self.opened(deletion)?;
                if open.grace_ends_at.is_some() {
                    return Err(DeletionError::Confirmed);
                }
                if open.expires_at <= now {
                    return Err(DeletionError::Closed);
                }
                let open = Open { grace_ends_at: Some(now + grace), ..open.clone() };
                DeletionEvent::Confirmed { open, cancelled: self.cancelled.clone() }
            }
            DeletionCommand::Cancel { deletion, now } => {
                let open = self.opened(deletion)?;
                if open.grace_ends_at.is_some_and(|end| end <= now) {
                    return Err(DeletionError::GracePeriodOver);
                }
                let cancelled = self.cancelled.iter().copied().chain([now]).collect();
                DeletionEvent::Cancelled { deletion, cancelled }
            }
            DeletionCommand::Execute { deletion, removed, now } => {
                let open = self.opened(deletion)?;
                if open.grace_ends_at.is_none_or(|end| now < end) {
                    return Err(DeletionError::GracePeriodRuns);
                }
                match open.scope {
                    Scope::Full => DeletionEvent::Erased { deletion, removed },
                    Scope::Partial | Scope::SessionsOnly => DeletionEvent::Completed { deletion, removed },
                }
            }
            DeletionCommand::Repeat { deletion, removed } => DeletionEvent::Erased { deletion, removed },
        };
        Ok(Some(event))
    }
}

impl Rule for DeletionError {
    fn refused(&self) -> Refused {
        match self {
            Self::Waiting => Refused::conflict(WAITING),
            Self::CoolingOff { until } => {
                Refused::explained(COOLING_OFF, format!("Ask again at {} or later.", until.format("%FT%TZ")))
            }
            Self::Confirmed => Refused::conflict(CONFIRMED),
            Self::Closed => Refused::conflict(CLOSED),
            Self::GracePeriodOver => Refused::conflict(GRACE_OVER),
            Self::GracePeriodRuns => Refused::conflict(GRACE_RUNS),
        }
    }
}

impl Aggregate for Deletion {
    const TYPE: &'static str = "deletion";
    type Command = DeletionCommand;
    type Event = DeletionEvent;
    type Error = DeletionError;
    type Services = ();

    async fn handle(&mut self, command: DeletionCommand, _: &(), sink: &EventSink<Self>) -> Result<(), DeletionError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: DeletionEvent) {
        *self = match event {
            DeletionEvent::Requested { open, cancelled, .. }
            | DeletionEvent::Confirmed { open, cancelled }
            | DeletionEvent::Paused { open, cancelled } => Self { open: Some(open), cancelled },
            DeletionEvent::Cancelled { cancelled, .. } => Self { open: None, cancelled },
            DeletionEvent::Completed { .. } | DeletionEvent::Erased { .. } => Self::default(),
        };
    }
}

#[cfg(test)]
pub(crate) mod histories {
    use chrono::TimeDelta;
    use context::DeletionId;
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::{
        rights::deletion::Scope,
        whole_state::{Changes, Checked, time, word},
    };

    impl Checked for Deletion {
        const CHANGES: &[Changes] = &[
            Changes { event: "deletion.requested", sets: &["open"], clears: &["cancelled"] },
            Changes { event: "deletion.confirmed", sets: &["open.grace_ends_at"], clears: &[] },
            Changes { event: "deletion.paused", sets: &["open.grace_ends_at", "open.paused_until"], clears: &[] },
            Changes { event: "deletion.cancelled", sets: &["cancelled"], clears: &["open"] },
            Changes { event: "deletion.completed", sets: &[], clears: &["open", "cancelled"] },
            Changes { event: "subject.erased", sets: &[], clears: &["open", "cancelled"] },
        ];

        fn commands() -> BoxedStrategy<DeletionCommand> {
            // Mostly the id of the same request, because a command for another request is refused.
            let id = || {
                prop_oneof![
                    9 => Just("00000000-0000-0000-0000-000000000001"),
                    1 => Just("00000000-0000-0000-0000-000000000002"),
                ]
                .prop_map(|id| id.parse::<DeletionId>().expect("an id"))
            };
            let open = (id(), scope(), time()).prop_map(|(deletion, scope, expires_at)| Open {
                deletion,
                scope,
                expires_at,
                grace_ends_at: None,
                paused_until: None,
            });
            let request = (open, word(), word(), time())
                .prop_map(|(open, token_hash, sealed, now)| DeletionCommand::Request { open, token_hash, sealed, now });
            let confirm = (id(), 0..48_i64, time()).prop_map(|(deletion, hours, now)| DeletionCommand::Confirm {
                deletion,
                grace: TimeDelta::hours(hours),
                now,
            });
            let pause_again = (id(), time(), time()).prop_map(|(deletion, paused_until, grace_ends_at)| {
                DeletionCommand::PauseAgain { deletion, paused_until, grace_ends_at }
            });
            prop_oneof![
                4 => request,
                4 => confirm,
                3 => (id(), time()).prop_map(|(deletion, now)| DeletionCommand::Cancel { deletion, now }),
                2 => (time(), time()).prop_map(|(until, now)| DeletionCommand::Pause { until, now }),
                2 => pause_again,
                2 => (id(), 0..9_u64, time())
                    .prop_map(|(deletion, removed, now)| DeletionCommand::Execute { deletion, removed, now }),
                1 => (id(), 0..9_u64).prop_map(|(deletion, removed)| DeletionCommand::Repeat { deletion, removed }),
            ]
            .boxed()
        }
    }

    pub(crate) fn scope() -> impl Strategy<Value = Scope> {
        select(vec![Scope::Full, Scope::Partial, Scope::SessionsOnly])
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::{AggregateTestExecutor, TestFramework};

    use super::*;

    const GRACE: TimeDelta = TimeDelta::hours(48);

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn open(scope: Scope, grace_ends_at: Option<DateTime<Utc>>) -> Open {
        Open { deletion: id(), scope, expires_at: at(24), grace_ends_at, paused_until: None }
    }

    fn id() -> DeletionId {
        "00000000-0000-0000-0000-000000000007".parse().expect("an id")
    }

    fn given(events: Vec<DeletionEvent>) -> AggregateTestExecutor<Deletion> {
        TestFramework::<Deletion>::with(()).given(events)
    }

    fn request(now: DateTime<Utc>) -> DeletionCommand {
        let (token_hash, sealed) = ("ff".to_owned(), "c2VhbGVk".to_owned());
        DeletionCommand::Request { open: open(Scope::Full, None), token_hash, sealed, now }
    }

    fn requested(cancelled: Vec<DateTime<Utc>>) -> DeletionEvent {
        let (token_hash, sealed) = ("ff".to_owned(), "c2VhbGVk".to_owned());
        DeletionEvent::Requested { open: open(Scope::Full, None), token_hash, sealed, cancelled }
    }

    fn confirmed(scope: Scope) -> DeletionEvent {
        DeletionEvent::Confirmed { open: open(scope, Some(at(49))), cancelled: vec![] }
    }

    fn execute(hours: i64) -> DeletionCommand {
        DeletionCommand::Execute { deletion: id(), removed: 3, now: at(hours) }
    }

    #[test]
    fn a_request_is_confirmed_and_carried_out_once_its_grace_is_over() {
        given(vec![]).when(request(at(0))).then_expect_events(vec![requested(vec![])]);
        let confirm = |hours| DeletionCommand::Confirm { deletion: id(), grace: GRACE, now: at(hours) };
        given(vec![requested(vec![])]).when(confirm(1)).then_expect_events(vec![confirmed(Scope::Full)]);
        given(vec![requested(vec![])]).when(confirm(24)).then_expect_error(DeletionError::Closed);
        given(vec![confirmed(Scope::Full)]).when(confirm(2)).then_expect_error(DeletionError::Confirmed);
        given(vec![requested(vec![])]).when(execute(60)).then_expect_error(DeletionError::GracePeriodRuns);
        given(vec![confirmed(Scope::Full)]).when(execute(48)).then_expect_error(DeletionError::GracePeriodRuns);
        let deletion = id();
        given(vec![confirmed(Scope::Full)])
            .when(execute(49))
            .then_expect_events(vec![DeletionEvent::Erased { deletion, removed: 3 }]);
        given(vec![confirmed(Scope::Partial)])
            .when(execute(49))
            .then_expect_events(vec![DeletionEvent::Completed { deletion, removed: 3 }]);
        given(vec![DeletionEvent::Completed { deletion, removed: 3 }])
            .when(execute(50))
            .then_expect_error(DeletionError::Closed);
    }

    #[test]
    fn a_pause_is_repeated_where_the_grace_would_end_earlier() {
        let again = |until, end| DeletionCommand::PauseAgain {
            deletion: id(),
            paused_until: at(until),
            grace_ends_at: at(end),
        };
        given(vec![confirmed(Scope::Full)]).when(again(20, 59)).then_expect_events(vec![paused(20, 59)]);
        given(vec![paused(20, 59)]).when(again(20, 59)).then_expect_events(vec![]);
        given(vec![paused(30, 69)]).when(again(20, 59)).then_expect_events(vec![]);
        // A request that is not confirmed has no grace, and a closed request needs none.
        given(vec![requested(vec![])]).when(again(20, 59)).then_expect_events(vec![]);
        given(vec![]).when(again(20, 59)).then_expect_error(DeletionError::Closed);
    }

    fn paused(until: i64, grace_ends_at: i64) -> DeletionEvent {
        let open = Open { paused_until: Some(at(until)), ..open(Scope::Full, Some(at(grace_ends_at))) };
        DeletionEvent::Paused { open, cancelled: vec![] }
    }

    #[test]
    fn what_is_left_of_a_grace_runs_from_the_end_of_a_suspension() {
        let pause = |until, now| DeletionCommand::Pause { until: at(until), now: at(now) };
        given(vec![confirmed(Scope::Full)]).when(pause(20, 10)).then_expect_events(vec![paused(20, 59)]);
        // The suspension is lengthened while it lasts: none of the grace has run since it began.
        given(vec![paused(20, 59)]).when(pause(30, 15)).then_expect_events(vec![paused(30, 69)]);
        given(vec![paused(20, 59)]).when(pause(18, 15)).then_expect_events(vec![]);
        // Another suspension begins after the first has ended.
        given(vec![paused(20, 59)]).when(pause(40, 25)).then_expect_events(vec![paused(40, 74)]);
        // The grace is over and the request is not carried out yet: it waits for the end of the suspension.
        given(vec![confirmed(Scope::Full)]).when(pause(60, 50)).then_expect_events(vec![paused(60, 60)]);
        for events in [vec![], vec![requested(vec![])]] {
            given(events).when(pause(20, 10)).then_expect_events(vec![]);
        }
        given(vec![paused(20, 59)]).when(execute(58)).then_expect_error(DeletionError::GracePeriodRuns);
        given(vec![paused(20, 59)]).when(request(at(12))).then_expect_error(DeletionError::Waiting);
        let cancel = DeletionCommand::Cancel { deletion: id(), now: at(58) };
        let cancelled = DeletionEvent::Cancelled { deletion: id(), cancelled: vec![at(58)] };
        given(vec![paused(20, 59)]).when(cancel).then_expect_events(vec![cancelled]);
    }

    #[test]
    fn it_is_cancelled_until_its_grace_ends() {
        let deletion = id();
        let cancel = |hours| DeletionCommand::Cancel { deletion, now: at(hours) };
        let cancelled = |hours| DeletionEvent::Cancelled { deletion, cancelled: vec![at(hours)] };
        given(vec![requested(vec![])]).when(cancel(1)).then_expect_events(vec![cancelled(1)]);
        given(vec![confirmed(Scope::Full)]).when(cancel(48)).then_expect_events(vec![cancelled(48)]);
        given(vec![confirmed(Scope::Full)]).when(cancel(49)).then_expect_error(DeletionError::GracePeriodOver);
        given(vec![cancelled(1)]).when(cancel(2)).then_expect_error(DeletionError::Closed);
        let other = DeletionCommand::Cancel { deletion: DeletionId::random(), now: at(1) };
        given(vec![requested(vec![])]).when(other).then_expect_error(DeletionError::Closed);
    }

    #[test]
    fn after_two_cancelled_requests_the_next_waits_a_day() {
        let twice = DeletionEvent::Cancelled { deletion: id(), cancelled: vec![at(1), at(2)] };
        given(vec![twice.clone()]).when(request(at(25))).then_expect_error(DeletionError::CoolingOff { until: at(26) });
        given(vec![twice]).when(request(at(26))).then_expect_events(vec![requested(vec![])]);
        given(vec![confirmed(Scope::Full)]).when(request(at(2))).then_expect_error(DeletionError::Waiting);
        given(vec![requested(vec![])]).when(request(at(2))).then_expect_events(vec![requested(vec![])]);
    }

    #[test]
    fn a_new_request_carries_the_cancellations_until_the_wait_is_over() {
        let deletion = id();
        let once = DeletionEvent::Cancelled { deletion, cancelled: vec![at(1)] };
        given(vec![once]).when(request(at(2))).then_expect_events(vec![requested(vec![at(1)])]);
        given(vec![requested(vec![at(1)])])
            .when(DeletionCommand::Cancel { deletion, now: at(3) })
            .then_expect_events(vec![DeletionEvent::Cancelled { deletion, cancelled: vec![at(1), at(3)] }]);
    }

    #[test]
    fn what_was_carried_out_before_is_repeated_whatever_the_log_says() {
        let deletion = id();
        let repeat = DeletionCommand::Repeat { deletion, removed: 3 };
        for events in [vec![], vec![requested(vec![])], vec![confirmed(Scope::Full)]] {
            given(events).when(repeat.clone()).then_expect_events(vec![DeletionEvent::Erased { deletion, removed: 3 }]);
        }
    }

    #[test]
    fn stored_events_of_every_version_load() {
        let stored = r#"{"Requested":{"deletion":"00000000-0000-0000-0000-000000000007","scope":"full","expires_at":"1970-01-02T00:00:00Z","token_hash":"ff","sealed":"c2VhbGVk","cancelled":[]}}"#;
        assert_eq!(serde_json::from_str::<DeletionEvent>(stored).expect("loads"), requested(vec![]));
        assert_eq!(serde_json::to_string(&requested(vec![])).expect("stores"), stored);
        let deletion = id();
        for (event, stored) in [
            (
                DeletionEvent::Cancelled { deletion, cancelled: vec![at(0)] },
                r#"{"Cancelled":{"deletion":"00000000-0000-0000-0000-000000000007","cancelled":["1970-01-01T00:00:00Z"]}}"#,
            ),
            (
                DeletionEvent::Completed { deletion, removed: 3 },
                r#"{"Completed":{"deletion":"00000000-0000-0000-0000-000000000007","removed":3}}"#,
            ),
            (
                DeletionEvent::Erased { deletion, removed: 3 },
                r#"{"Erased":{"deletion":"00000000-0000-0000-0000-000000000007","removed":3}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&event).expect("stores"), stored);
            assert_eq!(serde_json::from_str::<DeletionEvent>(stored).expect("loads"), event);
        }
        let stored = r#"{"Confirmed":{"deletion":"00000000-0000-0000-0000-000000000007","scope":"full","expires_at":"1970-01-02T00:00:00Z","grace_ends_at":"1970-01-03T01:00:00Z","cancelled":[]}}"#;
        assert_eq!(serde_json::to_string(&confirmed(Scope::Full)).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<DeletionEvent>(stored).expect("loads"), confirmed(Scope::Full));
        let stored = r#"{"Paused":{"deletion":"00000000-0000-0000-0000-000000000007","scope":"full","expires_at":"1970-01-02T00:00:00Z","grace_ends_at":"1970-01-03T11:00:00Z","paused_until":"1970-01-01T20:00:00Z","cancelled":[]}}"#;
        assert_eq!(serde_json::to_string(&paused(20, 59)).expect("stores"), stored);
        assert_eq!(serde_json::from_str::<DeletionEvent>(stored).expect("loads"), paused(20, 59));
    }
}
