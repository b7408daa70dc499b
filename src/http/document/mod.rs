//! The OpenAPI document: the framework generates it, and this file corrects what no client generator could use.
//!
//! Promises: OpenAPI 3.1 (the framework writes fields of it and yet says 3.0.0); formats that generators know; plain
//! media types; objects in requests that say what the server enforces: no further fields, `null` for a field that may be
//! absent, texts of a bounded length without control characters (`requests.rs`); the refusals and header fields of each
//! operation's answers (`answers.rs`); and the examples of `openapi/examples.json`.

mod answers;
pub mod older;
mod parts;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use parts::{operations, reached};

use crate::http::request::{contract::references, text::FORMATS as OWN_FORMATS};

/// Formats that stay as they are: those of OpenAPI 3.1 and of JSON Schema that the API uses.
const FORMATS: [&str; 8] = ["date", "date-time", "uuid", "int32", "int64", "float", "double", "binary"];
/// Examples: `schemas`, by name; `parameters`, by name or, where one name means two things, by operation and name.
const EXAMPLES: &str = include_str!("../../../openapi/examples.json");

#[derive(Deserialize)]
struct Examples {
    schemas: BTreeMap<String, Value>,
    parameters: BTreeMap<String, Value>,
}

/// Makes the document of what [`poem_openapi::OpenApiService::spec`] gives: pretty, keys in order, one line break at
/// the end.
///
/// # Panics
/// Panics if the framework's text is not JSON.
pub fn document(service_spec: &str) -> String {
    let mut document = correct(service_spec);
    requests::add_rules(&mut document);
    answers::complete(&mut document);
    add_examples(&mut document);
    let mut text = serde_json::to_string_pretty(&document).expect("a document can be written as JSON");
    text.push('\n');
    text
}

fn correct(service_spec: &str) -> Value {
    let mut document: Value = serde_json::from_str(service_spec).expect("the framework generates JSON");
    document["openapi"] = json!("3.1.0");
    visit(&mut document);
    // An operation for everybody says so, instead of saying nothing.
    for (_, _, operation) in operations(&mut document) {
        operation.entry("security").or_insert_with(|| json!([]));
    }
    part_answers(&mut document);
    requests::complete(&mut document);
    domain::number::whole(document)
}

/// Corrects every object at any depth; examples are data and stay untouched.
fn visit(value: &mut Value) {
    match value {
        Value::Object(object) => {
            set_format(object);
            name_reference(object);
            if let Some(Value::Object(content)) = object.get_mut("content") {
                *content =
                    std::mem::take(content).into_iter().map(|(name, it)| (plain_media_type(&name), it)).collect();
            }
            object.iter_mut().filter(|(name, _)| *name != "example").for_each(|(_, value)| visit(value));
        }
        Value::Array(values) => values.iter_mut().for_each(visit),
        _ => {}
    }
}

/// A media type without its parameters, because generators compare it as it stands.
fn plain_media_type(name: &str) -> String {
    name.split(';').next().unwrap_or_default().to_owned()
}

/// Replaces the framework's own formats by common ones. An unsigned number becomes a signed one with bounds.
fn set_format(schema: &mut Map<String, Value>) {
    let Some(format) = schema.get("format").and_then(Value::as_str) else { return };
    let (format, most) = match format {
        known if FORMATS.contains(&known) || OWN_FORMATS.iter().any(|format| format.name == known) => return,
        "naive-date" => ("date", None),
        "uint16" => ("int32", Some(i64::from(u16::MAX))),
        "uint32" => ("int64", Some(i64::from(u32::MAX))),
        "uint64" => ("int64", Some(i64::MAX)),
        _ => return drop(schema.remove("format")),
    };
    schema.insert("format".to_owned(), json!(format));
    if let Some(most) = most {
        schema.entry("minimum").or_insert(json!(0));
        schema.entry("maximum").or_insert(json!(most));
    }
}

/// The framework writes a described reference as `allOf` of the reference and an object that only repeats the
/// description. That object is removed, because generators try to make a type of it.
fn name_reference(schema: &mut Map<String, Value>) {
    let described = schema.contains_key("description");
    if let Some(Value::Array(parts)) = schema.get_mut("allOf") {
        let says_nothing =
            |part: &Value| part.as_object().is_some_and(|part| part.keys().all(|key| key == "description"));
        parts.retain(|part| !(described && says_nothing(part)));
    }
}

/// Gives each object that stands in requests and in answers a second schema for answers, because requests are closed and
/// answers may gain fields.
fn part_answers(document: &mut Value) {
    let (mut of_requests, mut of_answers) = (BTreeSet::new(), BTreeSet::new());
    for (_, _, operation) in operations(document) {
        of_requests.extend(operation.get("requestBody").map(references).unwrap_or_default());
        of_answers.extend(operation.get("responses").map(references).unwrap_or_default());
    }
    let of_requests = reached(document, of_requests);
    let of_answers = reached(document, of_answers);
    let is_object = |name: &&String| document["components"]["schemas"][*name]["properties"].is_object();
    let shared: BTreeSet<String> = of_requests.intersection(&of_answers).filter(is_object).cloned().collect();
    let only_answers: Vec<String> = of_answers.difference(&of_requests).cloned().collect();
    for name in &shared {
        let mut copy = document["components"]["schemas"][name].clone();
        // Generators name types by titles.
        copy["title"] = json!(answer_of(name));
        document["components"]["schemas"][answer_of(name)] = copy;
    }
    for (_, _, operation) in operations(document) {
        operation.get_mut("responses").into_iter().for_each(|responses| refer_to_answers(responses, &shared));
    }
    for name in only_answers.into_iter().chain(shared.iter().map(|name| answer_of(name))) {
        refer_to_answers(&mut document["components"]["schemas"][name], &shared);
    }
}

