//! Conditional and compressed answers.

use std::io::Read;

use flate2::read::GzDecoder;
use poem::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    operations::Stage,
    steps::Answer,
    support::{World, expect},
};

#[tokio::test]
async fn every_get_can_be_asked_for_on_a_condition() {
    let stage = Stage::new().await;
    let document: Value = serde_json::from_str(&lethe::http::document()).expect("JSON");
    let mut asked = 0;
    for operations in document["paths"].as_object().expect("paths").values() {
        let Some(operation) = operations.get("get") else { continue };
        let id = operation["operationId"].as_str().expect("an id");
        let person = stage.newcomer().await;
        let Some(call) = stage.prepare(&person, id).await else { continue };
        let answer = Answer::of(stage.send(&person, &call).await).await;
        assert_eq!(answer.status, StatusCode::OK, "{id}");
        let tag = answer.header("etag").unwrap_or_else(|| panic!("{id} has no tag"));
        let malformed = stage.send_with(&person, &call, &[("if-none-match", "no tag")]).await;
        Answer::of(malformed).await.problem(StatusCode::BAD_REQUEST);
        let again = Answer::of(stage.send_with(&person, &call, &[("if-none-match", tag)]).await).await;
        // What was read meanwhile may be part of the answer.
        let is_changed = again.status == StatusCode::OK && again.header("etag") != Some(tag);
        let is_unchanged = again.status == StatusCode::NOT_MODIFIED && again.text.is_empty();
        assert!(is_changed || is_unchanged, "{id}: {} {}", again.status, again.text);
        asked += usize::from(is_unchanged);
    }
    assert!(asked >= 15, "only {asked} answers were the same twice");
}

#[tokio::test]
async fn answers_to_get_are_compressed_and_those_with_secrets_are_not() {
    let world = World::new().await;
    let client = world.client();
    let plain = client.get("/openapi.json").send().await.0;
    assert!(!plain.headers().contains_key("content-encoding"));
    assert_eq!(plain.headers()["vary"], "Accept-Encoding");
    let plain = plain.into_body().into_bytes().await.expect("a document");
    let packed = client.get("/openapi.json").header("accept-encoding", "br, gzip").send().await.0;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.into_body().into_bytes().await.expect("a document");
    let mut read = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut read).expect("it can be read");
    assert!(read == plain && packed.len() < plain.len() / 5, "{} of {} bytes", packed.len(), plain.len());

    let email = "anna@klinik.example";
    let person = world.person("anna").await;
    let body = json!({ "email": person.email, "code": world.code(&person.email).await });
    let login = client.post("/v1/auth/login").header("accept-encoding", "gzip").body_json(&body).send().await;
    assert!(login.0.headers().get("content-encoding").is_none(), "{email}");
    expect(login, StatusCode::OK).await;
}

/// Secrets let somebody in, so no answer that may be compressed holds one.
#[test]
fn no_answer_to_a_get_holds_a_secret() {
    let document: Value = serde_json::from_str(&lethe::http::document()).expect("JSON");
    let mut found = 0;
    for operations in document["paths"].as_object().expect("paths").values() {
        for (method, operation) in operations.as_object().expect("operations") {
            let secrets = secrets(&document, &operation["responses"], 0);
            assert!(secrets == 0 || method.to_uppercase() != Method::GET.as_str(), "{}", operation["operationId"]);
            found += secrets;
        }
    }
    assert!(found >= 5, "only {found} secrets were seen at all");
}

/// How many fields of an answer have the name of a secret.
fn secrets(document: &Value, part: &Value, depth: usize) -> usize {
    const NAMES: [&str; 3] = ["token", "secret", "code"];
    match part {
        _ if depth > 12 => 0,
        Value::Object(object) => {
            let referred = object.get("$ref").and_then(Value::as_str).and_then(|to| document.pointer(&to[1..]));
            let names = object.get("properties").and_then(Value::as_object).into_iter().flatten();
            let is_secret = |name: &str| NAMES.iter().any(|end| name == *end || name.ends_with(&format!("_{end}")));
            let named =
                names.filter(|(name, _)| is_secret(name) && !name.ends_with("y_code") && !name.ends_with("e_code"));
            let deeper: usize = object.values().chain(referred).map(|part| secrets(document, part, depth + 1)).sum();
            named.count() + deeper
        }
        Value::Array(parts) => parts.iter().map(|part| secrets(document, part, depth + 1)).sum(),
        _ => 0,
    }
}
