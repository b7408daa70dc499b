//! Refresh tokens: each is used once, and a lost answer is given again to the client that asked for it.

use chrono::TimeDelta;
use futures_util::future::join_all;
use lethe::http::{self, TrustedProxies};
use poem::{Endpoint, http::StatusCode, test::TestResponse};
use serde_json::{Value, json};

use crate::{
    steps::{let_pass, problem},
    support::{Person, World, expect, request_from},
};

/// A refresh by a client: its address, its agent, and the secret of its device.
async fn refresh_by(world: &World, (peer, agent): (&str, &str), device: Option<&str>, token: &str) -> TestResponse {
    let routes = http::routes(world.app.clone(), TrustedProxies::default());
    let mut body = json!({ "refresh_token": token });
    if let Some(secret) = device {
        body["device_secret"] = json!(secret);
    }
    let request = request_from(&format!("{peer}:4000"), "POST /v1/auth/refresh", &[("user-agent", agent)], &body);
    TestResponse(routes.get_response(request).await)
}

const HOME: (&str, &str) = ("198.51.100.7", "Anna's app/1.0");

async fn me(world: &World, token: &Value) -> TestResponse {
    let authorization = format!("Bearer {}", token.as_str().expect("a token"));
    world.client().get("/v1/auth/me").header("authorization", authorization).send().await
}

#[tokio::test]
async fn auth_refresh_gives_the_same_token_twice_and_the_session_lives_on() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    // Twenty requests at once, and one more, because the answers got lost.
    let tries = (0..20).map(|_| refresh_by(&world, HOME, None, &anna.refresh_token));
    let mut grants = Vec::new();
    for answer in join_all(tries).await {
        grants.push(expect(answer, StatusCode::OK).await);
    }
    let_pass(&world, TimeDelta::seconds(20)).await;
    grants.push(expect(refresh_by(&world, HOME, None, &anna.refresh_token).await, StatusCode::OK).await);
    let mapped = ("[::ffff:198.51.100.7]", HOME.1);
    grants.push(expect(refresh_by(&world, mapped, None, &anna.refresh_token).await, StatusCode::OK).await);
    assert_eq!(grants.len(), 22);
    for grant in &grants {
        assert_eq!(grant["refresh_token"], grants[0]["refresh_token"]);
        expect(me(&world, &grant["token"]).await, StatusCode::OK).await;
    }
    assert_ne!(grants[0]["refresh_token"], json!(anna.refresh_token));
    // The successor is a token like any other, and is used once.
    let next = grants[0]["refresh_token"].as_str().expect("a token");
    let after = expect(refresh_by(&world, HOME, None, next).await, StatusCode::OK).await;
    assert_ne!(after["refresh_token"], json!(next));
    let path = "/v1/privacy/audit-log?action=account.refreshed&limit=50";
    let log = expect(world.get(&Person::new(anna.email, &after), path).await, StatusCode::OK).await;
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(23), "each exchange is on record");
}

#[tokio::test]
async fn auth_refresh_ends_the_session_when_another_client_or_a_late_one_shows_a_used_token() {
    for (client, device, seconds) in [
        (("198.51.100.8", HOME.1), None, 1),
        ((HOME.0, "Somebody's app/1.0"), None, 1),
        (HOME, Some("bVd2YpfVnSx1sAc1bJHi0m0X3n0PqJd0oWq1uKf3a9w"), 1),
        (HOME, None, 31),
    ] {
        let world = World::new().await;
        let anna = world.person("anna").await;
        let grant = expect(refresh_by(&world, HOME, None, &anna.refresh_token).await, StatusCode::OK).await;
        let_pass(&world, TimeDelta::seconds(seconds)).await;
        let answer = refresh_by(&world, client, device, &anna.refresh_token).await;
        problem(answer, StatusCode::UNAUTHORIZED, "refresh-refused").await;
        problem(me(&world, &grant["token"]).await, StatusCode::UNAUTHORIZED, "signed-out").await;
        let next = grant["refresh_token"].as_str().expect("a token");
        problem(refresh_by(&world, HOME, None, next).await, StatusCode::UNAUTHORIZED, "refresh-refused").await;
    }
}

#[tokio::test]
async fn auth_refresh_ends_the_session_when_a_token_comes_back_after_the_next_was_used() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let next = expect(refresh_by(&world, HOME, None, &anna.refresh_token).await, StatusCode::OK).await;
    let after = refresh_by(&world, HOME, None, next["refresh_token"].as_str().expect("a token")).await;
    let after = expect(after, StatusCode::OK).await;
    let answer = refresh_by(&world, HOME, None, &anna.refresh_token).await;
    problem(answer, StatusCode::UNAUTHORIZED, "refresh-refused").await;
    problem(me(&world, &after["token"]).await, StatusCode::UNAUTHORIZED, "signed-out").await;
}

#[tokio::test]
async fn auth_refresh_knows_a_device_in_any_network() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let secret = Some("aVd2YpfVnSx1sAc1bJHi0m0X3n0PqJd0oWq1uKf3a9w");
    let away = ("203.0.113.9", "Anna's app/1.1");
    let first = expect(refresh_by(&world, HOME, secret, &anna.refresh_token).await, StatusCode::OK).await;
    let again = expect(refresh_by(&world, away, secret, &anna.refresh_token).await, StatusCode::OK).await;
    assert_eq!(first["refresh_token"], again["refresh_token"]);
}

#[tokio::test]
async fn auth_refresh_stores_neither_the_token_nor_its_client_in_clear() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let grant = expect(refresh_by(&world, HOME, None, &anna.refresh_token).await, StatusCode::OK).await;
    let sql = "SELECT string_agg(t::text || encode(coalesce(used_by, ''), 'escape'), '|') FROM auth.refresh_tokens t";
    let stored: String = world.superuser().await.query_one(sql, &[]).await.expect("read").get(0);
    assert!(stored.contains('|'), "both tokens have a row: {stored}");
    for secret in [anna.refresh_token.as_str(), grant["refresh_token"].as_str().expect("a token"), HOME.0, HOME.1] {
        assert!(!stored.contains(secret) && !stored.contains(&hex::encode(secret)), "{secret}");
    }
}
