//! Histories of accounts and suspensions.

use context::SessionId;
use proptest::prelude::*;

use super::{Changes, Checked, time, word};
use crate::identity::{
    account::{Account, AccountCommand, SignInDevice},
    suspension::{Suspend, Suspension},
};

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
        ]
        .boxed()
    }
}

fn session() -> impl Strategy<Value = SessionId> {
    prop_oneof![Just("00000000-0000-0000-0000-000000000001"), Just("00000000-0000-0000-0000-000000000002")]
        .prop_map(|id| id.parse().expect("an id"))
}

impl Checked for Suspension {
    const CHANGES: &[Changes] = &[Changes { event: "account.suspended", sets: &["until"], clears: &[] }];

    fn commands() -> BoxedStrategy<Suspend> {
        (word(), time()).prop_map(|(rule, until)| Suspend { rule, until }).boxed()
    }
}
