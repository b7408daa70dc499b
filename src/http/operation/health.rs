//! Whether the server lives, and whether it can do its work. Called by anyone; says nothing but that.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json};

use crate::{
    app::{App, operation::readiness},
    http::{
        problem::{Refusal, not_ready},
        tag::Tag,
    },
};

/// That the server lives.
#[derive(Object)]
pub struct Health {
    /// Always `ok`: a process that does not live gives no answer.
    status: String,
}

/// That the server can do its work.
#[derive(Object)]
pub struct Ready {
    /// Always `ready`; otherwise the answer is a problem.
    status: String,
}

/// Health.
pub struct HealthApi;

#[OpenApi(tag = "Tag::Service")]
impl HealthApi {
    /// Ask whether the server lives
    ///
    /// Answered without the database, for a supervisor that restarts what does not answer. Whether requests can be served says
    /// `/ready`.
    #[oai(path = "/health", method = "get", operation_id = "health_get")]
    async fn get(&self) -> Result<Json<Health>, Refusal> {
        Ok(Json(Health { status: "ok".to_owned() }))
    }

    /// Ask whether the server can do its work
    ///
    /// Answers 200 where the database was read and written by a fresh connection within the last five seconds, the tree over the log
    /// grows, no reads wait for the database, and the server's own PostgreSQL runs, where it has one. Otherwise 503; `detail` names
    /// what does not hold, of `read`, `write`, `tree`, `journal` and `own_postgres`.
    #[oai(path = "/ready", method = "get", operation_id = "ready_get")]
    async fn ready(&self, app: Data<&Arc<App>>) -> Result<Json<Ready>, Refusal> {
        let lacking: Vec<_> = readiness::lacking(&app.readiness).await.into_iter().map(|need| need.as_str()).collect();
        if lacking.is_empty() { Ok(Json(Ready { status: "ready".to_owned() })) } else { Err(not_ready(&lacking)) }
    }
}
