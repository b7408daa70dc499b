//! The OpenAPI document: both files equal the documents that the server serves, and hold what a reader needs.
//! `tests/sdk.rs` checks them with an independent validator and with generators of clients.

use std::{collections::BTreeSet, path::Path};

use lethe::http;
use poem::http::StatusCode;
use serde_json::Value;

use crate::{steps::Answer, support::World};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
const FILE_3_0: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi-3.0.json");
/// Formats that generators know, and ours, which they take as plain texts.
const FORMATS: [&str; 17] = [
    "date",
    "date-time",
    "uuid",
    "int32",
    "int64",
    "float",
    "double",
    "binary",
    "email",
    "breach-reference",
    "country-code",
    "hospital-id",
    "own-words",
    "quarter-or-date",
    "reason",
    "sign-in-code",
    "time-zone",
];

/// Writes both files anew if `UPDATE_OPENAPI` is set; otherwise compares them.
#[test]
fn the_files_are_the_documents_of_the_code() {
    for (file, made) in [(FILE, http::document()), (FILE_3_0, http::document_3_0())] {
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(file, made).expect("written");
            continue;
        }
        let kept = std::fs::read_to_string(file).unwrap_or_default();
        let differs = made.lines().zip(kept.lines()).zip(1..).find(|((made, kept), _)| made != kept);
        assert!(made == kept, "{file} differs (UPDATE_OPENAPI=1 writes it anew): {differs:?}");
    }
}

#[tokio::test]
async fn the_server_serves_both_documents() {
    let world = World::new().await;
    for (path, document) in [("/openapi.json", http::document()), ("/openapi-3.0.json", http::document_3_0())] {
        let served = Answer::of(world.client().get(path).send().await).await;
        assert_eq!((served.status, served.text), (StatusCode::OK, document), "{path}");
    }
}

#[test]
fn both_documents_have_the_same_operations() {
    let names = |document: &Value| -> Vec<String> {
        operations(document)
            .map(|(path, method, operation)| format!("{method} {path} {}", operation["operationId"]))
            .collect()
    };
    let older = serde_json::from_str(&http::document_3_0()).expect("JSON");
    assert_eq!(names(&document()), names(&older));
}

fn document() -> Value {
    serde_json::from_str(&http::document()).expect("JSON")
}

#[test]
fn every_operation_says_what_it_is_and_how_it_refuses() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let of = format!("{method} {path}");
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{of} has no operationId"));
        assert!(names.insert(name), "{name} stands there twice");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{of} has no summary");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{of} has one tag");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{of} can't succeed");
        let mut refusals = responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])).peekable();
        assert!(refusals.peek().is_some_and(|(status, _)| status.starts_with('4')), "{of} names no refusal");
        for (status, refusal) in refusals {
            let shared = refusal["$ref"].as_str().expect("a refusal is described once for all operations");
            let content = document.pointer(&format!("{}/content", &shared[1..])).expect("content");
            let content = content.as_object().expect("media types");
            assert_eq!(content.keys().collect::<Vec<_>>(), ["application/problem+json"], "{of} {status}");
        }
        let scheme = if path.starts_with("/v1/guests/evaluate") { "guest" } else { "bearer" };
        // A download also accepts a token of its own.
        let or_token =
            if operation["operationId"] == "export_download" { vec![serde_json::json!({})] } else { Vec::new() };
        let needed: Vec<Value> = [serde_json::json!({ scheme: [] })].into_iter().chain(or_token).collect();
        let protected = operation["security"] == Value::from(needed);
        let open = [
            "/v1/analytics/by-hospital",
            "/v1/analytics/by-state",
            "/v1/analytics/by-state-role",
            "/v1/analytics/parameters",
            "/v1/analytics/periods",
            "/health",
            "/ready",
            "/v1/log/checkpoint",
            "/v1/log/consistency",
            "/v1/log/proofs/{index}",
            "/v1/log/trees",
            "/v1/auth/code",
            "/v1/auth/register",
            "/v1/auth/login",
            "/v1/auth/refresh",
            "/v1/guests",
            "/v1/records/kinds",
        ];
        assert_eq!(protected, !open.contains(&path), "{of}");
        assert!(!protected || responses.contains_key("401"), "{of}");
        assert_eq!(operation.get("requestBody").is_some(), responses.contains_key("415"), "{of}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(!parameter["example"].is_null(), "{of}: {} has no example", parameter["name"]);
            assert!(parameter["description"].is_string(), "{of}: {} is not described", parameter["name"]);
        }
    }
    assert!(names.len() >= 16, "{names:?}");
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["bearer", "guest"]);
}

