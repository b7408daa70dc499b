//! Hostile input: every operation of the document, with texts that readers and stores treat differently, in every
//! parameter, header field and field of a body. No request fails inside the server, each bad field is named, and
//! nothing changes.

use std::collections::BTreeSet;

use context::Role;
use lethe::{app::identity::staff, http};
use poem::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    steps::{Answer, fields, sign_in, state_of, submit_day},
    support::{Person, World, expect},
};

/// Texts that PostgreSQL can't store, or with characters that no parameter may hold: refused as a fault of the value.
const CONTROL: [&str; 5] = ["%00", "a%00b", "%0A", "%7F", "%C2%85"];
/// Bytes that are not UTF-8: half of a surrogate pair, an overlong form, and bytes that no text has.
const NO_TEXT: [&str; 5] = ["%ff", "%ED%A0%80", "%C0%80", "%F4%90%80%80", "a%80"];
/// Valid texts with strange content.
const ODD: [&str; 16] = [
    "",
    "+",
    "%25",
    "%",
    "%2e%2e%2f",
    "'%3B--",
    "%E2%80%AE",
    "%EF%BF%BF",
    "-1",
    "9223372036854775808",
    "18446744073709551616",
    "NaN",
    "%2B262143-01-01",
    "-262143-01-01T00:00:00Z",
    "9999-12-31T23:59:60Z",
    "0000-00-00",
];

/// The callers of the operations.
struct Callers {
    person: Person,
    staff: Person,
    guest: String,
}

impl Callers {
    async fn new(world: &World) -> Self {
        let person = world.person("anna").await;
        submit_day(world, &person, "2026-02-02").await;
        let address = "dora@klinik.example";
        staff::add(&world.app, address, Role::Compliance).await.expect("a member of staff");
        let staff = sign_in(world, address).await;
        let guest = expect(world.client().post("/v1/guests").send().await, StatusCode::CREATED).await;
        let guest = guest["token"].as_str().expect("a token").to_owned();
        Self { person, staff, guest }
    }

    /// The token of a caller who may call this path.
    fn token(&self, path: &str) -> &str {
        match path {
            path if path.starts_with("/v1/compliance") || path.starts_with("/v1/admin") => &self.staff.token,
            path if path.starts_with("/v1/guests") => &self.guest,
            _ => &self.person.token,
        }
    }
}

struct Operation {
    method: Method,
    path: String,
    parameters: Vec<(String, String)>,
    body: Option<Value>,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&http::document()).expect("JSON");
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let schema = match schema["$ref"].as_str() {
                Some(reference) => {
                    document.pointer(reference.trim_start_matches('#')).expect("it leads somewhere").clone()
                }
                None => schema.clone(),
            };
            found.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                parameters: parameters.map(|found| (text(&found["in"]), text(&found["name"]))).collect(),
                body: operation.get("requestBody").map(|_| schema),
            });
        }
    }
    found
}

impl Operation {
    /// The path with good segments, except the one parameter that is given.
    fn target(&self, name: &str, value: &str) -> String {
        let segments = self.path.split('/').map(|segment| match segment.trim_matches(['{', '}']) {
            same if same == segment => segment.to_owned(),
            parameter if parameter == name => value.to_owned(),
            "kind" => "work_day".to_owned(),
            "purpose" => "work_hours".to_owned(),
            "index" => "0".to_owned(),
            "token" => "t".repeat(43),
            _ => uuid::Uuid::nil().to_string(),
        });
        segments.collect::<Vec<_>>().join("/")
    }

    async fn send(&self, world: &World, token: Option<&str>, target: &str) -> Answer {
        let client = world.client();
        let mut request = client.request(self.method.clone(), target);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Answer::of(request.send().await).await
    }
}

