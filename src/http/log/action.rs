//! The types of events, and families of them, as a parameter that chooses entries of the log.

use std::{borrow::Cow, collections::BTreeSet, sync::LazyLock};

use domain::EVENT_TYPES;
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromParameter, ParseResult, Type},
};
use serde_json::Value;

use crate::http::types::one_value;

/// A type of event, such as `consent.granted`, or a family of them, such as `consent`.
pub struct Action(pub String);

impl Action {
    const NAME: &'static str = "Action";
}

/// All types and families, in the order of their names.
static ALL: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let families = EVENT_TYPES.iter().filter_map(|name| Some(name.split_once('.')?.0));
    EVENT_TYPES.iter().copied().chain(families).collect()
});

impl Type for Action {
    const IS_REQUIRED: bool = true;
    one_value!();

    fn name() -> Cow<'static, str> {
        Self::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(Self::NAME.to_owned())
    }

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(Self::NAME.to_owned(), |_| MetaSchema {
            description: Some("A type of event, or a family of them."),
            enum_items: ALL.iter().copied().map(Value::from).collect(),
            ..MetaSchema::new("string")
        });
    }
}

impl ParseFromParameter for Action {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        if ALL.contains(text) { Ok(Self(text.to_owned())) } else { Err(ParseError::custom("is no type of event")) }
    }
}
