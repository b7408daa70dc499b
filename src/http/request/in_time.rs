//! Time limits: no request takes longer than it may, and the server does not stop before each request has an answer.
//!
//! A request that is given up is answered 503 with `Retry-After`. Its transaction is rolled back with its connection,
//! unless the COMMIT had left already. A client that sent an `Idempotency-Key` learns from its next try which of both
//! happened.

use std::sync::Arc;

use listen::Connections;
use poem::{Endpoint, IntoResponse, Request, Response, Result};

use crate::http::problem::Refusal;

/// The server's connections; `None` if the request came without a server, as in tests.
fn connections(request: &Request) -> Option<Arc<Connections>> {
    request.data::<Arc<Connections>>().cloned()
}

/// Lets the connection keep its slot until the answer has been sent.
pub async fn accompany<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let Some(connections) = connections(&request) else {
        return next.call(request).await.map(IntoResponse::into_response);
    };
    let work = connections.begin(&request);
    let answer = next.call(request).await?;
    Ok(work.until_sent(answer.into_response()))
}

/// The time of an import grows with its document, whose upload has limits of its own.
const IMPORT: &str = "/v1/privacy/import";

/// Answers within the time that a request may take; 503 if it takes longer.
pub async fn limit<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let Some(connections) = connections(&request) else {
        return next.call(request).await.map(IntoResponse::into_response);
    };
    let takes_long = request.uri().path() == IMPORT;
    let answer = next.call(request);
    let answer = if takes_long { connections.before_stop(answer).await } else { connections.in_time(answer).await };
    match answer {
        Some(answer) => answer.map(IntoResponse::into_response),
        None => Err(Refusal::too_late().into()),
    }
}
