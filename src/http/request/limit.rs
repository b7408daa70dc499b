//! The limits on all requests but those for the server's state. Answers tell what is left of them, behind what is left
//! of a limit of the operation's own.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Request, Response, Result};

use crate::{
    app::App,
    http::{
        problem::{self, Refusal},
        rate_limit,
        request::caller::{context, verified},
    },
};

/// Whether requests to a path are counted: all but those by which a supervisor asks for the server's state.
pub fn is_limited(path: &str) -> bool {
    !["/health", "/ready"].contains(&path)
}

/// Counts a request, and lets it pass if no limit is exceeded.
pub async fn count<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    if !is_limited(request.uri().path()) {
        return next.call(request).await.map(IntoResponse::into_response);
    }
    let app = request.data::<Arc<App>>().expect("every request has the application");
    let left = app.limits.count(&context(&request)?, verified(&request).as_ref()).map_err(Refusal::from)?;
    let mut response = problem::answer_of(next, request).await;
    for (name, value) in left.iter().flat_map(rate_limit::fields) {
        response.headers_mut().append(name, value);
    }
    Ok(response)
}
