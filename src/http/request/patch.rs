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

use crate::http::request::input::{Body, Fields, Input, require_json, said_once};

const MERGE_PATCH: &str = "application/merge-patch+json";

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
        T::register(registry);
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

/// What a patch makes of a field that may be absent: a new value, or no value.
#[derive(Clone, Copy, Debug)]
pub struct Removable<T>(pub Option<T>);

impl<T> Removable<T> {
    /// Reads a field; `null` removes it. `None` if the patch leaves the field as it is, or if there was a fault.
    pub fn read(fields: &mut Fields, field: &str, read: impl FnOnce(&mut Fields) -> Option<T>) -> Option<Self> {
        let removed = fields.is_null(field);
        let value = read(fields);
        (removed || value.is_some()).then_some(Self(value))
    }
}

/// Refuses a patch that would remove a required field.
pub fn refuse_removal(fields: &mut Fields, names: &[&str]) {
    for name in names {
        if fields.is_null(name) {
            fields.fault(name, "cannot be removed: give another value, or leave the field out to keep the present one");
        }
    }
}

impl<T: Type> Type for Removable<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

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

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: ToJSON> ToJSON for Removable<T> {
    fn to_json(&self) -> Option<Value> {
        self.0.as_ref().map_or(Some(Value::Null), ToJSON::to_json)
    }
}

impl<T: ParseFromJSON> ParseFromJSON for Removable<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value.filter(|value| !value.is_null()) {
            None => Ok(Self(None)),
            value => T::parse_from_json(value).map(|value| Self(Some(value))).map_err(|error| error.propagate()),
        }
    }
}
