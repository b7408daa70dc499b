//! Reading a document: its operations, what a reference leads to, and a schema without its wrappings.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// A parsed OpenAPI document.
pub struct Document(pub Value);

/// One operation.
pub struct Operation<'a> {
    /// `GET /v1/records/kinds`.
    pub call: String,
    pub value: &'a Value,
    /// The parameters of the operation and of its path, each by where it stands and its name. Those of the path go by
    /// their position, because their names are not sent.
    pub parameters: BTreeMap<(String, String), &'a Value>,
}

/// A schema with references, `allOf` and the alternative `null` merged into one object.
#[derive(Default)]
pub struct Flat {
    /// The component that the schema refers to, if it refers to one.
    pub name: Option<String>,
    pub keywords: Map<String, Value>,
}

impl Document {
    /// All operations, by method and path without the names of its parameters.
    pub fn operations(&self) -> BTreeMap<String, Operation<'_>> {
        let mut operations = BTreeMap::new();
        for (path, item) in members(&self.0["paths"]) {
            for (method, value) in members(item).filter(|(method, _)| METHODS.contains(&method.as_str())) {
                let method = method.to_uppercase();
                let parameters = list(&item["parameters"]).iter().chain(list(&value["parameters"]));
                let parameters = parameters.map(|parameter| {
                    let parameter = self.resolve(parameter);
                    let (place, name) = (text(&parameter["in"]), text(&parameter["name"]));
                    let name = if place == "path" { position(path, &name) } else { name };
                    ((place, name), parameter)
                });
                let operation = Operation { call: format!("{method} {path}"), value, parameters: parameters.collect() };
                operations.insert(format!("{method} {}", without_names(path)), operation);
            }
        }
        operations
    }

    /// What a value is, or what it refers to.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(target) = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) else {
            return value;
        };
        self.0.pointer(target).map_or(value, |target| self.resolve(target))
    }

    pub fn flat(&self, schema: &Value) -> Flat {
        let mut flat = Flat::default();
        let Value::Object(schema) = schema else {
            if *schema == Value::Bool(false) {
                flat.keywords.insert("not".to_owned(), json!({}));
            }
            return flat;
        };
        for (keyword, value) in schema {
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    let target = reference.strip_prefix('#').and_then(|target| self.0.pointer(target));
                    flat.merge(self.flat(target.unwrap_or(&Value::Null)));
                    flat.name = reference.rsplit('/').next().map(str::to_owned);
                }
                ("allOf", Value::Array(parts)) => parts.iter().for_each(|part| flat.merge(self.flat(part))),
                ("const", value) => flat.add("enum", json!([value])),
                ("anyOf" | "oneOf", Value::Array(alternatives)) => match or_null(alternatives) {
                    Some(alternative) => flat.merge(self.flat(alternative).or_null()),
                    None => flat.add("anyOf", value.clone()),
                },
                _ => flat.add(keyword, value.clone()),
            }
        }
        flat
    }
}

impl Flat {
    pub fn get(&self, keyword: &str) -> &Value {
        self.keywords.get(keyword).unwrap_or(&Value::Null)
    }

    fn merge(&mut self, other: Self) {
        self.name = self.name.take().or(other.name);
        other.keywords.into_iter().for_each(|(keyword, value)| self.add(&keyword, value));
    }

    /// Adds a keyword that must hold beside those that are there.
    fn add(&mut self, keyword: &str, value: Value) {
        let Some(present) = self.keywords.get_mut(keyword) else {
            self.keywords.insert(keyword.to_owned(), value);
            return;
        };
        match (keyword, present, value) {
            ("properties", Value::Object(present), Value::Object(more)) => {
                for (name, schema) in more {
                    let both = present.remove(&name).map(|there| json!({ "allOf": [there, schema] }));
                    present.insert(name, both.unwrap_or(schema));
                }
            }
            ("required", Value::Array(present), Value::Array(more)) => present.extend(more),
            ("enum", Value::Array(present), Value::Array(more)) => present.retain(|member| more.contains(member)),
            (_, present, value) if keyword.starts_with("min") || keyword == "exclusiveMinimum" => {
                if value.as_f64() > present.as_f64() {
                    *present = value;
                }
            }
            (_, present, value) if keyword.starts_with("max") || keyword == "exclusiveMaximum" => {
                if value.as_f64() < present.as_f64() {
                    *present = value;
                }
            }
            // The outer text or type is the nearer one.
            (_, present, value) => *present = value,
        }
    }

    /// The same schema, which also takes `null`.
    fn or_null(mut self) -> Self {
        if let Some(types) = self.keywords.get_mut("type") {
            let mut all = match types.take() {
                Value::Array(all) => all,
                one => vec![one],
            };
            all.push("null".into());
            *types = Value::Array(all);
        }
        if let Some(Value::Array(members)) = self.keywords.get_mut("enum") {
            members.push(Value::Null);
        }
        self
    }
}

/// The one alternative to `null`, if that is what the alternatives say.
fn or_null(alternatives: &[Value]) -> Option<&Value> {
    let null = |alternative: &&Value| alternative["type"] == "null";
    let mut others = alternatives.iter().filter(|alternative| !null(alternative));
    let first = others.next().filter(|_| others.next().is_none())?;
    alternatives.iter().any(|alternative| null(&alternative)).then_some(first)
}

/// `/v1/records/{}` of `/v1/records/{kind}`.
fn without_names(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// The place of a parameter among those of a path.
fn position(path: &str, name: &str) -> String {
    let mut names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.position(|each| each == name).map_or_else(|| name.to_owned(), |position| position.to_string())
}

pub fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
