//! Personal data breaches: the 72 hours, who is concerned, who was told.

use poem::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    steps::{fields, problem, staff, subject_of, submit_day},
    support::{Person, World, expect},
};

const BREACHES: &str = "/v1/compliance/breaches";

/// The facts of a breach of work days.
fn facts(began: &str, risk: &str) -> Value {
    json!({
        "reference": "INC-2026-17", "nature": ["confidentiality"], "kinds": ["work_day"], "began_at": began,
        "risk": risk,
    })
}

/// Opens a breach whose risk is unknown; returns the answer and the breach's path.
async fn open_breach(world: &World, carla: &Person, began: &str) -> (Value, String) {
    let opened = expect(world.post(carla, BREACHES, &facts(began, "unknown")).await, StatusCode::CREATED).await;
    let path = format!("{BREACHES}/{}", opened["breach_id"].as_str().expect("an id"));
    (opened, path)
}

#[tokio::test]
async fn breach_open_starts_the_72_hours_and_takes_no_free_text() {
    let world = World::new().await;
    let began = world.clock.now().to_rfc3339();
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let wrong = json!({ "reference": "Anna, anna@klinik.example", "began_at": began, "risk": "unknown", "kinds": [] });
    let refused = world.post(&carla, BREACHES, &wrong).await;
    let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    let mut named = fields(&refused);
    named.sort_unstable();
    assert_eq!(named, ["nature", "reference"]);
    let (opened, _) = open_breach(&world, &carla, &began).await;
    let left = opened["left_s"].as_i64().expect("the clock runs");
    assert!((72 * 3600 - 60..=72 * 3600).contains(&left), "{opened}");
}

#[tokio::test]
async fn breach_affected_names_who_is_concerned_and_each_look_is_on_record() {
    let world = World::new().await;
    let [anna, ben] = [world.person("anna").await, world.person("ben").await];
    let began = world.clock.now().to_rfc3339();
    submit_day(&world, &anna, "2025-12-08").await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (_, path) = open_breach(&world, &carla, &began).await;
    let affected = expect(world.get(&carla, format!("{path}/affected")).await, StatusCode::OK).await;
    assert_eq!(
        (&affected["people"], &affected["affected"][0]["subject_id"]),
        (&json!(1), &json!(subject_of(&world, &anna).await))
    );
    assert_ne!(affected["affected"][0]["subject_id"], json!(subject_of(&world, &ben).await));
    let looks = "SELECT count(*) FROM log.events WHERE kind = 'compliance' AND event_type = 'data.accessed'";
    let looks: i64 = world.superuser().await.query_one(looks, &[]).await.expect("counted").get(0);
    assert_eq!(looks, 1, "who looks at whom it concerns is on record");
}

#[tokio::test]
async fn breach_assess_replaces_the_facts_and_the_clock_runs_on() {
    let world = World::new().await;
    let began = world.clock.now().to_rfc3339();
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (opened, path) = open_breach(&world, &carla, &began).await;
    let assess = async |path: &str, risk: &str| world.put(&carla, path, &facts(&began, risk)).await;
    let high = expect(assess(&path, "high").await, StatusCode::OK).await;
    assert_eq!((&opened["facts"]["risk"], &high["facts"]["risk"]), (&json!("unknown"), &json!("high")));
    assert_eq!((&high["aware_at"], &high["due_at"]), (&opened["aware_at"], &opened["due_at"]));
    let unlikely = expect(assess(&path, "unlikely").await, StatusCode::OK).await;
    assert_eq!(unlikely.get("due_at"), None, "the authority need not be told");
    let unknown = format!("{BREACHES}/{}", context::EventId::random());
    problem(assess(&unknown, "high").await, StatusCode::NOT_FOUND, "missing").await;
}

#[tokio::test]
async fn breach_step_closes_a_breach_once_everybody_was_told() {
    let world = World::new().await;
    let began = world.clock.now().to_rfc3339();
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (_, path) = open_breach(&world, &carla, &began).await;
    let step = async |name: &str| world.post(&carla, format!("{path}/steps"), &json!({ "step": name })).await;
    problem(step("closed").await, StatusCode::CONFLICT, "breach").await;
    expect(world.put(&carla, path.as_str(), &facts(&began, "high")).await, StatusCode::OK).await;
    let told = expect(step("authority_notified").await, StatusCode::OK).await;
    assert!(told.get("due_at").is_none() && told["authority_notified_at"].is_string(), "{told}");
    problem(step("closed").await, StatusCode::CONFLICT, "breach").await;
    expect(step("people_notified").await, StatusCode::OK).await;
    expect(step("closed").await, StatusCode::OK).await;
    problem(step("closed").await, StatusCode::CONFLICT, "breach").await;
}

#[tokio::test]
async fn breach_get_shows_one_breach_to_the_desk_only() {
    let world = World::new().await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (opened, path) = open_breach(&world, &carla, &world.clock.now().to_rfc3339()).await;
    let shown = expect(world.get(&carla, &path).await, StatusCode::OK).await;
    assert_eq!((&shown["breach_id"], &shown["facts"]), (&opened["breach_id"], &opened["facts"]));
    let anna = world.person("anna").await;
    problem(world.get(&anna, &path).await, StatusCode::FORBIDDEN, "forbidden").await;
    let other = format!("{BREACHES}/{}", uuid::Uuid::nil());
    problem(world.get(&carla, other).await, StatusCode::NOT_FOUND, "missing").await;
}

#[tokio::test]
async fn breach_list_shows_the_breaches_to_the_desk_only() {
    let world = World::new().await;
    let (anna, began) = (world.person("anna").await, world.clock.now().to_rfc3339());
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (opened, _) = open_breach(&world, &carla, &began).await;
    let list = expect(world.get(&carla, BREACHES).await, StatusCode::OK).await;
    assert_eq!(list["breaches"].as_array().map(Vec::len), Some(1));
    let listed = &list["breaches"][0];
    assert_eq!((&listed["breach_id"], &listed["due_at"]), (&opened["breach_id"], &opened["due_at"]));
    problem(world.get(&anna, BREACHES).await, StatusCode::FORBIDDEN, "forbidden").await;
}
