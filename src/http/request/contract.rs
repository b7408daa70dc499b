//! What the OpenAPI document demands of requests, ready to be enforced, so that what is documented is what is enforced:
//! which paths, methods and operations there are, and the schemas of bodies and of the parameters of the query.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{Fault, schema::Schema};
use serde_json::{Value, json};

use crate::http::request::text::FORMATS;

const SCHEMAS: &str = "#/components/schemas/";

/// The document's demands.
pub struct Contract {
    paths: Vec<Arc<Path>>,
    /// The schemas of bodies, by name.
    bodies: BTreeMap<String, Schema>,
}

/// A path of the document.
pub struct Path {
    /// The segments; parameters in braces.
    segments: Vec<String>,
    /// The methods that the resource allows, for the `Allow` header field of a 405 (RFC 9110, 15.5.6).
    pub methods: String,
    operations: BTreeMap<String, Operation>,
}

/// An operation of the document.
pub struct Operation {
    pub id: String,
    query: BTreeMap<String, Parameter>,
}

struct Parameter {
    kind: String,
    is_required: bool,
    schema: Schema,
}

impl Contract {
    /// Reads the document.
    ///
    /// # Panics
    /// Panics if the document holds a schema that is not sound; a test reads the document.
    pub fn of(document: &Value) -> Self {
        let mut bodies = BTreeMap::new();
        let mut paths = Vec::new();
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            let mut known = BTreeMap::new();
            for (method, operation) in operations.as_object().into_iter().flatten() {
                for name in operation.get("requestBody").map(references).unwrap_or_default() {
                    let schema = schema(document, &json!({ "$ref": format!("{SCHEMAS}{name}") }));
                    bodies.insert(name, schema);
                }
                known.insert(method.to_uppercase(), Operation::of(document, operation));
            }
            let methods = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let segments = segments(path).map(str::to_owned).collect();
            paths.push(Arc::new(Path { segments, methods, operations: known }));
        }
        Self { paths, bodies }
    }

    /// The path of the document that a request's path matches.
    pub fn path(&self, path: &str) -> Option<Arc<Path>> {
        let asked: Vec<&str> = segments(path).collect();
        let matches = |known: &&Arc<Path>| {
            let same = |(known, asked): (&String, &&str)| known.starts_with('{') || known == asked;
            known.segments.len() == asked.len() && known.segments.iter().zip(&asked).all(same)
        };
        self.paths.iter().find(matches).cloned()
    }

    /// The schema of a body, by its name in the document.
    pub fn body(&self, name: &str) -> Option<&Schema> {
        self.bodies.get(name)
    }
}

impl Path {
    /// The operation of a method; `None` if the path has none. A `HEAD` is answered by the `GET`.
    pub fn operation(&self, method: &str) -> Option<&Operation> {
        self.operations.get(if method == "HEAD" { "GET" } else { method })
    }

    /// The path's parameters by name, each with its segment as it was sent.
    pub fn parameters<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let name = |segment: &'a String| segment.strip_prefix('{')?.strip_suffix('}');
        self.segments.iter().zip(segments(path)).filter_map(move |(known, asked)| Some((name(known)?, asked)))
    }
}

impl Operation {
    fn of(document: &Value, operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_query = parameters.filter(|parameter| parameter["in"] == "query");
        let query = in_query.map(|parameter| Parameter::of(document, parameter)).collect();
        Self { id: operation["operationId"].as_str().unwrap_or_default().to_owned(), query }
    }

    /// The faults of a parameter of the query. `shown` is the part of its name that a fault may repeat.
    pub fn query_faults(&self, name: &str, shown: &str, text: &str) -> Vec<Fault> {
        match self.query.get(name) {
            Some(parameter) => parameter.faults(name, text),
            None => vec![Fault::new(shown, "is not a parameter here")],
        }
    }

    /// The parameters that the query must have.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.query.iter().filter(|(_, parameter)| parameter.is_required).map(|(name, _)| name.as_str())
    }
}

impl Parameter {
    fn of(document: &Value, parameter: &Value) -> (String, Self) {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let kind = parameter["schema"]["type"].as_str().unwrap_or("string").to_owned();
        let is_required = parameter["required"] == true;
        (name, Self { kind, is_required, schema: schema(document, &parameter["schema"]) })
    }

    fn faults(&self, name: &str, text: &str) -> Vec<Fault> {
        let value = match (self.kind.as_str(), text) {
            ("boolean", "true") => Value::from(true),
            ("boolean", "false") => Value::from(false),
            ("integer", text) => domain::number::whole_text(text).map_or_else(|| Value::from(text), Value::from),
            _ => Value::from(text),
        };
        self.schema.faults(&value).into_iter().map(|fault| Fault { field: name.to_owned(), ..fault }).collect()
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// A schema of the document, with all schemas that it refers to.
fn schema(document: &Value, part: &Value) -> Schema {
    let (mut needed, mut waiting) = (BTreeMap::new(), references(part));
    while let Some(name) = waiting.pop_first() {
        let schema = &document["components"]["schemas"][&name];
        waiting.extend(references(schema).into_iter().filter(|name| !needed.contains_key(name)));
        needed.insert(name, schema);
    }
    let mut whole = part.clone();
    whole["components"] = json!({ "schemas": needed });
    Schema::new(&whole, FORMATS).expect("the document holds schemas")
}

/// The names of all schemas that a part of the document refers to.
pub fn references(part: &Value) -> BTreeSet<String> {
    match part {
        Value::Object(object) => {
            let name = object.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(SCHEMAS));
            name.map(str::to_owned).into_iter().chain(object.values().flat_map(references)).collect()
        }
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}
