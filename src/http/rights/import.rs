//! Import: takes back a document that was exported here. Called by a person on their own data.
//!
//! A document is large, so nobody must be able to hold others back by sending one slowly. The server knows whether the
//! caller may import before it reads the first byte; a person can send one document at a time; and the memory for all
//! arriving documents is bounded.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use poem::{Body, Request, RequestBody, Result, error::ReadBodyError, http::StatusCode, web::Data};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, OpenApi,
    param::Query,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    app::{
        App, AppError,
        rights::{
            import::{self, Imported},
            import_turn::ImportTurn,
        },
    },
    http::{
        problem::Refusal,
        request::{
            caller::Subject,
            input::{JSON, check_length, require},
        },
        tag::Tag,
    },
};

/// The largest document that is accepted, in bytes.
const DOCUMENT_BYTES: usize = 64 * 1024 * 1024;
/// How long a document may take to arrive.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// For how long a client may send nothing before its document is given up.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// How many seconds a client should wait before the next try, if too much has arrived from others.
const RETRY_AFTER_S: i64 = 15;
/// How much of all documents is held in memory at once, in KiB: as much as eight of the largest. A document takes
/// memory as its bytes arrive, so that a slow upload holds no more than it has sent.
static ARRIVED_KIB: Semaphore = Semaphore::const_new(512 * 1024);

/// The text of a document from a person who may import it.
pub struct Document {
    text: String,
    _held: Held,
    _turn: ImportTurn,
}

/// The memory that a document has taken so far.
type Held = Option<SemaphorePermit<'static>>;

impl Payload for Document {
    // Not JSON: a client that reads the document and writes it anew changes its bytes, and then its proof is wrong.
    const CONTENT_TYPE: &'static str = "application/octet-stream";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("The document as it was downloaded, byte by byte."),
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
        require(request, &[Self::CONTENT_TYPE, JSON])?;
        check_length(request, DOCUMENT_BYTES)?;
        let caller = Subject::from_request(request, body, ExtractParamOptions::default()).await?;
        let app =
            request.data::<Arc<App>>().ok_or_else(|| poem::Error::from_status(StatusCode::INTERNAL_SERVER_ERROR))?;
        let turn = import::admit(app, caller.ctx()).await.map_err(Refusal::from)?;
        let arriving = arrive(body.take()?);
        let (bytes, held) = tokio::time::timeout(DOCUMENT_TIMEOUT, arriving).await.map_err(|_| too_slow())??;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| Refusal::from(AppError::parameter("", "must be text in UTF-8")))?;
        Ok(Self { text, _held: held, _turn: turn })
    }
}

fn too_slow() -> poem::Error {
    poem::Error::from_status(StatusCode::REQUEST_TIMEOUT)
}

/// Receives a document, and takes memory for it as its bytes arrive.
async fn arrive(body: Body) -> Result<(Vec<u8>, Held)> {
    let (mut bytes, mut held, mut held_kib) = (Vec::new(), Held::None, 0);
    let mut chunks = std::pin::pin!(body.into_bytes_stream());
    while let Some(chunk) = tokio::time::timeout(SILENCE_TIMEOUT, chunks.next()).await.map_err(|_| too_slow())? {
        let chunk = chunk.map_err(ReadBodyError::Io)?;
        let length = bytes.len() + chunk.len();
        if length > DOCUMENT_BYTES {
            return Err(ReadBodyError::PayloadTooLarge.into());
        }
        let needed_kib = u32::try_from(length.div_ceil(1024)).expect("a document is smaller than 4 TiB");
        let full = |_| Refusal::from(AppError::Limited { retry_after_s: RETRY_AFTER_S, left: None });
        let more = ARRIVED_KIB.try_acquire_many(needed_kib - held_kib).map_err(full)?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        held_kib = needed_kib;
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, held))
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
    /// Takes back a JSON document of the caller's own, of at most 64 MiB, byte by byte as it was downloaded; it may also
    /// be sent as `application/json`. It is checked as a whole, and nothing is written if anything is wrong; consents
    /// are needed as for any submission. The contact is not imported. A second import changes nothing, so an import
    /// that was broken off can be sent again. Data that does not fit into one document is exported and imported in
    /// parts: `filters` name kinds and periods. Decisions and settings are not records, and stay as they are. A person
    /// can run one import at a time on each server: a second one is answered 409.
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
        let Document { text, _held, _turn } = document;
        let counts = import::run(&app, caller.ctx(), text, caller.today(), dry_run).await?;
        Ok(Json(ImportAnswer::new(dry_run, counts)))
    }
}
