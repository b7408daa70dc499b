//! Whether the server serves. Called by anyone; says nothing but that.

use std::sync::Arc;

use context::Ctx;
use db::{Gate, Query};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json};

use super::{Tag, problem::Refusal};
use crate::app::{App, AppError};

/// That the server serves.
#[derive(Object)]
pub struct Health {
    /// Always `ok`; otherwise the answer is a problem.
    status: String,
}

/// Health.
pub struct HealthApi;

#[OpenApi(tag = "Tag::Service")]
impl HealthApi {
    /// Ask for health
    ///
    /// Answers once the server serves and its database answers.
    #[oai(path = "/health", method = "get", operation_id = "health_get")]
    async fn get(&self, app: Data<&Arc<App>>) -> Result<Json<Health>, Refusal> {
        let ctx = &Ctx::system(app.clock.clone());
        let work = move |tx: db::Tx| async move {
            tx.finish([Query::new(
                "-- health_get
SELECT 1",
            )])
            .await?;
            Ok::<_, AppError>(())
        };
        app.db.api.run_tx("health_get", ctx, Gate::read(ctx), work).await?;
        Ok(Json(Health { status: "ok".to_owned() }))
    }
}
