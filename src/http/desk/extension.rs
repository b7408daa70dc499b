//! More time to answer a person's request. Called by the compliance desk.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json, types::ToJSON};
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::{App, desk::extension, log::access},
    http::{
        problem::Refusal,
        repeatable::Repeatable,
        request::{
            caller::Compliance,
            header_field::IdempotencyKey,
            input::{Body, Input},
            text::{StatedReason, Text},
        },
        tag::Tag,
        types::in_utc,
    },
};

/// Why the answer to a request takes longer.
#[derive(Object)]
pub struct ExtensionDecision {
    /// The reason, in 10 to 500 characters; the person is told.
    reason: Text<StatedReason>,
}

/// The new time by which a request must be answered.
#[derive(Object)]
pub struct ExtensionAnswer {
    /// Until when the request must be answered.
    #[oai(serialize_with = "in_utc")]
    due_at: DateTime<Utc>,
}

impl Input for ExtensionDecision {}

pub struct ExtensionApi;

#[OpenApi(prefix_path = "/v1/compliance", tag = "Tag::Compliance")]
impl ExtensionApi {
    /// Take longer for a request
    ///
    /// Two months more, once, within the first month; the person is told the reason, by mail and in the audit log.
    #[oai(path = "/requests/:id/extension", method = "post", operation_id = "request_extend")]
    async fn extend(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The id of the request.
        id: Path<Uuid>,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        decision: Body<ExtensionDecision>,
    ) -> Result<Repeatable<Json<ExtensionAnswer>>, Refusal> {
        let request = key.request(&json!([id.0, decision.0.to_json()]));
        access::note_session_read(&app, caller.ctx(), "compliance", 1, format!("extension of {}", id.0)).await?;
        let due = extension::extend(&app, caller.ctx(), id.0, &decision.0.reason, request.as_ref()).await?;
        Ok(Repeatable::of(due, |due_at, _| Json(ExtensionAnswer { due_at })))
    }
}
