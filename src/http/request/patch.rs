//! Merge patches (RFC 7396): a field that is absent stays as it is, and `null` removes a field that may be absent.

use std::borrow::Cow;

use poem::{Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
    types::{ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde_json::Value;

use crate::http::{
    request::input::{Body, Input, require_json, said_once},
    types::one_value,
};

pub const MERGE_PATCH: &str = "application/merge-patch+json";

/// The body of a `PATCH`: a merge patch, under its own media type or as JSON.
pub struct Patch<T>(pub T);

fn is_merge_patch(request: &Request) -> bool {
    said_once(request)
        .is_some_and(|said| said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(MERGE_PATCH))
}

impl<'a, T: Input + Send> ApiExtractor<'a> for Patch<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Body<T> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let types = [Body::<T>::CONTENT_TYPE, MERGE_PATCH];
        let content = types.map(|content_type| MetaMediaType { content_type, schema: T::schema_ref() }).into();
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        if !is_merge_patch(request) {
            require_json(request)?;
        }
        let body = <Body<T> as ParsePayload>::from_request(request, body).await?;
        Ok(Self(body.0))
    }
}

/// What a patch makes of a field that may be absent.
#[derive(Clone, Copy, Debug)]
pub enum Removable<T> {
    /// The patch does not have the field.
    Kept,
    /// The patch has `null`.
    Removed,
    Set(T),
}

impl<T> Removable<T> {
    /// The field after the patch.
    pub fn apply(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Kept => present,
            Self::Removed => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Type> Type for Removable<T> {
    const IS_REQUIRED: bool = false;
    one_value!();

    fn name() -> Cow<'static, str> {
        format!("removable_{}", T::name()).into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let null = MetaSchemaRef::Inline(Box::new(MetaSchema::new("null")));
        MetaSchemaRef::Inline(Box::new(MetaSchema { any_of: vec![T::schema_ref(), null], ..MetaSchema::ANY }))
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ToJSON> ToJSON for Removable<T> {
    fn to_json(&self) -> Option<Value> {
        match self {
            Self::Kept => None,
            Self::Removed => Some(Value::Null),
            Self::Set(value) => value.to_json(),
        }
    }
}

impl<T: ParseFromJSON> ParseFromJSON for Removable<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            None => Ok(Self::Kept),
            Some(Value::Null) => Ok(Self::Removed),
            value => T::parse_from_json(value).map(Self::Set).map_err(|error| error.propagate()),
        }
    }
}
