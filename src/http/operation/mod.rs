//! The state of the service: health, projections, jobs.

pub mod admin;
pub mod health;
pub mod job;

use poem_openapi::OpenApi;

/// The area's operations.
pub(crate) fn apis() -> impl OpenApi + 'static {
    (admin::AdminApi, job::JobApi, health::HealthApi)
}
