//! Request bodies: JSON, at most 256 KiB, read field by field, so that all faults are named at once and no value is
//! quoted. A name that stands twice in an object and U+0000 in a text are faults everywhere.

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use domain::{Choice, Fault, json};
use poem::{Request, RequestBody, Result, error::ReadBodyError, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry},
    types::Type,
};
use serde_json::{Map, Value};

use crate::{app::AppError, http::problem::Refusal};

/// The largest body that is read, in bytes; it has room for a batch of 366 days several times over.
pub const BODY_BYTES: usize = 256 * 1024;
const TEXT_BYTES: usize = 1024;
/// The most faults that are named.
const FAULTS: usize = 100;
/// The most entries of a list of texts.
const TEXTS: usize = 100;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// A body that is read field by field. The type's schema is the documented shape.
pub trait Input: Type + Sized {
    /// Reads the fields; their faults are kept in `fields`. Returns `None` if a required field is missing or has a
    /// fault.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// Decides what becomes of an input that was read in spite of faults. It is refused, unless its type can carry the
    /// faults on to a check that finds more.
    fn with_faults(self, faults: Vec<Fault>) -> Result<Self, Vec<Fault>> {
        Err(faults)
    }
}

/// Refuses a time outside the years 1970 to 9999, and a leap second, because PostgreSQL would take it for the second
/// after it.
pub fn check_time(name: &str, time: Option<DateTime<Utc>>) -> Result<(), AppError> {
    if time.is_some_and(|time| time.nanosecond() >= 1_000_000_000) {
        return Err(AppError::parameter(name, "must have a second from 0 to 59"));
    }
    if time.is_some_and(|time| !(1970..=9999).contains(&time.year())) {
        return Err(AppError::parameter(name, "must lie in the years 1970 to 9999"));
    }
    Ok(())
}

/// The JSON body of a request.
pub struct Body<T>(pub T);

/// The fields of one JSON object, and the faults found in them.
pub struct Fields {
    map: Map<String, Value>,
    path: String,
    faults: Vec<Fault>,
}

impl Fields {
    fn new(map: Map<String, Value>, path: String) -> Self {
        Self { map, path, faults: Vec::new() }
    }

    /// Notes a fault of a field, unless a hundred are noted already.
    pub fn fault(&mut self, field: &str, message: impl Into<String>) {
        if self.faults.len() >= FAULTS {
            return;
        }
        self.faults.push(Fault::new(format!("{}{field}", self.path), message));
    }

