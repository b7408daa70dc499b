//! Import: a document that was exported here, given back. Called by a person on their own data.
//!
//! A document is large, so nobody may hold back others by sending one slowly. Whether the caller may import is known before the
//! first byte is read; one document a person arrives at a time; and what has arrived is bounded in all.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use poem::{Body, Request, RequestBody, Result, error::ReadBodyError, http::StatusCode, web::Data};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, OpenApi,
    param::Query,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
    types::Example,
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
            input::{check_length, require_json},
        },
        tag::Tag,
    },
};

/// The largest document that is taken, in bytes.
const DOCUMENT_BYTES: usize = 64 * 1024 * 1024;
/// A document that takes longer than this to arrive is given up.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// So is one of which nothing arrives for this long.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// When to come again, in seconds, where too much has arrived from others.
const RETRY_AFTER_S: i64 = 15;
/// So much of all documents is held in memory at once, in KiB: eight of the largest. It is taken as bytes arrive, so that a slow
/// upload holds back what it has sent and no more.
static ARRIVED_KIB: Semaphore = Semaphore::const_new(512 * 1024);

/// A document, as text, of somebody who may import it.
pub struct Document {
    text: String,
    _held: Held,
    _turn: ImportTurn,
}

/// The memory that a document has taken so far.
type Held = Option<SemaphorePermit<'static>>;

impl Payload for Document {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        let description = "The document as it was downloaded, byte by byte.";
        let any = MetaSchemaRef::Inline(Box::new(MetaSchema::ANY));
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some(description),
            additional_properties: Some(Box::new(any)),
            ..MetaSchema::new("object")
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
        require_json(request)?;
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

/// Takes a document in, and memory for it as it arrives.
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
        let full = |_| Refusal::from(AppError::Limited { retry_after_s: RETRY_AFTER_S });
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

/// What became of the records of a kind, or would become of them.
#[derive(Object)]
#[oai(example)]
pub struct ImportCount {
    /// The kind.
    kind: String,
    /// New ones.
    created_count: u32,
    /// Those that say something else now.
    updated_count: u32,
    /// Those that said the same before.
    unchanged_count: u32,
}

/// What an import did, or would do.
#[derive(Object)]
#[oai(example)]
pub struct ImportAnswer {
    /// Whether nothing was written.
    dry_run: bool,
    /// One entry a kind.
    kinds: Vec<ImportCount>,
}

impl Example for ImportCount {
    fn example() -> Self {
        Self { kind: "work_day".to_owned(), created_count: 60, updated_count: 1, unchanged_count: 3 }
    }
}

impl Example for ImportAnswer {
    fn example() -> Self {
        Self { dry_run: true, kinds: vec![ImportCount::example()] }
    }
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

/// Import.
pub struct ImportApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Privacy")]
impl ImportApi {
    /// Import an export
    ///
    /// Takes back a JSON document of the caller's own, of at most 64 MiB, as it was downloaded. It is checked as a whole, and
    /// nothing is written where anything is wrong; consents are needed as for any submission. How to reach the person is not
    /// imported. Importing twice changes nothing, so one that was broken off is sent again. What does not fit into one document is
    /// exported and imported in parts: `filters` name kinds and periods. Decisions and settings are not records, and stay
    /// as they are. One import a person runs at a time on each server: a second one is answered 409.
    #[oai(path = "/import", method = "post", operation_id = "import")]
    async fn import(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// Only say what it would do.
        dry_run: Query<Option<bool>>,
        document: Document,
    ) -> Result<Json<ImportAnswer>, Refusal> {
        let dry_run = dry_run.0.unwrap_or(false);
        let Document { text, _held, _turn } = document;
        let counts = import::run(&app, caller.ctx(), text, caller.today(), dry_run).await?;
        Ok(Json(ImportAnswer::new(dry_run, counts)))
    }
}
