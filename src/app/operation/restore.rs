//! What follows a restore, before anybody is served: the ledger is carried out again, so that nothing comes back which
//! was erased, removed, withdrawn, restricted or taken from staff after the backup was taken.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use context::{Ctx, DeletionId, RecordId, Role, SubjectId};
use db::FromRow;
use domain::event::Described;
use domain::rights::{
    consent::{Consent, ConsentCommand, Purpose},
    deletion::{Deletion, DeletionCommand, DeletionError},
    hold::{Hold, HoldCommand},
    restriction::{Restriction, RestrictionCommand},
};
use projections::{
    log::audit::stream_newest,
    operation::restore::restore_unfinished,
    records::record::{RecordRow, records_get},
    rights::consent::stream_id,
};
use serde::Serialize;
use vault::record_register;

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, newest_of},
        identity::staff,
        records::record,
        rights::{decision, erasure},
        statistics::release,
    },
    data::ledger::Entry,
};

/// How much of the ledger had to be carried out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// People who were erased.
    pub erased: usize,
    /// Records that were removed.
    pub removed: usize,
    /// Consents that were withdrawn, and objections that were raised.
    pub withdrawn: usize,
    /// Restrictions that were set or lifted.
    pub restricted: usize,
    /// Legal holds that were placed or lifted.
    pub held: usize,
    /// Requests to delete that were cancelled.
    pub cancelled: usize,
    /// Requests to delete whose grace was prolonged.
    pub paused: usize,
    /// Staff roles that were taken from people.
    pub roles: usize,
    /// Releases of statistics that are lost, and are not drawn again.
    pub released: usize,
}

/// The end of a hold and its sealed reason; `None` if the hold was lifted.
type SealedHold = Option<(DateTime<Utc>, String)>;

/// The ledger, reduced to what must be true in the end: for each person, the newest entry about each thing.
#[derive(Default)]
struct Digest {
    erased: BTreeMap<SubjectId, DeletionId>,
    removed: BTreeMap<SubjectId, HashSet<RecordId>>,
    withdrawn: BTreeMap<(SubjectId, Purpose), (bool, DateTime<Utc>)>,
    restricted: BTreeMap<SubjectId, (bool, DateTime<Utc>)>,
    held: BTreeMap<SubjectId, (SealedHold, DateTime<Utc>)>,
    cancelled: Vec<(SubjectId, DeletionId, DateTime<Utc>)>,
    paused: BTreeMap<(SubjectId, DeletionId), Pause>,
    roles: BTreeMap<(SubjectId, String), bool>,
    released: Vec<(String, u32)>,
}

/// The newest end of the grace of a request to delete.
struct Pause {
    paused_until: DateTime<Utc>,
    grace_ends_at: DateTime<Utc>,
    at: DateTime<Utc>,
}

impl Digest {
    fn of(entries: Vec<Entry>) -> Self {
        let mut digest = Self::default();
        for entry in entries {
            match entry {
                Entry::Erasing { subject, request, .. } => drop(digest.erased.insert(subject, request)),
                Entry::NotErased { subject, .. } => drop(digest.erased.remove(&subject)),
                Entry::Erased { .. } => {}
                Entry::Removed { subject, records, .. } => digest.removed.entry(subject).or_default().extend(records),
                Entry::Withdrawn { subject, purpose, objected, at } => {
                    // An objection is stronger than a withdrawal, so a later withdrawal must not hide it.
                    let known = digest.withdrawn.entry((subject, purpose)).or_insert((objected, at));
                    *known = (known.0 || objected, at);
                }
                Entry::Restricted { subject, restricted, at } => {
                    digest.restricted.insert(subject, (restricted, at));
                }
                Entry::Held { subject, hold, at } => drop(digest.held.insert(subject, (hold, at))),
                Entry::Cancelled { subject, request, at } => digest.cancelled.push((subject, request, at)),
                Entry::Paused { subject, request, paused_until, grace_ends_at, at } => {
                    digest.paused.insert((subject, request), Pause { paused_until, grace_ends_at, at });
                }
                Entry::StaffRole { subject, role, given, .. } => drop(digest.roles.insert((subject, role), given)),
                Entry::Released { period, revision, .. } => digest.released.push((period, revision)),
            }
        }
        digest
    }
}

