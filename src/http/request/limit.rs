//! The limits on all requests under `/v1`, and the header fields that tell what is left of a limit: `RateLimit` and
//! `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). Each is a list; the limits of the operation stand first.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderName, HeaderValue},
};

use crate::{
    app::App,
    auth::limits::Allowance,
    http::{
        problem::{self, Refusal},
        request::caller::{context, verified},
    },
};

const LEFT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Whether requests to a path are counted.
pub fn is_limited(path: &str) -> bool {
    path.starts_with("/v1/")
}

/// The header fields that tell what is left of a limit.
pub fn fields(left: &Allowance) -> [(HeaderName, HeaderValue); 2] {
    let value = |text: String| HeaderValue::try_from(text).expect("names and numbers are plain text");
    [(LEFT, value(left.header())), (POLICY, value(left.policy_header()))]
}

/// Counts a request, and lets it pass if no limit is exceeded.
pub async fn count<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    if !is_limited(request.uri().path()) {
        return next.call(request).await.map(IntoResponse::into_response);
    }
    let app = request.data::<Arc<App>>().expect("every request has the application");
    let left = app.limits.count(&context(&request)?, verified(&request).as_ref()).map_err(Refusal::from)?;
    let mut response = match next.call(request).await {
        Ok(answer) => answer.into_response(),
        Err(error) => problem::catch_all(error).await,
    };
    for (name, value) in left.iter().flat_map(fields) {
        response.headers_mut().append(name, value);
    }
    Ok(response)
}
