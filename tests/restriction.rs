//! Restriction and objections: switches that every command obeys.

use context::{Ctx, SubjectId};
use lethe::app::{records::list, rights::retention};
use poem::http::{Method, StatusCode};
use projections::page::Page;
use serde_json::{Value, json};

use crate::{
    steps::{events_of, fields, problem, subject_of},
    support::{Person, World, day, expect},
};

async fn restrict(world: &World, person: &Person, restricted: bool) -> Value {
    expect(world.put(person, "/v1/privacy/restriction", &json!({ "restricted": restricted })).await, StatusCode::OK)
        .await
}

async fn object(world: &World, person: &Person, purpose: &str, objected: bool) -> Value {
    let body = json!({ "objected": objected });
    expect(world.put(person, format!("/v1/privacy/objections/{purpose}"), &body).await, StatusCode::OK).await
}

async fn submit(world: &World, person: &Person, date: &str) -> poem::test::TestResponse {
    world.post(person, "/v1/work-events/daily", &day(date, 8.0, 9.0)).await
}

async fn decide(world: &World, person: &Person, purpose: &str, granted: bool) -> poem::test::TestResponse {
    world.put(person, format!("/v1/consents/{purpose}"), &json!({ "granted": granted })).await
}

#[tokio::test]
async fn restriction_decide_leaves_data_stored_and_allows_nothing_else() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    expect(submit(&world, &anna, "2025-12-08").await, StatusCode::CREATED).await;
    let wrong = world.put(&anna, "/v1/privacy/restriction", &json!({ "restricted": "yes" })).await;
    let wrong = problem(wrong, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    assert_eq!(fields(&wrong), ["restricted"]);
    for _ in 0..2 {
        let answer = restrict(&world, &anna, true).await;
        assert_eq!((&answer["restricted"], answer["restricted_at"].is_string()), (&json!(true), true));
    }
    for date in ["2025-12-08", "2025-12-09"] {
        problem(submit(&world, &anna, date).await, StatusCode::CONFLICT, "restricted").await;
    }
    let rectify = world.send(&anna, Method::PATCH, "/v1/auth/me", &json!({ "role_level": "senior" })).await;
    problem(rectify, StatusCode::CONFLICT, "restricted").await;
    let listed = expect(world.get(&anna, "/v1/work-events/me").await, StatusCode::OK).await;
    assert_eq!(listed["events"].as_array().map(Vec::len), Some(1), "reading goes on");
    expect(decide(&world, &anna, "work_hours", false).await, StatusCode::OK).await;
    expect(decide(&world, &anna, "work_hours", true).await, StatusCode::OK).await;

    restrict(&world, &anna, false).await;
    expect(submit(&world, &anna, "2025-12-09").await, StatusCode::CREATED).await;
    let events = events_of(&world, &anna).await;
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!((count("restriction.set"), count("restriction.lifted")), (1, 1), "the same again is no event");
}

#[tokio::test]
async fn restriction_decide_keeps_records_from_being_removed_for_their_age() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    expect(submit(&world, &anna, "2025-12-08").await, StatusCode::CREATED).await;
    let rule = world.put(&anna, "/v1/privacy/retention/work_day", &json!({ "data_retention_days": 1 })).await;
    expect(rule, StatusCode::OK).await;
    restrict(&world, &anna, true).await;
    crate::steps::let_pass(&world, chrono::TimeDelta::days(2)).await;
    let subject = SubjectId(subject_of(&world, &anna).await);
    retention::run(&world.app, subject).await.expect("runs");
    let ctx = Ctx::system(world.clock.clone()).for_subject(subject, None);
    let all = Page::all();
    let days = list::of_kind(&world.app, &ctx, "record_list", domain::kinds::WORK_DAY, None, &all);
    assert_eq!(days.await.expect("listed").records.len(), 1);
}

#[tokio::test]
async fn objection_decide_ends_a_consent_and_bars_a_new_one() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let answer = object(&world, &anna, "work_hours", true).await;
    assert_eq!(answer, json!({ "purpose": "work_hours", "objected": true }));
    let refused = problem(submit(&world, &anna, "2025-12-08").await, StatusCode::FORBIDDEN, "consent-needed").await;
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("you objected to it")), "{refused}");
    problem(decide(&world, &anna, "work_hours", true).await, StatusCode::CONFLICT, "objection-stands").await;
    object(&world, &anna, "work_hours", false).await;
    let refused = problem(submit(&world, &anna, "2025-12-08").await, StatusCode::FORBIDDEN, "consent-needed").await;
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("withdrew")), "no consent comes back");
    expect(decide(&world, &anna, "work_hours", true).await, StatusCode::OK).await;
    expect(submit(&world, &anna, "2025-12-08").await, StatusCode::CREATED).await;
    let unknown = world.put(&anna, "/v1/privacy/objections/moods", &json!({ "objected": true })).await;
    problem(unknown, StatusCode::NOT_FOUND, "missing").await;
    let history = expect(world.get(&anna, "/v1/consents/work_hours/history").await, StatusCode::OK).await;
    let objected: Vec<_> =
        history["decisions"].as_array().expect("a list").iter().map(|d| d["objected"].clone()).collect();
    assert_eq!(objected, [json!(false), json!(false), json!(true), json!(false)]);
}
