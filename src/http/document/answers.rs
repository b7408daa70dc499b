//! What the document says of answers: the refusals that an operation can answer with, each written once for all
//! operations, and the header fields that all answers carry.
//!
//! Most refusals follow from the form of an operation: whether it has a body, conditions, or a limit, whether somebody
//! has to be signed in. The others are listed in `openapi/refusals.json`: 403 where a role or a suspension bars it, 409
//! where a rule or a key in use does, and 401 and 404 that no form tells of. `tests/answers.rs` compares the list with
//! what the server answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::http::{document::parts::operations, problem::PROBLEM_JSON, request::limit::is_limited};

/// The refusals of each operation that do not follow from its form, by the operation's id.
const REFUSALS: &str = include_str!("../../../openapi/refusals.json");

/// A refusal as all operations document it.
struct Shared {
    status: u16,
    name: &'static str,
    description: &'static str,
    /// The header field that tells more, and its name in the document.
    field: Option<(&'static str, &'static str)>,
}

const fn shared(status: u16, name: &'static str, description: &'static str) -> Shared {
    Shared { status, name, description, field: None }
}

const SHARED: [Shared; 14] = [
    shared(400, "Malformed", "The request is malformed: not JSON, or a part of it that can't be read."),
    Shared {
        field: Some(("WWW-Authenticate", "WWW-Authenticate")),
        ..shared(401, "SignedOut", "Nobody is signed in, or no longer; or the code or refresh token is refused.")
    },
    Shared {
        field: Some(("Retry-After", SUSPENSION)),
        ..shared(403, "Forbidden", "Consent is missing, the role may not do this, or the account is suspended.")
    },
    shared(404, "Missing", "There is no such thing, or it is not the caller's."),
    shared(408, "TooSlow", "The body took too long to arrive; the connection is closed."),
    shared(409, "Conflict", "The present state does not allow this, or the same request is being worked on."),
    shared(412, "Changed", "The present version is not one that the request demands."),
    shared(413, "TooLarge", "The body is too large; the connection is closed."),
    shared(415, "UnsupportedMediaType", "The media type of the body is not one that the operation takes."),
    Shared {
        field: Some(("Content-Range", "Content-Range")),
        ..shared(416, "Outside", "The file does not have the bytes that were asked for.")
    },
    shared(422, "Invalid", "Fields are wrong, or an idempotency key was used with another body."),
    Shared { field: Some(("Retry-After", "Retry-After")), ..shared(429, "Limited", "Too many requests.") },
    shared(500, "Failed", "A fault of the server."),
    Shared {
        field: Some(("Retry-After", "Retry-After")),
        ..shared(503, "Unavailable", "The service can't answer now.")
    },
];

/// Header fields that answers of many operations carry, by their names in the document.
fn fields() -> Map<String, Value> {
    let text = || json!({ "type": "string" });
    let seconds = || json!({ "type": "integer", "format": "int64", "minimum": 1 });
    let always =
        |description: &str, schema: Value| json!({ "description": description, "required": true, "schema": schema });
    let sometimes = |description: &str, schema: Value| json!({ "description": description, "schema": schema });
    let fields = [
        (
            "X-Request-Id",
            always("The id of the request, also in its audit entry.", json!({ "type": "string", "format": "uuid" })),
        ),
        (
            "RateLimit",
            sometimes(
                "What the limits still allow, and in how many seconds each resets; absent without limits.",
                text(),
            ),
        ),
        (
            "RateLimit-Policy",
            sometimes("The quota of each limit, and its window in seconds; absent without limits.", text()),
        ),
        ("Retry-After", always("How many seconds to wait before the next try.", seconds())),
        (SUSPENSION, sometimes("How many seconds a suspension lasts; absent for all other problems.", seconds())),
        ("WWW-Authenticate", always("How to authenticate: with a bearer token (RFC 6750).", text())),
        ("Content-Range", always("How many bytes the file has.", text())),
        ("ETag", always("The tag of the answer, for `If-None-Match`.", text())),
    ];
    fields.map(|(name, field)| (name.to_owned(), field)).into_iter().collect()
}

/// The name in the document of `Retry-After` where it depends on the problem.
const SUSPENSION: &str = "Retry-After-Suspension";

/// The header fields of every answer.
const OF_ALL: [&str; 1] = ["X-Request-Id"];
/// The header fields of every answer of an operation that counts requests.
const OF_LIMITED: [&str; 2] = ["RateLimit", "RateLimit-Policy"];
/// The header field by which an answer can be asked for again, and the status if nothing has changed.
const CONDITION: &str = "If-None-Match";
const UNCHANGED: &str = "304";

