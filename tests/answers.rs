//! What the document states of answers is what the server answers. Every test client looks at each answer of an
//! operation: at its status, its media type, and the header fields that the document demands.
//!
//! What was seen is kept in `target/tmp/answers`, a file for each operation and status. After a run of all tests
//! `cargo xtask test` refuses a document that states a refusal which no test has seen.

use std::{fs, path::Path, sync::Arc};

use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{Method, StatusCode, header},
};
use serde_json::{Value, json};

use crate::{
    documented::{DOCUMENT, Documented, operations, resolved},
    operations::{Call, Stage, Who},
    steps::Answer,
};

/// Where it is kept what was seen.
const SEEN: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/answers");
/// Faults of the server, which tests do not provoke for every operation, and what a body or a target can be refused
/// for, which tests of the readers provoke for all operations at once.
const SEEN_ELSEWHERE: [&str; 8] = ["304", "400", "408", "413", "415", "429", "500", "503"];

/// The operation of the document that a request calls.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let segments = |path: &str| -> Vec<String> { path.split('/').skip(1).map(str::to_owned).collect() };
    let asked = segments(path);
    let fits = |known: &str| {
        let known = segments(known);
        known.len() == asked.len()
            && known.iter().zip(&asked).all(|(known, asked)| known.starts_with('{') || known == asked)
    };
    // A path without parameters goes before one with parameters.
    let mut fitting: Vec<_> = DOCUMENT["paths"].as_object()?.iter().filter(|(known, _)| fits(known)).collect();
    fitting.sort_by_key(|(known, _)| known.matches('{').count());
    fitting.first()?.1.get(method.as_str().to_lowercase())
}

/// What is wrong with an answer.
fn complaint(operation: &'static Value, response: &Response) -> Option<String> {
    let Some(stated) = operation["responses"].get(response.status().as_str()) else {
        return Some("the status is not documented".to_owned());
    };
    let stated = resolved(stated);
    let media_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().expect("plain text"));
    let media_type = media_type.map(|text| text.split(';').next().unwrap_or_default());
    let known = stated["content"].as_object();
    match (media_type, known) {
        (Some(sent), known) if known.is_none_or(|known| !known.contains_key(sent)) => {
            return Some(format!("{sent} is not documented"));
        }
        (None, Some(known)) => return Some(format!("{known:?} is documented, and nothing is sent")),
        _ => {}
    }
    let fields = stated["headers"].as_object().into_iter().flatten();
    let must = fields.filter(|(_, field)| resolved(field)["required"] == true);
    let lacking: Vec<&String> =
        must.map(|(name, _)| name).filter(|name| !response.headers().contains_key(*name)).collect();
    (!lacking.is_empty()).then(|| format!("{lacking:?} are documented, and not sent"))
}

/// Lets an answer pass that the document states.
///
/// # Panics
/// Panics for any other answer.
pub async fn compare<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.call(request).await?.into_response();
    // A method that a path does not have is no operation's.
    let Some(operation) = operation(&method, &path).filter(|_| response.status() != StatusCode::METHOD_NOT_ALLOWED)
    else {
        return Ok(response);
    };
    let (id, status) = (operation["operationId"].as_str().expect("an id"), response.status());
    if let Some(complaint) = complaint(operation, &response) {
        panic!("{id} answers {status}: {complaint}");
    }
    fs::create_dir_all(SEEN).expect("the folder is made");
    let seen = Path::new(SEEN).join(format!("{id} {}", status.as_str()));
    if !seen.exists() {
        fs::write(seen, "").expect("written");
    }
    Ok(response)
}

#[tokio::test]
async fn who_may_not_call_an_operation_is_told_so() {
    let stage = Stage::new().await;
    let person = stage.newcomer().await;
    for operation in operations() {
        let (id, call) = (operation.id, Call::plain(&operation));
        let call = if operation.says.get("requestBody").is_some() { call.with(&json!({})) } else { call };
        // A download token may stand in the place of a sign-in.
        let is_open = operation.says["security"] == json!([]) || id == "export_download";
        let answer = Answer::of(stage.send(&person, &call).await).await;
        assert_eq!(answer.status == StatusCode::UNAUTHORIZED, !is_open, "{id}: {} {}", answer.status, answer.text);
        // After it nobody would be signed in.
        if id == "auth_logout" {
            continue;
        }
        let of_person = Answer::of(stage.send(&person, &call.by(Who::Person)).await).await;
        let is_for_staff = ["/v1/admin/", "/v1/compliance/"].iter().any(|prefix| operation.path.starts_with(prefix));
        assert!(!is_for_staff || of_person.status == StatusCode::FORBIDDEN, "{id}: {}", of_person.status);
        // What staff may not call is refused with a status that is documented.
        stage.send(&person, &call.by(Who::Staff)).await;
    }
}

/// Compares what all tests have seen with what the document states; `cargo xtask test` runs it after them.
#[test]
#[ignore = "it needs a run of all tests before it"]
fn every_documented_refusal_was_seen() {
    let mut unseen = Vec::new();
    for Documented { id, says, .. } in operations() {
        let stated = says["responses"].as_object().expect("responses").keys();
        let stated = stated.filter(|status| !SEEN_ELSEWHERE.contains(&status.as_str()));
        // It is answered only while another request with the same key is being answered.
        let stated = stated.filter(|status| (id, status.as_str()) != ("breach_open", "409"));
        unseen.extend(stated.map(|status| format!("{id} {status}")).filter(|it| !Path::new(SEEN).join(it).exists()));
    }
    assert!(unseen.is_empty(), "documented, and seen by no test:\n{}", unseen.join("\n"));
}
