//! Whether the server lives, and whether it can do its work. Called by anyone; tells nothing else.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json};

use crate::{
    app::{App, operation::readiness},
    http::{problem::Refusal, tag::Tag},
};

/// The server lives.
#[derive(Object)]
pub struct Health {
    /// Always `ok`: a process that does not live gives no answer.
    status: String,
}

/// The server can do its work.
#[derive(Object)]
pub struct Ready {
    /// Always `ready`: if the server is not ready, the answer is a problem.
    status: String,
}

pub struct HealthApi;

#[OpenApi(tag = "Tag::Service")]
impl HealthApi {
    /// Ask whether the server lives
    ///
    /// Answers without the database, for a supervisor that restarts a server which does not answer. `/ready` says if
    /// the server can serve requests.
    #[oai(path = "/health", method = "get", operation_id = "health_get")]
    async fn get(&self) -> Result<Json<Health>, Refusal> {
        Ok(Json(Health { status: "ok".to_owned() }))
    }

    /// Ask whether the server can do its work
    ///
    /// Answers 200 if a fresh connection has read and written the database within the last five seconds, the tree over
    /// the log grows, no reads wait for the database, and the server's own PostgreSQL runs, if it has one. Otherwise
    /// answers 503; `detail` names what is lacking: `read`, `write`, `tree`, `journal` or `own_postgres`.
    #[oai(path = "/ready", method = "get", operation_id = "ready_get")]
    async fn ready(&self, app: Data<&Arc<App>>) -> Result<Json<Ready>, Refusal> {
        let lacking: Vec<_> = readiness::lacking(&app.readiness).await.into_iter().map(|need| need.as_str()).collect();
        if lacking.is_empty() {
            Ok(Json(Ready { status: "ready".to_owned() }))
        } else {
            Err(Refusal::not_ready(&lacking))
        }
    }
}
