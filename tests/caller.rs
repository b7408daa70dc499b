//! The caller and the client: a token counts however `Authorization` is spelled, and a client is the same one however
//! its address arrives.

use context::RecordId;
use lethe::{
    app::identity::staff,
    http::{self, TrustedProxies},
    jobs::watch_log_once,
};
use poem::{Endpoint, http::StatusCode, test::TestResponse};
use serde_json::{Value, json};

use crate::{
    steps::{events_of, problem, subject_of},
    support::{Person, World, day, expect, request_from},
};

/// How many refusals of a person are in the log.
async fn refusals(world: &World, person: &Person) -> i64 {
    let sql = "SELECT count(*) FROM log.events WHERE subject_id = $1 AND event_type = 'access.refused'";
    let subject = subject_of(world, person).await;
    world.superuser().await.query_one(sql, &[&subject]).await.expect("the log is read").get(0)
}

/// Asks for a record that does not exist.
async fn ask_in_vain(world: &World, authorization: &[u8]) -> TestResponse {
    let path = format!("/v1/records/work_day/{}", RecordId::random());
    let value = poem::http::HeaderValue::from_bytes(authorization).expect("a value of a header field");
    world.client().get(path).header("authorization", value).send().await
}

#[tokio::test]
async fn each_spelling_of_bearer_is_refused_by_all_or_recorded_by_all() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let mut recorded = 0;
    for (before, after, taken) in [
        ("Bearer ", "", true),
        ("bearer ", "", true),
        ("BEARER ", "", true),
        ("bEARER  ", "", true),
        ("Bearer   ", "", true),
        ("Bearer \t", "", true),
        ("Bearer\t", "", false),
        ("Bearer", "", false),
        ("Bearer: ", "", false),
        ("Token ", "", false),
        ("", "", false),
        ("Bearer ", "x", false),
        ("Bearer ", ", Bearer x", false),
    ] {
        let answer = ask_in_vain(&world, format!("{before}{}{after}", anna.token).as_bytes()).await;
        let status = answer.0.status();
        recorded += i64::from(status == StatusCode::NOT_FOUND);
        let wanted = if taken { StatusCode::NOT_FOUND } else { StatusCode::UNAUTHORIZED };
        assert_eq!(status, wanted, "{before:?} … {after:?}");
        assert_eq!(refusals(&world, &anna).await, recorded, "{before:?} … {after:?}");
    }
    assert_eq!(recorded, 6);
    // Bytes that are not UTF-8 are no token.
    let beyond = [b"Bearer \xff".as_slice(), anna.token.as_bytes()].concat();
    problem(ask_in_vain(&world, &beyond).await, StatusCode::UNAUTHORIZED, "signed-out").await;
}

#[tokio::test]
async fn who_writes_bearer_in_lower_case_is_suspended_like_others() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for _ in 0..30 {
        let answer = ask_in_vain(&world, format!("bearer  {}", anna.token).as_bytes()).await;
        problem(answer, StatusCode::NOT_FOUND, "missing").await;
    }
    assert_eq!(watch_log_once(&world.app).await.expect("looked"), 1);
    assert_eq!(events_of(&world, &anna).await.last().map(String::as_str), Some("account.suspended"));
    let client = world.client();
    let act = client.post("/v1/work-events/daily").header("authorization", format!("bearer {}", anna.token));
    problem(act.body_json(&day("2025-12-08", 8.0, 9.0)).send().await, StatusCode::FORBIDDEN, "suspended").await;
}

#[tokio::test]
async fn staff_read_the_log_with_any_spelling_of_bearer() {
    let world = World::new().await;
    staff::add(&world.app, "otto@lethe.example", context::Role::Auditor).await.expect("staff are made");
    let otto = crate::steps::sign_in(&world, "otto@lethe.example").await;
    for (authorization, status) in [
        (format!("Bearer {}", otto.token), StatusCode::NOT_FOUND),
        (format!("bearer  {}", otto.token), StatusCode::NOT_FOUND),
        (format!("Bearer\t{}", otto.token), StatusCode::UNAUTHORIZED),
        (String::new(), StatusCode::UNAUTHORIZED),
    ] {
        let client = world.client();
        let request = client.get("/v1/log/tile/entries/999").header("authorization", &authorization);
        assert_eq!(request.send().await.0.status(), status, "{authorization}");
    }
}

