//! Histories of the compliance desk: alerts, breaches and extensions.

use chrono::TimeDelta;
use proptest::{option, prelude::*, sample::select};

use super::{Changes, Checked, time, word};
use crate::desk::{
    alert::{Alert, AlertCommand, Pattern, Severity},
    breach::{Breach, BreachCommand, Facts, Nature, Risk},
    extension::{Extend, Extension},
};

impl Checked for Alert {
    const CHANGES: &[Changes] = &[
        Changes {
            event: "alert.raised",
            sets: &["raised_at", "pattern", "open"],
            clears: &["pattern.suspended_until"],
        },
        Changes { event: "alert.acknowledged", sets: &[], clears: &["open"] },
    ];

    fn commands() -> BoxedStrategy<AlertCommand> {
        let severity = select(vec![Severity::Warning, Severity::Critical]);
        let pattern = (word(), severity, word(), 1..9_u64, time(), option::of(time())).prop_map(
            |(rule, severity, actor, count, since, suspended_until)| Pattern {
                rule,
                severity,
                actor,
                count,
                since,
                suspended_until,
            },
        );
        let quiet = (0..48_i64).prop_map(TimeDelta::hours);
        prop_oneof![
            (pattern, time(), quiet).prop_map(|(pattern, now, quiet)| AlertCommand::Raise { pattern, now, quiet }),
            time().prop_map(|now| AlertCommand::Acknowledge { now }),
        ]
        .boxed()
    }
}

impl Checked for Breach {
    const CHANGES: &[Changes] = &[
        Changes { event: "breach.opened", sets: &[], clears: &[] },
        Changes {
            event: "breach.assessed",
            sets: &[
                "progress.reference",
                "progress.nature",
                "progress.kinds",
                "progress.began_at",
                "progress.ended_at",
                "progress.risk",
                "progress.affected",
            ],
            clears: &["progress.kinds", "progress.ended_at", "progress.affected"],
        },
        Changes { event: "breach.notified", sets: &["progress.authority_at", "progress.people_at"], clears: &[] },
        Changes { event: "breach.closed", sets: &["progress.closed_at"], clears: &[] },
    ];

    fn commands() -> BoxedStrategy<BreachCommand> {
        prop_oneof![
            3 => (time(), facts()).prop_map(|(aware_at, facts)| BreachCommand::Open { aware_at, facts }),
            3 => facts().prop_map(BreachCommand::Assess),
            3 => time().prop_map(BreachCommand::NotifyAuthority),
            3 => time().prop_map(BreachCommand::NotifyPeople),
            1 => time().prop_map(BreachCommand::Close),
        ]
        .boxed()
    }
}

fn facts() -> impl Strategy<Value = Facts> {
    let nature =
        prop::collection::vec(select(vec![Nature::Confidentiality, Nature::Integrity, Nature::Availability]), 1..3);
    let risk = select(vec![Risk::Unknown, Risk::Unlikely, Risk::Risk, Risk::High]);
    let kinds = prop::collection::vec(word(), 0..2);
    (word(), nature, kinds, time(), option::of(time()), risk, option::of(0..9_u64)).prop_map(
        |(reference, nature, kinds, began_at, ended_at, risk, affected)| Facts {
            reference,
            nature,
            kinds,
            began_at,
            ended_at,
            risk,
            affected,
        },
    )
}

impl Checked for Extension {
    const CHANGES: &[Changes] = &[Changes { event: "request.extended", sets: &[], clears: &[] }];

    fn commands() -> BoxedStrategy<Extend> {
        (time(), time()).prop_map(|(received_at, now)| Extend { received_at, now }).boxed()
    }
}
