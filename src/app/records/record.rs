//! Records: submitting, listing and removing them, for every kind alike.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, NaiveDate, Utc};
use context::{Ctx, RecordId};
use db::{FromRow, Query, Row};
use domain::{
    Body, Fault, Kind,
    kinds::kind,
    quarter::Quarter,
    records::record::{Record, RecordCommand, RecordError},
};
use event_log::{
    Sealing, Store, Stream,
    cqrs_es::{Aggregate, AggregateError},
    execute,
};
use projections::records::{
    list::record_list,
    record::{Named, RecordRow, record_get, record_newest},
};
use serde::{Deserialize, Serialize};
use vault::{
    IndexKey, RecordEntry, RecordKey, SubjectKeys, record_delete, record_register, record_rewrap, subject_rewrap,
};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, IdempotentRequest, Once, Standing, Work},
        letter::{address_of, contact},
        records::{
            opened::{self, OpenRecord},
            version::{Expected, version_of},
        },
    },
    data::ledger::Entry,
    mail::Letter,
};

pub struct Submission {
    pub body: Body,
    /// What the caller demands of the version that is stored; `None`: nothing.
    pub expected: Option<Expected>,
    /// How faults name this record, such as `events[3]`; `None` if there is only one.
    pub within: Option<String>,
}

/// Records that are submitted together: all of them are stored, or none.
pub struct Batch<'a> {
    /// The operation that submits them, which gives the transaction its name.
    pub operation: &'static str,
    /// The kind of all the records.
    pub kind: &'static Kind,
    pub submissions: &'a [Submission],
    /// The current day in the person's time zone.
    pub today: NaiveDate,
    /// Faults that were found before. If there are any, nothing is stored, and the records are checked only to find all
    /// further faults.
    pub faults: Vec<Fault>,
}

/// What a submission did to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The record is new.
    Created,
    /// The record has another body than before.
    Amended,
    /// The record had the same body before.
    Unchanged,
}

/// One record after a submission.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submitted {
    pub record: RecordId,
    pub change: Change,
    /// When it was submitted first.
    pub submitted_at: DateTime<Utc>,
    /// When it was changed last.
    pub recorded_at: DateTime<Utc>,
    /// The sequence of the record's newest event.
    pub version: i64,
}

/// Submits records of one kind in one transaction. A record whose natural key is stored already is amended.
pub async fn submit(
    app: &App,
    ctx: &Ctx,
    batch: &Batch<'_>,
    request: Option<&IdempotentRequest<'_>>,
) -> Result<Once<Vec<Submitted>>, AppError> {
    let index = frame::index_key(app, ctx).await?;
    let claim = frame::claim(app, ctx, batch.operation, request).await?;
    let kind = batch.kind;
    let named = |submission: &Submission| named(ctx, &index, kind, &submission.body);
    let named: &[Named] = &batch.submissions.iter().map(named).collect::<Vec<_>>();
    let reads = || [record_newest(named)];
    let frame = Frame::act(batch.operation, ctx).open_for(kind.purpose()).shared();
    let frame = match named {
        [record] if app.present.contains(record) => frame.in_group(),
        [_] => frame.expecting_new(),
        // Many records would keep the others of a group waiting.
        _ => frame,
    };
    let submitted = frame::command_once(app, frame, claim, reads, move |work, standing, [rows]| async move {
        let present = rows.iter().map(RecordRow::from_row).map(|row| (row.entry.key_hash.clone(), row)).collect();
        decide(&work, &standing.keys, batch, named, &present).await
    })
    .await?;
    if let [record] = named {
        app.present.add(record);
    }
    Ok(submitted)
}

/// How a record with this body is found.
pub(crate) fn named(ctx: &Ctx, index: &IndexKey, kind: &'static Kind, body: &Body) -> Named {
    let key_hash = index.key_hash(kind.name(), &kind.natural_key(body));
    Named { subject: ctx.subject, kind: kind.name(), key_hash }
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
    let row = rows.first().ok_or(AppError::NotFound("record"))?;
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
    let chosen = || record_get(ctx.subject, kind.name(), record);
    let removed = removal(app, "record_remove", ctx, None, &chosen, expected).await?;
    if removed == 0 { Err(AppError::NotFound("record")) } else { Ok(()) }
}

