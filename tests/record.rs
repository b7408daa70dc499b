//! Records of every kind through one API: consent first; then submitted, amended, read and removed by their owner
//! alone.

use poem::{
    http::{Method, StatusCode},
    test::TestResponse,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    steps::{Answer, events_of, fields, problem, state_of, version, versions},
    support::{Person, World, expect},
};

/// A word that bad requests hold wherever they can, and that no answer may repeat.
const MARK: &str = "Zebrafink4711";

/// A kind with its purpose, a body, and another body for the same record.
struct Journey {
    kind: &'static str,
    purpose: &'static str,
    body: Value,
    other: Value,
}

fn screening(taken_at: &str, threshold_db: i64) -> Value {
    json!({
        "taken_at": taken_at, "test_type": "pure_tone", "right": [],
        "left": [{ "frequency_hz": 1000, "threshold_db": threshold_db }, { "frequency_hz": 8000, "threshold_db": 35 }],
    })
}

pub fn word(word_id: &str, reviews: u32) -> Value {
    json!({
        "word_id": word_id, "lemma": "hej", "part_of_speech": "interjection", "passive_review_count": reviews,
        "next_passive_review_time": "2025-11-01T00:00:00Z", "active_review_count": 0,
    })
}

fn journeys() -> [Journey; 4] {
    [
        Journey {
            kind: "screening",
            purpose: "hearing",
            body: screening("2026-01-15T09:30:00Z", 20),
            other: screening("2026-01-15T09:30:00Z", 25),
        },
        Journey {
            kind: "demographics",
            purpose: "demographics",
            body: json!({ "name": "Anna", "age_group": "30_to_44" }),
            other: json!({ "surname": "Anders", "gender": "not_said" }),
        },
        Journey { kind: "wordbook_entry", purpose: "wordbook", body: word("w-1", 5), other: word("w-1", 6) },
        Journey {
            kind: "wordbook_settings",
            purpose: "wordbook",
            body: json!({ "auto_new_review": 2, "daily_new_review_count": 10 }),
            other: json!({ "auto_new_review": 0, "daily_new_review_count": 0 }),
        },
    ]
}

async fn call(world: &World, person: &Person, method: Method, path: &str, body: Option<&Value>) -> TestResponse {
    let client = world.client();
    let mut request = person.sign(client.request(method, format!("/v1/records/{path}")));
    if let Some(body) = body {
        request = request.body_json(body);
    }
    request.send().await
}

async fn put(world: &World, person: &Person, kind: &str, body: &Value) -> TestResponse {
    call(world, person, Method::PUT, kind, Some(body)).await
}

/// Submits with one additional header field.
async fn put_with(world: &World, person: &Person, kind: &str, body: &Value, name: &str, value: &str) -> Answer {
    let client = world.client();
    let request = client.put(format!("/v1/records/{kind}")).header(name, value).body_json(body);
    Answer::of(person.sign(request).send().await).await
}

async fn list(world: &World, person: &Person, path: &str) -> Value {
    expect(call(world, person, Method::GET, path, None).await, StatusCode::OK).await
}

/// The bodies of the records in a list.
async fn bodies(world: &World, person: &Person, path: &str) -> Vec<Value> {
    let listed = list(world, person, path).await;
    listed["records"].as_array().expect("a list").iter().map(|record| record["body"].clone()).collect()
}

async fn consent(world: &World, person: &Person, purpose: &str) {
    let client = world.client();
    let request = client.put(format!("/v1/consents/{purpose}")).body_json(&json!({ "granted": true }));
    expect(person.sign(request).send().await, StatusCode::OK).await;
}

impl Journey {
    /// Consents, submits the body, and returns the answer.
    async fn begin(&self, world: &World, anna: &Person) -> Value {
        let refused = put(world, anna, self.kind, &self.body).await;
        let refused = problem(refused, StatusCode::FORBIDDEN, "consent-needed").await;
        assert_eq!(refused["purpose"], self.purpose);
        consent(world, anna, self.purpose).await;
        let made = Answer::of(put(world, anna, self.kind, &self.body).await).await;
        assert_eq!((made.status, version(&made)), (StatusCode::CREATED, Some(1)), "{}", made.text);
        let made = made.json();
        assert_eq!((&made["kind"], &made["body"]), (&json!(self.kind), &self.body));
        made
    }

