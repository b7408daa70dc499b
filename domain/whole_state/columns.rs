//! Fields of events that stand in clear: each must be argued for in `tests/columns.allow`.

use std::collections::BTreeSet;

use serde_json::Value;

const ALLOWED: &str = include_str!("../../tests/columns.allow");

/// Panics if an event has a field in clear that nobody argued for.
pub fn argue_for(event_type: &str, payload: &Value) {
    let mut found = BTreeSet::new();
    fields(&format!("event {event_type} payload"), payload, &mut found);
    let is_allowed =
        |field: &String| ALLOWED.lines().any(|line| line.split_once(": ").is_some_and(|(what, _)| what == field));
    let new: Vec<&String> = found.iter().filter(|field| !is_allowed(field)).collect();
    assert!(new.is_empty(), "what do these hold? Add them to tests/columns.allow, with a word: {new:#?}");
}

fn fields(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(inner) => inner.iter().for_each(|(name, value)| fields(&format!("{path}.{name}"), value, into)),
        Value::Array(values) => values.iter().for_each(|value| fields(&format!("{path}[]"), value, into)),
        Value::Null => {}
        _ => drop(into.insert(path.to_owned())),
    }
}
