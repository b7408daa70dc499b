//! Retention and the overview: how long each kind is kept, which records go next, the daily sweep, and everything that
//! is stored.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use context::SubjectId;
use lethe::{
    app::rights::retention,
    jobs::{plan, run_due},
    server::Settings,
};
use poem::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    steps::{events_of, fields, let_pass, problem, sign_in, subject_of, submit_day},
    support::{Person, World, expect},
};

async fn rules(world: &World, person: &Person) -> BTreeMap<String, Value> {
    let answer = expect(world.get(person, "/v1/privacy/retention").await, StatusCode::OK).await;
    let rules = answer["rules"].as_array().expect("a list").iter();
    rules.map(|rule| (rule["kind"].as_str().expect("a kind").to_owned(), rule.clone())).collect()
}

async fn set(world: &World, person: &Person, kind: &str, days: Value) -> poem::test::TestResponse {
    world.put(person, format!("/v1/privacy/retention/{kind}"), &json!({ "data_retention_days": days })).await
}

#[tokio::test]
async fn retention_get_shows_what_is_due_before_it_is_removed_once_a_day() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    submit_day(&world, &anna, "2025-12-08").await;
    submit_day(&world, &ben, "2025-12-08").await;
    let before = rules(&world, &anna).await;
    assert_eq!(before["work_day"]["data_retention_days"], Value::Null, "as long as the account");
    assert_eq!(before["screening"]["data_retention_days"], 365, "the kind's own rule");
    for days in [json!(0), json!(36_501), json!("30")] {
        let wrong = set(&world, &anna, "work_day", days).await;
        let wrong = problem(wrong, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        assert_eq!(fields(&wrong), ["data_retention_days"]);
    }
    problem(set(&world, &anna, "contact", json!(30)).await, StatusCode::NOT_FOUND, "missing").await;
    problem(set(&world, &anna, "moods", json!(30)).await, StatusCode::NOT_FOUND, "missing").await;
    expect(set(&world, &anna, "work_day", json!(30)).await, StatusCode::OK).await;
    let mine = &rules(&world, &anna).await["work_day"];
    assert_eq!(
        (&mine["data_retention_days"], &mine["own"], &mine["due_count"]),
        (&Value::Null, &json!(false), &json!(0))
    );
    assert_eq!(mine["waiting"]["data_retention_days"], 30, "what keeps shorter waits: {mine}");
    assert!(mine["next_due_at"].is_string());

    plan(&world.app).await.expect("planned");
    plan(&world.app).await.expect("planned once for all servers");
    assert_eq!(
        run_due(&world.app).await.expect("jobs run"),
        3,
        "nothing is due but to look, at ages, notices and quarters"
    );
    let_pass(&world, TimeDelta::days(20)).await;
    let anna = sign_in(&world, &anna.email).await;
    let mine = &rules(&world, &anna).await["work_day"];
    assert_eq!((&mine["data_retention_days"], &mine["own"], mine.get("waiting")), (&json!(30), &json!(true), None));
    submit_day(&world, &anna, "2025-12-09").await;
    let_pass(&world, TimeDelta::days(11)).await;
    let anna = sign_in(&world, &anna.email).await;
    assert_eq!(rules(&world, &anna).await["work_day"]["due_count"], 1, "the preview says so before it happens");
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 4, "the looks, and one person's work");
    let left = expect(world.get(&anna, "/v1/work-events/me").await, StatusCode::OK).await;
    assert_eq!(left["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["events"][0]["date"], "2025-12-09");
    assert_eq!(events_of(&world, &anna).await.iter().filter(|event| *event == "record.removed").count(), 1);
    let ben = sign_in(&world, &ben.email).await;
    let kept = expect(world.get(&ben, "/v1/work-events/me").await, StatusCode::OK).await;
    assert_eq!(kept["events"].as_array().map(Vec::len), Some(1), "one person's rule is nobody else's");
    expect(set(&world, &anna, "work_day", Value::Null).await, StatusCode::OK).await;
    assert_eq!(rules(&world, &anna).await["work_day"]["own"], false);
}

#[tokio::test]
async fn retention_set_leaves_time_to_take_a_rule_back_before_it_removes_anything() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    submit_day(&world, &anna, "2025-12-08").await;
    let_pass(&world, TimeDelta::days(40)).await;
    let anna = sign_in(&world, &anna.email).await;
    expect(set(&world, &anna, "work_day", json!(1)).await, StatusCode::OK).await;
    plan(&world.app).await.expect("planned");
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 3, "the rule is younger than the grace");
    assert_eq!(rules(&world, &anna).await["work_day"]["due_count"], 0);
    let_pass(&world, TimeDelta::hours(48)).await;
    let anna = sign_in(&world, &anna.email).await;
    assert_eq!(rules(&world, &anna).await["work_day"]["due_count"], 1);
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 4);
    let left = expect(world.get(&anna, "/v1/work-events/me").await, StatusCode::OK).await;
    assert_eq!(left["events"].as_array().map(Vec::len), Some(0));
}

