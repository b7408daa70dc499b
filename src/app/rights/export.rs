//! Export: asking for a file of one's own data, seeing its state, cancelling, and trying again. `export_run.rs` writes
//! the file, and `download.rs` sends it. All of this is a right (GDPR Art. 20), which a suspension leaves open.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::{Ctx, ExportId, RecordId};
use db::{FromRow, Query, Row};
use domain::{
    filter::Filter,
    kinds::kind,
    rights::{
        deletion::Scope,
        export::{Export, ExportCommand, ExportFormat, ExportSpec, ExportState},
    },
};
use event_log::cqrs_es::Aggregate;
use projections::{
    log::audit::stream_newest,
    operation::job::{job_add, job_drop},
    page::{Page, TimedPlace},
    records::record::RecordRow,
    rights::export::{
        ExportRow, IdsRow, export_get, export_ids, export_ids_filed, export_list, export_open, export_records,
    },
};
use serde::{Deserialize, Serialize};
use vault::{IndexKey, Place, Sealed, SubjectKeys};

use crate::app::{
    App, AppError,
    frame::{self, Frame, IdempotentRequest, Once, Standing, Work},
    log::access,
    records::{filed::Filed, opened::open},
};

/// The kind of job that writes export files.
pub const EXPORT_JOB: &str = "export";
/// How many records are opened together to find out if a filter matches any.
const PAGE: usize = 500;

/// A request in its present state, and the records that it asks for.
#[derive(Serialize, Deserialize)]
pub struct ExportRequest {
    pub row: ExportRow,
    /// Which records the request asks for.
    pub filter: Filter,
}

impl ExportRequest {
    /// The state for the person: a file that has run out is `expired`, even if it is not removed yet.
    pub fn state(&self, now: DateTime<Utc>) -> ExportState {
        let over = self.row.state == ExportState::Completed && self.row.expires_at.is_some_and(|at| at <= now);
        if over { ExportState::Expired } else { self.row.state }
    }
}

/// The place of the sealed filter of a request.
fn place(export: ExportId) -> Place {
    Place::of("export").and(export.0.as_bytes())
}

pub(crate) fn unseal(keys: &SubjectKeys, row: &ExportRow) -> Result<Filter, AppError> {
    let text = keys.open_trail(&place(row.export), &Sealed::from_base64(&row.sealed)?)?;
    serde_json::from_slice(&text).map_err(|_| AppError::Corrupt("a request does not load".to_owned()))
}

/// The statement that finds records which may match a filter: by kind, and by quarter if the days are bounded. Each
/// found record must still be compared with the filter.
pub(crate) fn candidates(ctx: &Ctx, index: &IndexKey, filter: &Filter) -> Query {
    if filter.is_empty() {
        return export_ids(ctx.subject, None);
    }
    match Filed::of(index, filter, ctx.now()) {
        Filed::Kinds(kinds) => export_ids(ctx.subject, Some(kinds)),
        Filed::Buckets(buckets) => export_ids_filed(ctx.subject, buckets),
    }
}

/// Reads a row of [`candidates`].
pub(crate) fn candidate(row: &Row) -> (String, Vec<RecordId>) {
    let IdsRow { kind, records } = IdsRow::from_row(row);
    (kind, records.into_iter().map(RecordId).collect())
}

/// Asks for a file, which a job writes. Refuses if the request has a filter that matches no record.
pub async fn request(
    app: &App,
    ctx: &Ctx,
    scope: Scope,
    format: ExportFormat,
    filter: Filter,
    request: Option<&IdempotentRequest<'_>>,
) -> Result<Once<ExportRequest>, AppError> {
    let filter = filter.settled(scope).map_err(AppError::Invalid)?;
    let frame = Frame::right("export_request", ctx).unrestricted().alone();
    let claim = frame::claim(app, ctx, "export_request", request).await?;
    if let Some(answer) = frame::answered(app, frame, claim.as_ref()).await? {
        return Ok(answer);
    }
    if !filter.is_empty() && !means_any(app, ctx, &filter).await? {
        // Recorded, because records were opened to decide this.
        access::note_refusal(app, ctx, Export::TYPE, 422, "filters that match nothing").await?;
        return Err(AppError::parameter("filters", "match no record of yours"));
    }
    let (export, means) = (ExportId::random(), &filter);
    let reads = || [export_open(ctx.subject)];
    let taken = frame::command_once(app, frame, claim, reads, move |work, standing, [open]| async move {
        if !open.is_empty() {
            return Err(AppError::ExportWaits);
        }
        let text = serde_json::to_vec(means).expect("a filter can be written as JSON");
        let sealed = standing.keys.seal_trail(&place(export), &text).to_base64();
        let wanted = ExportSpec { scope, format, sealed: sealed.clone() };
        let request = ExportCommand::Request(wanted);
        work.command::<Export>(&export.to_string(), &[], request).await?;
        work.queue(job_add(ctx.subject, EXPORT_JOB, export.0, ctx.now(), ctx.now()));
        let row = ExportRow {
            export,
            scope,
            format,
            state: ExportState::Pending,
            sealed,
            requested_at: ctx.now(),
            ended_at: None,
            expires_at: None,
            failure: None,
            done: 0,
            total: 0,
            size: None,
            file_key: None,
            etag: None,
        };
        Ok(ExportRequest { row, filter: means.clone() })
    })
    .await?;
    app.wake.notify_one();
    Ok(taken)
}

