//! The documents that the law asks for: the record of processing activities, and a draft of the impact assessment.
//! Called by the compliance desk.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{ApiResponse, OpenApi, ResponseContent, param::Query, payload::PlainText};
use serde_json::Value;

use crate::{
    app::{App, desk::processing_record, log::access},
    http::{json_ld::JsonLd, problem::Refusal, request::caller::Compliance, tag::Tag, types::OneOf},
};

/// A document as JSON-LD (Data Privacy Vocabulary) or as an HTML page.
#[derive(ResponseContent)]
pub enum DocumentContent {
    JsonLd(JsonLd),
    #[oai(content_type = "text/html; charset=utf-8")]
    Page(PlainText<String>),
}

/// A document in one of two forms.
#[derive(ApiResponse)]
pub enum DocumentAnswer {
    /// The document.
    #[oai(status = 200)]
    Ok(
        DocumentContent,
        /// Lets the page run nothing and load nothing.
        #[oai(header = "Content-Security-Policy")]
        String,
    ),
}

domain::choice! {
    /// The form of a document.
    DocumentFormat { JsonLd = "jsonld", Html = "html" }
}

fn document(value: Value, format: Option<OneOf<DocumentFormat>>) -> DocumentAnswer {
    let policy = format!("default-src 'none'; style-src {}", processing_record::style_source());
    let content = match format.map_or(DocumentFormat::JsonLd, |format| format.0) {
        DocumentFormat::JsonLd => DocumentContent::JsonLd(JsonLd(value)),
        DocumentFormat::Html => DocumentContent::Page(PlainText(processing_record::page(&value))),
    };
    DocumentAnswer::Ok(content, policy)
}

pub struct ProcessingRecordApi;

#[OpenApi(prefix_path = "/v1/compliance", tag = "Tag::Compliance")]
impl ProcessingRecordApi {
    /// The record of processing activities
    ///
    /// As GDPR Art. 30 asks for it, made from what the server knows; open points are marked.
    #[oai(path = "/processing-record", method = "get", operation_id = "processing_record")]
    async fn processing_record(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// If absent, `jsonld`.
        format: Query<Option<OneOf<DocumentFormat>>>,
    ) -> Result<DocumentAnswer, Refusal> {
        access::note_session_read(&app, caller.ctx(), "compliance", 1, "processing record".to_owned()).await?;
        Ok(document(processing_record::make(&app), format.0))
    }

    /// A draft of the impact assessment
    ///
    /// As GDPR Art. 35(7) asks for it: processing, necessity, risks, measures; open points are marked.
    #[oai(path = "/impact-assessment", method = "get", operation_id = "impact_assessment")]
    async fn impact_assessment(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// If absent, `jsonld`.
        format: Query<Option<OneOf<DocumentFormat>>>,
    ) -> Result<DocumentAnswer, Refusal> {
        access::note_session_read(&app, caller.ctx(), "compliance", 1, "impact assessment".to_owned()).await?;
        Ok(document(processing_record::impact_assessment(&app), format.0))
    }
}
