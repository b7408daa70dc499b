//! The overview (GDPR Art. 15): everything that is held about a person, by kind. It follows the list of kinds, so that
//! a new kind appears by itself.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::Ctx;
use db::FromRow;
use domain::{
    Choice, Kind,
    kinds::KINDS,
    rights::{consent::Purpose, deletion::DeletionState},
};
use projections::{
    identity::account::{SwitchesRow, account_get, switches_get},
    page::Page,
    records::record::{AgesRow, record_ages},
    rights::{
        consent::{ConsentRow, consent_list},
        deletion::{DeletionRow, deletion_list},
        overview::{CountsRow, overview_get},
        retention::{RetentionRow, days_of, retention_list},
    },
};
use vault::SubjectKeys;

use crate::app::{
    App, AppError,
    frame::{self, Frame, Standing},
    rights::retention,
};

/// What is held of one kind of record.
pub struct Held {
    pub kind: &'static Kind,
    pub count: i64,
    /// When the first record was submitted, and when one was last changed; `None` if there is no record.
    pub times: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// How many days a record is kept after its last change; `None`: as long as the account.
    pub retention_days: Option<u32>,
    /// When the first record expires; `None` if none will.
    pub next_due_at: Option<DateTime<Utc>>,
}

/// Everything that is held about a person.
pub struct Overview {
    /// When the account was made.
    pub registered_at: DateTime<Utc>,
    /// All kinds, in the order of the list; kinds without a record too.
    pub kinds: Vec<Held>,
    /// The current decisions, by purpose.
    pub consents: Vec<ConsentRow>,
    /// The requests to delete that have not ended.
    pub deletions: Vec<DeletionRow>,
    /// How many requests to export wait, are being written, or have a file that can be downloaded.
    pub exports: i64,
    /// Restriction, legal hold and waiting deletion.
    pub switches: SwitchesRow,
    /// How many sessions are alive.
    pub sessions: i64,
    /// How many devices are known; strangers who try codes do not hold up a sign-in on one of them.
    pub devices: i64,
    /// How many entries the log has about the person.
    pub entries: i64,
    /// The version of the ring's key that wraps the person's keys.
    pub ring_version: i32,
    /// How often the person's wrapping key was renewed, counted from 1; each removal renews it.
    pub wrapping_version: i64,
}

/// Reads everything that is held about the caller.
pub async fn get(app: &App, ctx: &Ctx) -> Result<(Overview, Arc<SubjectKeys>), AppError> {
    let subject = ctx.subject;
    let reads = || {
        [
            account_get(subject),
            record_ages(subject),
            retention_list(subject),
            consent_list(subject),
            deletion_list(subject, &Page::all()),
            switches_get(subject),
            overview_get(subject, ctx.now()),
        ]
    };
    let (Standing { keys, wrapped, .. }, [account, ages, rules, consents, deletions, switches, counted]) =
        frame::query(app, Frame::right("overview_get", ctx), reads).await?;
    let counted = CountsRow::from_row(&counted[0]);
    let ages = AgesRow::from_rows(&ages);
    let own = RetentionRow::from_rows(&rules);
    let held = |kind: &'static Kind| {
        let row = ages.iter().find(|row| row.kind == kind.name());
        Held {
            kind,
            count: row.map_or(0, |row| row.count),
            times: row.map(|row| (row.first_submitted_at, row.last_changed_at)),
            retention_days: days_of(kind, &own, ctx.now()),
            next_due_at: retention::expires_at(app, kind, &own, row.map(|row| row.unchanged_since), ctx.now()),
        }
    };
    let waits = |row: &DeletionRow| match row.state {
        DeletionState::Confirmed => true,
        DeletionState::Pending => row.expires_at > ctx.now(),
        DeletionState::Completed | DeletionState::Cancelled | DeletionState::Replaced => false,
    };
    let overview = Overview {
        registered_at: account.first().ok_or(AppError::NotFound("account"))?.get("registered_at"),
        kinds: KINDS.iter().map(|kind| held(kind)).collect(),
        consents: ConsentRow::from_rows(&consents),
        deletions: deletions.iter().map(DeletionRow::from_row).filter(waits).collect(),
        exports: counted.exports,
        switches: SwitchesRow::of(&switches),
        sessions: counted.sessions,
        devices: counted.devices,
        entries: counted.entries,
        ring_version: wrapped.ring_version,
        wrapping_version: wrapped.wrapping_version,
    };
    Ok((overview, keys))
}

/// The current decision on a purpose; `None` if there was none.
pub fn decision_on(consents: &[ConsentRow], purpose: Purpose) -> Option<&ConsentRow> {
    consents.iter().find(|row| row.purpose == purpose.as_str())
}
