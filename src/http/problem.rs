//! Problem documents (RFC 9457): every refusal and every failure leaves as one, also those of the framework.
//!
//! A problem names the field and the fact, never a value or an internal cause. Faults of the server are logged once,
//! here.

use std::{borrow::Cow, sync::Arc};

use domain::{Choice, Fault, refusal::Conflict, rights::deletion::WAITING};
use poem::{
    Endpoint, Error, IntoResponse, Request, Response,
    error::{ReadBodyError, SizedLimitError},
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    error::{ParseParamError, ParsePathError},
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde_json::Value;

use crate::{
    app::{AppError, Passing},
    http::{
        problem_type::{self, ProblemKind},
        rate_limit,
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

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The refusal of a request: a problem, and the header fields that go with it. The document says which refusals an
/// operation may answer with (`document/answers.rs`).
pub struct Refusal {
    // Boxed, so that a result that may hold a refusal stays small.
    problem: Box<Problem>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// Tells a guest how to have records kept.
pub const HOW_TO_SIGN_IN: &str = "To have records kept, sign in: POST /v1/auth/code, then POST /v1/auth/register (new here) or \
                                  POST /v1/auth/login (known here).";

impl Refusal {
    fn of(ProblemKind { status, kind }: ProblemKind) -> Self {
        let problem = Problem {
            kind: TypeUri(kind.name),
            title: kind.title.to_owned(),
            status,
            detail: None,
            errors: None,
            purpose: None,
        };
        // How to authenticate: with a bearer token (RFC 6750).
        let challenge = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"lethe\""));
        let fields = if status == 401 { vec![challenge] } else { Vec::new() };
        Self { problem: Box::new(problem), fields }
    }

    fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.problem.detail = Some(detail.into());
        self
    }

    fn with_errors(mut self, errors: Vec<Field>) -> Self {
        self.problem.errors = Some(errors);
        self
    }

    fn with_field(mut self, name: HeaderName, value: &str) -> Self {
        self.fields.push((name, HeaderValue::from_str(value).expect("a field of ours is plain text")));
        self
    }

    fn retry_after(self, seconds: i64) -> Self {
        self.with_field(header::RETRY_AFTER, &seconds.to_string())
    }

    /// The refusal of a parameter or header field that can't be read; it names the field.
    pub fn unreadable(field: &str, message: &str) -> Self {
        let error = Field { field: field.to_owned(), message: message.to_owned() };
        Self::of(problem_type::MALFORMED).with_errors(vec![error])
    }

    /// The refusal of a body that is not JSON; it says where the fault is, and quotes nothing.
    pub fn malformed(error: &serde_json::Error) -> Self {
        let fact = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            _ if error.to_string().starts_with("recursion limit") => "it is nested too deeply",
            _ => "it is not JSON",
        };
        let detail = format!("The body can't be read: {fact} (line {}, column {}).", error.line(), error.column());
        Self::of(problem_type::MALFORMED).with_detail(detail)
    }

    /// The refusal of bytes that a file of this size does not have.
    pub fn outside_of_file(size: u64) -> Self {
        Self::of(problem_type::OUTSIDE).with_field(header::CONTENT_RANGE, &format!("bytes */{size}"))
    }

    /// The refusal of a request that took longer than it may, or longer than the stop of the server waits.
    pub fn too_late() -> Self {
        unavailable(Passing::Busy, &"it took longer than a request may, or than the stop of the server waits")
    }

    /// The refusal if the server can't do its work now; it names what is lacking.
    pub fn not_ready(lacking: &[&str]) -> Self {
        let detail = format!("What does not hold now: {}.", lacking.join(", "));
        Self::of(problem_type::UNAVAILABLE).with_detail(detail).retry_after(1)
    }

    /// The refusal after a handler panicked; the panic itself is on the server's output.
    pub fn panicked() -> Self {
        Self::of(problem_type::FAILED)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).expect("the types of problem have statuses of HTTP");
        let mut response =
            Response::builder().status(status).content_type(PROBLEM_JSON).body(self.problem.to_json_string());
        response.headers_mut().extend(self.fields);
        // The rest of such a body is not read, so this connection can't carry another request (RFC 9110, 15.5.14).
        if [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT].contains(&status) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::from_response(refusal.into_response())
    }
}

/// Stands in the framework's document as the answer `default`, with the schema of a problem. `document/answers.rs` puts
/// the refusals of each operation in its place.
impl ApiResponse for Refusal {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: PROBLEM_JSON, schema: Problem::schema_ref() }];
        let any = MetaResponse { description: "", status: None, status_range: None, content, headers: Vec::new() };
        MetaResponses { responses: vec![any] }
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

