//! Conditional and compressed answers.

use std::{collections::BTreeSet, io::Read};

use flate2::read::GzDecoder;
use poem::http::{Method, StatusCode};
use serde_json::Value;

use crate::{
    documented::{operations, resolved},
    operations::{Call, Stage},
    steps::Answer,
    support::World,
    tree::covered,
};

/// Reading them is recorded, and what is recorded stands in them.
const CHANGED_BY_READING: &[&str] = &["audit_list", "overview_get", "trail_list"];

#[tokio::test]
async fn every_get_can_be_asked_for_on_a_condition() {
    let stage = Stage::new().await;
    covered(&stage.world).await;
    // Nothing looks after the log in a test, so the server is not ready.
    for operation in operations().filter(|it| it.method == Method::GET && it.id != "ready_get") {
        let id = operation.id;
        let person = stage.newcomer().await;
        let call = stage.prepare(&person, id).await.unwrap_or_else(|| Call::plain(&operation));
        let answer = Answer::of(stage.send(&person, &call).await).await;
        assert_eq!(answer.status, StatusCode::OK, "{id}: {}", answer.text);
        let tag = answer.header("etag").unwrap_or_else(|| panic!("{id} has no tag"));
        let malformed = stage.send_with(&person, &call, &[("if-none-match", "no tag")]).await;
        Answer::of(malformed).await.problem(StatusCode::BAD_REQUEST);
        let again = Answer::of(stage.send_with(&person, &call, &[("if-none-match", tag)]).await).await;
        if CHANGED_BY_READING.contains(&id) {
            assert!(again.status == StatusCode::OK && again.header("etag") != Some(tag), "{id}: {}", again.status);
        } else {
            assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{id}");
            assert_eq!(again.header("etag"), Some(tag), "{id}");
        }
    }
}

#[tokio::test]
async fn a_condition_is_looked_at_last() {
    let world = World::new().await;
    let client = world.client();
    for (path, status) in [("/v1/auth/me", StatusCode::UNAUTHORIZED), ("/v1/nothing", StatusCode::NOT_FOUND)] {
        let answer = Answer::of(client.get(path).header("if-none-match", "no tag").send().await).await;
        answer.problem(status);
    }
}

#[tokio::test]
async fn a_long_answer_to_get_is_compressed() {
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
}

/// Secrets let somebody in, so no answer that may be compressed holds one.
#[test]
fn no_answer_to_a_get_holds_a_secret() {
    let mut found = 0;
    for operation in operations() {
        let secrets = secrets(&operation.says["responses"], &mut BTreeSet::new());
        assert!(secrets == 0 || operation.method != Method::GET, "{}", operation.id);
        found += secrets;
    }
    assert!(found >= 5, "only {found} secrets were seen at all");
}

/// How many fields of an answer have the name of a secret. `seen` holds the references that were followed.
fn secrets(part: &'static Value, seen: &mut BTreeSet<&'static str>) -> usize {
    const NAMES: [&str; 3] = ["token", "secret", "code"];
    const NONE: [&str; 2] = ["country_code", "state_code"];
    match part {
        Value::Object(object) => {
            let reference = object.get("$ref").and_then(Value::as_str).filter(|name| seen.insert(name));
            let names = object.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name);
            let is_secret =
                |name: &&String| NAMES.iter().any(|end| name.ends_with(end)) && !NONE.contains(&name.as_str());
            let named = names.filter(is_secret).count();
            let behind = reference.map_or(0, |_| secrets(resolved(part), seen));
            named + behind + object.values().map(|part| secrets(part, seen)).sum::<usize>()
        }
        Value::Array(parts) => parts.iter().map(|part| secrets(part, seen)).sum(),
        _ => 0,
    }
}
