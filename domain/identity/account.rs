//! Accounts: a person registers, signs in, fails to sign in, and signs out. The events hold ids, states and times, and
//! no personal value.
//!
//! Three events are streams of their own, each with a fresh id: a code was requested, a code was wrong, and tokens were
//! exchanged. Anybody can cause the first two, also for an address that nobody registered, and the third happens every
//! few minutes. No later command depends on these events. In the account's stream they would make commands of the same
//! person wait for one another.

use context::SessionId;
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    event::{About, Described, event_types},
    refusal::{ProblemType, Refused, Rule},
};

/// The state of a stream of the type `account`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    #[default]
    Absent,
    Registered,
    /// The stream consists of one event. No event follows it.
    Single,
}

#[derive(Clone, Debug)]
pub enum AccountCommand {
    Register,
    /// Begins a session. The device is absent if the command line begins it.
    SignIn(SessionId, Option<SignInDevice>),
    RequestCode,
    Refresh(SessionId),
    /// Somebody signs in with a wrong code.
    FailSignIn,
    SignOut(SessionId),
    /// A refresh token was shown a second time, so the session ends.
    ReuseRefresh(SessionId),
    GiveRole(&'static str),
    TakeRole(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInDevice {
    /// A device that nobody had signed in on before. It is known from now on.
    New,
    Known,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountEvent {
    Registered {},
    SignedIn {
        session: SessionId,
        /// Whether the device was known. Absent if the command line began the session, and in events from before
        /// devices were known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<SignInDevice>,
    },
    CodeRequested {},
    Refreshed {
        session: SessionId,
    },
    SignInFailed {},
    SignedOut {
        session: SessionId,
    },
    /// The command line gave the person a staff role.
    RoleGiven {
        role: String,
    },
    /// The command line took the staff role from the person. A sign-out of each session follows.
    RoleTaken {
        role: String,
    },
    /// A refresh token was shown a second time, so the session ended.
    RefreshReused {
        session: SessionId,
    },
}

event_types! {
    AccountEvent "1.0" {
        Registered = "account.registered",
        SignedIn = "account.signed_in",
        CodeRequested = "account.code_requested",
        Refreshed = "account.refreshed",
        SignInFailed = "account.sign_in_failed",
        SignedOut = "account.signed_out",
        RefreshReused = "account.refresh_reused",
        RoleGiven = "account.role_given",
        RoleTaken = "account.role_taken",
    }
}

const EXISTS: ProblemType = ProblemType {
    name: "account-exists",
    title: "The address has an account; sign in instead",
    advice: "The code was right, and the address is registered. Sign in instead.",
};

impl Described for Account {
    const ABOUT: About = About::Either;
    const IS_SEALED: bool = false;
    const LEDGER: &'static [&'static str] = &["staff_role"];
    const REBUILT_IN: &'static [&'static str] = &["accounts"];
    const CONFLICTS: &'static [ProblemType] = &[EXISTS];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("the account exists")]
    Exists,
    /// The stream is not the stream of an account.
    #[error("there is no such account")]
    Unknown,
}

impl AccountCommand {
    /// Whether the event of this command must be the first of a stream, because it creates the account or is a stream
    /// of its own.
    fn begins_a_stream(&self) -> bool {
        matches!(self, Self::Register | Self::RequestCode | Self::FailSignIn | Self::Refresh(_))
    }
}

impl Rule for AccountError {
    fn refused(&self) -> Refused {
        match self {
            Self::Exists => Refused::conflict(EXISTS),
            Self::Unknown => Refused::NotFound("account"),
        }
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;
    type Services = ();

    async fn handle(&mut self, command: AccountCommand, _: &(), sink: &EventSink<Self>) -> Result<(), AccountError> {
        match (&self, command.begins_a_stream()) {
            (Self::Absent, true) | (Self::Registered, false) => {}
            (Self::Registered, true) => return Err(AccountError::Exists),
            (Self::Absent, false) | (Self::Single, _) => return Err(AccountError::Unknown),
        }
        let event = match command {
            AccountCommand::Register => AccountEvent::Registered {},
            // A wrong code for an address that nobody registered is recorded too, in the name of the system.
            AccountCommand::FailSignIn => AccountEvent::SignInFailed {},
            AccountCommand::RequestCode => AccountEvent::CodeRequested {},
            AccountCommand::Refresh(session) => AccountEvent::Refreshed { session },
            AccountCommand::SignIn(session, device) => AccountEvent::SignedIn { session, device },
            AccountCommand::SignOut(session) => AccountEvent::SignedOut { session },
            AccountCommand::ReuseRefresh(session) => AccountEvent::RefreshReused { session },
            AccountCommand::GiveRole(role) => AccountEvent::RoleGiven { role: role.to_owned() },
            AccountCommand::TakeRole(role) => AccountEvent::RoleTaken { role: role.to_owned() },
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: AccountEvent) {
        *self = match event {
            AccountEvent::CodeRequested {} | AccountEvent::SignInFailed {} | AccountEvent::Refreshed { .. } => {
                Self::Single
            }
            AccountEvent::Registered {}
            | AccountEvent::SignedIn { .. }
            | AccountEvent::SignedOut { .. }
            | AccountEvent::RoleGiven { .. }
            | AccountEvent::RoleTaken { .. }
            | AccountEvent::RefreshReused { .. } => Self::Registered,
        };
    }
}

#[cfg(test)]
mod histories {
    use context::SessionId;
    use proptest::prelude::*;

    use super::*;
    use crate::whole_state::{Changes, Checked};

    impl Checked for Account {
        const CHANGES: &[Changes] = &[
            Changes { event: "account.registered", sets: &[], clears: &[] },
            Changes { event: "account.signed_in", sets: &[], clears: &[] },
            Changes { event: "account.code_requested", sets: &[], clears: &[] },
            Changes { event: "account.refreshed", sets: &[], clears: &[] },
            Changes { event: "account.sign_in_failed", sets: &[], clears: &[] },
            Changes { event: "account.signed_out", sets: &[], clears: &[] },
            Changes { event: "account.refresh_reused", sets: &[], clears: &[] },
            Changes { event: "account.role_given", sets: &[], clears: &[] },
            Changes { event: "account.role_taken", sets: &[], clears: &[] },
        ];
        const ALONE: &[&str] = &["account.code_requested", "account.refreshed", "account.sign_in_failed"];

        fn commands() -> BoxedStrategy<AccountCommand> {
            let device = || proptest::option::of(prop_oneof![Just(SignInDevice::New), Just(SignInDevice::Known)]);
            prop_oneof![
                3 => Just(AccountCommand::Register),
                1 => (session(), device()).prop_map(|(session, device)| AccountCommand::SignIn(session, device)),
                1 => Just(AccountCommand::RequestCode),
                1 => session().prop_map(AccountCommand::Refresh),
                1 => Just(AccountCommand::FailSignIn),
                1 => session().prop_map(AccountCommand::SignOut),
                1 => session().prop_map(AccountCommand::ReuseRefresh),
                1 => Just(AccountCommand::GiveRole("compliance")),
                1 => Just(AccountCommand::TakeRole("compliance")),
            ]
            .boxed()
        }
    }

    fn session() -> impl Strategy<Value = SessionId> {
        prop_oneof![Just("00000000-0000-0000-0000-000000000001"), Just("00000000-0000-0000-0000-000000000002")]
            .prop_map(|id| id.parse().expect("an id"))
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    #[test]
    fn an_account_is_made_once_and_used_after() {
        let with = |events: Vec<AccountEvent>| TestFramework::<Account>::with(()).given(events);
        let session = SessionId::random();
        with(vec![]).when(AccountCommand::Register).then_expect_events(vec![AccountEvent::Registered {}]);
        with(vec![AccountEvent::Registered {}]).when(AccountCommand::Register).then_expect_error(AccountError::Exists);
        with(vec![]).when(AccountCommand::SignIn(session, None)).then_expect_error(AccountError::Unknown);
        with(vec![AccountEvent::Registered {}])
            .when(AccountCommand::SignIn(session, Some(SignInDevice::New)))
            .then_expect_events(vec![AccountEvent::SignedIn { session, device: Some(SignInDevice::New) }]);
    }

    #[test]
    fn an_event_that_is_a_stream_of_its_own_is_the_only_one_in_it() {
        let with = |events: Vec<AccountEvent>| TestFramework::<Account>::with(()).given(events);
        let session = SessionId::random();
        let alone = || [AccountCommand::RequestCode, AccountCommand::FailSignIn, AccountCommand::Refresh(session)];
        let events =
            [AccountEvent::CodeRequested {}, AccountEvent::SignInFailed {}, AccountEvent::Refreshed { session }];
        for (command, event) in alone().into_iter().zip(events) {
            with(vec![]).when(command.clone()).then_expect_events(vec![event.clone()]);
            with(vec![AccountEvent::Registered {}]).when(command).then_expect_error(AccountError::Exists);
            for later in alone().into_iter().chain([AccountCommand::Register, AccountCommand::SignIn(session, None)]) {
                with(vec![event.clone()]).when(later).then_expect_error(AccountError::Unknown);
            }
        }
    }

    #[test]
    fn a_sign_in_of_before_devices_were_known_still_loads() {
        let session = SessionId::random();
        let stored = serde_json::json!({ "SignedIn": { "session": session } });
        let event = AccountEvent::SignedIn { session, device: None };
        assert_eq!(serde_json::from_value::<AccountEvent>(stored.clone()).expect("loads"), event);
        assert_eq!(serde_json::to_value(&event).expect("JSON"), stored);
    }
}
