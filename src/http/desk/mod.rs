//! The compliance desk.

pub mod alert;
pub mod breach;
pub mod compliance;
pub mod extension;
pub mod processing_record;
pub mod trail;

use poem_openapi::OpenApi;

/// The area's operations.
pub(crate) fn apis() -> impl OpenApi + 'static {
    (
        alert::AlertApi,
        breach::BreachApi,
        compliance::ComplianceApi,
        extension::ExtensionApi,
        processing_record::ProcessingRecordApi,
        trail::TrailApi,
    )
}
