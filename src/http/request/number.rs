//! Whole numbers with bounds. `limit=480.0` and `limit=4.8e2` are the integer 480, as in bodies (JSON Schema).

use std::borrow::Cow;

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde_json::Value;

use crate::http::types::one_value;

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const LEAST: u64, const MOST: u64>(pub u64);

/// A number that has no bound of its own. Up to this one every whole number is exact in every reader of JSON.
pub type Natural = Whole<0, { (1 << 53) - 1 }>;

impl<const LEAST: u64, const MOST: u64> Whole<LEAST, MOST> {
    /// The number in a type that holds all numbers within the bounds.
    ///
    /// # Panics
    /// Panics if the type is too small for the number.
    pub fn fit<T: TryFrom<u64>>(self) -> T {
        T::try_from(self.0).unwrap_or_else(|_| panic!("a type for numbers up to {MOST} is too small"))
    }

    fn within(number: Option<u64>) -> ParseResult<Self> {
        let number = number.filter(|number| (LEAST..=MOST).contains(number));
        number.map(Self).ok_or_else(|| ParseError::custom("is not a whole number within the bounds"))
    }
}

impl<const LEAST: u64, const MOST: u64> Type for Whole<LEAST, MOST> {
    const IS_REQUIRED: bool = true;
    one_value!();

    fn name() -> Cow<'static, str> {
        format!("whole_{LEAST}_{MOST}").into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let format = if i32::try_from(MOST).is_ok() { "int32" } else { "int64" };
        #[expect(clippy::cast_precision_loss, reason = "the framework keeps bounds so, and ours are below 2^53")]
        let (minimum, maximum) = (Some(LEAST as f64), Some(MOST as f64));
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            minimum,
            maximum,
            ..MetaSchema::new_with_format("integer", format)
        }))
    }
}

impl<const LEAST: u64, const MOST: u64> ParseFromParameter for Whole<LEAST, MOST> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        Self::within(domain::number::whole_text(text))
    }
}

impl<const LEAST: u64, const MOST: u64> ParseFromJSON for Whole<LEAST, MOST> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Self::within(value.as_ref().and_then(Value::as_u64))
    }
}

impl<const LEAST: u64, const MOST: u64> ToJSON for Whole<LEAST, MOST> {
    fn to_json(&self) -> Option<Value> {
        Some(Value::from(self.0))
    }
}