impl From<AppError> for Refusal {
    fn from(error: AppError) -> Self {
        if let Some(passing) = error.passing() {
            return unavailable(passing, &error);
        }
        match error {
            AppError::Invalid(faults) => {
                let field = |fault: Fault| Field { field: fault.field, message: fault.message };
                Self::of(problem_type::INVALID_INPUT).with_errors(faults.into_iter().map(field).collect())
            }
            AppError::SignedOut => Self::of(problem_type::SIGNED_OUT),
            AppError::Erased { day } => Self::of(problem_type::ERASED)
                .with_detail(format!("The account was erased on {day}, and its certificate was mailed then.")),
            AppError::CodeRefused => Self::of(problem_type::CODE_REFUSED),
            AppError::RefreshRefused => Self::of(problem_type::REFRESH_REFUSED),
            AppError::Forbidden => Self::of(problem_type::FORBIDDEN),
            AppError::SignInNeeded => Self::of(problem_type::SIGN_IN_NEEDED).with_detail(HOW_TO_SIGN_IN),
            AppError::ConsentNeeded { purpose, reason } => {
                let name = purpose.as_str();
                let detail = format!("Consent to `{name}` is needed, and {reason}: see PUT /v1/consents/{name}.");
                let mut refusal = Self::of(problem_type::CONSENT_NEEDED).with_detail(detail);
                refusal.problem.purpose = Some(name.to_owned());
                refusal
            }
            AppError::Restricted => Self::of(problem_type::RESTRICTED)
                .with_detail("Lift the restriction first: PUT /v1/privacy/restriction."),
            AppError::HoldStands { until } => {
                let until = until.format("%FT%TZ");
                let detail = format!("Nothing can be deleted until {until}: GET /v1/privacy/restriction says why.");
                Self::of(problem_type::HELD).with_detail(detail)
            }
            AppError::DeletionWaiting => Self::of(problem_type::of_rule(WAITING))
                .with_detail("Until it is carried out or cancelled nothing new is taken."),
            AppError::ImportRuns => {
                Self::of(problem_type::IMPORT_RUNNING).with_detail("Wait until it has been answered, and import again.")
            }
            AppError::ExportWaits => {
                Self::of(problem_type::EXPORT_WAITING).with_detail("Wait for it or cancel it: GET /v1/privacy/exports.")
            }
            AppError::Conflict { told: Conflict { kind, detail }, .. } => {
                let mut refusal = Self::of(problem_type::of_rule(kind));
                refusal.problem.detail = detail;
                refusal
            }
            AppError::NotFound(what) => {
                Self::of(problem_type::MISSING).with_detail(format!("There is no such {what}."))
            }
            AppError::Suspended { until, left_s } => {
                let until = until.format("%FT%TZ");
                let detail = format!(
                    "A pattern in the log looked suspicious. Try again at {until} or later. Meanwhile you can read and export \
                     your data, withdraw, object, restrict, cancel a deletion, and sign out."
                );
                Self::of(problem_type::SUSPENDED).with_detail(detail).retry_after(left_s)
            }
            AppError::Uncovered => Self::of(problem_type::NOT_COVERED_YET),
            AppError::PreconditionFailed => Self::of(problem_type::CHANGED),
            AppError::KeyReused => Self::of(problem_type::KEY_REUSED),
            AppError::InFlight => Self::of(problem_type::IN_FLIGHT),
            AppError::Limited { retry_after_s, left } => {
                let mut refusal = Self::of(problem_type::LIMITED).retry_after(retry_after_s);
                refusal.fields.extend(left.iter().flat_map(rate_limit::fields));
                refusal
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
                Self::of(problem_type::FAILED)
            }
        }
    }
}

/// The refusal for a passing fault. A full disk answers 503 too: RFC 4918 defines 507 for a resource that can't be
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
    Refusal::of(kind).retry_after(retry_after_s)
}

/// The answer of an endpoint; an error becomes its problem.
pub async fn answer_of<E: Endpoint>(next: Arc<E>, request: Request) -> Response {
    match next.call(request).await {
        Ok(answer) => answer.into_response(),
        Err(error) => catch_all(error).await,
    }
}

/// Makes a problem of an error of the framework or an extractor.
pub async fn catch_all(error: Error) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let too_large = matches!(error.downcast_ref::<ReadBodyError>(), Some(ReadBodyError::PayloadTooLarge))
        || error.downcast_ref::<SizedLimitError>().is_some();
    let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { error.status() };
    let kind = match status {
        StatusCode::UNAUTHORIZED => problem_type::SIGNED_OUT,
        StatusCode::NOT_FOUND => problem_type::MISSING,
        StatusCode::METHOD_NOT_ALLOWED => problem_type::METHOD_NOT_ALLOWED,
        StatusCode::PAYLOAD_TOO_LARGE => problem_type::TOO_LARGE,
        StatusCode::REQUEST_TIMEOUT => problem_type::TOO_SLOW,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => problem_type::UNSUPPORTED_MEDIA_TYPE,
        status if status.is_client_error() => problem_type::MALFORMED,
        _ => problem_type::FAILED,
    };
    // Nothing has a name in a path that is not of its form.
    if error.downcast_ref::<ParsePathError>().is_some() {
        return Refusal::of(problem_type::MISSING).into_response();
    }
    let parameter = error.downcast_ref::<ParseParamError>().map(|error| error.name);
    if parameter.is_none() && status.is_server_error() {
        tracing::error!(%error, "a request failed");
    }
    match parameter {
        Some(name) => Refusal::unreadable(name, "has the wrong form"),
        None => Refusal::of(kind),
    }
    .into_response()
}
