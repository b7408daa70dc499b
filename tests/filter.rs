//! The days of lists, exports and partial deletions are days of the person's own calendar.

use chrono::TimeDelta;
use domain::rights::deletion::Scope;
use lethe::jobs::run_due;
use poem::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    export::{download, export},
    steps::{ask_to_delete, confirm_deletion, let_pass, sign_in},
    support::{Person, World, expect},
};

/// Five moments with their days in Auckland, most of them around 5 April 2026, a Sunday of 25 hours on which the clocks
/// go back. In UTC, the second, fourth and last moment are on the day before, and the last is in the quarter before.
const MOMENTS: [(&str, &str); 5] = [
    ("2026-04-04T10:59:59Z", "2026-04-04"),
    ("2026-04-04T20:00:00Z", "2026-04-05"),
    ("2026-04-05T11:59:59Z", "2026-04-05"),
    ("2026-04-05T12:00:00Z", "2026-04-06"),
    ("2026-03-31T19:00:00Z", "2026-04-01"),
];

fn screening(taken_at: &str) -> Value {
    let left = json!([{ "frequency_hz": 1000, "threshold_db": 20 }]);
    json!({ "taken_at": taken_at, "test_type": "pure_tone", "left": left, "right": [] })
}

async fn screened(world: &World, name: &str, zone: &str) -> Person {
    let person = world.person_with(name, json!({ "consents": ["hearing"], "time_zone": zone })).await;
    for (taken_at, _) in MOMENTS {
        let answer = world.put(&person, "/v1/records/screening", &screening(taken_at)).await;
        expect(answer, StatusCode::CREATED).await;
    }
    person
}

fn times(records: &Value) -> Vec<String> {
    let records = records.as_array().expect("a list").iter();
    let mut times: Vec<String> =
        records.map(|it| it["body"]["taken_at"].as_str().expect("a time").to_owned()).collect();
    times.sort_unstable();
    times
}

async fn listed(world: &World, person: &Person, from: &str, to: &str) -> Vec<String> {
    let path = format!("/v1/records/screening?from={from}&to={to}");
    times(&expect(world.get(person, path).await, StatusCode::OK).await["records"])
}

#[tokio::test]
async fn a_list_a_file_and_a_deletion_mean_the_days_where_the_person_is() {
    let world = World::new().await;
    let (anna, ben) = (screened(&world, "anna", "Pacific/Auckland").await, screened(&world, "ben", "UTC").await);
    for day in ["2026-04-01", "2026-04-04", "2026-04-05", "2026-04-06"] {
        let mut there: Vec<&str> = MOMENTS.iter().filter(|(_, local)| *local == day).map(|(time, _)| *time).collect();
        there.sort_unstable();
        assert!(!there.is_empty());
        assert_eq!(listed(&world, &anna, day, day).await, there, "{day} in Auckland");
        let here: Vec<&str> = MOMENTS.iter().map(|(time, _)| *time).filter(|time| time.starts_with(day)).collect();
        assert_eq!(listed(&world, &ben, day, day).await, here, "{day} in Greenwich");
    }
    let sunday = ["2026-04-04T20:00:00Z", "2026-04-05T11:59:59Z"];
    let filters = json!({ "from": "2026-04-05", "to": "2026-04-05" });
    let wish = json!({ "request_type": "partial", "format": "json", "filters": filters });
    let id = export(&world, &anna, &wish).await;
    let document: Value = serde_json::from_slice(&download(&world, &anna, &id).await).expect("JSON");
    assert_eq!(times(&document["records"]["screening"]), sunday);
    assert_eq!(document["request"]["filters"]["time_zone"], "Pacific/Auckland", "the file says whose days it holds");
    // In UTC no moment is on the first of April.
    let first =
        json!({ "request_type": "partial", "format": "json", "filters": { "from": "2026-04-01", "to": "2026-04-01" } });
    export(&world, &anna, &first).await;
    let none = world.post(&ben, "/v1/privacy/export-data", &first).await;
    assert_eq!(none.0.status(), StatusCode::UNPROCESSABLE_ENTITY);

    let (asked, token) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "partial", "filters": filters })).await;
    assert_eq!(asked["would_go"], json!([{ "kind": "screening", "count": 2 }]));
    // The person moves to another time zone. The request keeps its days.
    let client = world.client();
    let moved = anna.sign(client.patch("/v1/auth/me").body_json(&json!({ "time_zone": "America/New_York" })));
    expect(moved.send().await, StatusCode::OK).await;
    confirm_deletion(&world, &anna, &token, Scope::Partial).await;
    let_pass(&world, TimeDelta::hours(48)).await;
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    let anna = sign_in(&world, &anna.email).await;
    let left: Vec<&str> = MOMENTS.iter().map(|(time, _)| *time).filter(|time| !sunday.contains(time)).collect();
    let mut left: Vec<String> = left.into_iter().map(str::to_owned).collect();
    left.sort_unstable();
    assert_eq!(listed(&world, &anna, "2026-01-01", "2026-12-31").await, left);
    assert_eq!(listed(&world, &anna, "2026-03-31", "2026-03-31").await, ["2026-03-31T19:00:00Z"], "a day of New York");
}