    async fn amend(&self, world: &World, anna: &Person, made: &Value) {
        let same = Answer::of(put(world, anna, self.kind, &self.body).await).await;
        assert_eq!((same.status, version(&same)), (StatusCode::OK, Some(1)), "{}", same.text);
        assert_eq!(same.json(), *made, "the same again changes nothing");
        let amended = Answer::of(put(world, anna, self.kind, &self.other).await).await;
        assert_eq!((amended.status, version(&amended)), (StatusCode::OK, Some(2)), "{}", amended.text);
        let tag = amended.header("etag").expect("a tag").to_owned();
        let amended = amended.json();
        assert_eq!((&amended["record_id"], &amended["body"]), (&made["record_id"], &self.other));
        assert_eq!(amended["submitted_at"], made["submitted_at"]);
        let late = put_with(world, anna, self.kind, &self.body, "if-match", &versions("\"1\"", &tag)).await;
        late.problem(StatusCode::PRECONDITION_FAILED);
        let fresh = put_with(world, anna, self.kind, &self.body, "if-match", &tag).await;
        assert_eq!((fresh.status, version(&fresh)), (StatusCode::OK, Some(3)), "{}", fresh.text);
    }

    async fn is_annas_own(&self, world: &World, anna: &Person, ben: &Person, made: &Value) {
        let path = format!("{}/{}", self.kind, made["record_id"].as_str().expect("an id"));
        let shown = Answer::of(call(world, anna, Method::GET, &path, None).await).await;
        assert_eq!((shown.status, version(&shown)), (StatusCode::OK, Some(3)), "{}", shown.text);
        assert_eq!(shown.json()["body"], self.body);
        assert_eq!(bodies(world, anna, self.kind).await, std::slice::from_ref(&self.body));
        assert!(bodies(world, ben, self.kind).await.is_empty());
        let unknown = format!("{}/{}", self.kind, Uuid::nil());
        let elsewhere = format!("work_day/{}", made["record_id"].as_str().expect("an id"));
        for (somebody, path) in [(ben, &path), (anna, &unknown), (anna, &elsewhere)] {
            for method in [Method::GET, Method::DELETE] {
                let answer = call(world, somebody, method, path, None).await;
                problem(answer, StatusCode::NOT_FOUND, "missing").await;
            }
        }
    }

    async fn end(&self, world: &World, anna: &Person, made: &Value) {
        let path = format!("{}/{}", self.kind, made["record_id"].as_str().expect("an id"));
        expect(call(world, anna, Method::DELETE, &path, None).await, StatusCode::NO_CONTENT).await;
        for method in [Method::GET, Method::DELETE] {
            problem(call(world, anna, method, &path, None).await, StatusCode::NOT_FOUND, "missing").await;
        }
        assert!(bodies(world, anna, self.kind).await.is_empty());
        let again = expect(put(world, anna, self.kind, &self.body).await, StatusCode::CREATED).await;
        assert_ne!(again["record_id"], made["record_id"], "what is gone does not come back");
    }
}

#[tokio::test]
async fn record_submit_takes_a_record_of_each_kind_that_is_then_amended_seen_and_removed() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    for journey in journeys() {
        // Consent for one kind must not count for the next.
        if journey.kind == "wordbook_settings" {
            let client = world.client();
            let withdrawal = client.put("/v1/consents/wordbook").body_json(&json!({ "granted": false }));
            expect(anna.sign(withdrawal).send().await, StatusCode::OK).await;
        }
        let before = events_of(&world, &anna).await.len();
        let made = journey.begin(&world, &anna).await;
        journey.amend(&world, &anna, &made).await;
        journey.is_annas_own(&world, &anna, &ben, &made).await;
        journey.end(&world, &anna, &made).await;
        let events = events_of(&world, &anna).await;
        let records: Vec<_> = events[before..].iter().filter(|event| event.starts_with("record.")).collect();
        let expected = ["submitted", "amended", "amended", "removed", "submitted"].map(|what| format!("record.{what}"));
        assert_eq!(records, expected.iter().collect::<Vec<_>>(), "{}", journey.kind);
    }
}

