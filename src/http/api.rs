//! Every API of the service, and the OpenAPI document that describes them.

use poem_openapi::{OpenApi, OpenApiService};

use crate::http::{desk, identity, log, operation, records, rights, statistics};

/// Every API, with what the document says of the service as a whole.
pub(crate) fn service() -> OpenApiService<impl OpenApi + 'static, ()> {
    let apis = (
        identity::sign_in::AuthApi,
        identity::account::AccountApi,
        rights::consent::ConsentApi,
        records::work_day::WorkDayApi,
        records::record::RecordApi,
        records::guest::GuestApi,
        rights::overview::OverviewApi,
        rights::deletion::DeletionApi,
        rights::export::ExportApi,
        rights::import::ImportApi,
        rights::restriction::RestrictionApi,
        rights::retention::RetentionApi,
        log::audit::AuditApi,
        operation::admin::AdminApi,
        operation::job::JobApi,
        (
            statistics::analytics::AnalyticsApi,
            log::published::LogApi,
            desk::compliance::ComplianceApi,
            desk::trail::TrailApi,
            desk::processing_record::ProcessingRecordApi,
            desk::alert::AlertApi,
            desk::breach::BreachApi,
            operation::health::HealthApi,
        ),
    );
    OpenApiService::new(apis, "Lethe", "1")
        .summary("Remembers what happened, and can forget who it happened to.")
        .description(
            "Consent, submissions and audit for people's data. Refusals are problem documents (RFC 9457). Sign in with \
             `POST /v1/auth/code` and `/v1/auth/register` or `/v1/auth/login`.",
        )
        .license(poem_openapi::LicenseObject::new("AGPL-3.0-or-later").identifier("AGPL-3.0-or-later"))
}

/// The OpenAPI document, as `openapi/openapi.json` holds it.
pub fn document() -> String {
    crate::http::document::document(&service().spec())
}
