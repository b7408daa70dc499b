//! Export: asking for a file of one's own data, watching it being written, downloading it. Called by anybody who is
//! signed in, on their own data; a file can also be downloaded by the holder of a token for it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::ExportId;
use domain::{
    filter::Filter,
    rights::{
        deletion::Scope,
        export::{ExportFailure, ExportFormat, ExportState},
    },
};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi, SecurityScheme,
    param::{Path, Query},
    payload::Json,
    types::ToJSON,
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        log::access,
        rights::{
            download,
            export::{self, ExportRequest},
        },
    },
    http::{
        problem::Refusal,
        repeatable::Repeatable,
        request::{
            caller::{Anyone, SignedIn},
            cursor,
            etag::Conditions,
            filter::FilterInput,
            header_field::{HeaderList, HeaderText, IdempotencyKey},
            input::{Body, Input},
            number::Whole,
        },
        rights::download::{Download, RangeAnswer, Wishes},
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// Asks for a file.
#[derive(Object)]
#[oai(rename = "ExportDataRequest")]
pub struct ExportInput {
    /// How much: `full`, everything that is known of the person; `partial`, the records that `filters` name;
    /// `sessions_only`, the kinds that are sessions.
    request_type: OneOf<Scope>,
    /// `json`, one document that can be imported again; `csv`, a zip of tables.
    format: OneOf<ExportFormat>,
    /// Which records; required for `partial`, absent for `full`.
    #[oai(skip_serializing_if_is_none)]
    filters: Option<FilterInput>,
}

/// A request in its present state.
#[derive(Object)]
pub struct ExportAnswer {
    /// The id of the request.
    export_id: Uuid,
    /// How much is exported.
    request_type: OneOf<Scope>,
    /// The form of the file.
    format: OneOf<ExportFormat>,
    /// The state of the request.
    status: OneOf<ExportState>,
    /// When the request was made.
    #[oai(serialize_with = "in_utc")]
    requested_at: DateTime<Utc>,
    /// How much of the file is written, in percent.
    progress_percent: u32,
    /// Why it failed. It can be tried again. Absent if it did not fail.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<OneOf<ExportFailure>>,
    /// When it was completed, failed, was cancelled or expired; absent before that.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    ended_at: Option<DateTime<Utc>>,
    /// Until when the file can be downloaded; absent before it is written.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    expires_at: Option<DateTime<Utc>>,
    /// The file's size in bytes; absent before it is written.
    #[oai(skip_serializing_if_is_none)]
    size: Option<i64>,
    /// Which records were asked for; absent if the request has no filter.
    #[oai(skip_serializing_if_is_none)]
    filters: Option<FilterInput>,
}

/// A page of a person's requests.
#[derive(Object)]
pub struct ExportsAnswer {
    /// The requests, newest first.
    exports: Vec<ExportAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// A token for one file.
#[derive(Object)]
pub struct ExportTokenAnswer {
    /// The token, for the parameter `token` of a download of this file.
    token: String,
    /// When the token expires.
    #[oai(serialize_with = "in_utc")]
    expires_at: DateTime<Utc>,
}

impl Input for ExportInput {}

impl ExportAnswer {
    fn new(request: ExportRequest, now: DateTime<Utc>) -> Self {
        let status = OneOf(request.state(now));
        let ExportRequest { row, filter } = request;
        let percent = match row.total {
            _ if row.size.is_some() => 100,
            0 => 0,
            // Below 100 as long as the file is not complete.
            total => u32::try_from((row.done * 100 / total).clamp(0, 99)).unwrap_or_default(),
        };
        Self {
            export_id: row.export.0,
            request_type: OneOf(row.scope),
            format: OneOf(row.format),
            status,
            requested_at: row.requested_at,
            progress_percent: percent,
            reason: row.failure.map(OneOf),
            ended_at: row.ended_at,
            expires_at: row.expires_at,
            size: row.size,
            filters: (filter != Filter::default()).then(|| filter.into()),
        }
    }
}

/// The answer to a request that was accepted.
#[derive(ApiResponse)]
pub enum ExportTaken {
    /// The file will be written.
    #[oai(status = 202)]
    Taken(
        Json<ExportAnswer>,
        /// Where the request's state is found.
        #[oai(header = "Location")]
        String,
    ),
}

impl ExportTaken {
    fn new(request: ExportRequest, now: DateTime<Utc>) -> Self {
        let answer = ExportAnswer::new(request, now);
        let address = format!("/v1/privacy/exports/{}", answer.export_id);
        Self::Taken(Json(answer), address)
    }
}

/// A signed-in caller, or nobody: then a download token is needed.
#[derive(SecurityScheme)]
pub enum Holder {
    /// The signed-in caller.
    SignedIn(SignedIn),
    /// Nobody is signed in.
    #[oai(fallback)]
    Nobody,
}

pub struct ExportApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Privacy")]
impl ExportApi {
    /// Ask for an export
    ///
    /// A job writes the file, and a letter says when it is ready. A person can have one waiting request at a time.
    #[oai(path = "/export-data", method = "post", operation_id = "export_request")]
    async fn request(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<ExportInput>,
    ) -> Result<Repeatable<ExportTaken>, Refusal> {
        let request = key.request(&json!([body.0.to_json()]));
        let ExportInput { request_type: OneOf(scope), format: OneOf(format), filters } = body.0;
        let filter = filters.map(|filters| filters.filter(caller.zone())).unwrap_or_default();
        let taken = export::request(&app, caller.ctx(), scope, format, filter, request.as_ref()).await?;
        Ok(Repeatable::of(taken, ExportTaken::new))
    }

    /// See all exports
    ///
    /// Newest first, each in its present state.
    #[oai(path = "/exports", method = "get", operation_id = "export_list")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many requests at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<ExportsAnswer>, Refusal> {
        let (ctx, page) = (caller.ctx(), cursor::page(&cursor, &limit, 100)?);
        let (requests, next, keys) = export::list(&app, ctx, &page).await?;
        access::note_read(&app, ctx, keys, "export", requests.len(), String::new()).await?;
        let exports = requests.into_iter().map(|request| ExportAnswer::new(request, ctx.now())).collect();
        Ok(Json(ExportsAnswer { exports, next_cursor: next.map(cursor::make) }))
    }

    /// See an export
    ///
    /// Its status and progress; once it is completed, also the file's size and the end of its download time.
    #[oai(path = "/exports/:export_id", method = "get", operation_id = "export_get")]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The id of the request.
        export_id: Path<Uuid>,
    ) -> Result<Json<ExportAnswer>, Refusal> {
        let ctx = caller.ctx();
        let (request, keys) = export::get(&app, ctx, ExportId(export_id.0)).await?;
        access::note_read(&app, ctx, keys, "export", 1, String::new()).await?;
        Ok(Json(ExportAnswer::new(request, ctx.now())))
    }

    /// Cancel an export
    ///
    /// Possible while it waits or is being written.
    #[oai(path = "/exports/:export_id/cancel", method = "post", operation_id = "export_cancel")]
    async fn cancel(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The id of the request.
        export_id: Path<Uuid>,
    ) -> Result<Json<ExportAnswer>, Refusal> {
        let request = export::cancel(&app, caller.ctx(), ExportId(export_id.0)).await?;
        Ok(Json(ExportAnswer::new(request, caller.ctx().now())))
    }

    /// Try a failed export again
    ///
    /// The file is written anew, with the data that is known by then.
    #[oai(path = "/exports/:export_id/retry", method = "post", operation_id = "export_retry")]
    async fn retry(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The id of the request.
        export_id: Path<Uuid>,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
    ) -> Result<Repeatable<ExportTaken>, Refusal> {
        let request = key.request(&json!([export_id.0]));
        let taken = export::retry(&app, caller.ctx(), ExportId(export_id.0), request.as_ref()).await?;
        Ok(Repeatable::of(taken, ExportTaken::new))
    }

    /// Make a download token
    ///
    /// Anybody who holds the token can download this one file for ten minutes, without signing in. The token ends with
    /// the session that made it.
    #[oai(path = "/exports/:export_id/token", method = "post", operation_id = "export_token")]
    async fn token(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The id of the request.
        export_id: Path<Uuid>,
    ) -> Result<Json<ExportTokenAnswer>, Refusal> {
        let (token, expires_at) = download::token(&app, caller.ctx(), ExportId(export_id.0)).await?;
        Ok(Json(ExportTokenAnswer { token, expires_at }))
    }

    /// Download an export
    ///
    /// The file, or the range of it that `Range` names; each download is an entry of the audit log. An unknown id, an
    /// id of somebody else, and a file that is not there or not there any more get the same answer.
    #[oai(path = "/exports/:export_id/download", method = "get", operation_id = "export_download")]
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request that is documented")]
    async fn download(
        &self,
        app: Data<&Arc<App>>,
        holder: Holder,
        anyone: Anyone,
        /// The id of the request.
        export_id: Path<Uuid>,
        /// A download token; needed if nobody is signed in.
        token: Query<Option<String>>,
        /// A range of bytes, such as `bytes=0-1023`; more than one range is answered with the whole file.
        #[oai(name = "Range")]
        range: HeaderText,
        /// The tag that the file must have for `Range` to count; otherwise the whole file is sent.
        #[oai(name = "If-Range")]
        if_range: HeaderText,
        /// Tags, one of which the file must have, or `*` for any; otherwise the answer is 412.
        #[oai(name = "If-Match")]
        if_match: HeaderList,
        /// Tags of files that the caller has; if the file has one of them, the answer is 304 without a body.
        #[oai(name = "If-None-Match")]
        if_none_match: HeaderList,
    ) -> Result<Download, Refusal> {
        let conditions = Conditions::read(&if_match, &if_none_match)?;
        let wishes = Wishes::read(range, &if_range, conditions)?;
        let export = ExportId(export_id.0);
        let (ctx, by_token) = match (&holder, token.0.as_deref()) {
            (Holder::SignedIn(caller), _) => (caller.ctx().clone(), false),
            (Holder::Nobody, Some(token)) => {
                let ctx = download::token_holder(&app, &anyone.0, token, export).ok_or(AppError::NotFound("export"))?;
                (ctx, true)
            }
            (Holder::Nobody, None) => return Err(AppError::SignedOut.into()),
        };
        let missing = |error| match error {
            // The person who made the token is erased, signed out or suspended, so the token opens no more than one
            // that never existed.
            AppError::SignedOut | AppError::Suspended { .. } if by_token => AppError::NotFound("export"),
            other => other,
        };
        let file = download::file(&app, &ctx, export).await.map_err(missing)?;
        let span = match wishes.ask(&file.etag, file.size) {
            RangeAnswer::Failed => return Err(AppError::PreconditionFailed.into()),
            RangeAnswer::Unchanged => return Ok(Download::unchanged(&file)),
            RangeAnswer::Outside => return Err(Refusal::outside_of_file(file.size)),
            RangeAnswer::Whole => None,
            RangeAnswer::Part(span) => Some(span),
        };
        let reader = download::open(&app, &ctx, export).await.map_err(missing)?;
        let stream = reader.range(span.clone().unwrap_or(0..file.size)).await.map_err(AppError::from)?;
        Ok(Download::of(&file, span, stream))
    }
}
