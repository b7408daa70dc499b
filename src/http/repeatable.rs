//! Answers of operations that take an `Idempotency-Key`. An answer that an earlier request got carries the header field
//! `Idempotency-Replayed`.

use chrono::{DateTime, Utc};
use poem::{
    IntoResponse, Response,
    http::{HeaderName, HeaderValue},
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaHeader, MetaResponses, Registry},
    types::Type,
};

use crate::app::frame::Once;

/// An answer, and whether an earlier request with the same `Idempotency-Key` got it.
pub struct Repeatable<A> {
    pub answer: A,
    pub replayed: bool,
}

impl<A> Repeatable<A> {
    /// Makes the answer of its value and of the time at which it was given first, so that a repeated request gets the
    /// same answer.
    pub fn of<T>(once: Once<T>, answer: impl FnOnce(T, DateTime<Utc>) -> A) -> Self {
        Self { answer: answer(once.value, once.at), replayed: once.replayed }
    }
}

impl<A: ApiResponse> ApiResponse for Repeatable<A> {
    fn meta() -> MetaResponses {
        let mut meta = A::meta();
        for response in &mut meta.responses {
            response.headers.push(MetaHeader {
                name: "Idempotency-Replayed".to_owned(),
                description: Some(
                    "`true` if an earlier request with the same `Idempotency-Key` got this answer; absent otherwise."
                        .to_owned(),
                ),
                required: false,
                deprecated: false,
                schema: bool::schema_ref(),
            });
        }
        meta
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
    }
}

impl<A: IntoResponse> IntoResponse for Repeatable<A> {
    fn into_response(self) -> Response {
        let mut response = self.answer.into_response();
        if self.replayed {
            let name = HeaderName::from_static("idempotency-replayed");
            response.headers_mut().insert(name, HeaderValue::from_static("true"));
        }
        response
    }
}