/// Whether a filter matches any record; the first match ends the search.
async fn means_any(app: &App, ctx: &Ctx, filter: &Filter) -> Result<bool, AppError> {
    let index = &frame::index_key(app, ctx).await?;
    let frame = Frame::right("export_candidates", ctx).unrestricted();
    let (_, [rows]) = frame::query(app, frame, || [candidates(ctx, index, filter)]).await?;
    let found: Vec<RecordId> = rows.iter().flat_map(|row| candidate(row).1).collect();
    for page in found.chunks(PAGE) {
        let frame = Frame::right("export_search", ctx).shared();
        let (standing, [rows]) = frame::query(app, frame, || [export_records(ctx.subject, page)]).await?;
        for row in rows.iter().map(RecordRow::from_row) {
            let body = open(&standing.keys, &row)?.body;
            if kind(&row.entry.kind).is_some_and(|kind| filter.matches(kind, &body)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A page of a person's requests, newest first; the place of its last one, if another page follows; and the keys.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    page: &Page<TimedPlace>,
) -> Result<(Vec<ExportRequest>, Option<TimedPlace>, Arc<SubjectKeys>), AppError> {
    let reads = || [export_list(ctx.subject, page)];
    let (Standing { keys, .. }, [rows]) = frame::query(app, Frame::right("export_list", ctx), reads).await?;
    let (rows, next) = page.cut(ExportRow::from_rows(&rows), ExportRow::place);
    let requests = rows.into_iter().map(|row| Ok(ExportRequest { filter: unseal(&keys, &row)?, row }));
    Ok((requests.collect::<Result<_, AppError>>()?, next, keys))
}

/// One of a person's requests.
pub async fn get(app: &App, ctx: &Ctx, export: ExportId) -> Result<(ExportRequest, Arc<SubjectKeys>), AppError> {
    let reads = || [export_get(ctx.subject, export)];
    let (Standing { keys, .. }, [rows]) = frame::query(app, Frame::right("export_get", ctx), reads).await?;
    let row = rows.first().map(ExportRow::from_row).ok_or(AppError::NotFound("export"))?;
    Ok((ExportRequest { filter: unseal(&keys, &row)?, row }, keys))
}

/// Cancels a request. A job that is writing the file notices it and removes the file.
pub async fn cancel(app: &App, ctx: &Ctx, export: ExportId) -> Result<ExportRequest, AppError> {
    step(app, "export_cancel", ctx, export, ExportCommand::Cancel).await?;
    Ok(get(app, ctx, export).await?.0)
}

/// Asks again for a file that could not be written.
pub async fn retry(
    app: &App,
    ctx: &Ctx,
    export: ExportId,
    request: Option<&IdempotentRequest<'_>>,
) -> Result<Once<ExportRequest>, AppError> {
    let claim = frame::claim(app, ctx, "export_retry", request).await?;
    let id = &export.to_string();
    let reads =
        || [export_get(ctx.subject, export), stream_newest(ctx.subject, Export::TYPE, id), export_open(ctx.subject)];
    let frame = Frame::right("export_retry", ctx).alone().unrestricted();
    let taken =
        frame::command_once(app, frame, claim, reads, move |work, standing, [found, stream, open]| async move {
            let row = advance(&work, id, (&found, &stream), ExportCommand::Retry).await?;
            if !open.is_empty() {
                return Err(AppError::ExportWaits);
            }
            // The failed job may not have been marked as ended yet.
            work.queue(job_drop(ctx.subject, export.0));
            work.queue(job_add(ctx.subject, EXPORT_JOB, export.0, ctx.now(), ctx.now()));
            let filter = unseal(&standing.keys, &row)?;
            let row =
                ExportRow { state: ExportState::Pending, failure: None, ended_at: None, done: 0, total: 0, ..row };
            Ok(ExportRequest { row, filter })
        })
        .await?;
    app.wake.notify_one();
    Ok(taken)
}

/// Takes one step on a request; returns its row as it was before. A request that is cancelled loses its job.
pub(crate) async fn step(
    app: &App,
    operation: &'static str,
    ctx: &Ctx,
    export: ExportId,
    command: ExportCommand,
) -> Result<(ExportRow, Arc<SubjectKeys>), AppError> {
    let (command, id) = (&command, &export.to_string());
    let reads = || [export_get(ctx.subject, export), stream_newest(ctx.subject, Export::TYPE, id)];
    let frame = Frame::right(operation, ctx).alone();
    frame::command(app, frame, reads, move |work, standing, [found, stream]| async move {
        let row = advance(&work, id, (&found, &stream), command.clone()).await?;
        if matches!(command, ExportCommand::Cancel) {
            work.queue(job_drop(ctx.subject, export.0));
        }
        Ok((row, standing.keys))
    })
    .await
}

/// Runs a command on a request, given its row and its stream; returns the row as it was before.
async fn advance(
    work: &Work<'_>,
    id: &str,
    (found, stream): (&[Row], &[Row]),
    command: ExportCommand,
) -> Result<ExportRow, AppError> {
    let row = found.first().map(ExportRow::from_row).ok_or(AppError::NotFound("export"))?;
    work.command::<Export>(id, stream, command).await?;
    Ok(row)
}
