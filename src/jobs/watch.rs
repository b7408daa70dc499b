//! The watch over the policies: where roles, grants or policies are not what they must be, the server stops.

use context::Ctx;
use db::{Gate, catalogue, drift, matrix};

use crate::app::{App, AppError};

/// The catalogue differs from `policies/matrix.snap`.
#[derive(Debug, thiserror::Error)]
#[error("roles, grants or policies are not what they must be (`lethe migrate` applies roles, grants and policies anew):\n{}", .0.join("\n"))]
pub struct PolicyDrift(pub Vec<String>);

/// Compares the live catalogue with what it must be.
pub async fn check_policies(app: &App) -> Result<Result<(), PolicyDrift>, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let found = app
        .db
        .api
        .run_tx("check_policies", ctx, Gate::read(ctx), move |tx| async move {
            let [rows] = tx.finish([catalogue()]).await?;
            Ok::<_, AppError>(matrix(&rows))
        })
        .await?;
    let drift = drift(&found);
    Ok(if drift.is_empty() { Ok(()) } else { Err(PolicyDrift(drift)) })
}
