//! What a resource allows, for the `Allow` header field of a 405 (RFC 9110, 15.5.6): read off the OpenAPI document.

use std::sync::LazyLock;

/// Each path's segments and its methods.
static PATHS: LazyLock<Vec<(Vec<String>, String)>> = LazyLock::new(|| {
    let document: serde_json::Value = serde_json::from_str(&super::document()).expect("our own document is JSON");
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .map(|(path, operations)| {
            let methods = operations.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase());
            (segments(path).map(str::to_owned).collect(), methods.collect::<Vec<_>>().join(", "))
        })
        .collect()
});

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The methods that the resource at a path allows; `GET` for what the document does not describe.
pub fn methods(path: &str) -> String {
    let matches = |known: &Vec<String>| {
        let same = |(known, asked): (&String, &str)| known.starts_with('{') || known == asked;
        known.len() == segments(path).count() && known.iter().zip(segments(path)).all(same)
    };
    PATHS.iter().find(|(known, _)| matches(known)).map_or_else(|| "GET".to_owned(), |(_, methods)| methods.clone())
}