/// Removes all records of a kind and returns how many there were. A letter tells the person, because a thief of the
/// session can do this in one step.
pub async fn remove_all(app: &App, ctx: &Ctx, operation: &'static str, kind: &'static Kind) -> Result<usize, AppError> {
    let all = || record_list(ctx.subject, kind.name());
    removal(app, operation, ctx, Some(kind), &all, &Expected::default()).await
}

/// Removes the records that `chosen` selects in one transaction. Refuses if a legal hold is in force or the version of
/// one of them is not an expected one. `all_of` is the kind for the letter, if all its records go.
async fn removal(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    all_of: Option<&'static Kind>,
    chosen: &(dyn Fn() -> Query + Sync),
    expected: &Expected,
) -> Result<usize, AppError> {
    let reads = || [chosen(), record_register(ctx.subject)];
    let frame = Frame::act(operation, ctx).unheld().alone();
    frame::command(app, frame, reads, move |work, standing, [rows, register]| async move {
        let gone = RecordRow::from_rows(&rows);
        if gone.iter().any(|row| !expected.permits(Some(&version_of(row.entry.record, row.event.sequence)))) {
            return Err(AppError::PreconditionFailed);
        }
        let removed = remove_rows(&work, &standing, &gone, &register).await?;
        note_removed(app, ctx, &removed).await?;
        if let Some(kind) = all_of.filter(|_| !removed.is_empty()) {
            let [contact] = work.tx.flight([contact(ctx.subject)]).await?;
            match address_of(&standing.keys, &contact) {
                Ok(to) => {
                    work.post(&Letter::records_removed(&to, kind.title(), removed.len(), ctx.now()))?;
                }
                // A damaged contact must not keep anybody from removing the records.
                Err(error) => tracing::error!(%error, "a removal can't be told: the contact does not open"),
            }
        }
        Ok(removed.len())
    })
    .await
}

/// Queues the removal of records. Their events stay, sealed, and nothing opens them any more: their rows leave the
/// register (`register` is all of it), the person gets a new wrapping key, and the keys of the records that stay are
/// wrapped with the new key. The transaction must hold the person's lock alone.
pub(crate) async fn remove_rows(
    work: &Work<'_>,
    standing: &Standing,
    gone: &[RecordRow],
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
    Ok(gone)
}

/// Notes in the ledger which records a transaction is about to remove. The entry is written before the commit, so that
/// no restore brings back a record that somebody was told is gone.
pub(crate) async fn note_removed(app: &App, ctx: &Ctx, records: &[RecordId]) -> Result<(), AppError> {
    if records.is_empty() {
        return Ok(());
    }
    let entry = Entry::Removed { subject: ctx.subject, records: records.to_vec(), at: ctx.now() };
    Ok(app.ledger.append(entry).await?)
}

/// Decides on each submission, and queues what follows from it.
async fn decide(
    work: &Work<'_>,
    keys: &SubjectKeys,
    batch: &Batch<'_>,
    named: &[Named],
    present: &HashMap<Vec<u8>, RecordRow>,
) -> Result<Vec<Submitted>, AppError> {
    let (mut outcomes, mut entries, mut faults) = (Vec::new(), Vec::new(), batch.faults.clone());
    let mut seen = HashSet::new();
    for (submission, Named { key_hash: hash, .. }) in batch.submissions.iter().zip(named) {
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
    entries.into_iter().for_each(|entry| work.unit.enter(work.ctx.subject, entry));
    Ok(outcomes)
}

async fn decide_one(
    work: &Work<'_>,
    keys: &SubjectKeys,
    batch: &Batch<'_>,
    submission: &Submission,
    hash: [u8; 32],
    present: Option<&RecordRow>,
) -> Result<(Submitted, Option<RecordEntry>), AppError> {
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
    // Faults of the submitted record come before a condition on the stored one (RFC 9110, 13.2.1).
    let found = present.map(|row| version_of(row.entry.record, row.event.sequence));
    if submission.expected.as_ref().is_some_and(|expected| !expected.permits(found.as_deref())) {
        return Err(AppError::PreconditionFailed);
    }
    let added = i64::try_from(unit.len() - before).expect("a command makes few events");
    let change = match (present, added) {
        (_, 0) => Change::Unchanged,
        (None, _) => Change::Created,
        (Some(_), _) => Change::Amended,
    };
    let outcome = Submitted {
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
