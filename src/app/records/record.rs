//! Records: submitting, listing and removing them, for every kind alike.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use context::{Ctx, RecordId};
use db::{FromRow, Row};
use domain::{
    Body, Fault, Kind,
    filter::Days,
    kinds::{CONTACT, Contact, Shape, kind},
    quarter::Quarter,
    records::record::{Record, RecordCommand, RecordError},
};
use event_log::{
    Sealing, Store, Stream,
    cqrs_es::{Aggregate, AggregateError},
    execute,
};
use projections::records::{
    answer::answers_forget,
    record::{RecordRow, record_all, record_get, record_list, record_newest},
};
use serde::{Deserialize, Serialize};
use vault::{
    RecordEntry, RecordKey, SubjectKeys, record_delete, record_insert, record_register, record_rewrap, subject_rewrap,
};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, Standing, Work},
        records::{
            once::{Claim, Once},
            opened::{self, OpenRecord},
        },
    },
    data::ledger::Entry,
    mail::Letter,
};

/// Longer ranges than this read all records of a kind: so many buckets would cost more than they spare.
pub(crate) const BUCKET_YEARS: i32 = 10;

/// One record that somebody submits.
pub struct Submission {
    /// What it says.
    pub body: Body,
    /// What the caller demands of the version that is there.
    pub expected: Option<Expected>,
    /// What it is called in faults, such as `events[3]`; none where there is only one.
    pub within: Option<String>,
}

/// Versions of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Whichever there is.
    Any,
    /// One of these.
    These(Vec<i64>),
}

/// What must be true of a record before it is changed (RFC 9110, 13.1.1 and 13.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The record is there, in one of these versions.
    pub one_of: Option<Versions>,
    /// The record is not there in any of these versions.
    pub none_of: Option<Versions>,
}

impl Expected {
    /// Exactly this version.
    pub fn version(version: i64) -> Self {
        Self { one_of: Some(Versions::These(vec![version])), none_of: None }
    }

    /// No version at all: for a change that must only be checked, because a condition failed already.
    pub fn nothing() -> Self {
        Self { one_of: Some(Versions::These(Vec::new())), none_of: None }
    }

    /// Whether a record of this version may be changed; `None` where there is no record.
    pub fn permits(&self, version: Option<i64>) -> bool {
        let named = |versions: &Versions| match (versions, version) {
            (_, None) => false,
            (Versions::Any, Some(_)) => true,
            (Versions::These(these), Some(version)) => these.contains(&version),
        };
        self.one_of.as_ref().is_none_or(named) && !self.none_of.as_ref().is_some_and(named)
    }
}

/// What is submitted together: all of it is stored, or none.
pub struct Batch<'a> {
    /// The operation that submits it, which gives the transaction its name.
    pub operation: &'static str,
    /// The kind of all of it.
    pub kind: &'static Kind,
    /// The records.
    pub submissions: &'a [Submission],
    /// The day, where the person is.
    pub today: NaiveDate,
    /// What was found wrong before; where there is something, nothing is stored, and all else that is wrong is found.
    pub faults: Vec<Fault>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It is new.
    Created,
    /// It says something else now.
    Amended,
    /// It said the same before.
    Unchanged,
}

/// One record after a submission.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The record's id.
    pub record: RecordId,
    /// What became of it.
    pub change: Change,
    /// When it was submitted first.
    pub submitted_at: DateTime<Utc>,
    /// When it was changed last.
    pub recorded_at: DateTime<Utc>,
    /// The stream's version.
    pub version: i64,
}

/// Submits records of one kind in one transaction; a natural key that is there already is amended.
pub async fn submit(
    app: &App,
    ctx: &Ctx,
    batch: &Batch<'_>,
    once: Option<&Once<'_>>,
) -> Result<Vec<Outcome>, AppError> {
    let index = frame::index_key(app, ctx).await?;
    let claim = once.map(|once| Claim::new(batch.operation, once, &index));
    let kind = batch.kind;
    let hashes: Vec<[u8; 32]> = batch
        .submissions
        .iter()
        .map(|submission| index.key_hash(kind.name(), &kind.natural_key(&submission.body)))
        .collect();
    let hashes = hashes.as_slice();
    let key_hashes = || hashes.iter().map(|hash| hash.to_vec()).collect();
    let reads = || [record_newest(ctx.subject, kind.name(), key_hashes())];
    let frame = Frame::act(batch.operation, ctx).open_for(kind.purpose()).shared();
    frame::command_once(app, frame, claim, reads, move |work, standing, [rows]| async move {
        let present = rows.iter().map(RecordRow::from_row).map(|row| (row.entry.key_hash.clone(), row)).collect();
        decide(&work, &standing.keys, batch, hashes, &present).await
    })
    .await
}

