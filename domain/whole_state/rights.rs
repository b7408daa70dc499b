//! Histories of a person's rights: consents, exports, deletions, restrictions, holds and rules of retention.

use chrono::TimeDelta;
use context::DeletionId;
use proptest::{option, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{
    rights::{
        consent::{Consent, ConsentCommand, Decision, Purpose},
        deletion::{Deletion, DeletionCommand, Open, Scope},
        export::{Export, ExportCommand, ExportFailure, ExportFormat, ExportSpec},
        hold::{Hold, HoldCommand},
        restriction::{Restriction, RestrictionCommand},
        retention::{Retention, RetentionCommand},
    },
    whole_state::{Changes, Checked, time, word},
};

impl Checked for Consent {
    const CHANGES: &[Changes] = &[
        Changes { event: "consent.granted", sets: &["decision"], clears: &[] },
        Changes { event: "consent.withdrawn", sets: &[], clears: &["decision"] },
        Changes { event: "objection.raised", sets: &["objected"], clears: &["decision"] },
        Changes { event: "objection.lifted", sets: &[], clears: &["objected"] },
        Changes { event: "consent.lapsed", sets: &[], clears: &["decision"] },
    ];

    fn commands() -> BoxedStrategy<ConsentCommand> {
        let decision = || {
            (word(), word()).prop_map(|(notice_version, notice_hash)| Decision {
                purpose: Purpose::WorkHours,
                notice_version,
                notice_hash,
            })
        };
        prop_oneof![
            3 => (decision(), option::of(word())).prop_map(|(decision, shown)| ConsentCommand::Grant { decision, shown }),
            1 => decision().prop_map(|decision| ConsentCommand::Withdraw { decision }),
            1 => decision().prop_map(|decision| ConsentCommand::Object { decision }),
            1 => decision().prop_map(|decision| ConsentCommand::LiftObjection { decision }),
            1 => decision().prop_map(|decision| ConsentCommand::Lapse { decision }),
        ]
        .boxed()
    }
}

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
        let wanted = (scope(), format, word()).prop_map(|(scope, format, sealed)| ExportSpec { scope, format, sealed });
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

fn scope() -> impl Strategy<Value = Scope> {
    select(vec![Scope::Full, Scope::Partial, Scope::SessionsOnly])
}

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

impl Checked for Restriction {
    const CHANGES: &[Changes] = &[
        Changes { event: "restriction.set", sets: &[], clears: &[] },
        Changes { event: "restriction.lifted", sets: &[], clears: &["set"] },
    ];

    fn commands() -> BoxedStrategy<RestrictionCommand> {
        select(vec![RestrictionCommand::Set, RestrictionCommand::Lift]).boxed()
    }
}

impl Checked for Hold {
    const CHANGES: &[Changes] = &[
        Changes { event: "hold.placed", sets: &["until"], clears: &[] },
        Changes { event: "hold.lifted", sets: &[], clears: &["until"] },
    ];

    fn commands() -> BoxedStrategy<HoldCommand> {
        prop_oneof![
            (time(), word(), time()).prop_map(|(until, sealed, now)| HoldCommand::Place { until, sealed, now }),
            Just(HoldCommand::Lift),
        ]
        .boxed()
    }
}

impl Checked for Retention {
    const CHANGES: &[Changes] =
        &[Changes { event: "retention.set", sets: &["days", "waits"], clears: &["days", "waits"] }];

    fn commands() -> BoxedStrategy<RetentionCommand> {
        (option::of(0..9_u32), option::of(1..9_u32), 0..48_i64, time())
            .prop_map(|(days, kind_days, hours, now)| RetentionCommand {
                kind: "work_day".to_owned(),
                days,
                kind_days,
                grace: TimeDelta::hours(hours),
                now,
            })
            .boxed()
    }
}
