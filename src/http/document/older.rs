//! The OpenAPI document in the words of OpenAPI 3.0, for generators that know no newer ones, such as `progenitor` for
//! Rust.
//!
//! Promises: the same operations, parameters and names of schemas; a schema says the same, or less where 3.0 has no word
//! for it. Each operation has one type of success and one type of problem, because `progenitor` refuses more. What an
//! operation answers in full stands in the document of 3.1 alone.

use serde_json::{Map, Value, json};

use crate::http::document::parts::operations;

const JSON: &str = "application/json";
/// The statuses that stand for all refusals and faults.
const PROBLEMS: [&str; 2] = ["4XX", "5XX"];
/// The words of a schema that hold a list of schemas.
const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Every word of a schema object (OpenAPI 3.0.3, 4.7.24) but `not`: without `null` our rules between fields can't be said.
const SCHEMA_WORDS: [&str; 35] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "deprecated",
    "description",
    "discriminator",
    "enum",
    "example",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "externalDocs",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "nullable",
    "oneOf",
    "pattern",
    "properties",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
    "xml",
];

/// Makes the 3.0 form of a document of OpenAPI 3.1: pretty, keys in order, one line break at the end.
///
/// # Panics
/// Panics if the text is not JSON.
pub fn document(newer: &str) -> String {
    let document = convert(serde_json::from_str(newer).expect("the document is JSON"));
    let mut text = serde_json::to_string_pretty(&document).expect("a document can be written as JSON");
    text.push('\n');
    text
}

fn convert(mut document: Value) -> Value {
    document["openapi"] = json!("3.0.3");
    for (object, newer_word) in [("/info", "summary"), ("/info/license", "identifier")] {
        let object = document.pointer_mut(object).and_then(Value::as_object_mut);
        object.and_then(|object| object.remove(newer_word));
    }
    let shared = document["components"].as_object_mut().and_then(|components| components.remove("responses"));
    let shared = shared.unwrap_or_default();
    operations(&mut document).for_each(|(_, _, operation)| reduce(operation, &shared));
    document["components"]["responses"] = json!({ "Problem": problem() });
    document["components"]["schemas"].as_object_mut().into_iter().flatten().for_each(|(_, it)| convert_schema(it));
    visit(&mut document["paths"]);
    document
}

/// The answer that stands for every refusal and fault. JSON is named besides, because `progenitor` makes types of that
/// media type alone; the server says `application/problem+json`.
fn problem() -> Value {
    let content = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    json!({
        "description": "The request was refused, or the server failed.",
        "content": { "application/problem+json": content.clone(), JSON: content },
    })
}

