//! Writes the file of an export, and removes files. A run can be started again at any point, also by another server:
//! each attempt has a key and a file of its own, and the row of the request says which attempt counts.

use std::collections::HashSet;

use aws_lc_rs::rand;
use chrono::TimeDelta;
use context::{Ctx, ExportId, SubjectId};
use db::{FromRow, Query, Row};
use domain::{
    kinds::Contact,
    rights::export::{Export, ExportCommand, ExportError, ExportFailure, ExportState},
};
use event_log::cqrs_es::Aggregate;
use projections::{
    identity::account::account_get,
    log::audit::stream_newest,
    rights::export::{ExportRow, FileRow, export_begin, export_event_count, export_get, exports_expired, exports_kept},
};
use uuid::Uuid;
use vault::FileKey;

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        identity::known,
        letter::contact,
        operation::job::Next,
        records::opened::single,
        rights::{
            export::{self, candidate, candidates, unseal},
            export_source::{Source, Stop},
        },
    },
    auth::accounts::user_get,
    export::{FileName, FilePlace, FileWriter, format_of, prove},
    mail::Letter,
};

/// How long a file can be downloaded after it was written.
const LIFETIME: TimeDelta = TimeDelta::days(7);
/// After so many attempts that a dying server or the database broke off, the person is told that there will be no file.
const ATTEMPTS: i32 = 5;
/// How many files the sweep looks up together.
const SWEEP: usize = 1000;
/// How long a request waits before the next try while processing is restricted.
const RESTRICTED_PAUSE: TimeDelta = TimeDelta::hours(1);

/// What an attempt has written: the number of records, and the size in bytes.
struct Written {
    records: u64,
    size: u64,
}

/// Writes the file of a request, if the person still waits for it.
pub async fn run(app: &App, subject: SubjectId, export: ExportId, attempts: i32) -> Result<Next, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    if attempts > ATTEMPTS {
        return fail(app, ctx, export, None, ExportFailure::GaveUp).await;
    }
    let (mut source, key) = match begin(app, ctx, export).await {
        Ok(Some(begun)) => begun,
        // The person or the request is gone, and its file with it.
        Ok(None) | Err(AppError::SignedOut) => return Ok(Next::Done),
        Err(AppError::Corrupt(_)) => return fail(app, ctx, export, None, ExportFailure::Damaged).await,
        // The export was asked for before processing was restricted; it waits until the restriction is lifted.
        Err(AppError::Restricted) => return Ok(Next::Later(ctx.now() + RESTRICTED_PAUSE)),
        Err(error) => return Err(error),
    };
    let name = FileName { subject, export, etag: source.etag.clone() };
    let stop = match write(app, &mut source, &name, key).await {
        Ok(written) => match complete(app, ctx, &source, &written).await {
            Ok(true) => return Ok(Next::Done),
            Ok(false) => Stop::Superseded,
            Err(error) => Stop::Failed(error),
        },
        Err(stop) => stop,
    };
    let removed = app.exports.remove(&name).await;
    match stop {
        Stop::Superseded => Ok(Next::Done),
        Stop::Failed(AppError::SignedOut) => {
            // The person was erased while the file was being written.
            app.exports.remove_all(subject).await?;
            Ok(Next::Done)
        }
        Stop::Failed(AppError::Exports(error)) => {
            tracing::error!(%error, %export, "an export can't be stored");
            fail(app, ctx, export, Some(&name.etag), ExportFailure::Store).await
        }
        Stop::Failed(AppError::Corrupt(what)) => {
            tracing::error!(what, %export, "an export can't be made");
            fail(app, ctx, export, Some(&name.etag), ExportFailure::Damaged).await
        }
        Stop::Failed(error) => {
            removed?;
            Err(error)
        }
    }
}

/// Begins an attempt: returns what there is to write, and the key of its file. `None` if nobody waits for it.
async fn begin<'a>(app: &'a App, ctx: &'a Ctx, export: ExportId) -> Result<Option<(Source<'a>, FileKey)>, AppError> {
    let index = &frame::index_key(app, ctx).await?;
    let frame = Frame::act("export_begin", ctx).unrestricted().shared();
    let reads = || [export_get(ctx.subject, export)];
    frame::command(app, frame, reads, move |work, standing, [found]| async move {
        let keys = standing.keys;
        let Some(row) = found.first().map(ExportRow::from_row) else { return Ok(None) };
        let filter = unseal(&keys, &row)?;
        let [account, contact, user, ids, events] = work
            .tx
            .flight([
                account_get(ctx.subject),
                contact(ctx.subject),
                user_get(ctx.subject),
                candidates(ctx, index, &filter),
                export_event_count(ctx.subject),
            ])
            .await?;
        let (contact, _) = single::<Contact>(&keys, &contact)?.ok_or(AppError::NotFound("contact"))?;
        let source = Source {
            app,
            ctx,
            user: known::user_id(app, ctx.subject, &user)?,
            email: contact.email,
            registered_at: account.first().ok_or(AppError::NotFound("account"))?.get("registered_at"),
            export,
            scope: row.scope,
            format: row.format,
            requested_at: row.requested_at,
            filter,
            etag: random_tag(),
            ids: ids.iter().map(candidate).collect(),
            done: 0,
        };
        let key = FileKey::generate();
        let place = FilePlace { subject: ctx.subject, export };
        let wrapped = key.wrap(&keys, &place.key()).to_base64();
        let total = total(&source, &events);
        let [begun] = work.tx.flight([export_begin(ctx.subject, export, source.etag.clone(), wrapped, total)]).await?;
        Ok((!begun.is_empty()).then_some((source, key)))
    })
    .await
}