/// The living records of a kind; if days are given, those that lie in them.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    operation: &'static str,
    kind: &'static Kind,
    range: Option<Days>,
) -> Result<(Vec<OpenRecord>, Arc<SubjectKeys>), AppError> {
    let index = frame::index_key(app, ctx).await?;
    let buckets = range
        .filter(|days| days.last.year() - days.first.year() < BUCKET_YEARS)
        .map(|days| days.quarters().map(|quarter| index.bucket(kind.name(), &quarter.to_string()).to_vec()).collect());
    let reads = || [record_list(ctx.subject, kind.name(), buckets.clone())];
    let (standing, [rows]) = frame::query(app, Frame::right(operation, ctx).shared(), reads).await?;
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        let record = opened::open(&standing.keys, &RecordRow::from_row(row))?;
        if range.is_none_or(|days| days.hold(kind, &record.body)) {
            records.push(record);
        }
    }
    Ok((records, standing.keys))
}

/// One living record of a kind.
pub async fn get(
    app: &App,
    ctx: &Ctx,
    kind: &'static Kind,
    record: RecordId,
) -> Result<(OpenRecord, Arc<SubjectKeys>), AppError> {
    let reads = || [record_get(ctx.subject, kind.name(), record)];
    let (standing, [rows]) = frame::query(app, Frame::right("record_get", ctx).shared(), reads).await?;
    let row = rows.first().ok_or(AppError::Missing("record"))?;
    Ok((opened::open(&standing.keys, &RecordRow::from_row(row))?, standing.keys))
}

/// Removes one record of a kind, if its version is one that the caller expects.
pub async fn remove(
    app: &App,
    ctx: &Ctx,
    kind: &'static Kind,
    record: RecordId,
    expected: &Expected,
) -> Result<(), AppError> {
    let chosen = move |row: &RecordRow| row.entry.kind == kind.name() && row.entry.record == record;
    let removed = removal(app, "record_remove", ctx, None, &chosen, expected).await?;
    if removed == 0 { Err(AppError::Missing("record")) } else { Ok(()) }
}

/// Removes all records of a kind; says how many there were. The person is told by letter, since whoever has their session can
/// do this in one step.
pub async fn remove_all(app: &App, ctx: &Ctx, operation: &'static str, kind: &'static Kind) -> Result<usize, AppError> {
    let all = move |row: &RecordRow| row.entry.kind == kind.name();
    removal(app, operation, ctx, Some(kind), &all, &Expected::default()).await
}

/// A transaction that removes the records that `choose` names, unless a legal hold stands or one is of another version than
/// expected. Where all of a kind go, it is named in a letter.
async fn removal(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    all_of: Option<&'static Kind>,
    choose: &(dyn Fn(&RecordRow) -> bool + Sync),
    expected: &Expected,
) -> Result<usize, AppError> {
    let reads = || [record_all(ctx.subject), record_register(ctx.subject)];
    let frame = Frame::act(operation, ctx).unheld().alone();
    frame::command(app, frame, reads, move |work, standing, [rows, register]| async move {
        let rows: Vec<RecordRow> = rows.iter().map(RecordRow::from_row).collect();
        let gone: Vec<&RecordRow> = rows.iter().filter(|row| choose(row)).collect();
        if gone.iter().any(|row| !expected.permits(Some(row.event.sequence))) {
            return Err(AppError::PreconditionFailed);
        }
        let removed = remove_rows(&work, &standing, &gone, &register).await?;
        note_removed(app, ctx, &removed).await?;
        if let Some(kind) = all_of.filter(|_| !removed.is_empty()) {
            match address_among(&standing.keys, &rows) {
                Some(to) => {
                    work.post(&Letter::records_removed(&to, kind.title(), removed.len(), ctx.now()))?;
                }
                // Damaged data must not keep anybody from removing the rest.
                None => tracing::error!("a removal can't be told: the contact does not open"),
            }
        }
        Ok(removed.len())
    })
    .await
}

/// Queues the removal of records. Their events stay, sealed; their keys are gone for good: rows leave the register
/// (`register` is all of it), the person gets a new wrapping key, and the keys of what survives are wrapped anew with it.
/// The transaction must hold the subject's lock alone.
pub(crate) async fn remove_rows(
    work: &Work<'_>,
    standing: &Standing,
    gone: &[&RecordRow],
    register: &[Row],
) -> Result<Vec<RecordId>, AppError> {
    let (ctx, tx) = (work.ctx, &work.tx);
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let keys = &standing.keys;
    for row in gone {
        let key = keys.open_record(&row.entry)?;
        let kind = kind(&row.entry.kind).map_or(Record::TYPE, |kind| kind.name());
        let stream = Stream { subject: ctx.subject, kind, sealing: Sealing::Record(&key), newest: Some(&row.event) };
        let store = Store::new(&work.unit, stream, &[], ctx.now());
        execute::<Record>(store, &row.event.aggregate_id, RecordCommand::Remove, ()).await?;
    }
    let gone: Vec<RecordId> = gone.iter().map(|row| row.entry.record).collect();
    let leaving: HashSet<RecordId> = gone.iter().copied().collect();
    let (renewed, wrapped) = keys.renew_wrapping(work.app.vault.ring(), &standing.wrapped)?;
    let mut rewrapped = Vec::new();
    for entry in register.iter().map(RecordEntry::from_row).filter(|entry| !leaving.contains(&entry.record)) {
        let key = keys.open_record(&entry)?;
        rewrapped.push(renewed.wrap_again(entry, &key));
    }
    tx.queue(record_delete(ctx.subject, gone.clone()));
    tx.queue(subject_rewrap(ctx.subject, &wrapped));
    tx.queue(record_rewrap(ctx.subject, rewrapped));
    // A stored answer would go on saying that a record is there.
    tx.queue(answers_forget(ctx.subject));
    Ok(gone)
}

