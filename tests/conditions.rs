//! Conditional requests (RFC 9110, section 13) on everything that has an entity tag.

use poem::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    export::{export, full, path},
    steps::{Answer, fields, state_of, version, versions},
    support::{Person, World, day},
};

const DAILY: &str = "/v1/work-events/daily";
const KIND: &str = "/v1/records/work_day";
const ME: &str = "/v1/auth/me";

/// The header fields of one request, in order; a name may occur several times.
type Headers<'a> = &'a [(&'static str, &'a str)];

async fn send(
    world: &World,
    person: &Person,
    method: Method,
    path: &str,
    headers: Headers<'_>,
    body: &Value,
) -> Answer {
    let client = world.client();
    let mut request = client.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_null() {
        request = request.body_json(body);
    }
    Answer::of(person.sign(request).send().await).await
}

const MATCH: &str = "if-match";
const NONE: &str = "if-none-match";
const OK: StatusCode = StatusCode::OK;
const CREATED: StatusCode = StatusCode::CREATED;
const FAILED: StatusCode = StatusCode::PRECONDITION_FAILED;
const UNCHANGED: StatusCode = StatusCode::NOT_MODIFIED;

#[tokio::test]
async fn a_submission_keeps_to_its_conditions() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    for (method, path, date) in [(Method::POST, DAILY, "2026-02-02"), (Method::PUT, KIND, "2026-02-03")] {
        let say = |date: &str, minutes: u16| json!({ "date": date, "planned_minutes": 480, "actual_minutes": minutes, "source": "geofence" });
        let (mut minutes, mut tag) = (0, String::new());
        for (headers, expected) in [
            // No record exists yet.
            (&[(MATCH, "*")][..], FAILED),
            (&[(MATCH, "\"1\"")], FAILED),
            (&[(MATCH, "\"0\"")], FAILED),
            (&[(NONE, "*"), (MATCH, "*")], FAILED),
            (&[(NONE, "*")], CREATED),
            // The record now has version 1.
            (&[(NONE, "*")], FAILED),
            (&[(NONE, "\"7\", W/\"1\"")], FAILED),
            (&[(NONE, "\"7\""), (NONE, "\"1\"")], FAILED),
            (&[(MATCH, "\"2\"")], FAILED),
            (&[(MATCH, "W/\"1\"")], FAILED),
            (&[(MATCH, "\"other\", \"\"")], FAILED),
            (&[(MATCH, "\"1\""), (NONE, "*")], FAILED),
            (&[(MATCH, "\"7\", \"1\"")], OK),
            (&[(MATCH, "\"7\""), (MATCH, "\"2\"")], OK),
            (&[(MATCH, "*")], OK),
            (&[(NONE, "\"3\"")], OK),
            (&[], OK),
        ] {
            minutes += 15;
            let before = state_of(&client).await;
            let values: Vec<_> = headers.iter().map(|(name, value)| (*name, versions(value, &tag))).collect();
            let headers: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = send(&world, &anna, method.clone(), path, &headers, &say(date, minutes)).await;
            assert_eq!(answer.status, expected, "{path} {headers:?}: {}", answer.text);
            assert_eq!(state_of(&client).await == before, expected == FAILED, "{path} {headers:?}");
            if expected == FAILED {
                assert_eq!(answer.problem(FAILED)["type"], "/problems/changed");
            } else {
                tag = answer.header("etag").expect("a tag").to_owned();
            }
        }
        // A fault of the body is reported before a failed condition (RFC 9110, 13.2.1).
        let answer = send(&world, &anna, method, path, &[(MATCH, "\"77\"")], &say("9999-01-01", 1)).await;
        assert_eq!(fields(&answer.problem(StatusCode::UNPROCESSABLE_ENTITY)), ["date"]);
    }
}

#[tokio::test]
async fn record_remove_and_record_get_keep_to_their_conditions() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let made = send(&world, &anna, Method::POST, DAILY, &[], &day("2026-02-02", 8.0, 9.0)).await;
    let record = format!("{KIND}/{}", made.json()["event_id"].as_str().expect("an id"));
    let tag = made.header("etag").expect("a tag").to_owned();
    let call = async |method: Method, headers: Headers<'_>| {
        let values: Vec<_> = headers.iter().map(|(name, value)| (*name, versions(value, &tag))).collect();
        let headers: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        send(&world, &anna, method, &record, &headers, &Value::Null).await
    };
    for (headers, expected) in [
        (&[(NONE, "\"1\"")][..], UNCHANGED),
        (&[(NONE, "W/\"1\"")], UNCHANGED),
        (&[(NONE, "\"a\", \"1\"")], UNCHANGED),
        (&[(NONE, "\"a\""), (NONE, "W/\"1\"")], UNCHANGED),
        (&[(NONE, "*")], UNCHANGED),
        (&[(NONE, "\"2\", \"01\"")], OK),
        (&[(MATCH, "*")], OK),
        (&[(MATCH, "\"1\"")], OK),
        (&[(MATCH, "W/\"1\"")], FAILED),
        (&[(MATCH, "\"2\""), (NONE, "\"1\"")], FAILED),
    ] {
        let answer = call(Method::GET, headers).await;
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text);
        if expected == UNCHANGED {
            assert_eq!((version(&answer), answer.text.as_str()), (Some(1), ""), "{headers:?}");
        }
    }
    for headers in [&[(MATCH, "\"2\"")][..], &[(MATCH, "W/\"1\"")], &[(NONE, "*")], &[(NONE, "\"1\"")]] {
        call(Method::DELETE, headers).await.problem(FAILED);
    }
    let removed = call(Method::DELETE, &[(MATCH, "\"1\"")]).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{}", removed.text);
    // A missing record is answered as missing, whatever the condition is (RFC 9110, 13.2.1).
    for method in [Method::GET, Method::DELETE] {
        call(method, &[(MATCH, "*")]).await.problem(StatusCode::NOT_FOUND);
    }
    // The day that is submitted anew is another record, and the tag of the one before is none of its versions.
    let anew = send(&world, &anna, Method::POST, DAILY, &[(NONE, &tag)], &day("2026-02-02", 8.0, 7.0)).await;
    assert_eq!((anew.status, version(&anew)), (CREATED, Some(1)), "{}", anew.text);
    let late = send(&world, &anna, Method::POST, DAILY, &[(MATCH, &tag)], &day("2026-02-02", 8.0, 9.5)).await;
    late.problem(FAILED);
}

