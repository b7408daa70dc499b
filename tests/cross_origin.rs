//! Calls of pages of other origins: off by default, and only for the origins that the operator names.

use std::collections::BTreeSet;

use context::SubjectId;
use lethe::server::Settings;
use poem::http::{Method, StatusCode};

use crate::{
    documented::{operations, resolved},
    steps::{Answer, subject_of},
    support::World,
};

const APP: &str = "https://app.example";

async fn world(origins: &[&str]) -> World {
    let world = World::new().await;
    let usual = Settings::new(world.folder.clone(), world.clock.clone());
    let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    world.again(&Settings { origins, ..usual }).await
}

async fn kinds(world: &World, origin: &str) -> Answer {
    Answer::of(world.client().get("/v1/records/kinds").header("origin", origin).send().await).await
}

async fn preflight(world: &World, origin: &str) -> Answer {
    let client = world.client();
    let asks = client.request(Method::OPTIONS, "/v1/records/work_day").header("origin", origin);
    Answer::of(asks.header("access-control-request-method", "PUT").send().await).await
}

#[tokio::test]
async fn a_page_of_a_named_origin_may_call_and_read() {
    let world = world(&[APP, "https://other.example"]).await;
    let answer = kinds(&world, APP).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert!(answer.header("access-control-expose-headers").is_some_and(|names| names.contains("ETag")));
    let asked = preflight(&world, APP).await;
    assert_eq!((asked.status, asked.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(asked.header("access-control-allow-origin"), Some(APP));
    assert_eq!(asked.header("access-control-allow-methods"), Some("GET, PUT"));
    assert!(asked.header("access-control-allow-headers").is_some_and(|names| names.contains("Idempotency-Key")));
    let refused = Answer::of(world.client().get("/v1/auth/me").header("origin", APP).send().await).await;
    refused.problem(StatusCode::UNAUTHORIZED);
    assert_eq!(refused.header("access-control-allow-origin"), Some(APP), "a page may read why");
}

#[tokio::test]
async fn a_page_of_another_origin_may_not() {
    let named = world(&[APP]).await;
    for other in ["https://app.example.evil.example", "http://app.example", "null", "https://APP.example"] {
        let answer = kinds(&named, other).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (StatusCode::OK, None), "{other}");
        assert!(answer.headers.get_all("vary").iter().any(|value| value == "Origin"), "caches keep origins apart");
        let asked = preflight(&named, other).await;
        asked.problem(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(asked.header("access-control-allow-methods"), None, "{other}");
    }
    let closed = world(&[]).await;
    let answer = kinds(&closed, APP).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.headers.get_all("vary").iter().all(|value| value != "Origin"));
}

/// The fields of answers that a page may read without being told (Fetch, 2.2.2).
const SAFELISTED: [&str; 7] =
    ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"];

#[tokio::test]
async fn a_page_may_set_and_read_every_documented_header_field() {
    let world = world(&[APP]).await;
    let listed = |answer: &Answer, name: &str| -> BTreeSet<String> {
        let names = answer.header(name).expect("names").split(", ");
        names.map(str::to_lowercase).collect()
    };
    let allowed = listed(&preflight(&world, APP).await, "access-control-allow-headers");
    let exposed = listed(&kinds(&world, APP).await, "access-control-expose-headers");
    let (mut set, mut read) = (0, 0);
    for operation in operations() {
        for parameter in operation.parameters().filter(|parameter| parameter["in"] == "header") {
            let name = parameter["name"].as_str().expect("a name").to_lowercase();
            assert!(allowed.contains(&name), "{}: {name} can't be set", operation.id);
            set += 1;
        }
        for answer in operation.says["responses"].as_object().expect("answers").values() {
            for name in resolved(answer)["headers"].as_object().expect("header fields").keys() {
                let name = name.to_lowercase();
                let is_read = exposed.contains(&name) || SAFELISTED.contains(&name.as_str());
                assert!(is_read, "{}: {name} can't be read", operation.id);
                read += 1;
            }
        }
    }
    assert!(set > 40 && read > 500, "{set} {read}");
}

#[tokio::test]
async fn the_answer_about_an_erased_person_can_be_read_too() {
    let world = world(&[APP]).await;
    let anna = world.person("anna").await;
    lethe::app::rights::erasure::at_once(&world.app, SubjectId(subject_of(&world, &anna).await)).await.expect("erased");
    let client = world.client();
    let asks = anna.sign(client.get("/v1/auth/me").header("origin", APP));
    let answer = Answer::of(asks.send().await).await;
    assert_eq!(answer.problem(StatusCode::UNAUTHORIZED)["type"], "/problems/erased");
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    assert!(answer.header("ratelimit").is_some());
}
