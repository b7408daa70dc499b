//! The OpenAPI document: the framework generates it, and this file corrects what no client generator could use.
//!
//! Promises: OpenAPI 3.1 (the framework writes fields of it and yet says 3.0.0); formats that generators know; plain
//! media types; objects in requests that say what the server enforces: no further fields, `null` for a field that may be
//! absent, texts of a bounded length without control characters; the examples of `openapi/examples.json`; and of the
//! refusals that all operations share, only those that the operation can answer with.

use std::collections::BTreeSet;

use domain::schema::PLAIN;
use serde_json::{Map, Value, json};

use crate::http::request::{contract::references, patch::MERGE_PATCH, text::FORMATS as OWN_FORMATS};

/// Formats that stay as they are: those of OpenAPI 3.1 and of JSON Schema that the API uses.
const FORMATS: [&str; 7] = ["date", "date-time", "uuid", "int32", "int64", "float", "double"];
/// The most characters of a text in a request whose own schema does not bound it.
const TEXT: usize = 1024;
/// The most entries of a list in a request whose own schema does not bound it.
const LIST: usize = 100;
/// An example for each schema that is worth one, by the schema's name.
const EXAMPLES: &str = include_str!("../../openapi/examples.json");
const JSON: &str = "application/json";
/// RFC 8259 defines no `charset`, and generators compare the media type as it stands.
const JSON_WITH_CHARSET: &str = "application/json; charset=utf-8";

/// Makes the document of what [`poem_openapi::OpenApiService::spec`] gives: pretty, keys in order, one line break at
/// the end.
///
/// # Panics
/// Panics if the framework's text is not JSON.
pub fn document(service_spec: &str) -> String {
    let mut document = correct(service_spec);
    add_examples(&mut document);
    let mut text = serde_json::to_string_pretty(&document).expect("a document can be written as JSON");
    text.push('\n');
    text
}

fn correct(service_spec: &str) -> Value {
    let mut document: Value = serde_json::from_str(service_spec).expect("the framework generates JSON");
    document["openapi"] = json!("3.1.0");
    visit(&mut document);
    for operation in operations(&mut document) {
        fit_refusals(operation);
    }
    part_answers(&mut document);
    complete_requests(&mut document);
    domain::number::whole(document)
}

/// Corrects every object at any depth; examples are data and stay untouched.
fn visit(value: &mut Value) {
    match value {
        Value::Object(object) => {
            set_format(object);
            name_reference(object);
            if let Some(content) = object.remove(JSON_WITH_CHARSET) {
                object.insert(JSON.to_owned(), content);
            }
            object.iter_mut().filter(|(name, _)| *name != "example").for_each(|(_, value)| visit(value));
        }
        Value::Array(values) => values.iter_mut().for_each(visit),
        _ => {}
    }
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

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths
        .flat_map(|(_, path)| path.as_object_mut().into_iter().flatten())
        .filter_map(|(_, value)| value.as_object_mut())
}

/// Drops those shared refusals that the operation can't answer with, and adds the one for a body of another media type.
fn fit_refusals(operation: &mut Map<String, Value>) {
    let has_body = operation.contains_key("requestBody");
    let parameters = operation.get("parameters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let has_condition = parameters.iter().any(|parameter| parameter["name"].as_str() == Some("If-Match"));
    let types = operation.get("requestBody").and_then(|body| body["content"].as_object());
    let types: Vec<String> = types.into_iter().flatten().map(|(name, _)| format!("`{name}`")).collect();
    let types = types.join(" or ");
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, possible) in [("412", has_condition), ("413", has_body)] {
        if !possible {
            responses.remove(status);
        }
    }
    if let Some(mut response) = responses.get("413").cloned() {
        response["description"] = json!(format!("The body is not {types}."));
        responses.insert("415".to_owned(), response);
    }
}

/// The names of all schemas that a part of the document refers to, also through other schemas.
fn reached(document: &Value, mut waiting: BTreeSet<String>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop_first() {
        waiting.extend(references(&document["components"]["schemas"][&name]).difference(&seen).cloned());
        seen.insert(name);
    }
    seen
}

