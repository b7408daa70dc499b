//! Value types of the API: hours, and closed lists as enumerations.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{Choice, kinds::DAY_MINUTES};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde_json::Value;

/// What the framework's `Type` asks of a type that is one value, and no list and no option.
macro_rules! one_value {
    () => {
        type RawValueType = Self;
        type RawElementValueType = Self;

        fn as_raw_value(&self) -> Option<&Self> {
            Some(self)
        }

        fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
            Box::new(std::iter::once(self))
        }
    };
}

pub(crate) use one_value;

/// Hours of a day, 0 to 24, kept in whole minutes: `8.5`, `9.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The time in minutes, 0 to 1440.
    pub minutes: u16,
}

impl Hours {
    const MOST: f64 = DAY_MINUTES as f64 / 60.0;

    /// Reads hours from a JSON value, rounded to the minute; `None` if it is not a number from 0 to 24.
    pub fn parse(value: &Value) -> Option<Self> {
        let hours = value.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 24 hours are 0 to 1440 minutes"
        )]
        (0.0..=Self::MOST).contains(&hours).then(|| Self { minutes: (hours * 60.0).round() as u16 })
    }

    /// The hours, rounded to two decimals.
    fn rounded(self) -> f64 {
        (f64::from(self.minutes) * 100.0 / 60.0).round() / 100.0
    }
}

impl Type for Hours {
    const IS_REQUIRED: bool = true;
    one_value!();

    fn name() -> Cow<'static, str> {
        "hours".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("Hours with two decimals, 0 to 24; kept in whole minutes."),
            minimum: Some(0.0),
            maximum: Some(Self::MOST),
            example: Some(Value::from(8.5)),
            ..MetaSchema::new_with_format("number", "double")
        }))
    }
}

impl ParseFromJSON for Hours {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Self::parse(&value.unwrap_or_default()).ok_or_else(|| ParseError::custom("is not hours"))
    }
}

impl ToJSON for Hours {
    fn to_json(&self) -> Option<Value> {
        Some(Value::from(self.rounded()))
    }
}

/// A time, or no time, as answers write it: with `Z`, so that one moment always is the same text.
pub trait Moment {
    fn moment(&self) -> Option<&DateTime<Utc>>;
}

impl Moment for DateTime<Utc> {
    fn moment(&self) -> Option<&DateTime<Utc>> {
        Some(self)
    }
}

impl Moment for Option<DateTime<Utc>> {
    fn moment(&self) -> Option<&DateTime<Utc>> {
        self.as_ref()
    }
}

/// Writes a time in UTC, to the last digit of its fraction that counts.
pub fn in_utc(time: &impl Moment) -> Option<Value> {
    time.moment().map(|time| Value::from(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}

/// A closed list as an enumeration of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OneOf<C>(pub C);

/// The name of a choice.
pub fn name<C: Choice>(choice: OneOf<C>) -> String {
    choice.0.as_str().to_owned()
}

impl<C: Choice> Type for OneOf<C> {
    const IS_REQUIRED: bool = true;
    one_value!();

    fn name() -> Cow<'static, str> {
        C::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(C::NAME.to_owned())
    }

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(C::NAME.to_owned(), |_| MetaSchema {
            enum_items: C::NAMES.iter().map(|name| Value::from(*name)).collect(),
            ..MetaSchema::new("string")
        });
    }
}

impl<C: Choice> ToJSON for OneOf<C> {
    fn to_json(&self) -> Option<Value> {
        Some(Value::from(self.0.as_str()))
    }
}

impl<C: Choice> ParseFromJSON for OneOf<C> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let name = value.unwrap_or_default();
        name.as_str().and_then(C::parse).map(Self).ok_or_else(|| ParseError::custom("is not one of the names"))
    }
}

impl<C: Choice> ParseFromParameter for OneOf<C> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        C::parse(text).map(Self).ok_or_else(|| ParseError::custom("is not one of the names"))
    }
}

/// One value of an event: a text, a number or a truth value.
#[derive(Clone, Debug)]
pub struct Scalar(pub Value);

/// The payload of an event, of which nothing is sealed: an object in the form of its type.
#[derive(Clone, Debug)]
pub struct ClearPayload(pub Value);

/// Makes a type that answers hold as it is of JSON with a schema.
macro_rules! json_value {
    ($type:ident, $schema:expr) => {
        impl Type for $type {
            const IS_REQUIRED: bool = true;
            one_value!();

            fn name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn schema_ref() -> MetaSchemaRef {
                MetaSchemaRef::Inline(Box::new($schema))
            }
        }

        impl ToJSON for $type {
            fn to_json(&self) -> Option<Value> {
                Some(self.0.clone())
            }
        }

        impl ParseFromJSON for $type {
            fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
                Ok(Self(value.unwrap_or_default()))
            }
        }
    };
}

json_value!(
    Scalar,
    MetaSchema {
        any_of: ["string", "number", "boolean"]
            .map(|kind| MetaSchemaRef::Inline(Box::new(MetaSchema::new(kind))))
            .into(),
        ..MetaSchema::ANY
    }
);
json_value!(
    ClearPayload,
    MetaSchema {
        additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)))),
        ..MetaSchema::new("object")
    }
);

domain::choice! {
    /// The form of an answer that is a table.
    TableFormat { Json = "json", Csv = "csv" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hours_are_kept_in_minutes_and_shown_with_two_decimals() {
        let shown = |value: Value| Hours::parse(&value).map(|hours| (hours.minutes, hours.rounded()));
        assert_eq!(shown(json!(8.5)), Some((510, 8.5)));
        assert_eq!(shown(json!(9.2)), Some((552, 9.2)));
        assert_eq!(shown(json!(9.21)), Some((553, 9.22)));
        assert_eq!(shown(json!(8.333_333_333)), Some((500, 8.33)));
        assert_eq!(shown(json!(24)), Some((1440, 24.0)));
        for wrong in [json!(-0.01), json!(24.01), json!("8.5"), json!(true), json!([8])] {
            assert_eq!(shown(wrong.clone()), None, "{wrong}");
        }
    }
}
