//! Histories of published statistics: plans, lists of hospitals and releases.

use chrono::{Days, NaiveDate};
use proptest::{option, prelude::*, sample::select};

use super::{Changes, Checked, word};
use crate::{
    quarter::Quarter,
    statistics::{
        hospital::{FixList, HospitalLists, Listing},
        release::{Draw, Plan, PlanCommand, Plans, Policy, Release, ReleaseCommand, Revision},
    },
};

impl Checked for Plans {
    const CHANGES: &[Changes] = &[Changes { event: "stats.planned", sets: &["planned"], clears: &[] }];

    fn commands() -> BoxedStrategy<PlanCommand> {
        (quarter(), policy(), day(), any::<bool>())
            .prop_map(|(from, policy, today, is_first)| PlanCommand { from, policy, today, is_first })
            .boxed()
    }
}

impl Checked for HospitalLists {
    const CHANGES: &[Changes] = &[Changes { event: "stats.hospitals_listed", sets: &["fixed"], clears: &[] }];

    fn commands() -> BoxedStrategy<FixList> {
        (quarter(), listing(), day(), any::<bool>())
            .prop_map(|(from, listing, today, is_first)| FixList { from, listing, today, is_first })
            .boxed()
    }
}

impl Checked for Release {
    const CHANGES: &[Changes] = &[
        Changes { event: "stats.released", sets: &["releases", "epsilon_micros", "delta_picos"], clears: &[] },
        Changes { event: "stats.lost", sets: &["releases", "epsilon_micros", "delta_picos", "is_lost"], clears: &[] },
    ];

    fn commands() -> BoxedStrategy<ReleaseCommand> {
        let period: Quarter = "2025-Q1".parse().expect("a quarter");
        let draw = (0..2_u32, policy(), 0..9_u32, word(), listing(), day()).prop_map(
            move |(revision, policy, drawn, sha256, hospitals, today)| {
                ReleaseCommand::Publish(Draw {
                    hospitals,
                    period,
                    revision,
                    policy,
                    drawn,
                    published: drawn / 2,
                    sha256,
                    today,
                })
            },
        );
        let lose = (0..4_u32).prop_map(move |revision| ReleaseCommand::Lose { period, revision });
        prop_oneof![16 => draw, 1 => lose].boxed()
    }
}

fn quarter() -> impl Strategy<Value = Quarter> {
    day().prop_map(Quarter::of)
}

fn day() -> impl Strategy<Value = NaiveDate> {
    let first: NaiveDate = "2025-01-01".parse().expect("a date");
    (0..730_u64).prop_map(move |days| first + Days::new(days))
}

fn policy() -> impl Strategy<Value = Policy> {
    let revision = (select(vec![10_u32, 50]), select(vec![30_u32, 90]))
        .prop_map(|(percent, after_days)| Revision { percent, after_days });
    (select(vec![Plan::Full, Plan::Small]), option::of(revision)).prop_map(|(plan, revision)| Policy { plan, revision })
}

fn listing() -> impl Strategy<Value = Listing> {
    (0..4_u32, word()).prop_map(|(count, sha256)| Listing { count, sha256 })
}