/// Gives each object that stands in requests and in answers a second schema for answers, because requests are closed and
/// answers may gain fields.
fn part_answers(document: &mut Value) {
    let (mut of_requests, mut of_answers) = (BTreeSet::new(), BTreeSet::new());
    for operation in operations(document) {
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
    for operation in operations(document) {
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

/// Says of every object in a request what the server enforces.
fn complete_requests(document: &mut Value) {
    let (mut plain, mut patches) = (BTreeSet::new(), BTreeSet::new());
    for operation in operations(document) {
        let Some(body) = operation.get("requestBody") else { continue };
        let is_patch = body["content"].get(MERGE_PATCH).is_some();
        if is_patch { patches.extend(references(body)) } else { plain.extend(references(body)) }
    }
    // In a merge patch `null` removes a field, and the type of the field says whether that is allowed.
    for (names, null_is_absent) in [(plain, true), (patches, false)] {
        for name in reached(document, names) {
            document["components"]["schemas"]
                .get_mut(&name)
                .into_iter()
                .for_each(|it| complete_object(it, null_is_absent));
        }
    }
}

/// A schema that says itself which further fields it takes is kept: bodies of records are checked against their kinds.
fn complete_object(schema: &mut Value, null_is_absent: bool) {
    if schema["type"].as_str() != Some("object") || schema.get("additionalProperties").is_some() {
        return;
    }
    schema["additionalProperties"] = json!(false);
    let required: BTreeSet<String> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    for (name, field) in schema["properties"].as_object_mut().into_iter().flatten() {
        bound(field);
        if null_is_absent && !required.contains(name) {
            allow_null(field);
        }
    }
}

/// Bounds texts and lists.
fn bound(schema: &mut Value) {
    match schema["type"].as_str() {
        Some("string") if schema.get("enum").is_none() && schema.get("format").is_none() => {
            let fields = schema.as_object_mut().expect("a schema is an object");
            fields.entry("maxLength").or_insert(json!(TEXT));
            fields.entry("pattern").or_insert(json!(PLAIN));
        }
        Some("array") => {
            schema.as_object_mut().expect("a schema is an object").entry("maxItems").or_insert(json!(LIST));
            bound(&mut schema["items"]);
        }
        _ => {}
    }
}

fn allow_null(schema: &mut Value) {
    if let Some(kind) = schema["type"].as_str().map(str::to_owned) {
        schema["type"] = json!([kind, "null"]);
        return;
    }
    // The framework writes a reference by itself, or in `allOf` beside its description.
    let fields = schema.as_object_mut().expect("a schema is an object");
    let described = fields.remove("allOf").map(|mut parts| parts[0].take());
    let reference = described.or_else(|| Some(json!({ "$ref": fields.remove("$ref")? })));
    if let Some(reference) = reference {
        fields.insert("anyOf".to_owned(), json!([reference, { "type": "null" }]));
    }
}

/// # Panics
/// Panics if an example belongs to no schema.
fn add_examples(document: &mut Value) {
    let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).expect("the examples are JSON");
    let schemas = document["components"]["schemas"].as_object_mut().expect("the document has schemas");
    for (name, example) in examples {
        schemas.get_mut(&name).unwrap_or_else(|| panic!("no schema is named {name}"))["example"] = example;
    }
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
        let schema = |name: &str| json!({ "content": { (JSON_WITH_CHARSET): { "schema": { "$ref": name } } } });
        let made = made(&json!({
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
        }));
        let schemas = &made["components"]["schemas"];
        for (name, closed) in [("Batch", true), ("Day", true), ("Source", false), ("Answer", false)] {
            assert_eq!(schemas[name]["additionalProperties"] == json!(false), closed, "{name}");
        }
        let day = &schemas["Day"]["properties"];
        assert_eq!(day["date"], json!({ "type": "string", "maxLength": TEXT, "pattern": PLAIN }));
        assert_eq!(day["hours"]["type"], json!(["number", "null"]));
        let source = json!([{ "$ref": "#/components/schemas/Source" }, { "type": "null" }]);
        assert_eq!(day["source"]["anyOf"], source);
        let answer = &made["paths"]["/days"]["post"]["responses"]["200"]["content"];
        assert_eq!(answer[JSON]["schema"]["$ref"], "#/components/schemas/Answer");
    }

    #[test]
    fn refusals_are_those_that_the_operation_can_answer_with() {
        let refusals = || json!({ "400": {}, "401": {}, "412": {}, "413": { "description": "too large" }, "422": {} });
        let made = made(&json!({ "paths": { "/me": {
            "get": { "responses": refusals() },
            "patch": { "responses": refusals(), "requestBody": {}, "parameters": [{ "name": "If-Match" }] },
            "delete": { "responses": refusals(), "parameters": [{ "name": "limit" }] },
        } } }));
        let statuses = |method: &str| -> Vec<&String> {
            made["paths"]["/me"][method]["responses"].as_object().expect("responses").keys().collect()
        };
        assert_eq!(statuses("get"), ["400", "401", "422"]);
        assert_eq!(statuses("patch"), ["400", "401", "412", "413", "415", "422"]);
        assert_eq!(statuses("delete"), ["400", "401", "422"]);
    }
}
