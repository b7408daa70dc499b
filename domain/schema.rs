//! JSON Schemas (2020-12) that check what comes from outside, and plain words for what they find. All faults are named
//! at once, each field once, and no value is repeated.

use std::borrow::Cow;

use jsonschema::{
    Draft, JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::{Location, LocationSegment},
};
use serde_json::Value;

use crate::{Fault, fault::FAULTS, json};

/// The most entries of a list that is checked; the schema of a list should allow fewer. It keeps the work for a hostile
/// body small.
const ENTRIES: usize = 1000;
/// The pattern of a text without control characters.
pub const PLAIN: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// A named form of texts: what `format` means in a schema.
#[derive(Clone, Copy)]
pub struct Format {
    pub name: &'static str,
    /// Returns what is wrong with a text.
    pub check: fn(&str) -> Result<(), Cow<'static, str>>,
}

/// A schema that is ready to check values.
pub struct Schema {
    validator: Validator,
    formats: Vec<Format>,
}

/// A schema that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("the schema is not sound: {0}")]
pub struct NotASchema(String);

impl Schema {
    /// Reads a schema. Formats that neither `formats` nor JSON Schema know are not checked.
    pub fn new(schema: &Value, formats: &[Format]) -> Result<Self, NotASchema> {
        let mut options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        for format in formats.iter().copied() {
            options = options.with_format(format.name, move |text: &str| (format.check)(text).is_ok());
        }
        let validator = options.build(schema).map_err(|error| NotASchema(error.to_string()))?;
        Ok(Self { validator, formats: formats.to_vec() })
    }

    /// All faults of a value.
    pub fn faults(&self, value: &Value) -> Vec<Fault> {
        if let Some(path) = long_list(value) {
            return vec![Fault::new(path, format!("must hold at most {ENTRIES} entries"))];
        }
        let mut found = Found::default();
        let mut errors: Vec<ValidationError<'_>> = self.validator.iter_errors(value).collect();
        // The message of a format says more than that of a pattern.
        errors.sort_by_key(|error| matches!(error.kind(), ValidationErrorKind::Pattern { .. }));
        errors.iter().for_each(|error| self.explain(error, &mut found));
        found.faults
    }

    fn explain(&self, error: &ValidationError<'_>, found: &mut Found) {
        use ValidationErrorKind as Kind;
        let path = path(error.instance_path());
        match error.kind() {
            Kind::Required { property } => {
                found.add(&within(&path, property.as_str().unwrap_or_default()), "is required");
            }
            Kind::AdditionalProperties { unexpected } => {
                for name in unexpected {
                    found.add(&within(&path, &json::plain(name)), "is not a field here");
                }
            }
            Kind::AnyOf { context } => match missing(context) {
                Some((first, others)) => found.add(&within(&path, first), format!("or {} is required", list(&others))),
                // One alternative is the value itself, the other is `null`.
                None => context.first().into_iter().flatten().for_each(|error| self.explain(error, found)),
            },
            // A rule between fields, which its own check explains.
            Kind::Not { .. } => {}
            Kind::Format { format } => found.add(&path, self.format_fault(format, error.instance())),
            kind => found.add(&path, fault(kind, error.instance())),
        }
    }

    fn format_fault(&self, name: &str, value: &Value) -> Cow<'static, str> {
        let ours = self.formats.iter().find(|format| format.name == name);
        let fault = ours.zip(value.as_str()).and_then(|(format, text)| (format.check)(text).err());
        fault.unwrap_or_else(|| match name {
            "date" => "must be a date, year-month-day".into(),
            "date-time" => "must be a time such as 2026-01-15T09:30:00Z".into(),
            "uuid" => "must be a UUID".into(),
            other => format!("must have the form `{other}`").into(),
        })
    }
}

/// The faults that were found, each field once.
#[derive(Default)]
struct Found {
    faults: Vec<Fault>,
}

