//! What an event changed in the fields of a state, and what it may change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The fields of the state that a type of event may change. The first event of a stream may set every field. An
/// object's name, such as `open`, stands for all fields in it, such as `open.scope`.
#[derive(Clone, Copy)]
pub(crate) struct Changes {
    pub(crate) event: &'static str,
    /// Fields that the event may give a value, or another value.
    pub(crate) sets: &'static [&'static str],
    /// Fields that the event may clear: they become null, false, zero or empty.
    pub(crate) clears: &'static [&'static str],
}

/// The paths of the fields in which two states differ, and whether the second has no value there.
pub(super) fn changed(before: &Value, after: &Value) -> Vec<(String, bool)> {
    let (before, after) = (values(before), values(after));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    differ.map(|path| (path.clone(), !after.contains_key(path))).collect()
}

/// The values of an object, and of the objects in it, by path. Null, false, zero and empty values are left out.
fn values(object: &Value) -> BTreeMap<String, Value> {
    let nothing = [Value::Null, false.into(), 0.into(), "".into(), Value::Array(Vec::new())];
    let mut found = BTreeMap::new();
    let mut waiting = vec![(String::new(), object)];
    while let Some((path, value)) = waiting.pop() {
        if let Value::Object(fields) = value {
            let dot = if path.is_empty() { "" } else { "." };
            waiting.extend(fields.iter().map(|(name, value)| (format!("{path}{dot}{name}"), value)));
        } else if !nothing.contains(value) {
            found.insert(path, value.clone());
        }
    }
    found
}

/// Whether an entry of `CHANGES` names the field, or an object that holds the field.
pub(super) fn covers(entry: &str, field: &str) -> bool {
    field.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