/// The fault of an answer that must name a field, if there is one.
fn complain(what: &str, answer: &Answer, status: StatusCode, name: &str) -> Option<String> {
    if answer.status != status {
        return Some(format!("{what}: {} instead of {status}: {}", answer.status, answer.text));
    }
    let problem = answer.problem(status);
    (!fields(&problem).contains(&name)).then(|| format!("{what}: names {:?} and not `{name}`", fields(&problem)))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parameter_of_any_operation_makes_a_fault_of_ours() {
    let world = World::new().await;
    let callers = Callers::new(&world).await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let (mut complaints, mut tried) = (Vec::new(), BTreeSet::new());
    let long = "a".repeat(5000);
    for operation in operations() {
        for (place, name) in operation.parameters.iter().filter(|(place, _)| place != "header") {
            let target = |value: &str| match place.as_str() {
                "path" => operation.target(name, value),
                _ => format!("{}?{name}={value}", operation.target("", "")),
            };
            tried.insert(name.clone());
            let token = callers.token(&operation.path);
            for token in [None, Some(token)] {
                for (values, status) in
                    [(CONTROL, StatusCode::UNPROCESSABLE_ENTITY), (NO_TEXT, StatusCode::BAD_REQUEST)]
                {
                    for value in values {
                        let answer = operation.send(&world, token, &target(value)).await;
                        let what = format!("{} {}", operation.method, target(value));
                        // Nothing has such a name in a path.
                        let is_missing = place == "path" && answer.status == StatusCode::NOT_FOUND;
                        let complaint = if is_missing { None } else { complain(&what, &answer, status, name) };
                        complaints.extend(complaint);
                    }
                }
            }
            for value in ODD.into_iter().chain([long.as_str()]) {
                let answer = operation.send(&world, Some(token), &target(value)).await;
                if answer.status.is_server_error() {
                    let shown: String = target(value).chars().take(120).collect();
                    complaints.push(format!("{} {shown}: {}", operation.method, answer.status));
                }
            }
            if place == "query" {
                let answer = operation.send(&world, Some(token), &format!("{}&{name}=b", target("a"))).await;
                let what = format!("{} {}, twice", operation.method, operation.path);
                complaints.extend(complain(&what, &answer, StatusCode::BAD_REQUEST, name));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    for name in ["hospital_id", "kind", "token", "cursor", "subject_id"] {
        assert!(tried.contains(name), "`{name}` was not tried: {tried:?}");
    }
    assert_eq!(state_of(&client).await, before);
}

#[tokio::test]
async fn a_header_field_that_is_no_text_is_refused_by_its_name_and_never_passed_over() {
    let world = World::new().await;
    let callers = Callers::new(&world).await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let (mut complaints, mut tried) = (Vec::new(), BTreeSet::new());
    for operation in operations() {
        for (_, name) in operation.parameters.iter().filter(|(place, _)| place == "header") {
            tried.insert(name.clone());
            for value in ["schl\u{fc}ssel", "\"\u{e9}\"", "\u{1f600}"] {
                let http = world.client();
                let request = http.request(operation.method.clone(), operation.target("", "")).header(name, value);
                let request = request.header("authorization", format!("Bearer {}", callers.token(&operation.path)));
                let answer = Answer::of(request.body_json(&json!({})).send().await).await;
                // The condition of a GET is looked at when nothing else is wrong.
                let is_refused = answer.status.is_client_error() || answer.status.is_server_error();
                if name == "If-None-Match" && operation.method == Method::GET && is_refused {
                    continue;
                }
                let what = format!("{} {} ({name})", operation.method, operation.path);
                complaints.extend(complain(&what, &answer, StatusCode::BAD_REQUEST, name));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let all = ["Idempotency-Key", "If-Match", "If-None-Match", "If-Range", "Range"];
    assert_eq!(tried, BTreeSet::from(all.map(str::to_owned)));
    assert_eq!(state_of(&client).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_of_any_body_makes_a_fault_of_ours_and_each_stands_there_once() {
    let world = World::new().await;
    let callers = Callers::new(&world).await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let (mut complaints, mut tried) = (Vec::new(), 0);
    for operation in operations() {
        let Some(schema) = &operation.body else { continue };
        let named = schema["properties"].as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
        // The API's document does not list the fields of a record's body, nor those of an export.
        for name in named.unwrap_or_else(|| vec!["date".to_owned()]) {
            tried += 1;
            for (body, expected) in [
                (format!(r#"{{"{name}":"a\u0000b"}}"#), Some((StatusCode::UNPROCESSABLE_ENTITY, name.clone()))),
                (format!(r#"{{"{name}":["\u0000"]}}"#), Some((StatusCode::UNPROCESSABLE_ENTITY, format!("{name}[0]")))),
                (format!(r#"{{"{name}":1,"{name}":2}}"#), Some((StatusCode::UNPROCESSABLE_ENTITY, name.clone()))),
                (
                    format!(r#"{{"{name}":{{"x":[{{"y":1,"y":2}}]}}}}"#),
                    Some((StatusCode::UNPROCESSABLE_ENTITY, format!("{name}.x[0].y"))),
                ),
                (format!(r#"{{"{name}":"\ud800"}}"#), None),
                (format!(r#"{{"{name}":"{}"}}"#, "a".repeat(100_000)), None),
                (format!(r#"{{"{name}":{}}}"#, "9".repeat(300)), None),
                (format!(r#"{{"{name}":-1e308}}"#), None),
            ] {
                let http = world.client();
                let request = http.request(operation.method.clone(), operation.target("", ""));
                let request = request.header("authorization", format!("Bearer {}", callers.token(&operation.path)));
                let request = request.header("content-type", "application/json").body(body.clone());
                let answer = Answer::of(request.send().await).await;
                let what: String =
                    format!("{} {} {body}", operation.method, operation.path).chars().take(120).collect();
                match expected {
                    Some((status, field)) => complaints.extend(complain(&what, &answer, status, &field)),
                    None if answer.status.is_client_error() => {}
                    None => complaints.push(format!("{what}: {}: {}", answer.status, answer.text)),
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(tried >= 40, "only {tried} fields were tried");
    assert_eq!(state_of(&client).await, before);
}

#[tokio::test]
async fn what_stands_there_twice_decides_nothing() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for body in [
        r#"{"granted":false,"granted":true}"#,
        r#"{"granted":true,"granted":false}"#,
        r#"{"granted":true,"gr\u0061nted":true}"#,
    ] {
        let http = world.client();
        let request = http.put("/v1/consents/statistics").header("content-type", "application/json").body(body);
        let problem = Answer::of(anna.sign(request).send().await).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"], json!([{ "field": "granted", "message": "stands there twice" }]), "{body}");
        assert_eq!(state_of(&client).await, before, "{body}");
    }
    let twice =
        r#"{"events":[{"date":"2026-02-02","planned_hours":8,"actual_hours":9,"source":"manual","actual_hours":1}]}"#;
    let http = world.client();
    let request = http.post("/v1/work-events/batch").header("content-type", "application/json").body(twice);
    let problem = Answer::of(anna.sign(request).send().await).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(fields(&problem), ["events[0].actual_hours"]);
    assert_eq!(state_of(&client).await, before);
}
