//! Texts with a form of their own: an address, a code, a reason. Each form is the `format` of a schema, so that the
//! document states it, and a body that breaks it is refused.

use std::{borrow::Cow, marker::PhantomData};

use chrono::{Datelike, NaiveDate};
use domain::{
    desk::breach,
    kinds::{WorkProfile, instant, normalise_address},
    quarter::Quarter,
    schema::Format,
    text::Reason,
};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde_json::Value;

use crate::{auth::codes::code_typed, http::types::one_value};

/// The most characters of what a person says in their own words, once blanks around it are gone and letters composed.
const OWN_WORDS: usize = 1000;

type Read = Result<String, Cow<'static, str>>;

/// A form of texts.
pub trait Form: Send + Sync + 'static {
    /// The name of the form: its `format` in a schema.
    const FORMAT: &'static str;
    /// The fewest characters, as far as a schema can say it.
    const LEAST: usize = 0;
    /// The most characters of a text as it is sent. A form that is brought into another shape is bounded again after
    /// that.
    const MOST: usize;
    /// A pattern that says as much of the form as a pattern can.
    const PATTERN: Option<&'static str> = None;
    /// Brings a text into the form in which it is kept, or says what is wrong with it.
    fn read(text: &str) -> Read;
}

/// A text of a form.
pub struct Text<F> {
    pub text: String,
    form: PhantomData<F>,
}

/// An e-mail address.
pub struct Email;
/// A code that was mailed for a sign-in.
pub struct SignInCode;
/// The id of a hospital.
pub struct HospitalId;
/// A country, by its ISO 3166-1 alpha-3 code.
pub struct CountryCode;
/// A time zone, by its IANA name.
pub struct TimeZone;
/// A reason that the person can read.
pub struct StatedReason;
/// What a person says in their own words; blank if they say nothing.
pub struct OwnWords;

/// The name of the controller's own file on a breach.
pub struct BreachReference;

/// A quarter such as `2025-Q1`, or a date.
pub struct QuarterOrDate;

/// Every form that a request may have to keep.
pub const FORMATS: &[Format] = &[
    format::<Email>(),
    format::<SignInCode>(),
    format::<HospitalId>(),
    format::<CountryCode>(),
    format::<TimeZone>(),
    format::<StatedReason>(),
    format::<OwnWords>(),
    format::<BreachReference>(),
    format::<QuarterOrDate>(),
    Format { name: "date-time", check: check_time },
];

const fn format<F: Form>() -> Format {
    Format { name: F::FORMAT, check: check::<F> }
}

/// A text that is far too long is not read at all, so that nobody can make the server work on it.
fn check<F: Form>(text: &str) -> Result<(), Cow<'static, str>> {
    if text.len() > 4 * F::MOST {
        return Err(format!("must have at most {} characters", F::MOST).into());
    }
    F::read(text).map(drop)
}

/// Refuses a leap second, because PostgreSQL would take it for the second after it.
fn check_time(text: &str) -> Result<(), Cow<'static, str>> {
    let sound = instant(text).is_some_and(|time| (0..=9999).contains(&time.year()));
    if sound { Ok(()) } else { Err("must be a time such as 2026-01-15T09:30:00Z".into()) }
}

impl Form for Email {
    const FORMAT: &'static str = "email";
    const MOST: usize = 254;
    fn read(text: &str) -> Read {
        normalise_address(text).map_err(|fault| fault.message.into())
    }
}

impl Form for SignInCode {
    const FORMAT: &'static str = "sign-in-code";
    const MOST: usize = 32;
    fn read(text: &str) -> Read {
        code_typed(text).ok_or_else(|| "must be six digits, or twelve letters and digits, as the letter says".into())
    }
}

fn of_profile(field: &str, text: &str) -> Read {
    WorkProfile::text_fault(field, text).map_or_else(|| Ok(text.to_owned()), |fault| Err(fault.into()))
}

impl Form for HospitalId {
    const FORMAT: &'static str = "hospital-id";
    const LEAST: usize = 2;
    const MOST: usize = 64;
    const PATTERN: Option<&'static str> = Some("^[a-z][a-z0-9-]+$");
    fn read(text: &str) -> Read {
        of_profile("hospital_id", text)
    }
}

