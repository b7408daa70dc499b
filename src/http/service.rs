//! What is served: the routes, and the steps that every request and answer go through.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use context::RequestId;
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Result, Route, get, handler,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::CatchPanic,
    web::Data,
};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    app::{App, AppError},
    http::{
        api, cross_origin, deprecation, log,
        problem::{self, Refusal},
        problem_page,
        request::{
            self,
            client::{self, TrustedProxies},
            contract::Contract,
        },
        transfer,
    },
};

/// All routes of the service.
pub fn routes(app: Arc<App>, proxies: TrustedProxies) -> impl Endpoint<Output = Response> {
    let service = api::service();
    let mut routes = Route::new()
        .at("/openapi.json", get(openapi))
        .at("/openapi-3.0.json", get(openapi_3_0))
        .at("/v1/log/tile/*path", get(log::published::get_tile))
        .at("/v1/log/trees/:tree/checkpoint", get(log::published::get_checkpoint_of))
        .at("/v1/log/trees/:tree/tile/*path", get(log::published::get_tile_of))
        .at("/problems", get(problem_page::list))
        .at("/problems/:name", get(problem_page::show))
        .at("/.well-known/jwks.json", get(jwks))
        .at("/.well-known/receipt-keys.json", get(receipt_keys));
    for old in ["/auth", "/work-events", "/consents", "/privacy", "/analytics"] {
        routes = routes.nest_no_strip(old, moved);
    }
    let panics = CatchPanic::new().with_handler(|_: Box<dyn std::any::Any + Send>| Refusal::panicked().into_response());
    // Boxed, because the compiler limits how deep futures may be nested.
    let routes = routes
        .nest("/", service)
        .with(panics)
        .boxed()
        .around(deprecation::take_guest_bearer)
        .around(request::target::check)
        .around(request::in_time::limit)
        .boxed()
        .around(request::caller::tell_erased)
        .around(transfer::spare)
        .around(request::limit::count)
        .boxed();
    routes
        .around(cross_origin::allow)
        .around(observe)
        .boxed()
        .around(request::in_time::accompany)
        .data(app)
        .data(CONTRACT.clone())
        .data(proxies)
        .catch_all_error(problem::catch_all)
}

/// The OpenAPI document, which is the same for every server of this version.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| api::document().into());
/// The same for generators that know OpenAPI 3.0 alone. Nobody else asks, so it is made when it is asked for.
static DOCUMENT_3_0: LazyLock<Bytes> = LazyLock::new(|| api::document_3_0().into());
static CONTRACT: LazyLock<Arc<Contract>> = LazyLock::new(|| {
    let document = serde_json::from_slice(&DOCUMENT).expect("our own document is JSON");
    Arc::new(Contract::of(&document))
});

#[handler]
fn openapi() -> Response {
    described(&DOCUMENT)
}

#[handler]
fn openapi_3_0() -> Response {
    described(&DOCUMENT_3_0)
}

fn described(document: &Bytes) -> Response {
    Response::builder()
        .content_type("application/json")
        .header(header::CACHE_CONTROL, "public, max-age=3600")
        .body(document.clone())
}

#[handler]
fn jwks(app: Data<&Arc<App>>) -> Response {
    Response::builder()
        .content_type("application/jwk-set+json")
        .header(header::CACHE_CONTROL, "public, max-age=300")
        .body(app.tokens.jwks().to_string())
}

/// The key that verifies consent receipts and certificates of erasure.
#[handler]
fn receipt_keys(app: Data<&Arc<App>>) -> Result<Response> {
    let key = app.vault.ring().evidence().map_err(|error| Refusal::from(AppError::from(error)))?;
    Ok(Response::builder()
        .content_type("application/jwk-set+json")
        .header(header::CACHE_CONTROL, "public, max-age=300")
        .body(key.jwks().to_string()))
}

/// Redirects the paths of older clients to those under `/v1`.
#[handler]
fn moved(request: &Request) -> Response {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(uri.path(), |path| path.as_str());
    let mut answer = Response::builder()
        .status(StatusCode::PERMANENT_REDIRECT)
        .header(header::LOCATION, format!("/v1{target}"))
        .finish();
    deprecation::BARE_PATHS.tell_successor(&format!("/v1{target}"), answer.headers_mut());
    answer
}

/// Gives each request an id and a span with its operation, outcome and duration. Address, agent, path parameters and
/// query never appear in the span. A guest's request gets no span at all.
async fn observe<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<Response> {
    let (id, method, started) = (client::request_id(&request), request.method().clone(), std::time::Instant::now());
    let path = request.uri().path().to_owned();
    request.set_data(id);
    let contract = request.data::<Arc<Contract>>().expect("every request has the contract");
    let resource = contract.path(&path);
    if let Some(resource) = resource.clone() {
        request.set_data(resource);
    }
    let operation = resource.as_ref().and_then(|resource| resource.operation(method.as_str()));
    let operation = operation.map(|operation| operation.id.as_str());
    let span = match is_for_guests(&path) {
        true => Span::none(),
        false => tracing::info_span!("request", operation, request = %id, outcome = Empty, elapsed_us = Empty),
    };
    let mut response = answer(next, request, id, &path).instrument(span.clone()).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let methods = resource.as_ref().map_or("GET", |resource| &resource.methods);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_str(methods).expect("methods are plain text"));
    }
    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    span.record("outcome", response.status().as_u16()).record("elapsed_us", elapsed_us);
    if !span.is_none() {
        let status = response.status().as_u16();
        tracing::debug!(parent: &span, method = known(&method), status, "request");
    }
    Ok(response)
}

/// Answers a request, and records the refusal if it was refused.
async fn answer<E: Endpoint>(next: Arc<E>, mut request: Request, id: RequestId, path: &str) -> Response {
    let signed = request::caller::Signed::of(&request).map(Arc::new);
    if let Some(signed) = &signed {
        request.set_data(signed.clone());
    }
    let mut response = problem::answer_of(next, request).await;
    if let Some(signed) = signed.filter(|_| is_refusal(path, response.status())) {
        signed.record_refusal(response.status().as_u16(), &without_ids(path)).await;
    }
    let headers = response.headers_mut();
    headers.insert("x-request-id", HeaderValue::from_str(&id.to_string()).expect("an id is plain text"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether an answer says that something does not exist or is not the caller's.
fn is_refusal(path: &str, status: StatusCode) -> bool {
    let of_staff = || ["/v1/admin/", "/v1/compliance/", "/v1/log/"].iter().any(|prefix| path.starts_with(prefix));
    path.starts_with("/v1/") && (status == StatusCode::NOT_FOUND || status == StatusCode::FORBIDDEN && of_staff())
}

/// How many segments of a path are recorded, which is more than any path of ours has.
const MOST_SEGMENTS: usize = 12;

/// The path without ids, dates and tokens, because they may be somebody else's.
fn without_ids(path: &str) -> String {
    let plain = |segment: &str| {
        segment.bytes().all(|byte| byte.is_ascii_lowercase() || b"-_".contains(&byte)) && segment.len() < 32
    };
    let version = |segment: &str| segment == "v1";
    let shown = path.split('/').map(|segment| if plain(segment) || version(segment) { segment } else { "…" });
    shown.take(MOST_SEGMENTS).collect::<Vec<_>>().join("/")
}

fn is_for_guests(path: &str) -> bool {
    path == "/v1/guests" || path.starts_with("/v1/guests/")
}

/// The name of a method that HTTP defines, otherwise `other`, so that a name that a client makes up is not repeated.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
