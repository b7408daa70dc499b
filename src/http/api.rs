//! Every API of the service, and the OpenAPI document that describes them.

use poem_openapi::{ContactObject, LicenseObject, OpenApi, OpenApiService, ServerObject};

use crate::http::{desk, identity, log, operation, records, rights, statistics};

/// Every API, with what the document says of the service as a whole.
pub(crate) fn service() -> OpenApiService<impl OpenApi + 'static, ()> {
    let apis = (
        identity::apis(),
        records::apis(),
        rights::apis(),
        log::apis(),
        statistics::apis(),
        desk::apis(),
        operation::apis(),
    );
    OpenApiService::new(apis, "Lethe", "1")
        .summary("Remembers what happened, and can forget who it happened to.")
        .description(
            "Consent, submissions and audit for people's data. Refusals are problem documents (RFC 9457). Sign in with \
             `POST /v1/auth/code` and `/v1/auth/register` or `/v1/auth/login`. A path that is none answers 404, and a \
             method that a path does not have 405 with `Allow`.",
        )
        .server(ServerObject::new("/").description("This server."))
        .contact(ContactObject::new().name("The controller of this service"))
        .license(LicenseObject::new("AGPL-3.0-or-later").identifier("AGPL-3.0-or-later"))
}

/// The OpenAPI document, as `openapi/openapi.json` holds it.
pub fn document() -> String {
    crate::http::document::document(&service().spec())
}

/// The document for generators that know OpenAPI 3.0 alone, as `openapi/openapi-3.0.json` holds it.
pub fn document_3_0() -> String {
    crate::http::document::older::document(&document())
}