#[tokio::test]
async fn the_account_keeps_to_its_conditions_and_its_tag_changes_with_all_that_it_shows() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let get = async |headers: Headers<'_>| send(&world, &anna, Method::GET, ME, headers, &Value::Null).await;
    let first = get(&[]).await.header("etag").expect("a tag").to_owned();
    let seen = get(&[(NONE, &first)]).await;
    assert_eq!((seen.status, seen.header("etag"), seen.text.as_str()), (UNCHANGED, Some(first.as_str()), ""));
    let made = send(&world, &anna, Method::POST, DAILY, &[], &day("2026-02-02", 8.0, 9.0)).await;
    assert_eq!(made.status, CREATED);
    let now = get(&[(NONE, &first)]).await;
    assert_eq!(now.status, OK, "it shows another last submission");
    assert!(now.json()["last_submission_at"].is_string(), "{}", now.text);
    let second = now.header("etag").expect("a tag").to_owned();
    assert_ne!(second, first);
    assert_eq!(get(&[(NONE, &second)]).await.status, UNCHANGED);
    assert_eq!(get(&[(MATCH, &first)]).await.status, FAILED);
    let patch = async |headers: Headers<'_>, hospital: &str| {
        send(&world, &anna, Method::PATCH, ME, headers, &json!({ "hospital_id": hospital })).await
    };
    // The part of the tag about days does not matter, because rectifying does not change days.
    assert_eq!(patch(&[(MATCH, &first)], "klinikum-a").await.status, OK);
    let weak = format!("W/{second}");
    for headers in [&[(MATCH, second.as_str())][..], &[(MATCH, &weak)], &[(NONE, "*")], &[(MATCH, "\"x\"")]] {
        patch(headers, "klinikum-b").await.problem(FAILED);
    }
    let fault = patch(&[(MATCH, "\"77\"")], "klinik\u{e4}").await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(fields(&fault), ["hospital_id"]);
    assert_eq!(patch(&[(MATCH, "*")], "klinikum-c").await.json()["hospital_id"], "klinikum-c");
}

#[tokio::test]
async fn export_download_keeps_to_its_conditions() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let id = export(&world, &anna, &full("json")).await;
    let get = async |headers: Headers<'_>| {
        send(&world, &anna, Method::GET, &path(&id, "/download"), headers, &Value::Null).await
    };
    let tag = get(&[]).await.header("etag").expect("a tag").to_owned();
    let weak = format!("W/{tag}");
    for (headers, expected) in [
        (&[(MATCH, tag.as_str())][..], OK),
        (&[(MATCH, "*"), ("range", "bytes=0-9")], StatusCode::PARTIAL_CONTENT),
        (&[(MATCH, &weak)], FAILED),
        (&[(MATCH, "\"other\""), (NONE, &tag)], FAILED),
        (&[(NONE, "\"other\""), (NONE, &weak)], UNCHANGED),
        (&[(NONE, "*"), ("range", "bytes=0-9")], UNCHANGED),
        (&[("range", "bytes=0-9"), ("if-range", &weak)], OK),
    ] {
        let answer = get(headers).await;
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text.len());
    }
}

#[tokio::test]
async fn a_condition_that_can_not_be_read_is_refused_by_its_name() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for (method, path, body) in [
        (Method::POST, DAILY, day("2026-02-02", 8.0, 9.0)),
        (Method::PUT, KIND, day("2026-02-02", 8.0, 9.0)),
        (Method::PATCH, ME, json!({ "hospital_id": "anderswo" })),
        (Method::GET, ME, Value::Null),
    ] {
        for wrong in ["", "3", "\"3", "w/\"3\"", "*, \"3\"", "\"a\" \"b\"", "\u{e9}", "\"\u{e9}\""] {
            for (header, name) in [(MATCH, "If-Match"), (NONE, "If-None-Match")] {
                let answer = send(&world, &anna, method.clone(), path, &[(header, wrong)], &body).await;
                let problem = answer.problem(StatusCode::BAD_REQUEST);
                assert_eq!(fields(&problem), [name], "{method} {path} {wrong}");
            }
        }
    }
    assert_eq!(state_of(&client).await, before);
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let answer = send(&world, &anna, Method::POST, DAILY, &twice, &day("2026-02-02", 8.0, 9.0)).await;
    assert_eq!(fields(&answer.problem(StatusCode::BAD_REQUEST)), ["Idempotency-Key"]);
    assert_eq!(state_of(&client).await, before);
}
