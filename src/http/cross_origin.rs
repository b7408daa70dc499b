//! Calls of pages of other origins, from a browser (the CORS protocol of the Fetch standard). Only the origins that the
//! operator names may read answers; without them no answer says anything of origins.
//!
//! No answer allows credentials, because a browser has none of ours: a page shows an access token itself.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderValue, Method, StatusCode, header},
};

use crate::{
    app::App,
    http::{problem, request::contract::Path},
};

/// The header fields of requests that a page may set.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Guest-Token, Idempotency-Key, If-Match, If-None-Match, If-Range, Range",
);
/// The header fields of answers that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Accept-Ranges, Content-Disposition, Content-Range, Content-Security-Policy, Deprecation, ETag, \
     Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, Sunset, WWW-Authenticate, \
     X-Next-Cursor, X-Request-Id",
);
/// For how many seconds a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Says to a browser whether the page that calls may read the answer.
pub async fn allow<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let app = request.data::<Arc<App>>().expect("every request has the application");
    if app.origins.is_empty() {
        return next.call(request).await.map(IntoResponse::into_response);
    }
    let origin = request.headers().get(header::ORIGIN);
    let known = origin.filter(|origin| app.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())).cloned();
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks && known.is_some() {
        // What the document does not describe is only read.
        let methods = request.data::<Arc<Path>>().map_or("GET", |path| &path.methods);
        let mut answer = Response::builder().status(StatusCode::NO_CONTENT).finish();
        let methods = HeaderValue::from_str(methods).expect("methods are plain text");
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
        answer.headers_mut().insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        answer
    } else {
        problem::answer_of(next, request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = known {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    Ok(response)
}
