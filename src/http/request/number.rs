//! Whole numbers in parameters: `limit=480.0` and `limit=4.8e2` are the integer 480, as in bodies (JSON Schema).

use std::borrow::Cow;

use poem_openapi::{
    registry::MetaSchemaRef,
    types::{ParseError, ParseFromParameter, ParseResult, Type},
};

/// A whole number that is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<T>(pub T);

impl<T: Type> Type for Whole<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Type + TryFrom<u64>> ParseFromParameter for Whole<T> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        let number = domain::number::whole_text(text).and_then(|number| T::try_from(number).ok());
        number.map(Self).ok_or_else(|| ParseError::custom("is not a whole number"))
    }
}
