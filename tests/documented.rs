//! The operations of the document, for tests that go through all of them.

use std::sync::LazyLock;

use poem::http::Method;
use serde_json::Value;

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&lethe::http::document()).expect("JSON"));

/// An operation, as the document has it.
pub struct Documented {
    pub id: &'static str,
    pub path: &'static str,
    pub method: Method,
    pub says: &'static Value,
}

impl Documented {
    pub fn parameters(&self) -> impl Iterator<Item = &'static Value> {
        self.says["parameters"].as_array().into_iter().flatten()
    }

    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameters().any(|parameter| parameter["name"] == name)
    }
}

/// All operations, in the document's order.
pub fn operations() -> impl Iterator<Item = Documented> {
    DOCUMENT["paths"].as_object().expect("paths").iter().flat_map(|(path, methods)| {
        methods.as_object().expect("methods").iter().map(move |(method, says)| Documented {
            id: says["operationId"].as_str().expect("an id"),
            path,
            method: method.to_uppercase().parse().expect("a method"),
            says,
        })
    })
}

/// What is behind a reference.
pub fn resolved(part: &'static Value) -> &'static Value {
    let target = part["$ref"].as_str().map(|reference| &reference[1..]);
    target.map_or(part, |pointer| DOCUMENT.pointer(pointer).expect("a reference leads somewhere"))
}
