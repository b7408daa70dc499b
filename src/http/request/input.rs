//! Request bodies: JSON, at most 256 KiB, checked against the schema that the OpenAPI document states, so that all
//! faults are named at once and no value is quoted. A name that stands twice in an object and U+0000 in a text are
//! faults everywhere.

use std::{sync::Arc, time::Duration};

use chrono::NaiveDate;
use domain::{Fault, fault::FAULTS, json};
use poem::{Request, RequestBody, Result, error::ReadBodyError, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry},
    types::{ParseFromJSON, Type},
};
use serde_json::Value;

use crate::{
    app::AppError,
    http::{problem::Refusal, request::contract::Contract},
};

/// The largest body that is read, in bytes; it has room for a batch of 366 days several times over.
pub const BODY_BYTES: usize = 256 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// A body whose schema the document states.
pub trait Input: Type + ParseFromJSON {
    /// The faults of a body that lie between its fields; `openapi/rules.json` states those that a schema can state.
    /// Fields that break their own schema count as absent.
    fn faults(_: &Value) -> Vec<Fault> {
        Vec::new()
    }

    /// Reads a body of which the faults are known. A type may carry the faults on to a check that finds more.
    fn read(value: Value, faults: Vec<Fault>) -> Result<Self, Vec<Fault>> {
        if faults.is_empty() { parse(value) } else { Err(faults) }
    }
}

/// Reads a value that keeps the schema of its type.
pub fn parse<T: ParseFromJSON>(value: Value) -> Result<T, Vec<Fault>> {
    T::parse_from_json(Some(value)).map_err(|_| vec![Fault::new("", "has the wrong form")])
}

/// The JSON body of a request.
pub struct Body<T>(pub T);

/// The days that the parameters `from` and `to` ask for, both included, and the range in words; `None` if neither is
/// given.
pub fn days(
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> Result<(Option<(NaiveDate, NaiveDate)>, String), AppError> {
    if from.is_none() && to.is_none() {
        return Ok((None, String::new()));
    }
    let (first, last) = (from.unwrap_or(NaiveDate::MIN), to.unwrap_or(NaiveDate::MAX));
    if first > last {
        return Err(AppError::parameter("from", "must not lie after `to`"));
    }
    let shown = |date: Option<NaiveDate>| date.map_or_else(|| "…".to_owned(), |date| date.to_string());
    Ok((Some((first, last)), format!("{} to {}", shown(from), shown(to))))
}

fn refuse(faults: Vec<Fault>) -> poem::Error {
    Refusal::from(AppError::Invalid(faults)).into()
}

impl<T: Input> Payload for Body<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn check_content_type(content_type: &str) -> bool {
        is_json(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Input> ParsePayload for Body<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        check_length(request, BODY_BYTES as u64)?;
        let arriving = body.take()?.into_bytes_limit(BODY_BYTES);
        let slow = |_| poem::Error::from_status(poem::http::StatusCode::REQUEST_TIMEOUT);
        let bytes = tokio::time::timeout(BODY_TIMEOUT, arriving).await.map_err(slow)??;
        let doubtful = json::faults(&bytes).map_err(|error| Refusal::malformed(&error))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| Refusal::malformed(&error))?;
        let value = domain::number::whole(value);
        let contract = request.data::<Arc<Contract>>().expect("every request has the contract");
        let schema = contract.body(&T::name()).expect("the document has the schema of every body");
        let of_rules = if value.is_object() { T::faults(&value) } else { Vec::new() };
        let faults = [schema.faults(&value), of_rules, doubtful];
        Ok(Self(T::read(value, each_once(faults)).map_err(refuse)?))
    }
}

/// All faults of a body, each field named once, because two checks may refuse one field.
fn each_once<const N: usize>(found: [Vec<Fault>; N]) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for fault in found.into_iter().flatten() {
        if faults.len() < FAULTS && faults.iter().all(|known| known.field != fault.field) {
            faults.push(fault);
        }
    }
    faults
}

/// Refuses a body whose declared length exceeds a limit, before any of it is read.
pub fn check_length(request: &Request, limit: u64) -> Result<()> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    // A length that does not fit into a number exceeds every limit. A value that is no number is refused by the server
    // below.
    let beyond = |text: &str| text.parse().map_or(true, |length: u64| length > limit);
    if declared.is_some_and(beyond) { Err(ReadBodyError::PayloadTooLarge.into()) } else { Ok(()) }
}

/// The media type of nearly all bodies.
pub const JSON: &str = "application/json";

fn is_json(content_type: &str) -> bool {
    is_of(content_type, JSON)
}

/// Whether a `Content-Type` is of this media type, whatever its parameters are.
fn is_of(content_type: &str, media_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// Refuses a request that does not say that its body is JSON.
pub fn require_json(request: &Request) -> Result<()> {
    require(request, &[JSON])
}

/// Refuses a request that does not say that its body is of one of these media types.
pub fn require(request: &Request, media_types: &[&str]) -> Result<()> {
    let is_wanted = |said: &str| media_types.iter().any(|media_type| is_of(said, media_type));
    if said_once(request).is_some_and(is_wanted) {
        return Ok(());
    }
    Err(poem::Error::from_status(poem::http::StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// The media type that a request gives for its body. `None` if two lines give one, because another reader may believe
/// the other.
pub fn said_once(request: &Request) -> Option<&str> {
    let mut said = request.headers().get_all(header::CONTENT_TYPE).iter();
    let only = said.next().filter(|_| said.next().is_none())?;
    only.to_str().ok()
}

impl<'a, T: Input + Send> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: Self::CONTENT_TYPE, schema: <Self as Payload>::schema_ref() }],
            required: true,
        })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        require_json(request)?;
        <Self as ParsePayload>::from_request(request, body).await
    }
}
