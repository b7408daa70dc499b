//! Requests within time: none takes longer than it may, and none outlasts the stop of the server without an answer.
//!
//! What is given up is answered 503 with `Retry-After`. Its transaction is rolled back with its connection, unless the COMMIT had
//! left already: a client that sent an `Idempotency-Key` learns from the next try which it was.

use std::sync::Arc;

use listen::Connections;
use poem::{Endpoint, IntoResponse, Request, Response, Result};

use crate::http::problem;

/// The connections that the request came with; none where it came without a server, as in tests.
fn connections(request: &Request) -> Option<Arc<Connections>> {
    request.data::<Arc<Connections>>().cloned()
}

/// Lets the connection keep its place until the answer has left.
pub async fn accompany<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let Some(connections) = connections(&request) else {
        return next.call(request).await.map(IntoResponse::into_response);
    };
    let work = connections.begin(&request);
    let answer = next.call(request).await?;
    Ok(work.until_sent(answer.into_response()))
}

/// Answers in time, come what may.
pub async fn limit<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let Some(connections) = connections(&request) else {
        return next.call(request).await.map(IntoResponse::into_response);
    };
    match connections.in_time(next.call(request)).await {
        Some(answer) => answer.map(IntoResponse::into_response),
        None => Err(problem::too_late().into()),
    }
}
