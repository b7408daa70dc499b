//! What the document says of the bodies of requests: that they take no further fields, `null` for a field that may be
//! absent, and texts and lists of a bounded length. All of it is enforced (`request/contract.rs`).

use std::collections::{BTreeMap, BTreeSet};

use domain::schema::PLAIN;
use serde_json::{Map, Value, json};

use crate::http::{
    document::parts::{operations, reached},
    request::{contract::references, patch::MERGE_PATCH},
};

/// The most characters of a text in a request whose own schema does not bound it.
const TEXT: usize = 1024;
/// The most entries of a list in a request whose own schema does not bound it.
const LIST: usize = 100;

/// Rules between the fields of a body, by the name of its schema. `Input` or the domain enforces them, because a schema
/// could not name the field that is wrong.
const RULES: &str = include_str!("../../../openapi/rules.json");

/// Adds the rules between fields.
///
/// # Panics
/// Panics if a rule belongs to no schema.
pub fn add_rules(document: &mut Value) {
    let rules: BTreeMap<String, Map<String, Value>> = serde_json::from_str(RULES).expect("the rules are JSON");
    for (name, rule) in rules {
        let schema = document["components"]["schemas"][&name].as_object_mut();
        schema.unwrap_or_else(|| panic!("no schema is named {name}")).extend(rule);
    }
}

/// Says of every object in a request what the server enforces.
pub fn complete(document: &mut Value) {
    let (mut plain, mut patches) = (BTreeSet::new(), BTreeSet::new());
    for (_, _, operation) in operations(document) {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
        parameters.filter(|parameter| parameter["in"] == "query").for_each(|parameter| bound(&mut parameter["schema"]));
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