async fn write(app: &App, source: &mut Source<'_>, name: &FileName, key: FileKey) -> Result<Written, Stop> {
    let mut file = FileWriter::create(&app.exports, name, key).await?;
    let (mut format, mut records) = (format_of(source.format), 0);
    for section in format.sections(&source.contents()) {
        format.begin(&section)?;
        for part in &section.parts {
            let mut cursor = Source::begin(part);
            while let Some(items) = source.next(&mut cursor).await? {
                records += if part.is_records() { items.len() as u64 } else { 0 };
                for item in &items {
                    format.item(part, item)?;
                }
                file.write(&format.take()).await?;
            }
        }
        format.end()?;
    }
    let (ring, user) = (app.vault.ring(), source.user);
    format.finish(&|hash| {
        let proof = prove(ring, user, hash).map_err(std::io::Error::other)?;
        Ok(serde_json::to_value(proof)?)
    })?;
    file.write(&format.take()).await?;
    Ok(Written { records, size: file.finish().await? })
}

/// Records that the file is complete, and tells the person; returns false if nobody waits for this attempt any more.
async fn complete(app: &App, ctx: &Ctx, source: &Source<'_>, written: &Written) -> Result<bool, AppError> {
    let expires_at = ctx.now() + LIFETIME;
    let complete =
        ExportCommand::Complete { records: written.records, size: written.size, etag: source.etag.clone(), expires_at };
    let letter = |to: &str| Letter::export_ready(to, expires_at);
    end(app, "export_complete", ctx, source.export, Some(&source.etag), complete, &letter).await
}

/// Records that there will be no file, and tells the person.
async fn fail(
    app: &App,
    ctx: &Ctx,
    export: ExportId,
    etag: Option<&str>,
    reason: ExportFailure,
) -> Result<Next, AppError> {
    let fail = ExportCommand::Fail(reason);
    end(app, "export_fail", ctx, export, etag, fail, &Letter::export_failed).await?;
    Ok(Next::Done)
}

async fn end(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    export: ExportId,
    etag: Option<&str>,
    command: ExportCommand,
    letter: &(dyn Fn(&str) -> Letter + Sync),
) -> Result<bool, AppError> {
    let (command, id) = (&command, &export.to_string());
    let reads =
        || [export_get(ctx.subject, export), stream_newest(ctx.subject, Export::TYPE, id), contact(ctx.subject)];
    let frame = Frame::act(operation, ctx).shared();
    frame::command(app, frame, reads, move |work, standing, [found, stream, contact]| async move {
        let row = found.first().map(ExportRow::from_row);
        let mine = |row: &ExportRow| etag.is_none_or(|etag| row.etag.as_deref() == Some(etag));
        let waiting = |row: &ExportRow| matches!(row.state, ExportState::Pending | ExportState::Processing);
        if !row.is_some_and(|row| mine(&row) && waiting(&row)) {
            return Ok(false);
        }
        work.command::<Export>(id, &stream, command.clone()).await?;
        if let Some((contact, _)) = single::<Contact>(&standing.keys, &contact)? {
            work.post(&letter(&contact.email))?;
        }
        Ok(true)
    })
    .await
}

/// Removes files that have expired, and files that crashed runs left behind; returns how many.
pub async fn expire_all(app: &App) -> Result<usize, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    // Files are listed first, so that a file of an attempt that begins later is not taken for an orphan: the row of a
    // request names its attempt before the file is begun.
    let files = app.exports.list().await?;
    let expired = names(app, &|| exports_expired(ctx.now())).await?;
    for name in &expired {
        app.exports.remove(name).await?;
        let ctx = &Ctx::job(app.clock.clone(), name.subject);
        match expire(app, ctx, name.export).await {
            // Another server was faster, or the person was erased.
            Err(AppError::SignedOut | AppError::NotFound(_)) => {}
            Err(error) if error.rule::<ExportError>().is_some() => {}
            outcome => outcome?,
        }
    }
    let mut removed = expired.len();
    for page in files.chunks(SWEEP) {
        let ids: Vec<Uuid> = page.iter().map(|name| name.export.0).collect();
        let kept: HashSet<FileName> = names(app, &|| exports_kept(ids.clone())).await?.into_iter().collect();
        for orphan in page.iter().filter(|name| !kept.contains(name) && !expired.contains(name)) {
            app.exports.remove(orphan).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

async fn expire(app: &App, ctx: &Ctx, export: ExportId) -> Result<(), AppError> {
    export::step(app, "export_expire", ctx, export, ExportCommand::Expire).await.map(drop)
}

async fn names(app: &App, query: &(dyn Fn() -> Query + Sync)) -> Result<Vec<FileName>, AppError> {
    let [rows] = frame::system_query(app, "export_names", || [query()]).await?;
    let name = |FileRow { subject, export, etag }| Some(FileName { subject, export, etag: etag? });
    Ok(rows.iter().map(FileRow::from_row).filter_map(name).collect())
}

fn random_tag() -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}

/// How many records and events the attempt has to read.
fn total(source: &Source<'_>, events: &[Row]) -> i64 {
    let records: usize = source.ids.values().map(Vec::len).sum();
    let events = if source.filter.is_empty() { events.first().map_or(0, |row| row.get("events")) } else { 0 };
    i64::try_from(records).unwrap_or(i64::MAX).saturating_add(events)
}