impl Found {
    fn add(&mut self, field: &str, message: impl Into<Cow<'static, str>>) {
        if self.faults.len() < FAULTS && self.faults.iter().all(|known| known.field != field) {
            self.faults.push(Fault::new(field, message.into()));
        }
    }
}

/// What a keyword of a schema that a value breaks means, in plain words.
fn fault(kind: &ValidationErrorKind, value: &Value) -> Cow<'static, str> {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type { .. } if value.is_null() => "must not be null".into(),
        Kind::Type { kind: TypeKind::Single(only) } => must_be(*only).into(),
        Kind::Type { kind: TypeKind::Multiple(types) } => {
            let named = types.iter().find(|it| *it != JsonType::Null);
            named.map_or("has the wrong form", must_be).into()
        }
        Kind::Enum { options } => {
            let names = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
            format!("must be one of {}", names.join(", ")).into()
        }
        Kind::Minimum { limit } => format!("must be at least {limit}").into(),
        Kind::Maximum { limit } => format!("must be at most {limit}").into(),
        Kind::MinLength { limit } => format!("must have at least {}", counted(*limit, "character")).into(),
        Kind::MaxLength { limit } => format!("must have at most {}", counted(*limit, "character")).into(),
        Kind::MinItems { limit } => format!("must hold at least {}", counted(*limit, "entry")).into(),
        Kind::MaxItems { limit } => format!("must hold at most {}", counted(*limit, "entry")).into(),
        Kind::UniqueItems => "must hold each entry once".into(),
        Kind::Pattern { pattern } if pattern == PLAIN => "must not hold control characters".into(),
        Kind::Pattern { pattern } => format!("must have the form {pattern}").into(),
        _ => "has the wrong form".into(),
    }
}

fn must_be(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "must be a list",
        JsonType::Boolean => "must be true or false",
        JsonType::Integer => "must be a whole number",
        JsonType::Null => "must be null",
        JsonType::Number => "must be a number",
        JsonType::Object => "must be an object",
        JsonType::String => "must be a text",
    }
}

