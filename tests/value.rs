//! Numbers, times and nulls have the meaning of JSON Schema, RFC 3339 and RFC 7396.

use context::Role;
use lethe::app::identity::staff;
use poem::http::{StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::{
    export::{consent, word},
    steps::{Answer, fields, problem, sign_in, state_of, submit_day},
    support::{Person, World, expect},
};

/// Sends a body exactly as it is written, because `json!` would write it differently.
async fn raw(world: &World, person: &Person, method: &str, path: &str, key: Option<&str>, body: &str) -> Answer {
    let client = world.client();
    let mut request = client.request(method.parse().expect("a method"), path).content_type("application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    Answer::of(person.sign(request.body(body.to_owned())).send().await).await
}

/// An operation, its body with a number in it, three spellings of one number, a number with a fraction, and the field.
type Case<'a> = (&'a str, &'a str, &'a dyn Fn(&str) -> String, [&'a str; 3], &'a str, &'a str);

#[tokio::test]
async fn whole_numbers_may_be_written_with_a_point_or_an_exponent() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for purpose in ["hearing", "wordbook"] {
        consent(&world, &anna, purpose, true).await;
    }
    let day = |minutes: &str| {
        format!(r#"{{"date":"2025-12-08","planned_minutes":{minutes},"actual_minutes":500,"source":"manual"}}"#)
    };
    let record = |minutes: &str| day(minutes).replace("2025-12-08", "2025-12-09");
    let hearing = |hz: &str| {
        format!(
            r#"{{"taken_at":"2026-01-15T09:30:00Z","test_type":"pure_tone","right":[],"left":[{{"frequency_hz":{hz},"threshold_db":-0}}]}}"#
        )
    };
    let keep = |days: &str| format!(r#"{{"data_retention_days":{days}}}"#);
    let cases: [Case<'_>; 4] = [
        ("POST", "/v1/work-events/daily", &day, ["480", "480.0", "4.8e2"], "480.5", "planned_minutes"),
        ("PUT", "/v1/records/work_day", &record, ["480", "480.0", "4.8e2"], "480.5", "planned_minutes"),
        ("PUT", "/v1/records/screening", &hearing, ["1000", "1000.0", "1E+3"], "1000.5", "left[0].frequency_hz"),
        ("PUT", "/v1/privacy/retention/work_day", &keep, ["400", "400.0", "40000e-2"], "400.5", "data_retention_days"),
    ];
    for (method, path, body, same, fraction, field) in cases {
        let mut answers = Vec::new();
        for number in same {
            let answer = raw(&world, &anna, method, path, None, &body(number)).await;
            assert!(answer.status.is_success(), "{path} {number}: {}", answer.text);
            answers.push(answer.json());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{path}: {answers:?}");
        let client = world.superuser().await;
        let before = state_of(&client).await;
        for wrong in [fraction, "1e300", "9007199254740994.0", "-1.0", "\"480.0\""] {
            let refused = raw(&world, &anna, method, path, None, &body(wrong)).await;
            assert_eq!(fields(&refused.problem(StatusCode::UNPROCESSABLE_ENTITY)), [field], "{path} {wrong}");
        }
        let beyond = raw(&world, &anna, method, path, None, &body("1e400")).await;
        beyond.problem(StatusCode::BAD_REQUEST);
        assert_eq!(state_of(&client).await, before, "{path}");
    }
    // Two spellings of a request are one request.
    for (method, path, body) in
        [("POST", "/v1/work-events/daily", &day as &dyn Fn(&str) -> String), ("PUT", "/v1/records/work_day", &record)]
    {
        let first = raw(&world, &anna, method, path, Some("one"), &body("470")).await;
        let again = raw(&world, &anna, method, path, Some("one"), &body("4.70e2")).await;
        assert_eq!((again.status, again.json()), (first.status, first.json()), "{path}");
        raw(&world, &anna, method, path, Some("one"), &body("471")).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
    // The same holds for parameters.
    submit_day(&world, &anna, "2025-12-10").await;
    expect(world.put(&anna, "/v1/records/wordbook_entry", &word("w1", "hej")).await, StatusCode::CREATED).await;
    for path in ["/v1/work-events/me", "/v1/records/work_day", "/v1/privacy/audit-log"] {
        for limit in ["2", "2.0", "2e0", "0.2e1"] {
            let page = expect(world.get(&anna, format!("{path}?limit={limit}")).await, StatusCode::OK).await;
            let entries = page.as_object().expect("an object").values().find_map(Value::as_array).map(Vec::len);
            assert_eq!(entries, Some(2), "{path} {limit}");
        }
        for wrong in ["2.5", "-2", "x", "", "2e40", "4294967296"] {
            let refused = Answer::of(world.get(&anna, format!("{path}?limit={wrong}")).await).await;
            assert_eq!(fields(&refused.problem(StatusCode::UNPROCESSABLE_ENTITY)), ["limit"], "{path} {wrong:?}");
        }
    }
}

#[tokio::test]
async fn hours_are_numbers_from_0_to_24() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let day =
        |hours: &str| format!(r#"{{"date":"2025-12-08","planned_hours":{hours},"actual_hours":8,"source":"manual"}}"#);
    for (hours, minutes) in
        [("8.5", 510), ("8.5e0", 510), ("85E-1", 510), ("-0", 0), ("-0.0", 0), ("24.0", 1440), ("8.333", 500)]
    {
        let answer = raw(&world, &anna, "POST", "/v1/work-events/daily", None, &day(hours)).await;
        assert!(answer.status.is_success(), "{hours}: {}", answer.text);
        assert_eq!(answer.json()["planned_minutes"], minutes, "{hours}");
    }
    for wrong in ["-0.01", "24.01", "1e2", "\"8.5e0\"", "\"-0\"", "\"+8\"", "\" 8\"", "\"8,5\"", "\"NaN\"", "\"\""] {
        let refused = raw(&world, &anna, "POST", "/v1/work-events/daily", None, &day(wrong)).await;
        assert_eq!(fields(&refused.problem(StatusCode::UNPROCESSABLE_ENTITY)), ["planned_hours"], "{wrong}");
    }
}

#[tokio::test]
async fn a_second_60_is_refused_wherever_a_time_is_read() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for purpose in ["hearing", "wordbook"] {
        consent(&world, &anna, purpose, true).await;
    }
    staff::add(&world.app, "carla@lethe.example", Role::Compliance).await.expect("added");
    let carla = sign_in(&world, "carla@lethe.example").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let breach = |at: &str| json!({ "reference": "INC-1", "nature": ["integrity"], "kinds": ["work_day"], "began_at": at, "risk": "low" });
    for time in ["2026-03-02T10:15:60Z", "2016-12-31T23:59:60Z", "2026-03-02T24:00:00Z", "2026-03-02T10:15:00+24:00"] {
        let mut hearing = domain::kinds::SCREENING.example().into_inner();
        hearing["taken_at"] = json!(time);
        let mut due = word("w1", "hej");
        due["next_passive_review_time"] = json!(time);
        for (field, path, body) in [
            ("taken_at", "/v1/records/screening", hearing),
            ("next_passive_review_time", "/v1/records/wordbook_entry", due),
        ] {
            let refused =
                problem(world.put(&anna, path, &body).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input");
            assert_eq!(fields(&refused.await), [field], "{time}");
        }
        let refused = world.post(&carla, "/v1/compliance/breaches", &breach(time)).await;
        let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        assert!(fields(&refused).contains(&"began_at"), "{time}: {refused}");
        let encoded = time.replace('+', "%2B");
        for (person, path) in [(&anna, "/v1/privacy/audit-log"), (&carla, "/v1/compliance/trail")] {
            for name in ["from", "to"] {
                let refused = Answer::of(world.get(person, format!("{path}?{name}={encoded}")).await).await;
                assert!(refused.status.is_client_error(), "{path} {time}: {}", refused.text);
                assert_eq!(fields(&refused.problem(refused.status)), [name], "{path} {time}");
            }
        }
    }
    assert_eq!(state_of(&client).await, before);
    let small = json!({ "taken_at": "2026-01-15t09:30:00z", "test_type": "pure_tone", "right": [],
                        "left": [{ "frequency_hz": 1000, "threshold_db": 20 }] });
    let stored = expect(world.put(&anna, "/v1/records/screening", &small).await, StatusCode::CREATED).await;
    assert_eq!(stored["body"]["taken_at"], "2026-01-15T09:30:00Z");
}

#[tokio::test]
async fn null_in_a_patch_removes_what_may_be_absent_and_nothing_else() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let patch = async |content_type: &str, body: &Value| {
        let client = world.client();
        let request = client.patch("/v1/auth/me").header(CONTENT_TYPE, content_type).body(body.to_string());
        Answer::of(anna.sign(request).send().await).await
    };
    let merge_patch = "application/merge-patch+json";
    let account = patch(merge_patch, &json!({ "role_level": "senior" })).await;
    assert_eq!(
        (account.status, &account.json()["state_code"]),
        (StatusCode::OK, &json!("BY")),
        "absent stays as it is"
    );
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for field in ["hospital_id", "specialty", "role_level", "country_code", "time_zone"] {
        let refused = patch(merge_patch, &json!({ field: null, "state_code": null })).await;
        assert_eq!(fields(&refused.problem(StatusCode::UNPROCESSABLE_ENTITY)), [field], "{}", refused.text);
    }
    let unknown = patch(merge_patch, &json!({ "nickname": null })).await;
    assert_eq!(fields(&unknown.problem(StatusCode::UNPROCESSABLE_ENTITY)), ["nickname"]);
    for content_type in ["text/json", "application/json-patch+json", "application/merge-patch", "application/xml"] {
        patch(content_type, &json!({ "state_code": null })).await.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    assert_eq!(state_of(&client).await, before);
    for content_type in ["application/json", "Application/Merge-Patch+JSON; charset=utf-8"] {
        let removed = patch(content_type, &json!({ "state_code": null })).await;
        assert_eq!(removed.status, StatusCode::OK, "{}", removed.text);
        assert_eq!(removed.json().get("state_code"), None, "{content_type}");
        let seen = expect(world.get(&anna, "/v1/auth/me").await, StatusCode::OK).await;
        assert_eq!((seen.get("state_code"), &seen["role_level"]), (None, &json!("senior")));
        let given = patch(content_type, &json!({ "state_code": "HH" })).await;
        assert_eq!(given.json()["state_code"], "HH");
    }
    // Operations other than patches do not accept the media type.
    let day = json!({ "date": "2025-12-08", "planned_hours": 8, "actual_hours": 8, "source": "manual" });
    let client = world.client();
    let request = client.post("/v1/work-events/daily").header(CONTENT_TYPE, merge_patch).body(day.to_string());
    Answer::of(anna.sign(request).send().await).await.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
