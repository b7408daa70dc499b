//! Problem documents (RFC 9457): every refusal and every failure leaves as one, also those of the framework.
//!
//! A problem names the field and the fact, never a value or an internal cause. Faults of the server are logged once,
//! here.

use domain::{Choice, refusal::Conflict};
use poem::{
    Error, IntoResponse, Response,
    error::{ReadBodyError, SizedLimitError},
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    payload::Payload,
    registry::MetaSchemaRef,
    types::{ToJSON, Type},
};

use crate::app::{AppError, Passing};

/// One field that is wrong.
#[derive(Object, Clone, Debug)]
#[oai(rename = "ProblemField")]
pub struct Field {
    /// The field's path, such as `events[3].date`; empty for the body as a whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// Why a request was refused (RFC 9457).
#[derive(Object, Clone, Debug)]
pub struct Problem {
    /// What kind of problem it is, a relative URI: `/problems/` and one of `malformed`, `too-large`, `too-slow`,
    /// `unsupported-media-type`, `method-not-allowed`, `signed-out`, `code-refused`, `refresh-refused`, `forbidden`,
    /// `consent-needed`, `objection-stands`, `restricted`, `held`, `deletion-waiting`, `deletion-confirmed`,
    /// `deletion-closed`, `cooling-off`, `grace-over`, `grace-runs`, `notice-outdated`, `missing`, `account-exists`,
    /// `changed`, `key-reused`, `in-flight`, `invalid-input`, `outside`, `export-waiting`, `export-closed`,
    /// `import-running`, `limited`, `failed`, `unavailable`, `busy`, `storage-full`, `out-of-order`, `sign-in-needed`,
    /// `suspended`, `not-covered-yet`, `alert-not-open`, `breach`, `no-extension`.
    #[oai(rename = "type")]
    pub kind: String,
    /// The kind of the problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is special about this occurrence; absent if there is nothing to add.
    #[oai(skip_serializing_if_is_none)]
    pub detail: Option<String>,
    /// The fields that are wrong, with the fault of each; absent if no field is named.
    #[oai(skip_serializing_if_is_none)]
    pub errors: Option<Vec<Field>>,
    /// The purpose whose consent is missing; absent for all other problems.
    #[oai(skip_serializing_if_is_none)]
    pub purpose: Option<String>,
}

/// A problem as a payload with a media type of its own. Boxed, so that a result that may hold a refusal stays small.
pub struct ProblemJson(Box<Problem>);

impl From<Problem> for ProblemJson {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl Payload for ProblemJson {
    const CONTENT_TYPE: &'static str = "application/problem+json";

    fn schema_ref() -> MetaSchemaRef {
        Problem::schema_ref()
    }

    fn register(registry: &mut poem_openapi::registry::Registry) {
        Problem::register(registry);
    }
}

impl IntoResponse for ProblemJson {
    fn into_response(self) -> Response {
        let body = self.0.to_json_string();
        Response::builder().content_type(Self::CONTENT_TYPE).body(body)
    }
}

/// The refusals that any operation may answer with.
#[derive(ApiResponse)]
pub enum Refusal {
    /// The request is malformed: not JSON, or a part of it that can't be read.
    #[oai(status = 400)]
    Malformed(ProblemJson),
    /// Nobody is signed in, or the session has ended; or the code or refresh token is refused.
    #[oai(status = 401)]
    SignedOut(
        ProblemJson,
        /// How to authenticate: with a bearer token (RFC 6750).
        #[oai(header = "WWW-Authenticate")]
        String,
    ),
    /// Consent is missing, the role may not do this, or the account is suspended.
    #[oai(status = 403)]
    Forbidden(ProblemJson),
    /// There is no such thing, or it is not the caller's.
    #[oai(status = 404)]
    Missing(ProblemJson),
    /// The present state does not allow this, or the same request is being worked on.
    #[oai(status = 409)]
    Conflict(ProblemJson),
    /// The present version is not one that the request demands.
    #[oai(status = 412)]
    Changed(ProblemJson),
    /// The body is too large.
    #[oai(status = 413)]
    TooLarge(ProblemJson),
    /// Fields are wrong, or an idempotency key was used with another body.
    #[oai(status = 422)]
    Invalid(ProblemJson),
    /// Too many requests.
    #[oai(status = 429)]
    Limited(
        ProblemJson,
        /// How many seconds to wait before the next try.
        #[oai(header = "Retry-After")]
        i64,
    ),
    /// A fault of the server.
    #[oai(status = 500)]
    Failed(ProblemJson),
    /// The service can't answer now.
    #[oai(status = 503)]
    Unavailable(
        ProblemJson,
        /// How many seconds to wait before the next try.
        #[oai(header = "Retry-After")]
        i64,
    ),
}

const BEARER: &str = "Bearer realm=\"lethe\"";
/// Tells a guest how to have records kept.
pub const HOW_TO_SIGN_IN: &str = "To have records kept, sign in: POST /v1/auth/code, then POST /v1/auth/register (new here) or \
                                  POST /v1/auth/login (known here).";

fn problem(status: u16, kind: &str, title: &str) -> Problem {
    Problem {
        kind: format!("/problems/{kind}"),
        title: title.to_owned(),
        status,
        detail: None,
        errors: None,
        purpose: None,
    }
}

fn with(problem: Problem, detail: impl Into<String>) -> ProblemJson {
    ProblemJson::from(Problem { detail: Some(detail.into()), ..problem })
}

impl Refusal {
    /// The refusal of a parameter or header field that can't be read; it names the field.
    pub fn unreadable(field: &str, message: &str) -> Self {
        let errors = Some(vec![Field { field: field.to_owned(), message: message.to_owned() }]);
        Self::Malformed(ProblemJson::from(Problem { errors, ..problem(400, "malformed", "The request is malformed") }))
    }

