//! What the OpenAPI document says of a path: the methods that its resource allows, for the `Allow` header field of a
//! 405 (RFC 9110, 15.5.6), its operations, and the names of its parameters.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

/// A path of the document: its segments (parameters in braces), its methods, and the operation of each method.
struct Known {
    segments: Vec<String>,
    methods: String,
    operations: BTreeMap<String, String>,
}

static PATHS: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(&crate::http::document()).expect("our own document is JSON");
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .map(|(path, operations)| {
            let operations = operations.as_object().into_iter().flatten();
            let named = |(method, operation): (&String, &Value)| {
                (method.to_uppercase(), operation["operationId"].as_str().unwrap_or_default().to_owned())
            };
            let operations: Vec<(String, String)> = operations.map(named).collect();
            let methods = operations.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
            let segments = segments(path).map(str::to_owned).collect();
            Known { segments, methods, operations: operations.into_iter().collect() }
        })
        .collect()
});

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The path of the document that a request's path matches.
fn known(path: &str) -> Option<&'static Known> {
    let asked: Vec<&str> = segments(path).collect();
    let matches = |known: &&Known| {
        let same = |(known, asked): (&String, &&str)| known.starts_with('{') || known == asked;
        known.segments.len() == asked.len() && known.segments.iter().zip(&asked).all(same)
    };
    PATHS.iter().find(matches)
}

/// The methods that the resource at a path allows; `GET` if the document does not describe the path.
pub fn methods(path: &str) -> String {
    known(path).map_or_else(|| "GET".to_owned(), |known| known.methods.clone())
}

/// The operation that the document has for a method and a path; `None` if it has none.
pub fn operation(method: &str, path: &str) -> Option<&'static str> {
    known(path)?.operations.get(method).map(String::as_str)
}

/// The path's parameters by name, each with its segment as it was sent; `None` if the document has no such path.
pub fn parameters(path: &str) -> Option<Vec<(&'static str, &str)>> {
    let name = |segment: &'static String| segment.strip_prefix('{')?.strip_suffix('}');
    let pairs = known(path)?.segments.iter().zip(segments(path));
    Some(pairs.filter_map(|(known, asked)| Some((name(known)?, asked))).collect())
}
