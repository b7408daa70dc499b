//! The account: reading it, and rectifying the work profile. The address can't be rectified here.

use chrono::{DateTime, TimeDelta, Utc};
use poem::{http::StatusCode, test::TestResponse};
use serde_json::{Value, json};

use crate::{
    steps::{Answer, events_of, fields, let_pass, problem, state_of, version, versions},
    support::{Person, World, day, expect},
};

async fn me(world: &World, person: &Person) -> Answer {
    let answer = Answer::of(person.sign(world.client().get("/v1/auth/me")).send().await).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer
}

async fn patch(world: &World, person: &Person, body: &Value) -> TestResponse {
    person.sign(world.client().patch("/v1/auth/me").body_json(body)).send().await
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time is a text").parse().expect("a time has a zone")
}

#[tokio::test]
async fn account_get_shows_what_was_registered_and_when() {
    let world = World::new().await;
    let before = world.clock.now();
    let more = json!({ "consents": ["work_hours"], "country_code": "AUT", "time_zone": "Europe/Vienna" });
    let anna = world.person_with("anna", more).await;
    let seen = me(&world, &anna).await;
    let account = seen.json();
    let created_at = time(&account["created_at"]);
    assert!(before <= created_at && created_at <= world.clock.now(), "{created_at}");
    assert_eq!(
        account,
        json!({
            "user_id": anna.user_id, "email": "anna@klinik.example", "hospital_id": "klinikum-am-see",
            "specialty": "surgery", "role_level": "specialist", "state_code": "BY", "country_code": "AUT",
            "time_zone": "Europe/Vienna", "created_at": account["created_at"],
        })
    );
    assert_eq!(version(&seen), Some(1));
}

#[tokio::test]
async fn account_get_leaves_out_what_nobody_gave() {
    let world = World::new().await;
    let anna = world.person_with("anna", json!({ "state_code": null })).await;
    let account = me(&world, &anna).await.json();
    let names = account.as_object().expect("an account is an object");
    assert!(!names.contains_key("state_code") && !names.contains_key("last_submission_at"), "{account}");
}

#[tokio::test]
async fn account_get_shows_the_newest_change_of_a_day_as_the_last_submission() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let today = world.clock.now().date_naive();
    let client = world.client();
    let mut last = None;
    for (days_ago, actual) in [(0, 8.0), (3, 8.0), (0, 9.0)] {
        let date = (today - TimeDelta::days(days_ago)).to_string();
        let answer = anna.sign(client.post("/v1/work-events/daily").body_json(&day(&date, 8.0, actual))).send().await;
        let stored = Answer::of(answer).await.json();
        let seen = time(&me(&world, &anna).await.json()["last_submission_at"]);
        assert_eq!(seen, time(&stored["updated_at"]));
        assert!(last.is_none_or(|last| last < seen));
        last = Some(seen);
    }
    // Submitting the same day again changes nothing, and rectifying the profile is no submission.
    let again = anna.sign(client.post("/v1/work-events/daily").body_json(&day(&today.to_string(), 8.0, 9.0)));
    expect(again.send().await, StatusCode::OK).await;
    expect(patch(&world, &anna, &json!({ "hospital_id": "anderswo" })).await, StatusCode::OK).await;
    let account = me(&world, &anna).await.json();
    assert_eq!(Some(time(&account["last_submission_at"])), last);
    expect(anna.sign(client.delete("/v1/work-events/me")).send().await, StatusCode::OK).await;
    assert_eq!(me(&world, &anna).await.json()["last_submission_at"], Value::Null);
}

