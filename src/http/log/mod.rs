//! The caller's own audit log, and the published log.

pub mod action;
pub mod audit;
pub mod published;

use poem_openapi::OpenApi;

/// The area's operations.
pub(crate) fn apis() -> impl OpenApi + 'static {
    (audit::AuditApi, published::LogApi)
}
