//! Ways through the OpenAPI document.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::http::request::contract::references;

/// The operations of the document, each with its path and its method.
pub fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Map<String, Value>)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object_mut().into_iter().flatten();
        methods.filter_map(|(method, operation)| Some((path.as_str(), method.as_str(), operation.as_object_mut()?)))
    })
}

/// The names of all schemas that a part of the document refers to, also through other schemas.
pub fn reached(document: &Value, mut waiting: BTreeSet<String>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop_first() {
        waiting.extend(references(&document["components"]["schemas"][&name]).difference(&seen).cloned());
        seen.insert(name);
    }
    seen
}