/// Notes in the ledger what a transaction is about to remove: before its commit, so that no restore ever brings back what
/// somebody was told is gone.
pub(crate) async fn note_removed(app: &App, ctx: &Ctx, records: &[RecordId]) -> Result<(), AppError> {
    if records.is_empty() {
        return Ok(());
    }
    let entry = Entry::Removed { subject: ctx.subject, records: records.to_vec(), at: ctx.now() };
    Ok(app.ledger.append(entry).await?)
}

/// A person's address, among all their records.
fn address_among(keys: &SubjectKeys, records: &[RecordRow]) -> Option<String> {
    let contact = records.iter().find(|row| row.entry.kind == CONTACT.name())?;
    Contact::from_body(&opened::open(keys, contact).ok()?.body).map(|contact| contact.email)
}

/// Runs the aggregate of each submission and queues what follows.
async fn decide(
    work: &Work<'_>,
    keys: &SubjectKeys,
    batch: &Batch<'_>,
    hashes: &[[u8; 32]],
    present: &HashMap<Vec<u8>, RecordRow>,
) -> Result<Vec<Outcome>, AppError> {
    let (mut outcomes, mut entries, mut faults) = (Vec::new(), Vec::new(), batch.faults.clone());
    let mut seen = HashSet::new();
    for (submission, hash) in batch.submissions.iter().zip(hashes) {
        let field = |fault: Fault| match &submission.within {
            Some(outer) => fault.within(outer),
            None => fault,
        };
        if !seen.insert(hash) {
            faults.push(field(Fault::new(batch.kind.key_field(), "is repeated in this batch")));
            continue;
        }
        match decide_one(work, keys, batch, submission, *hash, present.get(hash.as_slice())).await {
            Ok((outcome, entry)) => {
                outcomes.push(outcome);
                entries.extend(entry);
            }
            Err(AppError::Invalid(found)) => faults.extend(found.into_iter().map(field)),
            Err(other) => return Err(other),
        }
    }
    if !faults.is_empty() {
        return Err(AppError::Invalid(faults));
    }
    if !entries.is_empty() {
        work.queue(record_insert(work.ctx.subject, entries));
    }
    Ok(outcomes)
}

async fn decide_one(
    work: &Work<'_>,
    keys: &SubjectKeys,
    batch: &Batch<'_>,
    submission: &Submission,
    hash: [u8; 32],
    present: Option<&RecordRow>,
) -> Result<(Outcome, Option<RecordEntry>), AppError> {
    let (kind, ctx, unit) = (batch.kind, work.ctx, &work.unit);
    let now = ctx.now();
    let version = present.map_or(0, |row| row.event.sequence);
    let (record, key) = match present {
        Some(row) => (row.entry.record, keys.open_record(&row.entry)?),
        None => (RecordId::random(), RecordKey::generate()),
    };
    let before = unit.len();
    let stream = Stream {
        subject: ctx.subject,
        kind: kind.name(),
        sealing: Sealing::Record(&key),
        newest: present.map(|row| &row.event),
    };
    let command = RecordCommand::Submit { kind, body: submission.body.clone(), today: batch.today };
    execute::<Record>(Store::new(unit, stream, &[], now), &record.to_string(), command, ())
        .await
        .map_err(|error: AggregateError<RecordError>| AppError::from(error))?;
    // What is wrong with the record itself goes before what is demanded of the one that is there (RFC 9110, 13.2.1).
    let found = present.map(|row| row.event.sequence);
    if submission.expected.as_ref().is_some_and(|expected| !expected.permits(found)) {
        return Err(AppError::PreconditionFailed);
    }
    let added = i64::try_from(unit.len() - before).expect("a command makes few events");
    let change = match (present, added) {
        (_, 0) => Change::Unchanged,
        (None, _) => Change::Created,
        (Some(_), _) => Change::Amended,
    };
    let outcome = Outcome {
        record,
        change,
        submitted_at: present.map_or(now, |row| row.submitted_at),
        recorded_at: if added == 0 { present.map_or(now, |row| row.event.recorded_at) } else { now },
        version: version + added,
    };
    let entry = present.is_none().then(|| {
        let quarter = kind.date(&submission.body).map(|date| Quarter::of(date).to_string());
        let bucket = quarter.map(|quarter| keys.index().bucket(kind.name(), &quarter).to_vec());
        keys.enter(record, kind.name(), hash.to_vec(), bucket, &key)
    });
    Ok((outcome, entry))
}