#[tokio::test]
async fn kind_list_shows_a_sample_of_every_kind_that_is_accepted_as_it_is() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let shown = expect(world.client().get("/v1/records/kinds").send().await, StatusCode::OK).await;
    let kinds = shown["kinds"].as_array().expect("a list");
    let names: Vec<&str> = kinds.iter().map(|kind| kind["name"].as_str().expect("a name")).collect();
    let known = ["work_profile", "work_day", "screening", "demographics", "wordbook_entry", "wordbook_settings"];
    assert_eq!(names, known, "the contact is not among them");
    for kind in kinds {
        if let Some(purpose) = kind["purpose"].as_str() {
            consent(&world, &anna, purpose).await;
        }
        let name = kind["name"].as_str().expect("a name");
        let status = if name == "work_profile" { StatusCode::OK } else { StatusCode::CREATED };
        let stored = expect(put(&world, &anna, name, &kind["sample"]).await, status).await;
        assert_eq!(stored["body"], kind["sample"]);
        assert_eq!(bodies(&world, &anna, name).await, [kind["sample"].clone()]);
    }
    let screening = kinds.iter().find(|kind| kind["name"] == "screening").expect("it is there");
    assert_eq!(
        (&screening["dated"], &screening["retention_days"], &screening["for_guests"], &screening["key_field"]),
        (&json!(true), &json!(365), &json!(true), &json!("taken_at"))
    );
}

#[tokio::test]
async fn record_submit_takes_two_spellings_for_the_same_record() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    consent(&world, &anna, "hearing").await;
    consent(&world, &anna, "wordbook").await;
    let made =
        expect(put(&world, &anna, "screening", &screening("2026-01-15T09:30:00Z", 20)).await, StatusCode::CREATED)
            .await;
    for spelled in ["2026-01-15T09:30:00.250Z", "2026-01-15T10:30:00+01:00"] {
        let again = expect(put(&world, &anna, "screening", &screening(spelled, 20)).await, StatusCode::OK).await;
        assert_eq!(again, made);
    }
    let mut spelled = word("w-1", 5);
    let made = expect(put(&world, &anna, "wordbook_entry", &spelled).await, StatusCode::CREATED).await;
    spelled["next_active_review_time"] = Value::Null;
    assert_eq!(expect(put(&world, &anna, "wordbook_entry", &spelled).await, StatusCode::OK).await, made);
}

#[tokio::test]
async fn record_list_shows_records_by_day_and_by_page() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    consent(&world, &anna, "hearing").await;
    consent(&world, &anna, "wordbook").await;
    let days = ["2026-02-03", "2025-11-30", "2026-01-01", "2025-12-31"];
    for day in days {
        let body = screening(&format!("{day}T10:00:00Z"), 20);
        expect(put(&world, &anna, "screening", &body).await, StatusCode::CREATED).await;
    }
    let listed = async |query: &str| -> Vec<String> {
        let found = bodies(&world, &anna, &format!("screening{query}")).await;
        found.iter().map(|body| body["taken_at"].as_str().expect("a time")[..10].to_owned()).collect()
    };
    assert_eq!(listed("").await, ["2025-11-30", "2025-12-31", "2026-01-01", "2026-02-03"]);
    assert_eq!(listed("?from=2025-12-31&to=2026-01-01").await, ["2025-12-31", "2026-01-01"]);
    assert_eq!(listed("?from=2026-01-01").await, ["2026-01-01", "2026-02-03"]);
    assert!(listed("?to=2025-11-29").await.is_empty());

    for word_id in ["c", "a", "b"] {
        expect(put(&world, &anna, "wordbook_entry", &word(word_id, 0)).await, StatusCode::CREATED).await;
    }
    for (kind, count) in [("screening", 4), ("wordbook_entry", 3)] {
        let (mut seen, mut path) = (Vec::new(), format!("{kind}?limit=2"));
        loop {
            let page = list(&world, &anna, &path).await;
            let records = page["records"].as_array().expect("a list").clone();
            assert!((1..=2).contains(&records.len()));
            seen.extend(records);
            let Some(next) = page["next_cursor"].as_str() else { break };
            path = format!("{kind}?limit=2&cursor={next}");
        }
        let whole = list(&world, &anna, kind).await;
        assert_eq!((seen.len(), json!(seen)), (count, whole["records"].clone()), "{kind}");
    }
    let refused = call(&world, &anna, Method::GET, "wordbook_entry?to=2026-01-01", None).await;
    assert_eq!(fields(&problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await), ["to"]);
}