    /// The refusal of a body that is not JSON; it says where the fault is, and quotes nothing.
    pub fn malformed(error: &serde_json::Error) -> Self {
        let fact = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            _ if error.to_string().starts_with("recursion limit") => "it is nested too deeply",
            _ => "it is not JSON",
        };
        let detail = format!("The body can't be read: {fact} (line {}, column {}).", error.line(), error.column());
        Self::Malformed(with(problem(400, "malformed", "The request is malformed"), detail))
    }
}

impl From<AppError> for Refusal {
    fn from(error: AppError) -> Self {
        if let Some(passing) = error.passing() {
            return unavailable(passing, &error);
        }
        match error {
            AppError::Invalid(faults) => {
                let errors =
                    faults.into_iter().map(|fault| Field { field: fault.field, message: fault.message }).collect();
                let problem = problem(422, "invalid-input", "Fields of the request are wrong");
                Self::Invalid(ProblemJson::from(Problem { errors: Some(errors), ..problem }))
            }
            AppError::SignedOut => Self::SignedOut(
                ProblemJson::from(problem(401, "signed-out", "Nobody is signed in, or no longer")),
                BEARER.to_owned(),
            ),
            AppError::CodeRefused => {
                let problem = problem(401, "code-refused", "The code is wrong, used, or too old");
                Self::SignedOut(ProblemJson::from(problem), BEARER.to_owned())
            }
            AppError::RefreshRefused => {
                let problem = problem(401, "refresh-refused", "The refresh token is unknown, used, or too old");
                Self::SignedOut(ProblemJson::from(problem), BEARER.to_owned())
            }
            AppError::Forbidden => {
                Self::Forbidden(ProblemJson::from(problem(403, "forbidden", "This needs another role")))
            }
            AppError::SignInNeeded => Self::Forbidden(with(
                problem(403, "sign-in-needed", "Guests can't have records of this kind evaluated"),
                HOW_TO_SIGN_IN,
            )),
            AppError::ConsentNeeded { purpose, reason } => {
                let name = purpose.as_str();
                let detail = format!("Consent to `{name}` is needed, and {reason}: see PUT /v1/consents/{name}.");
                let problem =
                    Problem { purpose: Some(name.to_owned()), ..problem(403, "consent-needed", "Consent is needed") };
                Self::Forbidden(with(problem, detail))
            }
            AppError::Restricted => {
                let problem = problem(409, "restricted", "Processing of your data is restricted");
                Self::Conflict(with(problem, "Lift the restriction first: PUT /v1/privacy/restriction."))
            }
            AppError::HoldStands { until } => {
                let problem = problem(409, "held", "A legal hold stands");
                let detail = format!(
                    "Nothing can be deleted until {}: GET /v1/privacy/restriction says why.",
                    until.format("%FT%TZ")
                );
                Self::Conflict(with(problem, detail))
            }
            AppError::DeletionWaiting => {
                let problem = problem(409, "deletion-waiting", "A confirmed deletion is waiting");
                Self::Conflict(with(problem, "Until it is carried out or cancelled nothing new is taken."))
            }
            AppError::ImportRuns => {
                let problem = problem(409, "import-running", "Another import of yours is running");
                Self::Conflict(with(problem, "Wait until it has been answered, and import again."))
            }
            AppError::ExportWaits => {
                let problem = problem(409, "export-waiting", "Another export is waiting or being written");
                Self::Conflict(with(problem, "Wait for it or cancel it: GET /v1/privacy/exports."))
            }
            AppError::Conflict { told: Conflict { kind, title, detail }, .. } => {
                Self::Conflict(ProblemJson::from(Problem { detail, ..problem(409, kind, title) }))
            }
            AppError::NotFound(what) => Self::Missing(with(
                problem(404, "missing", "There is no such thing"),
                format!("There is no such {what}."),
            )),
            AppError::Suspended { until } => Self::Forbidden(with(
                problem(403, "suspended", "The account is suspended for a while"),
                format!(
                    "A pattern in the log looked suspicious. Try again at {} or later. Meanwhile you can read and export your \
                     data, withdraw, object, restrict, cancel a deletion, and sign out.",
                    until.format("%FT%TZ")
                ),
            )),
            AppError::Uncovered => Self::Conflict(ProblemJson::from(problem(
                409,
                "not-covered-yet",
                "No published checkpoint covers it yet; ask again in a few seconds",
            ))),
            AppError::PreconditionFailed => {
                Self::Changed(ProblemJson::from(problem(412, "changed", "It was changed since it was read")))
            }
            AppError::KeyReused => Self::Invalid(ProblemJson::from(problem(
                422,
                "key-reused",
                "The Idempotency-Key was used with another body",
            ))),
            AppError::InFlight => {
                let problem = problem(409, "in-flight", "A request with this Idempotency-Key is being worked on");
                Self::Conflict(ProblemJson::from(problem))
            }
            AppError::Limited { retry_after_s } => {
                Self::Limited(ProblemJson::from(problem(429, "limited", "Too many requests")), retry_after_s)
            }
            error @ (AppError::Db(_)
            | AppError::Ring(_)
            | AppError::Ledger(_)
            | AppError::Exports(_)
            | AppError::OutdatedCode
            | AppError::LogNotContinued { .. }
            | AppError::Watermark(_)
            | AppError::WatermarkMissing
            | AppError::Corrupt(_)) => {
                tracing::error!(%error, "a request failed");
                Self::Failed(ProblemJson::from(problem(500, "failed", "A fault of ours")))
            }
        }
    }
}

/// The answer to a passing fault. A full disk answers 503 too: RFC 4918 defines 507 for a resource that can't be
/// stored, but a full disk refuses reads as well, because each read is recorded. `Retry-After` says how soon another
/// try makes sense.
fn unavailable(passing: Passing, error: &dyn std::fmt::Display) -> Refusal {
    let (kind, title, retry_after_s) = match passing {
        Passing::Busy => ("busy", "The service is busy; the same request may succeed in a moment", 2),
        Passing::StorageFull => ("storage-full", "The service's storage is full; its operator must make room", 60),
        Passing::Unreachable => ("unavailable", "The service can't answer now", 5),
        Passing::OutOfOrder => {
            ("out-of-order", "The service's database is out of order; its operator must mend it", 60)
        }
    };
    match passing {
        Passing::Busy => tracing::warn!(%error, "a request waited in vain"),
        _ => tracing::error!(%error, "the service can't answer"),
    }
    Refusal::Unavailable(ProblemJson::from(problem(503, kind, title)), retry_after_s)
}

/// The answer to a request that took longer than it may, or longer than the stop of the server waits.
pub fn too_late() -> Refusal {
    unavailable(Passing::Busy, &"it took longer than a request may, or than the stop of the server waits")
}

/// The answer if the server can't do its work now; it names what is lacking.
pub fn not_ready(lacking: &[&str]) -> Refusal {
    let detail = format!("What does not hold now: {}.", lacking.join(", "));
    Refusal::Unavailable(with(problem(503, "unavailable", "The service can't answer now"), detail), 1)
}

/// The problem that a file does not have the bytes that were asked for.
pub fn outside_of_file(status: StatusCode) -> ProblemJson {
    ProblemJson::from(problem(status.as_u16(), "outside", "The file does not have these bytes"))
}

/// Makes a problem of an error of the framework or an extractor.
pub async fn catch_all(error: Error) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let too_large = matches!(error.downcast_ref::<ReadBodyError>(), Some(ReadBodyError::PayloadTooLarge))
        || error.downcast_ref::<SizedLimitError>().is_some();
    let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { error.status() };
    if status == StatusCode::UNAUTHORIZED {
        return Refusal::from(AppError::SignedOut).into_response();
    }
    let (kind, title) = match status {
        StatusCode::NOT_FOUND => ("missing", "There is no such thing"),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "This resource does not know the method"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "The body is too large"),
        StatusCode::REQUEST_TIMEOUT => ("too-slow", "The body took too long to arrive"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported-media-type", "The body must be application/json"),
        status if status.is_client_error() => ("malformed", "The request is malformed"),
        _ => ("failed", "A fault of ours"),
    };
    let mut problem = problem(status.as_u16(), kind, title);
    if let Some(error) = error.downcast_ref::<poem_openapi::error::ParseParamError>() {
        problem.errors = Some(vec![Field { field: error.name.to_owned(), message: "has the wrong form".to_owned() }]);
    } else if let Some(error) = error.downcast_ref::<poem_openapi::error::ParsePathError>() {
        problem.errors = Some(vec![Field { field: error.name.to_owned(), message: "has the wrong form".to_owned() }]);
    } else if status.is_server_error() {
        tracing::error!(%error, "a request failed");
    }
    let mut response = ProblemJson::from(problem).into_response();
    response.set_status(status);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT].contains(&status) {
        // The rest of the body is not read, so this connection can't carry another request (RFC 9110, 15.5.14).
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer after a handler panicked; the panic itself is on the server's output.
pub fn panicked() -> Response {
    let mut response = ProblemJson::from(problem(500, "failed", "A fault of ours")).into_response();
    response.set_status(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
