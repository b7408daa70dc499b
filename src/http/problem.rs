//! Problem documents (RFC 9457): every refusal and every failure leaves as one, also those of the framework.
//!
//! A problem names the field and the fact, never a value or an internal cause. Faults of the server are logged once,
//! here.

use std::borrow::Cow;

use domain::{Choice, refusal::Conflict, rights::deletion::WAITING};
use poem::{
    Error, IntoResponse, Response,
    error::{ReadBodyError, SizedLimitError},
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    payload::Payload,
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde_json::Value;

use crate::{
    app::{AppError, Passing},
    http::{
        problem_type::{self, ProblemKind},
        types::one_value,
    },
};

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
    /// The type of the problem, a relative URI. A page there says when it happens and what to do.
    #[oai(rename = "type")]
    pub kind: TypeUri,
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

/// The address of a type of problem, by its name.
#[derive(Clone, Copy, Debug)]
pub struct TypeUri(&'static str);

impl Type for TypeUri {
    const IS_REQUIRED: bool = true;
    one_value!();

    fn name() -> Cow<'static, str> {
        "ProblemType".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(Self::name().into_owned())
    }

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(Self::name().into_owned(), |_| MetaSchema {
            enum_items: problem_type::all().into_iter().filter_map(|it| Self(it.kind.name).to_json()).collect(),
            ..MetaSchema::new("string")
        });
    }
}

impl ToJSON for TypeUri {
    fn to_json(&self) -> Option<Value> {
        Some(Value::from(format!("/problems/{}", self.0)))
    }
}

impl ParseFromJSON for TypeUri {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = value.unwrap_or_default();
        let name = value.as_str().and_then(|uri| uri.strip_prefix("/problems/"));
        let known = name.and_then(problem_type::named).ok_or_else(|| ParseError::custom("is no type of problem"))?;
        Ok(Self(known.kind.name))
    }
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

    fn register(registry: &mut Registry) {
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
    Forbidden(
        ProblemJson,
        /// How many seconds the suspension lasts; absent for all other problems.
        #[oai(header = "Retry-After")]
        Option<i64>,
    ),
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

fn problem(ProblemKind { status, kind }: ProblemKind) -> Problem {
    Problem {
        kind: TypeUri(kind.name),
        title: kind.title.to_owned(),
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
        Self::Malformed(ProblemJson::from(Problem { errors, ..problem(problem_type::MALFORMED) }))
    }

    /// The refusal of a body that is not JSON; it says where the fault is, and quotes nothing.
    pub fn malformed(error: &serde_json::Error) -> Self {
        let fact = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            _ if error.to_string().starts_with("recursion limit") => "it is nested too deeply",
            _ => "it is not JSON",
        };
        let detail = format!("The body can't be read: {fact} (line {}, column {}).", error.line(), error.column());
        Self::Malformed(with(problem(problem_type::MALFORMED), detail))
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
                let problem = problem(problem_type::INVALID_INPUT);
                Self::Invalid(ProblemJson::from(Problem { errors: Some(errors), ..problem }))
            }
            AppError::SignedOut => {
                Self::SignedOut(ProblemJson::from(problem(problem_type::SIGNED_OUT)), BEARER.to_owned())
            }
            AppError::CodeRefused => {
                let problem = problem(problem_type::CODE_REFUSED);
                Self::SignedOut(ProblemJson::from(problem), BEARER.to_owned())
            }
            AppError::RefreshRefused => {
                let problem = problem(problem_type::REFRESH_REFUSED);
                Self::SignedOut(ProblemJson::from(problem), BEARER.to_owned())
            }
            AppError::Forbidden => Self::Forbidden(ProblemJson::from(problem(problem_type::FORBIDDEN)), None),
            AppError::SignInNeeded => {
                Self::Forbidden(with(problem(problem_type::SIGN_IN_NEEDED), HOW_TO_SIGN_IN), None)
            }
            AppError::ConsentNeeded { purpose, reason } => {
                let name = purpose.as_str();
                let detail = format!("Consent to `{name}` is needed, and {reason}: see PUT /v1/consents/{name}.");
                let problem = Problem { purpose: Some(name.to_owned()), ..problem(problem_type::CONSENT_NEEDED) };
                Self::Forbidden(with(problem, detail), None)
            }
            AppError::Restricted => {
                let problem = problem(problem_type::RESTRICTED);
                Self::Conflict(with(problem, "Lift the restriction first: PUT /v1/privacy/restriction."))
            }
            AppError::HoldStands { until } => {
                let problem = problem(problem_type::HELD);
                let detail = format!(
                    "Nothing can be deleted until {}: GET /v1/privacy/restriction says why.",
                    until.format("%FT%TZ")
                );
                Self::Conflict(with(problem, detail))
            }
            AppError::DeletionWaiting => {
                let problem = problem(problem_type::of_rule(WAITING));
                Self::Conflict(with(problem, "Until it is carried out or cancelled nothing new is taken."))
            }
            AppError::ImportRuns => {
                let problem = problem(problem_type::IMPORT_RUNNING);
                Self::Conflict(with(problem, "Wait until it has been answered, and import again."))
            }
            AppError::ExportWaits => {
                let problem = problem(problem_type::EXPORT_WAITING);
                Self::Conflict(with(problem, "Wait for it or cancel it: GET /v1/privacy/exports."))
            }
            AppError::Conflict { told: Conflict { kind, detail }, .. } => {
                Self::Conflict(ProblemJson::from(Problem { detail, ..problem(problem_type::of_rule(kind)) }))
            }
            AppError::NotFound(what) => {
                Self::Missing(with(problem(problem_type::MISSING), format!("There is no such {what}.")))
            }
            AppError::Suspended { until, left_s } => Self::Forbidden(
                with(
                    problem(problem_type::SUSPENDED),
                    format!(
                        "A pattern in the log looked suspicious. Try again at {} or later. Meanwhile you can read and export your \
                     data, withdraw, object, restrict, cancel a deletion, and sign out.",
                        until.format("%FT%TZ")
                    ),
                ),
                Some(left_s),
            ),
            AppError::Uncovered => Self::Conflict(ProblemJson::from(problem(problem_type::NOT_COVERED_YET))),
            AppError::PreconditionFailed => Self::Changed(ProblemJson::from(problem(problem_type::CHANGED))),
            AppError::KeyReused => Self::Invalid(ProblemJson::from(problem(problem_type::KEY_REUSED))),
            AppError::InFlight => {
                let problem = problem(problem_type::IN_FLIGHT);
                Self::Conflict(ProblemJson::from(problem))
            }
            AppError::Limited { retry_after_s } => {
                Self::Limited(ProblemJson::from(problem(problem_type::LIMITED)), retry_after_s)
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
                Self::Failed(ProblemJson::from(problem(problem_type::FAILED)))
            }
        }
    }
}