/// Carries out what the ledger tells and the database does not know. A second run changes nothing.
pub async fn replay(app: &App) -> Result<Replayed, AppError> {
    let digest = Digest::of(app.ledger.read().await?);
    let mut replayed = Replayed::default();
    // Holds, cancellations and pauses come first, because they bar an erasure that was not carried out before the
    // backup was restored.
    for (subject, (hold, at)) in digest.held {
        let command = || match hold.clone() {
            Some((until, sealed)) => HoldCommand::Place { until, sealed, now: at },
            None => HoldCommand::Lift,
        };
        replayed.held += repeat::<Hold>(app, "hold_again", subject, subject.to_string(), at, &command).await?;
    }
    for (subject, deletion, at) in digest.cancelled {
        let command = move || DeletionCommand::Cancel { deletion, now: at };
        let again = repeat::<Deletion>(app, "cancel_again", subject, subject.to_string(), at, &command);
        replayed.cancelled += again.await?;
    }
    for ((subject, deletion), Pause { paused_until, grace_ends_at, at }) in digest.paused {
        let command = move || DeletionCommand::PauseAgain { deletion, paused_until, grace_ends_at };
        let again = repeat::<Deletion>(app, "pause_again", subject, subject.to_string(), at, &command);
        replayed.paused += again.await?;
    }
    for (subject, deletion) in digest.erased {
        replayed.erased += usize::from(erasure::again(app, subject, deletion).await?);
    }
    for (subject, records) in &digest.removed {
        replayed.removed += remove_again(app, *subject, records).await?;
    }
    for ((subject, purpose), (objected, at)) in digest.withdrawn {
        let command = move || {
            let decision = decision::current(purpose);
            if objected { ConsentCommand::Object { decision } } else { ConsentCommand::Withdraw { decision } }
        };
        let again = repeat::<Consent>(app, "withdraw_again", subject, stream_id(subject, purpose), at, &command);
        replayed.withdrawn += again.await?;
    }
    for (subject, (restricted, at)) in digest.restricted {
        let command = move || if restricted { RestrictionCommand::Set } else { RestrictionCommand::Lift };
        let again = repeat::<Restriction>(app, "restrict_again", subject, subject.to_string(), at, &command);
        replayed.restricted += again.await?;
    }
    for ((subject, role), _) in digest.roles.into_iter().filter(|(_, given)| !given) {
        let Some(role) = Role::parse(&role) else { continue };
        replayed.roles += unless_gone(staff::take(app, subject, Some(role)).await.map(|taken| taken.roles.len()))?;
    }
    for (period, revision) in digest.released {
        let Ok(period) = period.parse() else { continue };
        replayed.released += usize::from(release::lost(app, period, revision).await?);
    }
    Ok(replayed)
}

async fn remove_again(app: &App, subject: SubjectId, records: &HashSet<RecordId>) -> Result<usize, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let records: &Vec<RecordId> = &records.iter().copied().collect();
    let reads = || [records_get(subject, records), record_register(subject)];
    let frame = Frame::act("record_remove_again", ctx).alone();
    let removed = frame::command(app, frame, reads, move |work, standing, [rows, register]| async move {
        let gone = RecordRow::from_rows(&rows);
        Ok(record::remove_rows(&work, &standing, &gone, &register).await?.len())
    });
    unless_gone(removed.await)
}

/// Runs a command again, unless its stream has an event that is as new as the ledger's entry; returns how many events
/// it added.
async fn repeat<A>(
    app: &App,
    operation: &'static str,
    subject: SubjectId,
    id: String,
    at: DateTime<Utc>,
    command: &(dyn Fn() -> A::Command + Sync),
) -> Result<usize, AppError>
where
    A: Described<Services = ()>,
{
    let (ctx, id) = (&Ctx::job(app.clock.clone(), subject), &id);
    let frame = Frame::act(operation, ctx).alone();
    let reads = || [stream_newest(subject, A::TYPE, id)];
    let repeated = frame::command(app, frame, reads, move |work, _, [stream]| async move {
        if newest_of(&stream).is_some_and(|event| event.recorded_at >= at) {
            return Ok(0);
        }
        Ok(usize::from(work.command::<A>(id, &stream, command()).await?.is_some()))
    });
    unless_gone(repeated.await)
}

/// Whether a restore of this database has not finished.
pub async fn unfinished(app: &App) -> Result<bool, AppError> {
    let [rows] = frame::system_query(app, "restore_unfinished", || [restore_unfinished()]).await?;
    Ok(!rows.is_empty())
}

/// An entry needs no repetition if its person is gone, its request is closed, or its hold is over.
fn unless_gone(outcome: Result<usize, AppError>) -> Result<usize, AppError> {
    match outcome {
        Err(AppError::SignedOut | AppError::NotFound("hold")) => Ok(0),
        Err(error) if error.rule::<DeletionError>().is_some() => Ok(0),
        outcome => outcome,
    }
}