fn counted(count: u64, one: &str) -> String {
    let many = one.strip_suffix('y').map_or_else(|| format!("{one}s"), |stem| format!("{stem}ies"));
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// The names of which one must be there, if that is all that an alternative of a schema demands.
fn missing<'a>(context: &'a [Vec<ValidationError<'static>>]) -> Option<(&'a str, Vec<&'a str>)> {
    let name = |errors: &'a Vec<ValidationError<'static>>| match errors.as_slice() {
        [error] => match error.kind() {
            ValidationErrorKind::Required { property } => property.as_str(),
            _ => None,
        },
        _ => None,
    };
    let mut names = context.iter().map(name).collect::<Option<Vec<_>>>()?.into_iter();
    Some((names.next()?, names.collect()))
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

/// A path as faults name it, such as `events[3].date`.
fn path(location: &Location) -> String {
    location.segments().fold(String::new(), |path, segment| match segment {
        LocationSegment::Property(name) => within(&path, &json::plain(&name)),
        LocationSegment::Index(index) => format!("{path}[{index}]"),
    })
}

fn within(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The path of a list that is too long to be checked.
fn long_list(value: &Value) -> Option<String> {
    let inner = |path: String, inner: &Value| {
        long_list(inner).map(|deeper| match deeper.starts_with(['[']) || deeper.is_empty() {
            true => format!("{path}{deeper}"),
            false => format!("{path}.{deeper}"),
        })
    };
    match value {
        Value::Array(values) if values.len() > ENTRIES => Some(String::new()),
        Value::Array(values) => values.iter().enumerate().find_map(|(index, it)| inner(format!("[{index}]"), it)),
        Value::Object(fields) => fields.iter().find_map(|(name, it)| inner(json::plain(name), it)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VOWELS: Format = Format {
        name: "vowels",
        check: |text| match text.chars().all(|letter| "aeiou".contains(letter)) {
            true => Ok(()),
            false => Err("must be vowels".into()),
        },
    };

    fn shown(schema: &Value, value: &Value) -> Vec<String> {
        let schema = Schema::new(schema, &[VOWELS]).expect("a schema");
        let line = |fault: Fault| format!("{}: {}", fault.field, fault.message);
        schema.faults(value).into_iter().map(line).collect()
    }

    #[test]
    fn all_faults_are_named_in_plain_words() {
        let day = json!({
            "type": "object",
            "required": ["date", "source"],
            "additionalProperties": false,
            "properties": {
                "date": { "type": "string", "format": "date" },
                "source": { "type": "string", "enum": ["manual", "geofence"] },
                "hours": { "type": "number", "minimum": 0, "maximum": 24 },
                "minutes": { "type": ["integer", "null"], "maximum": 1440 },
                "note": { "type": "string", "maxLength": 3, "pattern": PLAIN },
                "sung": { "type": "string", "format": "vowels", "pattern": "^[a-z]*$" },
                "part": { "anyOf": [{ "$ref": "#/$defs/part" }, { "type": "null" }] },
            },
            "anyOf": [{ "required": ["hours"] }, { "required": ["minutes"] }],
        });
        let days = json!({
            "type": "object", "required": ["days"],
            "properties": { "days": { "type": "array", "minItems": 1, "maxItems": 8, "items": day } },
            "$defs": { "part": { "type": "string", "enum": ["whole", "half"] } },
        });
        let body = json!({ "days": [
            { "date": "2026-02-30", "source": "guess", "hours": 25, "colour": "red" },
            { "date": null, "source": 3, "minutes": "7" },
            { "date": "2026-02-03", "source": "manual", "minutes": 1441, "note": "abcd" },
            { "date": "2026-02-03", "source": "manual", "hours": -1, "note": "\u{7}" },
            { "date": "2026-02-03", "source": "manual", "hours": true, "sung": "xyz", "part": "third" },
            { "date": "2026-02-03", "source": "manual", "minutes": null, "part": null },
            { "date": "2026-02-03", "source": "manual" },
            "2026-02-03",
        ] });
        let mut expected = vec![
            "days[0].colour: is not a field here",
            "days[0].date: must be a date, year-month-day",
            "days[0].hours: must be at most 24",
            "days[0].source: must be one of manual, geofence",
            "days[1].date: must not be null",
            "days[1].minutes: must be a whole number",
            "days[1].source: must be a text",
            "days[2].minutes: must be at most 1440",
            "days[2].note: must have at most 3 characters",
            "days[3].hours: must be at least 0",
            "days[3].note: must not hold control characters",
            "days[4].hours: must be a number",
            "days[4].part: must be one of whole, half",
            "days[4].sung: must be vowels",
            "days[6].hours: or `minutes` is required",
            "days[7]: must be an object",
        ];
        let mut found = shown(&days, &body);
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(shown(&days, &json!({ "days": [] })), ["days: must hold at least 1 entry"]);
        assert_eq!(shown(&days, &json!({})), ["days: is required"]);
        assert_eq!(shown(&days, &json!([])), [": must be an object"]);
    }

    #[test]
    fn a_hostile_list_costs_one_fault() {
        let schema = json!({ "type": "object" });
        let list = Value::from(vec![1; ENTRIES + 1]);
        assert_eq!(shown(&schema, &json!({ "a": [{ "b": list }] })), ["a[0].b: must hold at most 1000 entries"]);
        let faults = json!({ "type": "object", "additionalProperties": { "type": "string" } });
        let many: serde_json::Map<_, _> = (0..500).map(|it| (format!("n{it}"), Value::from(it))).collect();
        assert_eq!(shown(&faults, &many.into()).len(), FAULTS);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        assert!(Schema::new(&json!({ "type": "word" }), &[]).is_err());
    }
}
