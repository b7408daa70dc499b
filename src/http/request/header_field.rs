//! Header fields as parameters of operations.
//!
//! Promises: a header field that an operation reads either counts or is refused by its name. The framework's own
//! parameter skips a value that is not text, so that a condition or a key beyond ASCII would count as absent. Refuses
//! (400) a value with bytes other than visible ASCII, blanks and tabs (RFC 9110, 5.5), and a second line of a field
//! that has one value.

use poem::{Request, RequestBody, Result, http::HeaderValue};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaParamIn, MetaSchema, MetaSchemaRef},
};

use serde::Serialize;

use crate::{
    app::{AppError, frame::IdempotentRequest},
    http::problem::Refusal,
};

/// The most characters of an `Idempotency-Key`.
const KEY: usize = 255;

/// A field with one value.
pub struct HeaderText(pub Option<String>);

/// The field `Idempotency-Key`: 1 to 255 characters.
pub struct IdempotencyKey(pub Option<String>);

impl IdempotencyKey {
    /// The request under its key, if it has one. `asked` is all that must be the same when the key is used again.
    pub fn request(&self, asked: &impl Serialize) -> Option<IdempotentRequest<'_>> {
        let body = || serde_json::to_vec(asked).expect("what is asked can be written as JSON");
        self.0.as_deref().map(|key| IdempotentRequest { key, body: body() })
    }
}

/// A field whose value is a list; several lines count as one list (RFC 9110, 5.3).
pub struct HeaderList(pub Option<String>);

impl HeaderList {
    /// Reads a field that is no parameter of one operation.
    pub fn read(request: &Request, name: &str) -> Result<Self, Refusal> {
        list(request, name).map(Self)
    }
}

fn lines(request: &Request, name: &str) -> Result<Vec<String>, Refusal> {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned);
    let lines: Result<Vec<_>, _> = request.headers().get_all(name).iter().map(text).collect();
    lines.map_err(|_| Refusal::unreadable(name, "must be visible ASCII characters and blanks"))
}

fn text(request: &Request, name: &str) -> Result<Option<String>, Refusal> {
    let mut lines = lines(request, name)?;
    if lines.len() > 1 {
        return Err(Refusal::unreadable(name, "must stand there once"));
    }
    Ok(lines.pop())
}

fn list(request: &Request, name: &str) -> Result<Option<String>, Refusal> {
    let lines = lines(request, name)?;
    Ok((!lines.is_empty()).then(|| lines.join(", ")))
}

/// The value of an `Idempotency-Key`.
fn key(request: &Request, name: &str) -> Result<Option<String>, Refusal> {
    let key = text(request, name)?;
    if key.as_deref().is_some_and(|key| !(1..=KEY).contains(&key.len()) || key.chars().any(char::is_control)) {
        return Err(AppError::parameter(name, &format!("must be 1 to {KEY} visible characters or blanks")).into());
    }
    Ok(key)
}

fn any_text() -> MetaSchema {
    MetaSchema::new("string")
}

fn key_text() -> MetaSchema {
    // Blanks at its ends are not a part of a field's value.
    let visible = Some("^[!-~]([ -~]*[!-~])?$".to_owned());
    MetaSchema { min_length: Some(1), max_length: Some(KEY), pattern: visible, ..any_text() }
}

/// Makes a type a parameter of operations, given how it is read and the schema of its value.
macro_rules! header_field {
    ($type:ident, $read:ident, $schema:ident) => {
        impl<'a> ApiExtractor<'a> for $type {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
            type ParamType = Option<String>;
            type ParamRawType = String;

            fn param_in() -> Option<MetaParamIn> {
                Some(MetaParamIn::Header)
            }

            fn param_schema_ref() -> Option<MetaSchemaRef> {
                Some(MetaSchemaRef::Inline(Box::new($schema())))
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                options: ExtractParamOptions<Option<String>>,
            ) -> Result<Self> {
                Ok(Self($read(request, options.name)?))
            }
        }
    };
}

header_field!(HeaderText, text, any_text);
header_field!(HeaderList, list, any_text);
header_field!(IdempotencyKey, key, key_text);

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[&[u8]]) -> Request {
        let mut request = Request::builder().finish();
        for value in values {
            request.headers_mut().append("if-match", HeaderValue::from_bytes(value).expect("a value"));
        }
        request
    }

    #[test]
    fn lines_are_one_list_and_a_single_value_has_one_line() {
        let two = with(&[b"\"1\"", b"\"2\", W/\"3\""]);
        assert_eq!(list(&two, "If-Match").ok().flatten().as_deref(), Some("\"1\", \"2\", W/\"3\""));
        assert!(text(&two, "If-Match").is_err());
        assert_eq!(text(&with(&[b"k"]), "If-Match").ok().flatten().as_deref(), Some("k"));
        assert!(matches!(text(&with(&[]), "If-Match"), Ok(None)));
        assert!(matches!(list(&with(&[]), "If-Match"), Ok(None)));
    }

    #[test]
    fn what_is_no_text_is_refused_and_not_absent() {
        for bytes in ["é".as_bytes(), b"\xe9", b"a\x80"] {
            for request in [with(&[bytes]), with(&[b"\"1\"", bytes])] {
                assert!(text(&request, "If-Match").is_err() && list(&request, "If-Match").is_err(), "{bytes:?}");
            }
        }
    }
}