/// Leaves an operation one media type of requests, one content of success, and the problem.
fn reduce(operation: &mut Map<String, Value>, shared: &Value) {
    if let Some(body) = operation.get_mut("requestBody") {
        prefer_json(body);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let mut kept = Map::new();
    let mut content = None;
    for (status, response) in std::mem::take(responses) {
        let name = response["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        let mut response = name.map_or(response.clone(), |name| shared[name].clone());
        prefer_json(&mut response);
        // The first status decides; another one stays if it has the same content.
        if status.starts_with('2') && *content.get_or_insert(response["content"].clone()) == response["content"] {
            kept.insert(status, response);
        }
    }
    kept.extend(PROBLEMS.map(|status| (status.to_owned(), json!({ "$ref": "#/components/responses/Problem" }))));
    *responses = kept;
}

/// Drops the other media types if one is JSON.
fn prefer_json(message: &mut Value) {
    let content = message.get_mut("content").and_then(Value::as_object_mut);
    if let Some(content) = content.filter(|content| content.contains_key(JSON)) {
        content.retain(|media_type, _| media_type == JSON);
    }
}

/// Converts every schema below this value; examples are data and stay untouched.
fn visit(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object.iter_mut().filter(|(name, _)| !name.starts_with("example")) {
                if name == "schema" { convert_schema(value) } else { visit(value) }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(visit),
        _ => {}
    }
}

/// Converts a schema and every schema below it.
fn convert_schema(schema: &mut Value) {
    // `true` and `false` are schemas too.
    let Some(words) = schema.as_object_mut() else { return };
    convert_null(words);
    // Beside a reference, 3.0 ignores every other word.
    if words.len() > 1
        && let Some(reference) = words.remove("$ref")
    {
        demand(words, &mut vec![json!({ "$ref": reference })]);
    }
    words.retain(|word, _| SCHEMA_WORDS.contains(&word.as_str()));
    for list in LISTS {
        words.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().for_each(convert_schema);
    }
    for (_, property) in words.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        convert_schema(property);
    }
    for inner in ["additionalProperties", "items"] {
        words.get_mut(inner).into_iter().for_each(convert_schema);
    }
}

/// 3.0 has no type `null`: a schema says `nullable` instead.
fn convert_null(words: &mut Map<String, Value>) {
    if let Some(mut types) = words.get("type").and_then(Value::as_array).cloned() {
        let all = types.len();
        types.retain(|name| name != "null");
        words.insert("nullable".to_owned(), json!(types.len() < all));
        // 3.0 can't allow several types.
        match types.as_slice() {
            [only] => words.insert("type".to_owned(), only.clone()),
            _ => words.remove("type"),
        };
    }
    for word in ["anyOf", "oneOf"] {
        let Some(mut parts) = words.get(word).and_then(Value::as_array).cloned() else { continue };
        let all = parts.len();
        parts.retain(|part| part["type"] != "null");
        if parts.len() == all {
            continue;
        }
        words.insert("nullable".to_owned(), json!(true));
        if parts.len() == 1 {
            words.remove(word);
            demand(words, &mut parts);
        } else {
            words.insert(word.to_owned(), Value::Array(parts));
        }
    }
}

/// Adds parts to `allOf`.
fn demand(words: &mut Map<String, Value>, parts: &mut Vec<Value>) {
    words.entry("allOf").or_insert(json!([])).as_array_mut().expect("`allOf` is a list").append(parts);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(newer: Value) -> Value {
        let mut schema = newer;
        convert_schema(&mut schema);
        schema
    }

    #[test]
    fn null_is_told_by_nullable() {
        let text = schema(json!({ "type": ["string", "null"], "maxLength": 3 }));
        assert_eq!(text, json!({ "type": "string", "nullable": true, "maxLength": 3 }));
        let reference = json!({ "$ref": "#/components/schemas/Source" });
        let named = schema(json!({ "description": "How.", "anyOf": [reference, { "type": "null" }] }));
        assert_eq!(named, json!({ "description": "How.", "allOf": [reference], "nullable": true }));
        let either = schema(json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }, { "type": "null" }] }));
        assert_eq!(either, json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }], "nullable": true }));
    }

    #[test]
    fn words_of_3_1_become_those_of_3_0_or_are_left_out() {
        let newer = json!({
            "type": "object",
            "properties": {
                "kind": { "type": "string", "not": { "type": "null" } },
                "source": { "$ref": "#/components/schemas/Source", "description": "How." },
                "counts": { "type": "array", "items": { "type": ["integer", "null"] } },
            },
            "additionalProperties": false,
        });
        let older = json!({
            "type": "object",
            "properties": {
                "kind": { "type": "string" },
                "source": { "allOf": [{ "$ref": "#/components/schemas/Source" }], "description": "How." },
                "counts": { "type": "array", "items": { "type": "integer", "nullable": true } },
            },
            "additionalProperties": false,
        });
        assert_eq!(schema(newer), older);
    }

    #[test]
    fn an_operation_has_one_type_of_success_and_one_of_problem() {
        let of = |media_type: &str| json!({ "content": { media_type: { "schema": { "type": ["string", "null"] } } } });
        let converted = convert(json!({
            "openapi": "3.1.0",
            "info": { "summary": "Remembers.", "license": { "name": "AGPL", "identifier": "AGPL-3.0-or-later" } },
            "paths": { "/days": { "put": {
                "requestBody": { "content": { "application/json": {}, "application/merge-patch+json": {} } },
                "responses": {
                    "200": { "content": { "application/json": {}, "text/csv": {} } },
                    "201": { "$ref": "#/components/responses/Made" },
                    "202": of("text/plain"),
                    "304": {},
                    "412": of("application/problem+json"),
                    "503": { "$ref": "#/components/responses/Busy" },
                },
            } } },
            "components": { "responses": { "Made": { "content": { "application/json": {} } }, "Busy": {} }, "schemas": {} },
        }));
        let operation = &converted["paths"]["/days"]["put"];
        assert_eq!(operation["requestBody"], json!({ "content": { "application/json": {} } }));
        let made = json!({ "content": { "application/json": {} } });
        let problem = json!({ "$ref": "#/components/responses/Problem" });
        assert_eq!(operation["responses"], json!({ "200": made, "201": made, "4XX": problem, "5XX": problem }));
        assert_eq!(converted["info"], json!({ "license": { "name": "AGPL" } }));
        let answers = converted["components"]["responses"].as_object().expect("responses");
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["Problem"]);
    }
}