impl Form for CountryCode {
    const FORMAT: &'static str = "country-code";
    const MOST: usize = 3;
    const PATTERN: Option<&'static str> = Some("^[A-Z]{3}$");
    fn read(text: &str) -> Read {
        of_profile("country_code", text)
    }
}

impl Form for TimeZone {
    const FORMAT: &'static str = "time-zone";
    const MOST: usize = 64;
    fn read(text: &str) -> Read {
        of_profile("time_zone", text)
    }
}

impl Form for StatedReason {
    const FORMAT: &'static str = "reason";
    const LEAST: usize = Reason::LEAST;
    const MOST: usize = 4 * Reason::MOST;
    fn read(text: &str) -> Read {
        Ok(Reason::parse(text)?.as_str().to_owned())
    }
}

impl Form for OwnWords {
    const FORMAT: &'static str = "own-words";
    const MOST: usize = 4 * OWN_WORDS;
    fn read(text: &str) -> Read {
        Ok(domain::text::prose(text, OWN_WORDS)?.unwrap_or_default())
    }
}

impl Form for BreachReference {
    const FORMAT: &'static str = "breach-reference";
    const LEAST: usize = 1;
    const MOST: usize = breach::REFERENCE;
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9._/-]+$");
    fn read(text: &str) -> Read {
        breach::check_reference(text)?;
        Ok(text.to_owned())
    }
}

impl Form for QuarterOrDate {
    const FORMAT: &'static str = "quarter-or-date";
    const LEAST: usize = 7;
    const MOST: usize = 10;
    const PATTERN: Option<&'static str> = Some("^[0-9]{4}-(Q[1-4]|[0-9]{2}-[0-9]{2})$");
    fn read(text: &str) -> Read {
        let is_one = text.parse::<Quarter>().is_ok() || text.parse::<NaiveDate>().is_ok();
        if is_one { Ok(text.to_owned()) } else { Err("must be a quarter such as 2025-Q1, or a date".into()) }
    }
}

impl<F> Text<F> {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), form: PhantomData }
    }
}

impl<F> std::ops::Deref for Text<F> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl<F: Form> Type for Text<F> {
    const IS_REQUIRED: bool = true;
    one_value!();

    fn name() -> Cow<'static, str> {
        F::FORMAT.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            min_length: Some(F::LEAST).filter(|least| *least > 0),
            max_length: Some(F::MOST),
            pattern: F::PATTERN.map(str::to_owned),
            ..MetaSchema::new_with_format("string", F::FORMAT)
        }))
    }
}

impl<F: Form> ParseFromJSON for Text<F> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = value.unwrap_or_default();
        let text = value.as_str().ok_or_else(|| ParseError::custom("is not a text"))?;
        F::read(text).map(Self::new).map_err(ParseError::custom)
    }
}

impl<F: Form> ParseFromParameter for Text<F> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        F::read(text).map(Self::new).map_err(ParseError::custom)
    }
}

impl<F: Form> ToJSON for Text<F> {
    fn to_json(&self) -> Option<Value> {
        Some(Value::from(self.text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_far_too_long_is_not_read() {
        let label = (0..1000).filter_map(|number| char::from_u32(0x4e00 + number)).collect::<String>();
        let hostile = format!("a@{}", vec![label; 85].join("."));
        assert_eq!(check::<Email>(&hostile), Err("must have at most 254 characters".into()));
        assert!(check::<Email>("anna@klinik.example").is_ok());
    }

    #[test]
    fn what_is_brought_into_shape_is_bounded_after_that() {
        let reason = format!("{}\n\n\n\n\n\n\n\n\n\n", "a".repeat(Reason::MOST));
        assert!(check::<StatedReason>(&reason).is_ok());
        assert!(check::<StatedReason>(&"a".repeat(Reason::MOST + 1)).is_err());
        assert!(check::<OwnWords>(&"e\u{301}".repeat(OWN_WORDS)).is_ok());
        assert!(check::<OwnWords>(&"e".repeat(OWN_WORDS + 1)).is_err());
    }
}