#[test]
fn formats_media_types_and_references_are_those_that_generators_know() {
    let document = document();
    let mut seen = Seen::default();
    seen.visit(&document);
    assert!(seen.formats.iter().all(|format| FORMATS.contains(&format.as_str())), "{:?}", seen.formats);
    assert!(seen.formats.contains("date"));
    let media = [
        "application/json",
        "application/merge-patch+json",
        "application/ld+json",
        "application/octet-stream",
        "application/problem+json",
        "application/zip",
        "text/csv",
        "text/html",
        "text/plain",
    ];
    assert_eq!(seen.media, BTreeSet::from(media.map(str::to_owned)));
    for reference in &seen.references {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{name}.{field} is not described");
        }
    }
}

#[tokio::test]
async fn every_type_of_problem_has_a_page_at_its_address() {
    let world = World::new().await;
    let document = document();
    let types = document["components"]["schemas"]["ProblemType"]["enum"].as_array().expect("types");
    assert!(types.len() > 40, "{types:?}");
    for address in types.iter().chain([&Value::from("/problems")]) {
        let address = address.as_str().expect("an address");
        let answer = Answer::of(world.client().get(address).send().await).await;
        assert_eq!(answer.status, StatusCode::OK, "{address}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{address}");
        assert!(answer.text.contains(address.rsplit('/').next().expect("a name")), "{address}: {}", answer.text);
    }
    Answer::of(world.client().get("/problems/nothing").send().await).await.problem(StatusCode::NOT_FOUND);
}

#[test]
fn examples_keep_their_schemas() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let (mut checked, mut faults) = (0, Vec::new());
    for (name, schema) in schemas {
        let Some(example) = schema.get("example") else { continue };
        let whole = serde_json::json!({
            "$ref": format!("#/components/schemas/{name}"), "components": { "schemas": schemas },
        });
        let schema = domain::schema::Schema::new(&whole, &[]).expect("a schema");
        faults.extend(schema.faults(example).into_iter().map(|fault| format!("{name}: {fault:?}")));
        checked += 1;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked >= 50, "only {checked} examples");
}

/// The name of a test begins with the id of the operation that it proves, so that the tests of an operation are found
/// by its id.
#[test]
fn each_operation_has_tests_of_its_name() {
    let kept = std::fs::read_to_string(FILE).expect("the document is there");
    let document: Value = serde_json::from_str(&kept).expect("JSON");
    let ids = operations(&document).map(|(_, _, operation)| operation["operationId"].as_str().expect("an id"));
    let ids: BTreeSet<&str> = ids.collect();
    assert!(ids.len() >= 70, "{ids:?}");
    let begins = |test: &str, id: &str| test == id || test.strip_prefix(id).is_some_and(|rest| rest.starts_with('_'));
    // `work_day_submit_batch_…` is a test of `work_day_submit_batch` and none of `work_day_submit`.
    let of = |test: &String| ids.iter().copied().filter(|id| begins(test, id)).max_by_key(|id| id.len());
    let tests = tests_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let tested: BTreeSet<&str> = tests.iter().filter_map(of).collect();
    let untested: Vec<&&str> = ids.difference(&tested).collect();
    assert!(untested.is_empty(), "no test begins with the name of {untested:?}");
}

/// The names of all test functions in the sources of a folder.
fn tests_in(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names.extend(tests_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            let lines = text.lines().map(str::trim);
            for (attribute, line) in lines.clone().zip(lines.skip(1)) {
                let is_test = ["#[test]", "#[tokio::test"].iter().any(|start| attribute.starts_with(start));
                let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").filter(|_| is_test);
                names.extend(function.and_then(|rest| rest.split('(').next()).map(str::to_owned));
            }
        }
    }
    names
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods.iter().map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

#[derive(Default)]
struct Seen {
    formats: BTreeSet<String>,
    media: BTreeSet<String>,
    references: BTreeSet<String>,
}

impl Seen {
    fn visit(&mut self, value: &Value) {
        match value {
            Value::Object(object) => {
                let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
                self.formats.extend(text("format"));
                self.references.extend(text("$ref"));
                self.media.extend(
                    object.get("content").and_then(Value::as_object).into_iter().flat_map(|c| c.keys().cloned()),
                );
                // Examples are data, not schemas.
                object.iter().filter(|(name, _)| *name != "example").for_each(|(_, value)| self.visit(value));
            }
            Value::Array(values) => values.iter().for_each(|value| self.visit(value)),
            _ => {}
        }
    }
}