/// How many days a person still has.
async fn days_left(world: &World, person: &Person) -> usize {
    let left = expect(world.get(person, "/v1/work-events/me").await, StatusCode::OK).await;
    left["events"].as_array().expect("a list").len()
}

/// A thief of a session can't remove records by a shorter rule: the person is told, and has a grace to set the rule
/// back.
#[tokio::test]
async fn retention_set_tells_of_a_shorter_rule_that_waits_however_often_it_is_set_and_is_taken_back() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    submit_day(&world, &anna, "2025-12-08").await;
    let_pass(&world, TimeDelta::days(40)).await;
    let mut anna = sign_in(&world, &anna.email).await;
    world.take_letters(&anna.email).await;
    expect(set(&world, &anna, "work_day", json!(1)).await, StatusCode::OK).await;
    let letter = world.take_letter(&anna.email, "kept for a shorter time").await;
    for told in ["will be kept for a shorter time", domain::kinds::WORK_DAY.title(), "as long as the account", "1 day"]
    {
        assert!(letter.contains(told), "{told}: {letter}");
    }
    plan(&world.app).await.expect("planned");
    for days in [2, 1, 3] {
        let_pass(&world, TimeDelta::hours(47)).await;
        anna = sign_in(&world, &anna.email).await;
        expect(set(&world, &anna, "work_day", json!(days)).await, StatusCode::OK).await;
        let rule = &rules(&world, &anna).await["work_day"];
        assert_eq!((rule.get("data_retention_days"), &rule["own"]), (None, &json!(false)), "the older rule counts");
        assert_eq!(rule["waiting"]["data_retention_days"], days);
        assert!(run_due(&world.app).await.expect("jobs run") > 0, "the daily looks");
        assert_eq!(days_left(&world, &anna).await, 1, "each waits anew");
    }
    world.take_letters(&anna.email).await;
    expect(set(&world, &anna, "work_day", Value::Null).await, StatusCode::OK).await;
    assert_eq!(rules(&world, &anna).await["work_day"].get("waiting"), None);
    assert_eq!(world.take_letters(&anna.email).await.len(), 0, "what keeps longer needs no letter");
    let_pass(&world, TimeDelta::days(30)).await;
    assert!(run_due(&world.app).await.expect("jobs run") > 0);
    assert_eq!(days_left(&world, &sign_in(&world, &anna.email).await).await, 1);
}

/// Returning to the kind's own rule may shorten the time that counted before. Such a return waits too, on every server.
#[tokio::test]
async fn retention_set_back_to_the_shorter_rule_of_the_kind_waits_as_well() {
    let world = World::new().await;
    let settings = Settings { connections: 4, ..Settings::new(world.folder.clone(), world.clock.clone()) };
    let servers = [world.app.clone(), world.another(&settings).await];
    let anna = world.person_with("anna", json!({ "consents": ["hearing"] })).await;
    let screening = domain::kinds::SCREENING.example().into_inner();
    expect(world.put(&anna, "/v1/records/screening", &screening).await, StatusCode::CREATED).await;
    expect(set(&world, &anna, "screening", json!(500)).await, StatusCode::OK).await;
    assert_eq!(rules(&world, &anna).await["screening"]["data_retention_days"], 500, "what keeps longer counts at once");
    let_pass(&world, TimeDelta::days(400)).await;
    let anna = sign_in(&world, &anna.email).await;
    expect(set(&world, &anna, "screening", Value::Null).await, StatusCode::OK).await;
    let rule = rules(&world, &anna).await["screening"].clone();
    assert_eq!(
        (&rule["data_retention_days"], &rule["own"], &rule["due_count"]),
        (&json!(500), &json!(true), &json!(0))
    );
    assert_eq!(rule["waiting"]["data_retention_days"], 365, "{rule}");
    let subject = SubjectId(subject_of(&world, &anna).await);
    let work = async || {
        plan(&world.app).await.expect("planned");
        for server in &servers {
            run_due(server).await.expect("jobs run");
            retention::run(server, subject).await.expect("it looks at once");
        }
        let held = "SELECT count(*) FROM read.records WHERE subject_id = $1 AND kind = 'screening'";
        world.superuser().await.query_one(held, &[&subject.0]).await.expect("counted").get::<_, i64>(0)
    };
    assert_eq!(work().await, 1, "within the grace");
    let_pass(&world, TimeDelta::hours(48)).await;
    assert_eq!(work().await, 0, "behind it");
}

/// The letters are limited, but setting a rule back is not.
#[tokio::test]
async fn retention_set_takes_a_rule_back_when_the_letters_are_used_up() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let mut refused = 0;
    for number in 0..60 {
        let answer = set(&world, &anna, "work_day", json!(1 + number % 2)).await;
        if answer.0.status() == StatusCode::TOO_MANY_REQUESTS {
            problem(answer, StatusCode::TOO_MANY_REQUESTS, "limited").await;
            refused += 1;
        } else {
            expect(answer, StatusCode::OK).await;
        }
    }
    assert!(refused > 0, "the letters are used up");
    expect(set(&world, &anna, "work_day", Value::Null).await, StatusCode::OK).await;
    assert_eq!(rules(&world, &anna).await["work_day"].get("waiting"), None);
}

