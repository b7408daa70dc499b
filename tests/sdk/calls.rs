//! What the walks call: each operation of the document with arguments made of its examples and schemas, as several
//! callers; and each that needs something to succeed, with that.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{
    operations::{Call, Stage, Who},
    support::Person,
};

/// The header field of a guest's token.
pub const GUEST: &str = "Guest-Token";

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// A caller: a name for messages, and the token.
pub type Caller = (&'static str, Option<String>);

/// The calls of every operation as every one of these callers, made of the document alone.
pub fn samples(document: &Value, callers: &[Caller]) -> Vec<Value> {
    let mut calls = Vec::new();
    for (operation, _, parameters) in operations(document) {
        let has_optional = parameters.iter().any(|parameter| parameter["required"] != true);
        for all in [false, true].into_iter().filter(|all| !all || has_optional) {
            let mut arguments = Arguments::default();
            for parameter in parameters.iter().filter(|parameter| all || parameter["required"] == true) {
                arguments.add(parameter, sample_of(document, parameter));
            }
            let content = &operation["requestBody"]["content"];
            let content = content.get(JSON).or_else(|| content.get(BYTES));
            arguments.body = content.map(|content| sample(document, &content["schema"]));
            calls.extend(callers.iter().map(|caller| arguments.call(operation, caller)));
        }
    }
    calls
}

/// The call that must succeed of every operation that needs something, as the one who may make it.
pub async fn prepared(document: &Value, stage: &Stage) -> Vec<Value> {
    let mut calls = Vec::new();
    let mut operations: Vec<_> = operations(document).collect();
    // Preparing others runs the jobs that are due, and one of them would end what is to be cancelled.
    operations.sort_by_key(|(operation, ..)| operation["operationId"] == "export_cancel");
    for (operation, path, parameters) in operations {
        let person = stage.newcomer().await;
        let name = operation["operationId"].as_str().expect("an id");
        let Some(call) = stage.prepare(&person, name).await else { continue };
        let mut arguments = Arguments::of(document, path, &parameters, &call);
        let is_bytes = operation["requestBody"]["content"].get(BYTES).is_some();
        arguments.body = if is_bytes { call.text().map(|text| json!(text)) } else { Some(call.body()) };
        calls.push(arguments.call(operation, &caller(stage, &person, &call)));
    }
    calls
}

/// The statuses that the document names, by operation.
pub fn statuses(document: &Value) -> BTreeMap<&str, BTreeSet<String>> {
    let keys = |operation: &Value| operation["responses"].as_object().expect("responses").keys().cloned().collect();
    operations(document).map(|(of, ..)| (of["operationId"].as_str().expect("an id"), keys(of))).collect()
}

fn caller(stage: &Stage, person: &Person, call: &Call) -> Caller {
    match call.who() {
        Who::Person => ("prepared", Some(person.token.clone())),
        Who::Staff => ("prepared", Some(stage.staff.token.clone())),
        Who::Nobody => ("prepared", None),
    }
}

/// The operations, each with its path and its parameters.
fn operations(document: &Value) -> impl Iterator<Item = (&Value, &str, Vec<&Value>)> {
    document["paths"].as_object().expect("paths").iter().flat_map(move |(path, item)| {
        item.as_object().expect("operations").values().map(move |operation| {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            (operation, path.as_str(), parameters.map(|parameter| resolve(document, parameter)).collect())
        })
    })
}

/// The arguments of one call, by the place where they go.
#[derive(Default)]
struct Arguments {
    path: Map<String, Value>,
    query: Map<String, Value>,
    header: Map<String, Value>,
    body: Option<Value>,
}

impl Arguments {
    fn add(&mut self, parameter: &Value, value: Value) {
        let name = parameter["name"].as_str().expect("a name").to_owned();
        match parameter["in"].as_str() {
            Some("path") => self.path.insert(name, value),
            Some("query") => self.query.insert(name, value),
            Some("header") => self.header.insert(name, value),
            place => panic!("{name} is in {place:?}"),
        };
    }

    /// The arguments in the target of a request.
    fn of(document: &Value, path: &str, parameters: &[&Value], call: &Call) -> Self {
        let (target, query) = call.target().split_once('?').unwrap_or((call.target(), ""));
        let in_path = path
            .split('/')
            .zip(target.split('/'))
            .filter_map(|(name, value)| Some((name.strip_prefix('{')?.strip_suffix('}')?, value)));
        let in_query = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut arguments = Self::default();
        for (name, value) in in_path.chain(in_query) {
            let parameter = parameters.iter().find(|parameter| parameter["name"] == name).expect("it is documented");
            let is_text = resolve(document, &parameter["schema"])["type"] == "string";
            let value =
                if is_text { json!(value) } else { serde_json::from_str(value).expect("a number or a boolean") };
            arguments.add(parameter, value);
        }
        arguments
    }

    fn call(&self, operation: &Value, (name, token): &Caller) -> Value {
        json!({
            "operation": operation["operationId"], "caller": name, "token": token,
            "field": if *name == "guest" { GUEST } else { "Authorization" },
            "path": self.path, "query": self.query, "headers": self.header, "body": self.body,
        })
    }
}

/// What a reference points to; a value that is none as it is.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.map_or(value, |pointer| document.pointer(pointer).expect("the reference leads somewhere"))
}

fn sample_of(document: &Value, parameter: &Value) -> Value {
    match parameter["name"].as_str() {
        // A client that knows one media type of an answer knows JSON.
        Some("format") => json!("json"),
        _ => parameter.get("example").cloned().unwrap_or_else(|| sample(document, &parameter["schema"])),
    }
}

/// A value that a schema allows: its example, or one made of what it says.
fn sample(document: &Value, schema: &Value) -> Value {
    let schema = resolve(document, schema);
    let first = |list: &str| schema[list].as_array().and_then(|values| values.first());
    if let Some(value) = schema.get("example").or_else(|| schema.get("const")).or(first("examples")).or(first("enum")) {
        return value.clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind.or_else(|| schema.get("properties").map(|_| "object")) {
        Some("object") => object(document, schema),
        Some("array") => json!([sample(document, &schema["items"])]),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("string") => json!(text(schema)),
        _ => first("allOf").or(first("anyOf")).or(first("oneOf")).map_or(json!({}), |part| sample(document, part)),
    }
}

fn object(document: &Value, schema: &Value) -> Value {
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields.map(|(name, field)| (name.clone(), sample(document, field))).collect::<Map<_, _>>().into()
}

fn text(schema: &Value) -> &'static str {
    match schema["format"].as_str().unwrap_or_default() {
        "date" => "2026-03-02",
        "date-time" => "2026-03-02T08:00:00Z",
        "uuid" => "3b241101-e2bb-4255-8caf-4136c566a962",
        "email" => "anna@klinik.example",
        "country-code" => "DEU",
        "sign-in-code" => "123456",
        "time-zone" => "Europe/Berlin",
        _ => "a-sample",
    }
}