fn answer_of(name: &str) -> String {
    format!("{name}Answer")
}

fn refer_to_answers(part: &mut Value, shared: &BTreeSet<String>) {
    match part {
        Value::Object(object) => {
            for (word, value) in object {
                let name = value.as_str().filter(|_| word == "$ref").and_then(|name| name.rsplit('/').next());
                match name.filter(|name| shared.contains(*name)).map(answer_of) {
                    Some(answer) => *value = json!(format!("#/components/schemas/{answer}")),
                    None => refer_to_answers(value, shared),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| refer_to_answers(value, shared)),
        _ => {}
    }
}

/// # Panics
/// Panics if an example belongs to nothing, or if a parameter has none.
fn add_examples(document: &mut Value) {
    let mut examples: Examples = serde_json::from_str(EXAMPLES).expect("the examples are JSON");
    let schemas = document["components"]["schemas"].as_object_mut().expect("the document has schemas");
    for (name, example) in examples.schemas {
        schemas.get_mut(&name).unwrap_or_else(|| panic!("no schema is named {name}"))["example"] = example;
    }
    let mut used = BTreeSet::new();
    for (_, _, operation) in operations(document) {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten().filter(|parameter| parameter["name"].is_string()) {
            let name = parameter["name"].as_str().unwrap_or_default();
            let own = format!("{id}.{name}");
            let key = if examples.parameters.contains_key(&own) { own } else { name.to_owned() };
            let example = examples.parameters.get(&key).unwrap_or_else(|| panic!("{id} has no example for {name}"));
            parameter["example"] = example.clone();
            used.insert(key);
        }
    }
    examples.parameters.retain(|key, _| !used.contains(key));
    assert!(examples.parameters.is_empty(), "examples of no parameter: {:?}", examples.parameters);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(document: &Value) -> Value {
        correct(&document.to_string())
    }

    #[test]
    fn formats_are_those_that_generators_know() {
        let schemas = json!({
            "day": { "type": "string", "format": "naive-date" },
            "count": { "type": "integer", "format": "uint32" },
            "minutes": { "type": "integer", "format": "uint16", "maximum": 1440 },
            "time": { "type": "string", "format": "naive-time" },
            "id": { "type": "string", "format": "uuid" },
            "format": { "example": { "format": "naive-date" } },
        });
        let made = made(&json!({ "components": { "schemas": schemas }, "paths": {} }));
        let schemas = &made["components"]["schemas"];
        assert_eq!(schemas["day"], json!({ "type": "string", "format": "date" }));
        assert_eq!(
            schemas["count"],
            json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": 4_294_967_295_u32 })
        );
        assert_eq!(schemas["minutes"], json!({ "type": "integer", "format": "int32", "minimum": 0, "maximum": 1440 }));
        assert_eq!(schemas["time"], json!({ "type": "string" }));
        assert_eq!(schemas["id"], json!({ "type": "string", "format": "uuid" }));
        assert_eq!(schemas["format"]["example"]["format"], "naive-date", "an example is data");
        assert_eq!(made["openapi"], "3.1.0");
    }

    #[test]
    fn a_described_reference_holds_the_reference_alone() {
        let role = json!({
            "allOf": [{ "$ref": "#/components/schemas/Role" }, { "description": "The role." }], "description": "The role.",
        });
        let made = made(&json!({ "components": { "schemas": { "Person": { "properties": { "role": role } } } } }));
        assert_eq!(
            made["components"]["schemas"]["Person"]["properties"]["role"],
            json!({ "allOf": [{ "$ref": "#/components/schemas/Role" }], "description": "The role." })
        );
    }

    #[test]
    fn objects_of_requests_are_closed_and_those_of_answers_open() {
        let schema =
            |name: &str| json!({ "content": { "application/json; charset=utf-8": { "schema": { "$ref": name } } } });
        let made = correct(&json!({
            "paths": { "/days": { "post": {
                "requestBody": schema("#/components/schemas/Batch"),
                "responses": { "200": schema("#/components/schemas/Answer") },
            } } },
            "components": { "schemas": {
                "Batch": { "type": "object", "properties": { "days": { "items": { "$ref": "#/components/schemas/Day" } } } },
                "Day": { "type": "object", "required": ["date"], "properties": {
                    "date": { "type": "string" },
                    "hours": { "type": "number" },
                    "source": { "$ref": "#/components/schemas/Source" },
                } },
                "Source": { "type": "string" },
                "Answer": { "type": "object" },
            } },
        })
        .to_string());
        let schemas = &made["components"]["schemas"];
        for (name, closed) in [("Batch", true), ("Day", true), ("Source", false), ("Answer", false)] {
            assert_eq!(schemas[name]["additionalProperties"] == json!(false), closed, "{name}");
        }
        let day = &schemas["Day"]["properties"];
        assert_eq!(day["date"], json!({ "type": "string", "maxLength": 1024, "pattern": domain::schema::PLAIN }));
        assert_eq!(day["hours"]["type"], json!(["number", "null"]));
        let source = json!([{ "$ref": "#/components/schemas/Source" }, { "type": "null" }]);
        assert_eq!(day["source"]["anyOf"], source);
        let answer = &made["paths"]["/days"]["post"]["responses"]["200"]["content"];
        assert_eq!(answer["application/json"]["schema"]["$ref"], "#/components/schemas/Answer");
    }
}