#[tokio::test]
async fn account_rectify_changes_each_field_by_one_event_and_nothing_else() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let mut account = me(&world, &anna).await.json();
    let changes = [
        ("hospital_id", "universitaetsklinikum-2"),
        ("specialty", "paediatrics"),
        ("role_level", "chief"),
        ("state_code", "HH"),
        ("country_code", "CHE"),
        ("time_zone", "Europe/Zurich"),
    ];
    for (number, (field, value)) in changes.into_iter().enumerate() {
        let answer = Answer::of(patch(&world, &anna, &json!({ field: value })).await).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        account[field] = json!(value);
        assert_eq!(answer.json(), account, "the answer shows the account as it is now");
        assert_eq!(version(&answer), u32::try_from(number + 2).ok());
        let seen = me(&world, &anna).await;
        assert_eq!((seen.json(), seen.header("etag")), (account.clone(), answer.header("etag")));
        let events = events_of(&world, &anna).await;
        let amended = events.iter().filter(|name| *name == "record.amended").count();
        assert_eq!(amended, number + 1, "{events:?}");
    }
    let path = "/v1/privacy/audit-log?action=record.amended";
    let log = expect(anna.sign(world.client().get(path)).send().await, StatusCode::OK).await;
    let entries = log["entries"].as_array().expect("entries are a list");
    assert_eq!(entries.len(), changes.len());
    assert!(entries.iter().all(|entry| entry["table_name"] == "work_profile" && entry["actor"] == "subject"), "{log}");
    // Several fields at once are one change.
    let both = json!({ "hospital_id": "klinikum-am-see", "state_code": "BY" });
    expect(patch(&world, &anna, &both).await, StatusCode::OK).await;
    assert_eq!(version(&me(&world, &anna).await), Some(8));
}

#[tokio::test]
async fn account_rectify_with_nothing_new_changes_nothing() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for body in [json!({}), json!({ "hospital_id": "klinikum-am-see" }), json!({ "specialty": "surgery" })] {
        let answer = Answer::of(patch(&world, &anna, &body).await).await;
        assert_eq!((answer.status, version(&answer)), (StatusCode::OK, Some(1)), "{body}");
        assert_eq!(answer.json()["specialty"], "surgery");
    }
    assert_eq!(state_of(&client).await, before);
}

#[tokio::test]
async fn account_rectify_refuses_a_change_of_an_older_version() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let first = me(&world, &anna).await.header("etag").expect("a tag").to_owned();
    let rectify = async |tag: &str, hospital: &str| {
        let (request, tag) = (world.client(), versions(tag, &first));
        let request =
            request.patch("/v1/auth/me").header("if-match", tag).body_json(&json!({ "hospital_id": hospital }));
        anna.sign(request).send().await
    };
    expect(rectify("\"1\"", "erstes-haus").await, StatusCode::OK).await;
    problem(rectify("\"1\"", "zweites-haus").await, StatusCode::PRECONDITION_FAILED, "changed").await;
    problem(rectify("\"3\"", "zweites-haus").await, StatusCode::PRECONDITION_FAILED, "changed").await;
    assert_eq!(me(&world, &anna).await.json()["hospital_id"], "erstes-haus");
    // A patch that changes nothing is refused too when its tag is old, because the caller has not seen the newest
    // version.
    problem(rectify("\"1\"", "erstes-haus").await, StatusCode::PRECONDITION_FAILED, "changed").await;
    expect(rectify("\"2\"", "zweites-haus").await, StatusCode::OK).await;
    expect(rectify("*", "drittes-haus").await, StatusCode::OK).await;
    for tag in ["3", "\"x\"", "W/\"4\"", "\"\""] {
        let answer = Answer::of(rectify(tag, "viertes-haus").await).await;
        assert!(answer.status.is_client_error(), "{tag}: {}", answer.status);
    }
    assert_eq!(me(&world, &anna).await.json()["hospital_id"], "drittes-haus");
}

#[tokio::test]
async fn account_rectify_never_changes_the_address() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for (field, value) in [
        ("email", json!("mallory@klinik.example")),
        ("user_id", json!("00000000-0000-0000-0000-000000000000")),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("code", json!("123456")),
        ("consents", json!(["statistics"])),
    ] {
        let answer = patch(&world, &anna, &json!({ "hospital_id": "anderswo", field: value })).await;
        let refused = problem(answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        assert_eq!(fields(&refused), [field]);
    }
    assert_eq!(state_of(&client).await, before);
    assert_eq!(me(&world, &anna).await.json()["email"], "anna@klinik.example");
}

