//! Signing in: codes, registration, login, refresh, logout.

use poem::http::StatusCode;
use serde_json::json;

use crate::support::{World, day, expect};

#[tokio::test]
async fn somebody_registers_submits_a_day_and_sees_it() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.client();
    let today = world.clock.now().date_naive().to_string();
    let answer = anna.sign(client.post("/v1/work-events/daily").body_json(&day(&today, 8.5, 9.2))).send().await;
    let created = expect(answer, StatusCode::CREATED).await;
    assert_eq!(created["actual_minutes"], 552);
    let answer = anna.sign(client.post("/v1/work-events/daily").body_json(&day(&today, 8.5, 9.2))).send().await;
    let same = expect(answer, StatusCode::OK).await;
    assert_eq!(same["event_id"], created["event_id"]);
    let listed = expect(anna.sign(client.get("/v1/work-events/me")).send().await, StatusCode::OK).await;
    assert_eq!(listed["events"][0]["planned_hours"], json!(8.5));
    let me = expect(anna.sign(client.get("/v1/auth/me")).send().await, StatusCode::OK).await;
    assert_eq!(me["email"], anna.email);
    let gone = expect(anna.sign(client.delete("/v1/work-events/me")).send().await, StatusCode::OK).await;
    assert_eq!(gone["deleted_count"], 1);
    let log = expect(anna.sign(client.get("/v1/privacy/audit-log")).send().await, StatusCode::OK).await;
    println!("{log:#}");
}
