//! Guests: a token that names nobody, and evaluations of records that are never stored. Called without an account.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{Kind, kinds::kind};
use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, param::Path, payload::Json};
use serde_json::Value;

use crate::{
    app::{App, AppError, records::guest},
    http::{
        problem::{HOW_TO_SIGN_IN, Refusal},
        records::record::RecordBody,
        request::{
            caller::{Anyone, Guest},
            input::Body,
        },
        tag::Tag,
        types::in_utc,
    },
};

/// A guest's token.
#[derive(Object)]
pub struct GuestAnswer {
    /// The token, for `Authorization: Bearer`. It names nobody and opens nothing that is stored.
    token: String,
    /// When the token expires.
    #[oai(serialize_with = "in_utc")]
    expires_at: DateTime<Utc>,
    /// Always false: nothing that a guest submits is stored, and nothing of it can be seen again.
    stored: bool,
    /// How to sign in, to have records kept.
    sign_in: String,
}

/// The evaluation of a record.
#[derive(Object)]
pub struct EvaluationAnswer {
    /// The name of the record's kind.
    kind: String,
    /// What the record means: an object in the form of its kind.
    result: Value,
    /// Always false: neither the record nor the result is stored.
    stored: bool,
    /// How to sign in, to have records kept.
    sign_in: String,
}

impl GuestAnswer {
    fn new(token: String, expires_at: DateTime<Utc>) -> Self {
        Self { token, expires_at, stored: false, sign_in: HOW_TO_SIGN_IN.to_owned() }
    }
}

impl EvaluationAnswer {
    fn new(kind: &Kind, result: Value) -> Self {
        Self { kind: kind.name().to_owned(), result, stored: false, sign_in: HOW_TO_SIGN_IN.to_owned() }
    }
}

/// The answer to a request for a guest's token.
#[derive(ApiResponse)]
pub enum GuestWelcomed {
    /// The guest's token.
    #[oai(status = 201)]
    Created(
        Json<GuestAnswer>,
        /// How many requests the limit still allows, and in how many seconds it resets.
        #[oai(header = "RateLimit")]
        String,
        /// The quota of the limit, and its window in seconds.
        #[oai(header = "RateLimit-Policy")]
        String,
    ),
}

/// The answer to an evaluation.
#[derive(ApiResponse)]
pub enum Evaluated {
    /// What the record means.
    #[oai(status = 200)]
    Ok(
        Json<EvaluationAnswer>,
        /// How many requests the limit still allows, and in how many seconds it resets.
        #[oai(header = "RateLimit")]
        String,
        /// The quota of the limit, and its window in seconds.
        #[oai(header = "RateLimit-Policy")]
        String,
    ),
}

pub struct GuestApi;

#[OpenApi(prefix_path = "/v1/guests", tag = "Tag::Guests")]
impl GuestApi {
    /// Be a guest
    ///
    /// Gives a token that is valid for an hour. It names nobody, and the server keeps nothing of it.
    #[oai(path = "/", method = "post", operation_id = "guest_token")]
    async fn token(&self, app: Data<&Arc<App>>, anyone: Anyone) -> Result<GuestWelcomed, Refusal> {
        let left = guest::count(&app.guests, &anyone.0)?;
        let (token, expires_at) = app.tokens.issue_guest(anyone.0.now());
        let answer = Json(GuestAnswer::new(token, expires_at));
        Ok(GuestWelcomed::Created(answer, left.header(), left.policy_header()))
    }

    /// Have a record evaluated
    ///
    /// Says what a record means, and stores neither the record nor the result. A kind that is not for guests is
    /// answered 403, with how to sign in.
    #[oai(path = "/evaluate/:kind", method = "post", operation_id = "guest_evaluate")]
    async fn evaluate(
        &self,
        app: Data<&Arc<App>>,
        guest: Guest,
        /// The name of the kind.
        #[oai(name = "kind")]
        kind_name: Path<String>,
        body: Body<RecordBody>,
    ) -> Result<Evaluated, Refusal> {
        let left = guest::count(&app.guests, &guest.0)?;
        let kind = kind(&kind_name).ok_or(AppError::NotFound("kind"))?;
        let result = guest::evaluate(&guest.0, kind, &body.0.0)?;
        let answer = Json(EvaluationAnswer::new(kind, result));
        Ok(Evaluated::Ok(answer, left.header(), left.policy_header()))
    }
}