#[tokio::test]
async fn the_id_of_a_request_is_that_of_a_trusted_proxy_and_of_nobody_else() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let behind = TrustedProxies::new(["127.0.0.1".parse().expect("an address")]);
    let routes = http::routes(world.app.clone(), behind);
    let authorization = format!("Bearer {}", anna.token);
    let given = "8c7f5c52-06a5-4a35-9c3c-3f0a4d1a7e11";
    let ask = async |peer: &str, id: &str| {
        let headers = [("authorization", authorization.as_str()), ("x-request-id", id)];
        let answer = routes.get_response(request_from(peer, "GET /v1/consents", &headers, &Value::Null)).await;
        answer.headers()["x-request-id"].to_str().expect("plain text").to_owned()
    };
    assert_eq!(ask("127.0.0.1:1000", given).await, given);
    let log = expect(world.get(&anna, "/v1/privacy/audit-log?action=data.accessed").await, StatusCode::OK).await;
    assert_eq!(log["entries"][0]["request_id"], given, "the log has it too");
    assert_eq!(ask("127.0.0.1:1000", &given.replace('-', "")).await, given, "as nginx writes it");
    for (peer, id) in [("192.0.2.1:1000", given), ("127.0.0.1:1000", "anna@klinik.example"), ("127.0.0.1:1000", "")] {
        let own = ask(peer, id).await;
        assert!(own != id && own.parse::<uuid::Uuid>().is_ok(), "{peer} {id}: {own}");
    }
}

#[tokio::test]
async fn the_log_names_an_address_in_one_form_and_limits_count_it_once() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let behind = TrustedProxies::new(["::ffff:127.0.0.1".parse().expect("an address")]);
    let routes = http::routes(world.app.clone(), behind);
    let authorization = format!("Bearer {}", anna.token);
    let mut expected = Vec::new();
    for (peer, forwarded_for, seen) in [
        ("[::ffff:127.0.0.1]:1000", "198.51.100.7:40112", "198.51.100.7"),
        ("127.0.0.1:1000", "[2001:db8::7]:40112", "2001:db8::7"),
        ("127.0.0.1:1000", "\u{fc}, ::ffff:198.51.100.8", "198.51.100.8"),
        ("[::ffff:192.0.2.1]:1000", "198.51.100.7", "192.0.2.1"),
    ] {
        let headers = [("authorization", authorization.as_str()), ("x-forwarded-for", forwarded_for)];
        let answer = routes.get_response(request_from(peer, "GET /v1/consents", &headers, &Value::Null)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        expected.insert(0, json!(seen));
    }
    let log = expect(world.get(&anna, "/v1/privacy/audit-log?action=data.accessed").await, StatusCode::OK).await;
    let seen: Vec<Value> = (log["entries"].as_array().expect("a list").iter())
        .filter(|entry| entry["table_name"] == "consent")
        .map(|entry| entry["ip_address"].clone())
        .collect();
    assert_eq!(seen, expected);
    // Two IPv4 clients on a socket for both families are two clients: requests of one are not counted against the
    // other.
    let ask = async |peer: &str| {
        let body = json!({ "email": "ben@klinik.example" });
        routes.get_response(request_from(peer, "POST /v1/auth/code", &[], &body)).await.status()
    };
    for _ in 0..5 {
        assert_eq!(ask("[::ffff:192.0.2.1]:1000").await, StatusCode::ACCEPTED);
    }
    assert_eq!(ask("192.0.2.1:2000").await, StatusCode::TOO_MANY_REQUESTS, "the same client");
    assert_eq!(ask("[::ffff:192.0.2.2]:1000").await, StatusCode::ACCEPTED, "another");
}
