//! Import: takes back a document that was exported here. Called by a person on their own data.
//!
//! A document is large, so nobody must be able to hold others back by sending one slowly. The server knows whether the
//! caller may import before it reads the first byte; a person can send one document at a time; it goes to the disk,
//! sealed, as it arrives; and the room on the disk for all documents is bounded.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use poem::{Body, Request, RequestBody, Result, error::ReadBodyError, http::StatusCode, web::Data};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, OpenApi,
    param::Query,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
};
use tokio::time::{Instant, timeout};

use crate::{
    app::{
        App, AppError,
        rights::{
            import::{self, Imported},
            import_turn::ImportTurn,
        },
    },
    export::{Spool, StoreError},
    http::{
        problem::Refusal,
        request::{
            caller::Subject,
            input::{JSON, check_length, require},
        },
        tag::Tag,
    },
};

/// The media type of an archive of tables.
const ZIP: &str = "application/zip";
/// The largest document that is accepted, in bytes. An export of four million records is as large.
const DOCUMENT_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// For how long a client may send nothing before its document is given up.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a document may arrive at any speed.
const ANY_SPEED: Duration = Duration::from_secs(120);
/// How many bytes a second a document that takes longer must have arrived with on the average. The largest takes at most
/// two and a half hours then.
const SLOWEST_PER_S: u64 = 512 * 1024;

/// A document from a person who may import it.
pub struct Document {
    spool: Spool,
    _turn: ImportTurn,
}

impl Payload for Document {
    // Not JSON: a client that reads the document and writes it anew changes its bytes, and then its proof is wrong.
    const CONTENT_TYPE: &'static str = "application/octet-stream";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("The document or the zip as it was downloaded, byte by byte."),
            ..MetaSchema::new_with_format("string", "binary")
        }))
    }
}

impl<'a> ApiExtractor<'a> for Document {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(_: &mut Registry) {}

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: Self::CONTENT_TYPE, schema: <Self as Payload>::schema_ref() }],
            required: true,
        })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        require(request, &[Self::CONTENT_TYPE, JSON, ZIP])?;
        check_length(request, DOCUMENT_BYTES)?;
        let caller = Subject::from_request(request, body, ExtractParamOptions::default()).await?;
        let app =
            request.data::<Arc<App>>().ok_or_else(|| poem::Error::from_status(StatusCode::INTERNAL_SERVER_ERROR))?;
        let mut turn = import::admit(app, caller.ctx()).await.map_err(Refusal::from)?;
        let spool = arrive(app, body.take()?, &mut turn).await?;
        Ok(Self { spool, _turn: turn })
    }
}

fn too_slow() -> poem::Error {
    poem::Error::from_status(StatusCode::REQUEST_TIMEOUT)
}

/// Receives a document onto the disk, and takes room there as its bytes arrive.
async fn arrive(app: &App, body: Body, turn: &mut ImportTurn) -> Result<Spool> {
    let (started, mut size) = (Instant::now(), 0);
    let mut writer = app.imports.spool(turn).map_err(Refusal::from)?;
    let mut chunks = std::pin::pin!(body.into_bytes_stream());
    while let Some(chunk) = timeout(SILENCE_TIMEOUT, chunks.next()).await.map_err(|_| too_slow())? {
        let chunk = chunk.map_err(ReadBodyError::Io)?;
        size += chunk.len() as u64;
        if size > DOCUMENT_BYTES {
            return Err(ReadBodyError::PayloadTooLarge.into());
        }
        if is_too_slow(size, started.elapsed()) {
            return Err(too_slow());
        }
        turn.take(chunk.len() as u64).map_err(Refusal::from)?;
        writer = on_disk(move || {
            writer.write(&chunk)?;
            Ok(writer)
        })
        .await?;
    }
    on_disk(move || writer.finish()).await
}

fn is_too_slow(size: u64, elapsed: Duration) -> bool {
    elapsed > ANY_SPEED && size < elapsed.as_secs() * SLOWEST_PER_S
}

/// Writes on a thread of its own, because the disk may be slow.
async fn on_disk<T: Send + 'static>(write: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    let written = tokio::task::spawn_blocking(write).await.expect("writing does not panic");
    Ok(written.map_err(|error| Refusal::from(AppError::from(StoreError::from(error))))?)
}

/// What an import did to the records of a kind, or would do.
#[derive(Object)]
pub struct ImportCount {
    /// The name of the kind.
    kind: String,
    /// Records that are new.
    created_count: u32,
    /// Records that have another body than before.
    updated_count: u32,
    /// Records that had the same body before.
    unchanged_count: u32,
}

/// What an import did, or would do.
#[derive(Object)]
pub struct ImportAnswer {
    /// True if nothing was written.
    dry_run: bool,
    /// One entry for each kind in the document.
    kinds: Vec<ImportCount>,
}

impl ImportAnswer {
    fn new(dry_run: bool, counts: BTreeMap<&'static str, Imported>) -> Self {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let kinds = counts.into_iter().map(|(kind, counted)| ImportCount {
            kind: kind.to_owned(),
            created_count: number(counted.created),
            updated_count: number(counted.updated),
            unchanged_count: number(counted.unchanged),
        });
        Self { dry_run, kinds: kinds.collect() }
    }
}

pub struct ImportApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Privacy")]
impl ImportApi {
    /// Import an export
    ///
    /// Takes back an export of the caller's own, JSON or the zip of tables, of at most 4 GiB, byte by byte as it was
    /// downloaded; it may also be sent as `application/json` or `application/zip`. Which of both it is, its first bytes
    /// tell: a zip begins with `PK`. Its proof is checked, then all records; nothing is written if anything is wrong, and
    /// consents are needed as for any submission. The contact is not imported. Decisions and settings are not records,
    /// and stay as they are.
    ///
    /// The records are submitted by pages of 500, and those that are stored already stay unchanged. So an import that was
    /// broken off is gone on with by sending the same file again, and a second import changes nothing. The answer comes
    /// at the end, for a million records after minutes. Data that does not fit into one file is exported and imported in
    /// parts: `filters` name kinds and periods.
    ///
    /// A person can run one import at a time on each server: a second one is answered 409. A file is given up (408) when
    /// nothing of it comes for 15 seconds, or when it takes more than two minutes and comes with less than 512 KiB a
    /// second. When others have sent too much at the moment, the answer is 429.
    #[oai(path = "/import", method = "post", operation_id = "import")]
    async fn import(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// Whether to only say what the import would do; if absent, it is carried out.
        dry_run: Query<Option<bool>>,
        document: Document,
    ) -> Result<Json<ImportAnswer>, Refusal> {
        let dry_run = dry_run.0.unwrap_or(false);
        let Document { spool, _turn } = document;
        let counts = import::run(&app, caller.ctx(), spool, caller.today(), dry_run).await?;
        Ok(Json(ImportAnswer::new(dry_run, counts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_may_be_slow_for_two_minutes_and_then_needs_a_rate() {
        let after = |size, seconds| is_too_slow(size, Duration::from_secs(seconds));
        assert!(!after(1, 120) && after(1, 121));
        assert!(!after(121 * SLOWEST_PER_S, 121));
        assert!(!after(DOCUMENT_BYTES, 8192) && after(DOCUMENT_BYTES, 8193));
    }
}