#[tokio::test]
async fn record_get_and_record_list_are_on_record() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    consent(&world, &anna, "hearing").await;
    let made = put(&world, &anna, "screening", &screening("2026-01-15T09:30:00Z", 20)).await;
    let made = expect(made, StatusCode::CREATED).await;
    let id = made["record_id"].as_str().expect("an id");
    list(&world, &anna, "screening?from=2026-01-01").await;
    list(&world, &anna, &format!("screening/{id}")).await;
    let log = anna.sign(world.client().get("/v1/privacy/audit-log?action=data.accessed")).send().await;
    let log = expect(log, StatusCode::OK).await;
    let entries = log["entries"].as_array().expect("a list").iter().filter(|entry| entry["table_name"] == "screening");
    let asked: Vec<_> = entries.map(|entry| entry["details"]["asked_for"].as_str().expect("a text")).collect();
    assert_eq!(asked, [id, "2026-01-01 to …"]);
}

#[tokio::test]
async fn record_submit_answers_a_repeated_request_as_the_first() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    consent(&world, &anna, "wordbook").await;
    let send = async |kind: &str, body: &Value| put_with(&world, &anna, kind, body, "idempotency-key", "k-1").await;
    let first = send("wordbook_entry", &word("w-1", 5)).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let again = send("wordbook_entry", &word("w-1", 5)).await;
    assert_eq!((again.status, again.json()), (StatusCode::CREATED, first.json()));
    let settings = json!({ "auto_new_review": 2, "daily_new_review_count": 10 });
    for (kind, body) in [("wordbook_entry", word("w-1", 6)), ("wordbook_settings", settings)] {
        let refused = send(kind, &body).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(refused["type"], "/problems/key-reused", "{refused}");
    }
}

/// Bad bodies by kind, and the fields that their refusals name.
fn bad_bodies() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let with = |body: Value, changes: Value| {
        let (Value::Object(mut body), Value::Object(changes)) = (body, changes) else { panic!("both are objects") };
        body.extend(changes);
        Value::Object(body)
    };
    let hearing = |changes: Value| with(screening("2026-01-15T09:30:00Z", 20), changes);
    let at = |hz: i64, db: Value| json!([{ "frequency_hz": hz, "threshold_db": db }]);
    vec![
        ("screening", json!({}), vec!["left", "right", "taken_at", "test_type"]),
        ("screening", hearing(json!({ "taken_at": MARK, "test_type": MARK })), vec!["taken_at", "test_type"]),
        ("screening", hearing(json!({ "taken_at": "2999-01-01T00:00:00Z" })), vec!["taken_at"]),
        ("screening", hearing(json!({ "left": [] })), vec!["left"]),
        ("screening", hearing(json!({ "left": at(1001, json!(20)) })), vec!["left[0].frequency_hz"]),
        ("screening", hearing(json!({ "left": at(1000, json!(121)) })), vec!["left[0].threshold_db"]),
        ("screening", hearing(json!({ "left": at(1000, json!(MARK)) })), vec!["left[0].threshold_db"]),
        ("screening", hearing(json!({ "right": MARK, "person": MARK })), vec!["person", "right"]),
        ("screening", hearing(json!({ "person": null })), vec!["person"]),
        ("demographics", json!({}), vec!["name"]),
        ("demographics", json!({ "name": "", "surname": "x".repeat(101) }), vec!["name", "surname"]),
        ("demographics", json!({ "age_group": MARK, "gender": 1 }), vec!["age_group", "gender"]),
        ("wordbook_entry", with(word("w-1", 0), json!({ "word_id": null, "lemma": 3 })), vec!["lemma", "word_id"]),
        (
            "wordbook_entry",
            with(word("w\n1", 0), json!({ "active_review_count": -1 })),
            vec!["active_review_count", "word_id"],
        ),
        (
            "wordbook_entry",
            with(word("w-1", 0), json!({ "next_active_review_time": -1 })),
            vec!["next_active_review_time"],
        ),
        (
            "wordbook_settings",
            json!({ "auto_new_review": 4, "daily_new_review_count": 1001 }),
            vec!["auto_new_review", "daily_new_review_count"],
        ),
        ("wordbook_settings", json!({ "auto_new_review": 1.5 }), vec!["auto_new_review", "daily_new_review_count"]),
        ("work_day", json!({ "date": MARK, "planned_minutes": 480 }), vec!["actual_minutes", "date", "source"]),
    ]
}

