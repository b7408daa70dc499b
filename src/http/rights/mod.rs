//! The rights of a person over their data.

pub mod consent;
pub mod deletion;
pub mod download;
pub mod export;
pub mod import;
pub mod overview;
pub mod restriction;
pub mod retention;

use poem_openapi::OpenApi;

/// The area's operations.
pub(crate) fn apis() -> impl OpenApi + 'static {
    (
        consent::ConsentApi,
        overview::OverviewApi,
        deletion::DeletionApi,
        export::ExportApi,
        import::ImportApi,
        restriction::RestrictionApi,
        retention::RetentionApi,
    )
}