/// The answer to a passing fault. A full disk answers 503 too: RFC 4918 defines 507 for a resource that can't be
/// stored, but a full disk refuses reads as well, because each read is recorded. `Retry-After` says how soon another
/// try makes sense.
fn unavailable(passing: Passing, error: &dyn std::fmt::Display) -> Refusal {
    let (kind, retry_after_s) = match passing {
        Passing::Busy => (problem_type::BUSY, 2),
        Passing::StorageFull => (problem_type::STORAGE_FULL, 60),
        Passing::Unreachable => (problem_type::UNAVAILABLE, 5),
        Passing::OutOfOrder => (problem_type::OUT_OF_ORDER, 60),
    };
    match passing {
        Passing::Busy => tracing::warn!(%error, "a request waited in vain"),
        _ => tracing::error!(%error, "the service can't answer"),
    }
    Refusal::Unavailable(ProblemJson::from(problem(kind)), retry_after_s)
}

/// The answer to a request that took longer than it may, or longer than the stop of the server waits.
pub fn too_late() -> Refusal {
    unavailable(Passing::Busy, &"it took longer than a request may, or than the stop of the server waits")
}

/// The answer if the server can't do its work now; it names what is lacking.
pub fn not_ready(lacking: &[&str]) -> Refusal {
    let detail = format!("What does not hold now: {}.", lacking.join(", "));
    Refusal::Unavailable(with(problem(problem_type::UNAVAILABLE), detail), 1)
}

/// The problem that a file does not have the bytes that were asked for.
pub fn outside_of_file() -> ProblemJson {
    ProblemJson::from(problem(problem_type::OUTSIDE))
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
    let kind = match status {
        StatusCode::NOT_FOUND => problem_type::MISSING,
        StatusCode::METHOD_NOT_ALLOWED => problem_type::METHOD_NOT_ALLOWED,
        StatusCode::PAYLOAD_TOO_LARGE => problem_type::TOO_LARGE,
        StatusCode::REQUEST_TIMEOUT => problem_type::TOO_SLOW,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => problem_type::UNSUPPORTED_MEDIA_TYPE,
        status if status.is_client_error() => problem_type::MALFORMED,
        _ => problem_type::FAILED,
    };
    let mut problem = Problem { status: status.as_u16(), ..problem(kind) };
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
    let mut response = ProblemJson::from(problem(problem_type::FAILED)).into_response();
    response.set_status(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