    /// Takes a field as it is; JSON `null` counts as absent.
    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field).filter(|value| !value.is_null())
    }

    /// Takes a field that must be there.
    pub fn require(&mut self, field: &str) -> Option<Value> {
        let value = self.take(field);
        if value.is_none() {
            self.fault(field, "is required");
        }
        value
    }

    /// Converts the value of a field, or notes its fault.
    pub fn check<T>(
        &mut self,
        field: &str,
        value: Value,
        make: impl FnOnce(Value) -> Result<T, Cow<'static, str>>,
    ) -> Option<T> {
        make(value).map_err(|message| self.fault(field, message)).ok()
    }

    /// A text that must be there.
    pub fn text(&mut self, field: &str) -> Option<String> {
        let value = self.require(field)?;
        self.check(field, value, as_text)
    }

    /// A text that may be absent.
    pub fn text_or_none(&mut self, field: &str) -> Option<String> {
        let value = self.take(field)?;
        self.check(field, value, as_text)
    }

    /// A text in the person's own words, of at most `most` characters; `None` if it is absent or blank.
    pub fn prose_or_none(&mut self, field: &str, most: usize) -> Option<String> {
        let value = self.take(field)?;
        let prose = self.check(field, value, |value| match value {
            Value::String(text) => domain::text::prose(&text, most).map_err(Into::into),
            _ => Err("must be a text".into()),
        });
        prose.flatten()
    }

    /// Whether a field is there with `null`. In a merge patch that removes the field (RFC 7396); elsewhere it counts as
    /// absent.
    pub fn is_null(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(Value::is_null)
    }

    /// A choice that must be there.
    pub fn choice<C: Choice>(&mut self, field: &str) -> Option<C> {
        let value = self.require(field)?;
        self.check(field, value, as_choice)
    }

    /// A choice that may be absent.
    pub fn choice_or_none<C: Choice>(&mut self, field: &str) -> Option<C> {
        let value = self.take(field)?;
        self.check(field, value, as_choice)
    }

    /// True or false, which must be there.
    pub fn flag(&mut self, field: &str) -> Option<bool> {
        let value = self.require(field)?;
        self.check(field, value, |value| value.as_bool().ok_or_else(|| "must be true or false".into()))
    }

    /// A date that must be there, in the one form that is documented.
    pub fn date(&mut self, field: &str) -> Option<NaiveDate> {
        let value = self.require(field)?;
        self.check(field, value, as_date)
    }

    /// A date that may be absent.
    pub fn date_or_none(&mut self, field: &str) -> Option<NaiveDate> {
        let value = self.take(field)?;
        self.check(field, value, as_date)
    }

    /// A list of at most a hundred texts, which may be absent.
    pub fn texts_or_none(&mut self, field: &str) -> Option<Vec<String>> {
        let value = self.take(field)?;
        let Value::Array(values) = value else {
            self.fault(field, "must be a list of texts");
            return None;
        };
        if values.len() > TEXTS {
            self.fault(field, format!("must hold at most {TEXTS} entries"));
            return None;
        }
        let mut texts = Vec::with_capacity(values.len());
        for (number, value) in values.into_iter().enumerate() {
            texts.push(self.check(&format!("{field}[{number}]"), value, as_text)?);
        }
        Some(texts)
    }

    /// An object that may be absent, read by `read`.
    pub fn object_or_none<T>(&mut self, field: &str, read: impl Fn(&mut Fields) -> Option<T>) -> Option<T> {
        let value = self.take(field)?;
        let Value::Object(map) = value else {
            self.fault(field, "must be an object");
            return None;
        };
        let mut inner = Fields::new(map, format!("{}{field}.", self.path));
        let (item, faults) = (read(&mut inner), inner.finish());
        let sound = faults.is_empty();
        self.faults.extend(faults);
        item.filter(|_| sound)
    }

    /// Checks the text of a field by `fault`, which returns what is wrong with the text, if anything.
    pub fn ruled(
        &mut self,
        field: &str,
        text: Option<String>,
        fault: impl Fn(&str, &str) -> Option<&'static str>,
    ) -> Option<String> {
        let text = text?;
        match fault(field, &text) {
            None => Some(text),
            Some(message) => {
                self.fault(field, message);
                None
            }
        }
    }

    /// A list of one to `most` objects, each read by `read`. Returns those without a fault, with their indexes in the
    /// list.
    pub fn objects<T>(
        &mut self,
        field: &str,
        most: usize,
        read: impl Fn(&mut Fields) -> Option<T>,
    ) -> Option<Vec<(usize, T)>> {
        let value = self.require(field)?;
        let Value::Array(values) = value else {
            self.fault(field, "must be a list");
            return None;
        };
        if values.is_empty() || values.len() > most {
            self.fault(field, format!("must hold 1 to {most} entries"));
            return None;
        }
        let mut items = Vec::with_capacity(values.len());
        for (number, value) in values.into_iter().enumerate() {
            let name = format!("{field}[{number}]");
            let Value::Object(map) = value else {
                self.fault(&name, "must be an object");
                continue;
            };
            let mut inner = Fields::new(map, format!("{}{name}.", self.path));
            let (item, faults) = (read(&mut inner), inner.finish());
            items.extend(item.filter(|_| faults.is_empty()).map(|item| (number, item)));
            self.faults.extend(faults);
            self.faults.truncate(FAULTS);
        }
        Some(items)
    }

    /// All fields that are left, as they are, for a body that its kind checks later.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.map)
    }

    /// All faults. A field that nobody has taken is a fault as well.
    fn finish(mut self) -> Vec<Fault> {
        for name in std::mem::take(&mut self.map).into_iter().map(|(name, _)| name) {
            self.fault(&json::plain(&name), "is not a field here");
        }
        self.faults
    }
}

fn as_text(value: Value) -> Result<String, Cow<'static, str>> {
    match value {
        Value::String(text) if text.len() > TEXT_BYTES => Err("must have at most 1024 bytes".into()),
        Value::String(text) if text.chars().any(char::is_control) => Err("must not hold control characters".into()),
        Value::String(text) => Ok(text),
        _ => Err("must be a text".into()),
    }
}

fn as_date(value: Value) -> Result<NaiveDate, Cow<'static, str>> {
    // The parser accepts more forms than the documented one.
    let date = value.as_str().and_then(|text| text.parse().ok().filter(|date: &NaiveDate| date.to_string() == text));
    date.ok_or_else(|| "must be a date, year-month-day".into())
}

