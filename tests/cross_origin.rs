//! Calls of pages of other origins: off by default, and only for the origins that the operator names.

use lethe::server::Settings;
use poem::http::{Method, StatusCode};

use crate::{steps::Answer, support::World};

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
