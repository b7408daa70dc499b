//! Published statistics and their parameters.

pub mod analytics;
pub mod parameters;

use poem_openapi::OpenApi;

/// The area's operations.
pub(crate) fn apis() -> impl OpenApi + 'static {
    analytics::AnalyticsApi
}