#[tokio::test]
async fn very_many_people_are_due_at_once() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    submit_day(&world, &anna, "2025-12-08").await;
    let rule = json!({ "data_retention_days": 1 });
    expect(world.put(&anna, "/v1/privacy/retention/work_day", &rule).await, StatusCode::OK).await;
    let many = "INSERT INTO vault.subjects SELECT gen_random_uuid(), 1, 1, '', '', '' FROM generate_series(1, 100);
        INSERT INTO vault.records SELECT subject_id, gen_random_uuid(), 'screening', '', NULL, '' FROM vault.subjects WHERE index_key = '';
        INSERT INTO read.records SELECT r.subject_id, record_id, kind, 1, 'record.submitted', '1.0', '{}', now(), now()
        FROM vault.records r JOIN vault.subjects s USING (subject_id) WHERE s.index_key = ''";
    world.superuser().await.batch_execute(many).await.expect("added");
    let_pass(&world, TimeDelta::days(366)).await;
    plan(&world.app).await.expect("planned");
    let looked = lethe::jobs::run_some(&world.app, 1).await.expect("the look");
    assert_eq!(looked, 1);
    let sql = "SELECT count(*) FROM jobs.jobs WHERE kind = 'retention'";
    assert_eq!(world.superuser().await.query_one(sql, &[]).await.expect("counted").get::<_, i64>(0), 101);
}

#[tokio::test]
async fn overview_get_says_what_a_fold_of_the_log_says() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for date in ["2025-12-08", "2025-12-09", "2025-12-10"] {
        submit_day(&world, &anna, date).await;
    }
    let list = expect(world.get(&anna, "/v1/work-events/me").await, StatusCode::OK).await;
    let id = list["events"][0]["event_id"].as_str().expect("an id");
    let removed = world.send(&anna, Method::DELETE, format!("/v1/records/work_day/{id}"), &Value::Null).await;
    assert!(removed.0.status().is_success());
    let full = json!({ "deletion_type": "full" });
    expect(world.post(&anna, "/v1/privacy/delete-data", &full).await, StatusCode::ACCEPTED).await;
    expect(set(&world, &anna, "work_day", json!(30)).await, StatusCode::OK).await;
    let overview = expect(world.get(&anna, "/v1/privacy/data-overview").await, StatusCode::OK).await;

    let log = world.superuser().await;
    let sql = "SELECT kind, count(*) FROM (
                   SELECT DISTINCT ON (aggregate_id) kind, event_type FROM log.events
                   WHERE subject_id = $1 AND aggregate_type = 'record' ORDER BY aggregate_id, sequence DESC) newest
               WHERE event_type <> 'record.removed' GROUP BY kind";
    let rows = log.query(sql, &[&subject_of(&world, &anna).await]).await.expect("the log is folded");
    let folded: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let kinds = overview["kinds"].as_array().expect("a list");
    assert_eq!(kinds.len(), domain::kinds::KINDS.len(), "every kind appears");
    for kind in kinds {
        let name = kind["kind"].as_str().expect("a name");
        assert_eq!(kind["count"], folded.get(name).copied().unwrap_or_default(), "{name}");
        assert_eq!(kind["last_changed_at"].is_string(), folded.contains_key(name), "{name}");
    }
    assert_eq!(folded["work_day"], 2);
    let sql = "SELECT min(recorded_at) + interval '30 days' FROM log.events e
               WHERE subject_id = $1 AND kind = 'work_day' AND event_type = 'record.submitted'
                 AND NOT EXISTS (SELECT FROM log.events r WHERE r.subject_id = $1 AND r.aggregate_id = e.aggregate_id
                                 AND r.event_type = 'record.removed')";
    let row = log.query_one(sql, &[&subject_of(&world, &anna).await]).await.expect("the log is folded");
    let due: chrono::DateTime<chrono::Utc> = row.get(0);
    let days = kinds.iter().find(|kind| kind["kind"] == "work_day").expect("it is there");
    let told: chrono::DateTime<chrono::Utc> = days["next_due_at"].as_str().expect("a time").parse().expect("a time");
    assert_eq!(told, due);
    let purposes = overview["purposes"].as_array().expect("a list");
    let granted: Vec<_> = purposes.iter().filter(|purpose| purpose["granted"] == true).collect();
    assert_eq!(granted.len(), 1);
    assert_eq!(granted[0]["purpose"], "work_hours");
    assert_eq!(overview["open_requests"]["deletions"].as_array().map(Vec::len), Some(1));
    assert_eq!((&overview["sessions"], &overview["keys"]["wrapping_key_version"]), (&json!(1), &json!(2)));
}