#[tokio::test]
async fn account_rectify_refuses_wrong_values_and_names_them_all() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let long = "a".repeat(65);
    for (field, value) in [
        ("hospital_id", json!("a")),
        ("hospital_id", json!(long)),
        ("hospital_id", json!("Klinikum")),
        ("hospital_id", json!("1-klinik")),
        ("hospital_id", json!("klinik am see")),
        ("hospital_id", json!(7)),
        ("specialty", json!("astrology")),
        ("role_level", json!("SENIOR")),
        ("state_code", json!("XX")),
        ("country_code", json!("de")),
        ("country_code", json!("DE1")),
        ("time_zone", json!("Mars/Olympus_Mons")),
        ("time_zone", json!("+02:00")),
    ] {
        let answer = patch(&world, &anna, &json!({ field: value })).await;
        let refused = problem(answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        assert_eq!(fields(&refused), [field], "{value}");
    }
    let several = json!({ "hospital_id": "!", "country_code": "x", "time_zone": "y" });
    let refused =
        problem(patch(&world, &anna, &several).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    assert_eq!(fields(&refused), ["country_code", "hospital_id", "time_zone"]);
    assert_eq!(state_of(&client).await, before);
}

#[tokio::test]
async fn account_rectify_names_faults_of_form_and_faults_of_rule_together() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let mixed = json!({ "hospital_id": "!", "specialty": "astrology" });
    let refused = problem(patch(&world, &anna, &mixed).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    let mut named = fields(&refused);
    named.sort_unstable();
    assert_eq!(named, ["hospital_id", "specialty"], "every fault is named at once");
}

#[tokio::test]
async fn account_rectify_of_the_time_zone_counts_from_the_next_access_token_on() {
    let world = World::new().await;
    let noon =
        world.clock.now().date_naive().and_hms_opt(12, 0, 0).expect("noon is a time").and_utc() + TimeDelta::days(1);
    let_pass(&world, noon - world.clock.now()).await;
    let anna = world.person("anna").await;
    let tomorrow = (noon.date_naive() + TimeDelta::days(1)).to_string();
    let submit = async |person: &Person| {
        let client = world.client();
        person.sign(client.post("/v1/work-events/daily").body_json(&day(&tomorrow, 8.0, 8.0))).send().await
    };
    expect(patch(&world, &anna, &json!({ "time_zone": "Pacific/Kiritimati" })).await, StatusCode::OK).await;
    problem(submit(&anna).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    let body = json!({ "refresh_token": anna.refresh_token });
    let grant = expect(world.client().post("/v1/auth/refresh").body_json(&body).send().await, StatusCode::OK).await;
    expect(submit(&Person::new(anna.email, &grant)).await, StatusCode::CREATED).await;
}

#[tokio::test]
async fn account_get_shows_an_account_to_its_holder_only() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    expect(patch(&world, &ben, &json!({ "hospital_id": "bens-haus" })).await, StatusCode::OK).await;
    let (a, b) = (me(&world, &anna).await.json(), me(&world, &ben).await.json());
    assert_eq!((&a["hospital_id"], &b["hospital_id"]), (&json!("klinikum-am-see"), &json!("bens-haus")));
    assert_ne!(a["user_id"], b["user_id"]);
    let client = world.client();
    problem(client.get("/v1/auth/me").send().await, StatusCode::UNAUTHORIZED, "signed-out").await;
    let body = json!({ "hospital_id": "niemandes-haus" });
    let answer = client.patch("/v1/auth/me").body_json(&body).send().await;
    problem(answer, StatusCode::UNAUTHORIZED, "signed-out").await;
}