fn as_choice<C: Choice>(value: Value) -> Result<C, Cow<'static, str>> {
    value.as_str().and_then(C::parse).ok_or_else(|| format!("must be one of {}", C::NAMES.join(", ")).into())
}

/// Checks the value of an `Idempotency-Key` header field: 1 to 255 characters, none of them a control character.
pub fn idempotency_key(key: Option<&str>) -> Result<Option<&str>, AppError> {
    if key.is_some_and(|key| !(1..=255).contains(&key.len()) || key.chars().any(char::is_control)) {
        return Err(AppError::parameter("Idempotency-Key", "must have 1 to 255 characters"));
    }
    Ok(key)
}

/// The days that the parameters `from` and `to` ask for, both included, and the range in words; `None` if neither is
/// given.
pub fn days(
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> Result<(Option<(NaiveDate, NaiveDate)>, String), AppError> {
    if from.is_none() && to.is_none() {
        return Ok((None, String::new()));
    }
    let (first, last) = (from.unwrap_or(NaiveDate::MIN), to.unwrap_or(NaiveDate::MAX));
    if first > last {
        return Err(AppError::parameter("from", "must not lie after `to`"));
    }
    let shown = |date: Option<NaiveDate>| date.map_or_else(|| "…".to_owned(), |date| date.to_string());
    Ok((Some((first, last)), format!("{} to {}", shown(from), shown(to))))
}

fn refuse(faults: Vec<Fault>) -> poem::Error {
    Refusal::from(AppError::Invalid(faults)).into()
}

impl<T: Input> Payload for Body<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        is_json(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Input> ParsePayload for Body<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        check_length(request, BODY_BYTES)?;
        let arriving = body.take()?.into_bytes_limit(BODY_BYTES);
        let slow = |_| poem::Error::from_status(poem::http::StatusCode::REQUEST_TIMEOUT);
        let bytes = tokio::time::timeout(BODY_TIMEOUT, arriving).await.map_err(slow)??;
        let doubtful = json::faults(&bytes).map_err(|error| Refusal::malformed(&error))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| Refusal::malformed(&error))?;
        let Value::Object(map) = domain::number::whole(value) else {
            return Err(refuse(vec![Fault::new("", "the body must be a JSON object")]));
        };
        let mut fields = Fields::new(map, String::new());
        let read = T::read(&mut fields);
        match (read, with_doubtful(fields.finish(), doubtful)) {
            (Some(value), faults) if faults.is_empty() => Ok(Self(value)),
            (Some(value), faults) => value.with_faults(faults).map(Self).map_err(refuse),
            (None, faults) => Err(refuse(faults)),
        }
    }
}

/// All faults of a body, each field named once, because the rule of a field may have refused a text that is refused
/// here too.
fn with_doubtful(mut faults: Vec<Fault>, doubtful: Vec<Fault>) -> Vec<Fault> {
    for fault in doubtful {
        if faults.len() < FAULTS && faults.iter().all(|known| known.field != fault.field) {
            faults.push(fault);
        }
    }
    faults
}

/// Refuses a body whose declared length exceeds a limit, before any of it is read.
pub fn check_length(request: &Request, limit: usize) -> Result<()> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    // A length that does not fit into a number exceeds every limit. A value that is no number is refused by the server
    // below.
    let beyond = |text: &str| text.parse().map_or(true, |length: u64| length > limit as u64);
    if declared.is_some_and(beyond) { Err(ReadBodyError::PayloadTooLarge.into()) } else { Ok(()) }
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Refuses a request that does not say that its body is JSON.
pub fn require_json(request: &Request) -> Result<()> {
    if said_once(request).is_some_and(is_json) {
        return Ok(());
    }
    Err(poem::Error::from_status(poem::http::StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// The media type that a request gives for its body. `None` if two lines give one, because another reader may believe
/// the other.
pub fn said_once(request: &Request) -> Option<&str> {
    let mut said = request.headers().get_all(header::CONTENT_TYPE).iter();
    let only = said.next().filter(|_| said.next().is_none())?;
    only.to_str().ok()
}

impl<'a, T: Input + Send> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: Self::CONTENT_TYPE, schema: <Self as Payload>::schema_ref() }],
            required: true,
        })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        require_json(request)?;
        <Self as ParsePayload>::from_request(request, body).await
    }
}
