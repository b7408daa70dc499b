//! Answers in JSON-LD 1.1: JSON whose names are terms of vocabularies.

use poem::{IntoResponse, Response};
use poem_openapi::{
    payload::Payload,
    registry::{MetaSchema, MetaSchemaRef},
};
use serde_json::Value;

/// A document in JSON-LD, pretty, with one line break at the end.
pub struct JsonLd(pub Value);

impl Payload for JsonLd {
    const CONTENT_TYPE: &'static str = "application/ld+json";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new("object")))
    }
}

impl IntoResponse for JsonLd {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(format!("{:#}\n", self.0))
    }
}