/// Completes the answers of all operations.
///
/// # Panics
/// Panics if `openapi/refusals.json` names what is no operation.
pub fn complete(document: &mut Value) {
    let mut refusals: BTreeMap<String, BTreeSet<u16>> = serde_json::from_str(REFUSALS).expect("the refusals are JSON");
    let mut used = BTreeSet::new();
    for (path, method, operation) in operations(document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let listed = refusals.remove(id).unwrap_or_default();
        let is_limited = is_limited(path);
        if method == "get" {
            allow_condition(operation);
        }
        operation["responses"].as_object_mut().expect("answers").remove("default");
        complete_successes(operation, is_limited);
        let of_path: &[u16] = if path.contains('{') { &[404] } else { &[] };
        let of_limit: &[u16] = if is_limited { &[429] } else { &[] };
        let statuses = listed.into_iter().chain([&of_form(operation), of_path, of_limit].concat());
        for status in statuses {
            let shared = SHARED.iter().find(|shared| shared.status == status).expect("a refusal that is described");
            operation["responses"][status.to_string()] = refer("responses", shared.name);
            used.insert(status);
        }
    }
    assert!(refusals.is_empty(), "openapi/refusals.json names what is no operation: {refusals:?}");
    let responses = SHARED.iter().filter(|shared| used.contains(&shared.status)).map(Shared::response);
    document["components"]["responses"] = responses.collect();
    document["components"]["headers"] = Value::Object(fields());
}

/// The refusals that follow from the form of an operation.
fn of_form(operation: &Map<String, Value>) -> Vec<u16> {
    let has = |name: &str| parameters(operation).any(|parameter| parameter["name"] == name);
    let of_body: &[u16] = if operation.contains_key("requestBody") { &[408, 413, 415] } else { &[] };
    let of_condition: &[u16] = if has("If-Match") { &[412] } else { &[] };
    let of_range: &[u16] = if has("Range") { &[416] } else { &[] };
    let is_open = operation.get("security").is_none_or(|needed| *needed == json!([]));
    let of_caller: &[u16] = if is_open { &[] } else { &[401] };
    [&[400, 422, 500, 503], of_body, of_condition, of_range, of_caller].concat()
}

fn parameters(operation: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    operation.get("parameters").and_then(Value::as_array).into_iter().flatten()
}

/// Says that an answer can be asked for on the condition that it has changed, where the operation does not say so
/// itself.
fn allow_condition(operation: &mut Map<String, Value>) {
    if parameters(operation).any(|parameter| parameter["name"] == CONDITION) {
        return;
    }
    let parameter = json!({
        "name": CONDITION, "in": "header", "required": false, "schema": { "type": "string" },
        "description": "Tags of answers that the caller has; if the answer has one of them, it is 304 without a body.",
    });
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    parameters.as_array_mut().expect("parameters are a list").push(parameter);
    operation["responses"][UNCHANGED] = json!({ "description": "The caller has this answer already." });
    for status in ["200", UNCHANGED] {
        operation["responses"][status]["headers"]["ETag"] = refer("headers", "ETag");
    }
}

/// Names the header fields as their standards write them, and adds those that all answers carry.
fn complete_successes(operation: &mut Map<String, Value>, is_limited: bool) {
    for response in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        let written = response["headers"].take();
        let written = written.as_object().into_iter().flatten();
        let own = written.map(|(name, field)| (standard_name(name), field.clone()));
        let more = OF_ALL.iter().chain(OF_LIMITED.iter().filter(|_| is_limited));
        let all: Map<String, Value> =
            more.map(|name| ((*name).to_owned(), refer("headers", name))).chain(own).collect();
        response["headers"] = Value::Object(all);
    }
}

/// The framework writes the names of header fields in capitals.
fn standard_name(name: &str) -> String {
    match name {
        "ETAG" | "ETag" => "ETag".to_owned(),
        "RATELIMIT" => "RateLimit".to_owned(),
        "RATELIMIT-POLICY" => "RateLimit-Policy".to_owned(),
        other => other.split('-').map(capitalised).collect::<Vec<_>>().join("-"),
    }
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_uppercase() + &rest.to_lowercase()
}

impl Shared {
    fn response(&self) -> (String, Value) {
        let of_all = OF_ALL.iter().chain(&OF_LIMITED).map(|name| (*name, *name));
        let headers = of_all.chain(self.field).map(|(name, shared)| (name.to_owned(), refer("headers", shared)));
        let headers: Map<String, Value> = headers.collect();
        let content = json!({ PROBLEM_JSON: { "schema": refer("schemas", "Problem") } });
        (self.name.to_owned(), json!({ "description": self.description, "headers": headers, "content": content }))
    }
}

fn refer(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_follow_from_the_form_of_an_operation() {
        let of = |operation: Value| of_form(operation.as_object().expect("an operation"));
        assert_eq!(of(json!({})), [400, 422, 500, 503]);
        assert_eq!(of(json!({ "parameters": [{ "name": "limit" }] })), [400, 422, 500, 503]);
        let changed = json!({ "requestBody": {}, "parameters": [{ "name": "If-Match" }] });
        assert_eq!(of(changed), [400, 422, 500, 503, 408, 413, 415, 412]);
        assert_eq!(of(json!({ "parameters": [{ "name": "Range" }] })), [400, 422, 500, 503, 416]);
        assert_eq!(of(json!({ "security": [{ "bearer": [] }] })), [400, 422, 500, 503, 401]);
    }

    #[test]
    fn header_fields_are_named_as_their_standards_write_them() {
        for (written, name) in [
            ("ETAG", "ETag"),
            ("LOCATION", "Location"),
            ("RATELIMIT-POLICY", "RateLimit-Policy"),
            ("CONTENT-DISPOSITION", "Content-Disposition"),
        ] {
            assert_eq!(standard_name(written), name);
        }
    }
}