#[tokio::test]
async fn record_submit_names_every_field_of_a_bad_body_and_repeats_nothing() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for purpose in ["hearing", "demographics", "wordbook"] {
        consent(&world, &anna, purpose).await;
    }
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for (kind, body, expected) in bad_bodies() {
        let answer = Answer::of(put(&world, &anna, kind, &body).await).await;
        let refused = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        let mut named = fields(&refused);
        named.sort_unstable();
        assert_eq!(named, expected, "{kind} {body}");
        assert!(!answer.text.contains(MARK), "{}", answer.text);
    }
    for body in [json!([]), json!(MARK), json!(null)] {
        let refused = put(&world, &anna, "screening", &body).await;
        assert_eq!(fields(&problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await), [""]);
    }
    assert_eq!(state_of(&client).await, before);
}

#[tokio::test]
async fn kinds_that_are_not_there_and_parameters_of_the_wrong_form_are_refused() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    // A sign-in is compared with the contact, so nobody can submit, read or remove it here.
    let contact = "SELECT record_id::text FROM vault.records WHERE kind = 'contact'";
    let contact: String = client.query_one(contact, &[]).await.expect("anna's contact").get(0);
    let body = json!({ "email": "somebody.else@klinik.example" });
    for kind in ["contact", "account", "WORK_DAY", MARK, "work_day%20", "..%2Fwork_day"] {
        for (method, path) in [
            (Method::PUT, kind.to_owned()),
            (Method::GET, kind.to_owned()),
            (Method::GET, format!("{kind}/{contact}")),
            (Method::DELETE, format!("{kind}/{contact}")),
        ] {
            let body = (method == Method::PUT).then_some(&body);
            let answer = call(&world, &anna, method, &path, body).await;
            let refused = problem(answer, StatusCode::NOT_FOUND, "missing").await;
            assert!(!refused.to_string().contains(MARK), "{refused}");
        }
    }
    for (path, status, field) in [
        ("work_day?limit=0", 422, "limit"),
        ("work_day?limit=x", 422, "limit"),
        ("work_day?cursor=Zm9v", 422, "cursor"),
        ("work_day?from=2026-02-30", 422, "from"),
        ("work_day?from=2026-02-02&to=2026-02-01", 422, "from"),
    ] {
        let answer = Answer::of(call(&world, &anna, Method::GET, path, None).await).await;
        assert_eq!(fields(&answer.problem(StatusCode::from_u16(status).expect("a status"))), [field], "{path}");
    }
    for method in [Method::GET, Method::DELETE] {
        let answer = call(&world, &anna, method, "work_day/not-an-id", None).await;
        problem(answer, StatusCode::NOT_FOUND, "missing").await;
    }
    let answer = call(&world, &anna, Method::PUT, "kinds", Some(&body)).await;
    problem(answer, StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed").await;
    for (method, path) in [(Method::PUT, "work_day"), (Method::GET, "work_day"), (Method::DELETE, "work_day/x")] {
        let answer = world.client().request(method, format!("/v1/records/{path}")).body_json(&body).send().await;
        problem(answer, StatusCode::UNAUTHORIZED, "signed-out").await;
    }
    assert_eq!(state_of(&client).await, before);
}
