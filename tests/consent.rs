//! Consent: none beforehand, given on a current notice, withdrawn as easily as given, each decision on record once.

use aws_lc_rs::digest;
use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, SubjectId};
use db::{DbError, Gate, Tx};
use domain::{
    Choice,
    rights::consent::{Consent, ConsentEvent, Decision, NOTICES, Notice, Purpose},
};
use event_log::{Event, cqrs_es::Aggregate, event_append};
use lethe::{
    app::rights::decision::notice_hash,
    jobs::{plan, run_due},
};
use poem::{http::StatusCode, test::TestResponse};
use projections::{INLINE, rights::consent::stream_id};
use serde_json::{Value, json};

use crate::{
    log::event_of,
    steps::{events_of, fields, let_pass, problem, sign_in, state_of, subject_of},
    support::{Person, World, day, expect},
};

async fn list(world: &World, person: &Person) -> Vec<Value> {
    let all = expect(person.sign(world.client().get("/v1/consents")).send().await, StatusCode::OK).await;
    all["consents"].as_array().expect("consents are a list").clone()
}

async fn history(world: &World, person: &Person, purpose: &str) -> Vec<Value> {
    let path = format!("/v1/consents/{purpose}/history");
    let all = expect(person.sign(world.client().get(path)).send().await, StatusCode::OK).await;
    all["decisions"].as_array().expect("decisions are a list").clone()
}

async fn put(world: &World, person: &Person, purpose: &str, body: &Value) -> TestResponse {
    person.sign(world.client().put(format!("/v1/consents/{purpose}")).body_json(body)).send().await
}

async fn submit(world: &World, person: &Person) -> TestResponse {
    let today = world.clock.now().date_naive().to_string();
    person.sign(world.client().post("/v1/work-events/daily").body_json(&day(&today, 8.0, 8.5))).send().await
}

async fn submit_batch(world: &World, person: &Person) -> TestResponse {
    let today = world.clock.now().date_naive().to_string();
    let body = json!({ "events": [day(&today, 8.0, 8.5)] });
    person.sign(world.client().post("/v1/work-events/batch").body_json(&body)).send().await
}

/// A person who registered and consented to nothing.
async fn undecided(world: &World, name: &str) -> Person {
    world.person_with(name, json!({})).await
}

#[tokio::test]
async fn consent_list_shows_every_purpose_with_its_notice_and_none_granted_beforehand() {
    let world = World::new().await;
    let anna = undecided(&world, "anna").await;
    let consents = list(&world, &anna).await;
    let purposes: Vec<&str> =
        consents.iter().map(|one| one["purpose"].as_str().expect("a purpose is a text")).collect();
    assert_eq!(purposes, ["work_hours", "statistics", "hearing", "demographics", "wordbook"]);
    for one in &consents {
        assert_eq!(one["granted"], false);
        let purpose = one["purpose"].as_str().and_then(Purpose::parse).expect("a purpose");
        assert_eq!(one["notice_version"], Notice::current(purpose).version);
        let text = one["notice_text"].as_str().expect("a notice is a text");
        assert!(text.len() > 100, "{text}");
        let hash = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
        assert_eq!(one["notice_hash"], hash, "the hash is that of the text that is shown");
        let names = one.as_object().expect("a consent is an object");
        assert!(!names.contains_key("decided_at") && !names.contains_key("decided_notice_version"), "{one}");
        assert!(history(&world, &anna, one["purpose"].as_str().expect("a text")).await.is_empty());
    }
}

#[tokio::test]
async fn auth_register_grants_the_named_consents_and_no_more() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for one in list(&world, &anna).await {
        assert_eq!(one["granted"], json!(one["purpose"] == "work_hours"), "{one}");
    }
    assert_eq!(history(&world, &anna, "work_hours").await.len(), 1);
    expect(submit(&world, &anna).await, StatusCode::CREATED).await;
}

#[tokio::test]
async fn without_consent_no_day_is_taken() {
    let world = World::new().await;
    let anna = undecided(&world, "anna").await;
    let client = world.superuser().await;
    // Consent to another purpose does not count for this one.
    expect(put(&world, &anna, "statistics", &json!({ "granted": true })).await, StatusCode::OK).await;
    let before = state_of(&client).await;
    for answer in [submit(&world, &anna).await, submit_batch(&world, &anna).await] {
        let refused = problem(answer, StatusCode::FORBIDDEN, "consent-needed").await;
        assert_eq!(refused["purpose"], "work_hours");
        let detail = refused["detail"].as_str().expect("it says why");
        assert!(detail.contains("you have not given it") && detail.contains("/v1/consents/work_hours"), "{detail}");
    }
    assert_eq!(state_of(&client).await, before);
    expect(put(&world, &anna, "work_hours", &json!({ "granted": true })).await, StatusCode::OK).await;
    expect(submit(&world, &anna).await, StatusCode::CREATED).await;
}

#[tokio::test]
async fn consent_decide_withdraws_and_the_next_day_is_refused_with_the_reason() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    expect(submit(&world, &anna).await, StatusCode::CREATED).await;
    let withdrawn = expect(put(&world, &anna, "work_hours", &json!({ "granted": false })).await, StatusCode::OK).await;
    assert_eq!((&withdrawn["purpose"], &withdrawn["granted"]), (&json!("work_hours"), &json!(false)));
    for answer in [submit(&world, &anna).await, submit_batch(&world, &anna).await] {
        let refused = problem(answer, StatusCode::FORBIDDEN, "consent-needed").await;
        assert_eq!(refused["purpose"], "work_hours");
        assert!(refused["detail"].as_str().expect("it says why").contains("you withdrew it"), "{refused}");
    }
    // Days submitted before the withdrawal stay, and may be read and deleted.
    let listed = expect(anna.sign(world.client().get("/v1/work-events/me")).send().await, StatusCode::OK).await;
    assert_eq!(listed["events"].as_array().map(Vec::len), Some(1));
    let gone = expect(anna.sign(world.client().delete("/v1/work-events/me")).send().await, StatusCode::OK).await;
    assert_eq!(gone["deleted_count"], 1);
    expect(put(&world, &anna, "work_hours", &json!({ "granted": true })).await, StatusCode::OK).await;
    expect(submit(&world, &anna).await, StatusCode::CREATED).await;
}

#[tokio::test]
async fn consent_decide_grants_on_the_notice_that_counts_and_withdraws_on_any() {
    const MARK: &str = "Zebrafink4711";
    let world = World::new().await;
    let anna = undecided(&world, "anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for version in ["0", "2", "1.0", "", MARK] {
        let body = json!({ "granted": true, "notice_version": version });
        let refused =
            problem(put(&world, &anna, "work_hours", &body).await, StatusCode::CONFLICT, "notice-outdated").await;
        assert!(refused["detail"].as_str().expect("it says which").contains("version 1"), "{refused}");
        assert_eq!(state_of(&client).await, before, "{body}");
    }
    // Withdrawing must never be harder than giving (GDPR Art. 7(3)), so an unknown version is accepted; but the log
    // names a notice that exists.
    for version in ["1", "0", MARK] {
        let body = json!({ "granted": true, "notice_version": "1" });
        let decided = expect(put(&world, &anna, "work_hours", &body).await, StatusCode::OK).await;
        assert_eq!((&decided["granted"], &decided["decided_notice_version"]), (&json!(true), &json!("1")));
        let body = json!({ "granted": false, "notice_version": version });
        let decided = expect(put(&world, &anna, "work_hours", &body).await, StatusCode::OK).await;
        assert_eq!((&decided["granted"], &decided["decided_notice_version"]), (&json!(false), &json!("1")), "{body}");
    }
    assert!(history(&world, &anna, "work_hours").await.iter().all(|one| one["notice_version"] == "1"));
    let stored = format!("SELECT FROM log.events WHERE payload::text LIKE '%{MARK}%'");
    assert!(client.query(&stored, &[]).await.expect("the log is read").is_empty(), "what somebody typed is in the log");
}

#[tokio::test]
async fn consent_on_an_older_notice_no_longer_counts() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = subject_of(&world, &anna).await;
    let older = "UPDATE read.consents SET notice_version = '0' WHERE subject_id = $1";
    assert_eq!(world.superuser().await.execute(older, &[&subject]).await.expect("it is edited"), 1);
    for answer in [submit(&world, &anna).await, submit_batch(&world, &anna).await] {
        let refused = problem(answer, StatusCode::FORBIDDEN, "consent-needed").await;
        assert!(refused["detail"].as_str().expect("it says why").contains("notice has changed"), "{refused}");
    }
    let shown = &list(&world, &anna).await[0];
    assert_eq!((&shown["granted"], &shown["decided_notice_version"]), (&json!(false), &json!("0")));
    // The consent can be withdrawn all the same.
    let shown = expect(put(&world, &anna, "work_hours", &json!({ "granted": false })).await, StatusCode::OK).await;
    assert_eq!(shown["granted"], false);
    assert_eq!(events_of(&world, &anna).await.last().map(String::as_str), Some("consent.withdrawn"));
}

/// Grants consent as before the newer notice was published.
async fn grant_before(world: &World, person: &Person, notice: &'static Notice) {
    let subject = SubjectId(subject_of(world, person).await);
    let ctx = &Ctx::system(world.clock.clone()).for_subject(subject, None);
    let decision = Decision {
        purpose: notice.purpose,
        notice_version: notice.version.to_owned(),
        notice_hash: notice_hash(notice).to_owned(),
    };
    let stream = stream_id(subject, notice.purpose);
    let event = Event {
        event_type: "consent.granted".to_owned(),
        payload: serde_json::to_string(&ConsentEvent::Granted(decision)).expect("JSON"),
        kind: Consent::TYPE.to_owned(),
        ..event_of(subject, Consent::TYPE, &stream, 1, ctx.now())
    };
    let events = &vec![event];
    let write = async move |tx: Tx| {
        INLINE.iter().for_each(|projection| projection.project(events, &tx));
        tx.queue(event_append(events.clone()));
        Ok::<_, DbError>(())
    };
    world.app.db.api.run_tx("grant_before", ctx, Gate::shared(ctx), write).await.expect("stored");
}

#[tokio::test]
async fn a_changed_notice_is_told_once_and_asks_again() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let older = NOTICES.iter().find(|notice| notice.purpose == Purpose::Statistics).expect("a notice");
    assert_ne!(older.version, Notice::current(Purpose::Statistics).version);
    grant_before(&world, &anna, older).await;
    expect(put(&world, &ben, "statistics", &json!({ "granted": true })).await, StatusCode::OK).await;
    let granted = history(&world, &anna, "statistics").await.remove(0);
    let receipt = async |decision: &Value| {
        let id = decision["receipt_id"].as_str().expect("an id");
        expect(world.get(&anna, format!("/v1/consents/receipts/{id}")).await, StatusCode::OK).await
    };
    let shown = receipt(&granted).await;
    assert_eq!(shown["privacyNotice"]["text"], older.text, "the receipt keeps the text that was consented to");
    assert_eq!(shown["consentEvents"][0]["eventState"], "ConsentGiven");
    assert_eq!(list(&world, &anna).await[1]["granted"], false, "it does not count, told or not");
    for person in [&anna, &ben] {
        world.take_letters(&person.email).await;
    }
    plan(&world.app).await.expect("planned");
    run_due(&world.app).await.expect("jobs run");
    let letters = world.take_letters(&anna.email).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].contains("Subject: A notice has changed") && letters[0].contains("notice.md"), "{}", letters[0]);
    assert!(world.take_letters(&ben.email).await.is_empty(), "who consented to the newer one is not asked");
    let past = history(&world, &anna, "statistics").await;
    assert_eq!((&past[0]["lapsed"], &past[0]["notice_version"]), (&json!(true), &json!(older.version)));
    assert_eq!(receipt(&past[0]).await["consentEvents"][0]["eventState"], "ConsentExpired");
    // Nobody is told twice.
    let_pass(&world, TimeDelta::days(2)).await;
    run_due(&world.app).await.expect("jobs run");
    assert!(world.take_letters(&anna.email).await.is_empty());
    let anna = sign_in(&world, &anna.email).await;
    let stale = json!({ "granted": true, "notice_version": older.version });
    problem(put(&world, &anna, "statistics", &stale).await, StatusCode::CONFLICT, "notice-outdated").await;
    let current = Notice::current(Purpose::Statistics).version;
    let again = json!({ "granted": true, "notice_version": current });
    assert_eq!(expect(put(&world, &anna, "statistics", &again).await, StatusCode::OK).await["granted"], true);
    let_pass(&world, TimeDelta::days(2)).await;
    run_due(&world.app).await.expect("jobs run");
    let events = events_of(&world, &anna).await;
    let events: Vec<&str> = events.iter().map(String::as_str).filter(|name| name.starts_with("consent.")).collect();
    assert_eq!(events, ["consent.granted", "consent.granted", "consent.lapsed", "consent.granted"]);
}

#[tokio::test]
async fn consent_decide_and_consent_history_know_no_unknown_purpose() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for purpose in ["marketing", "WORK_HOURS", "work_hours%20", "Zebrafink4711", "..%2Fwork_hours"] {
        let grant = put(&world, &anna, purpose, &json!({ "granted": true })).await;
        let refused = problem(grant, StatusCode::NOT_FOUND, "missing").await;
        assert!(!refused.to_string().contains("Zebrafink"), "{refused}");
        let path = format!("/v1/consents/{purpose}/history");
        problem(anna.sign(world.client().get(path)).send().await, StatusCode::NOT_FOUND, "missing").await;
    }
    assert_eq!(state_of(&client).await, before);
    let wrong = put(&world, &anna, "work_hours", &json!({ "granted": "yes" })).await;
    assert_eq!(fields(&problem(wrong, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await), ["granted"]);
}

#[tokio::test]
async fn consent_history_is_newest_first_and_names_a_repeated_decision_once() {
    let world = World::new().await;
    let anna = undecided(&world, "anna").await;
    for granted in [false, true, true, false, false, true] {
        let decided =
            expect(put(&world, &anna, "work_hours", &json!({ "granted": granted })).await, StatusCode::OK).await;
        assert_eq!(decided["granted"], granted);
    }
    let events = events_of(&world, &anna).await;
    let decisions: Vec<&String> = events.iter().filter(|name| name.starts_with("consent.")).collect();
    assert_eq!(decisions, ["consent.granted", "consent.withdrawn", "consent.granted"]);
    let past = history(&world, &anna, "work_hours").await;
    let granted: Vec<bool> = past.iter().map(|one| one["granted"].as_bool().expect("true or false")).collect();
    assert_eq!(granted, [true, false, true]);
    let times: Vec<DateTime<Utc>> = past
        .iter()
        .map(|one| one["decided_at"].as_str().expect("a time").parse().expect("a time with a zone"))
        .collect();
    assert!(times.is_sorted_by(|newer, older| newer > older), "{times:?}");
    let notice = &list(&world, &anna).await[0];
    for one in &past {
        let names: Vec<&String> = one.as_object().expect("a decision is an object").keys().collect();
        assert_eq!(
            names,
            ["decided_at", "granted", "lapsed", "notice_hash", "notice_version", "objected", "receipt_id"]
        );
        assert_eq!((&one["notice_version"], &one["notice_hash"]), (&notice["notice_version"], &notice["notice_hash"]));
    }
    assert_eq!(notice["decided_at"], past[0]["decided_at"]);
}

#[tokio::test]
async fn consent_is_everybodys_own() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, undecided(&world, "ben").await);
    problem(submit(&world, &ben).await, StatusCode::FORBIDDEN, "consent-needed").await;
    expect(put(&world, &ben, "work_hours", &json!({ "granted": true })).await, StatusCode::OK).await;
    expect(put(&world, &ben, "work_hours", &json!({ "granted": false })).await, StatusCode::OK).await;
    assert_eq!(list(&world, &anna).await[0]["granted"], true);
    assert_eq!(history(&world, &anna, "work_hours").await.len(), 1);
    assert_eq!(history(&world, &ben, "work_hours").await.len(), 2);
    let nobody = world.client();
    for request in [nobody.get("/v1/consents"), nobody.get("/v1/consents/work_hours/history")] {
        problem(request.send().await, StatusCode::UNAUTHORIZED, "signed-out").await;
    }
}

/// A thief of a session can use up the person's letters, but that does not keep the person from withdrawing or
/// objecting.
#[tokio::test]
async fn whoever_uses_the_letters_up_keeps_nobody_from_withdrawing_or_objecting() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let decide =
        async |granted: bool| world.put(&anna, "/v1/consents/work_hours", &json!({ "granted": granted })).await;
    let mut refused = 0;
    for _ in 0..60 {
        expect(decide(false).await, StatusCode::OK).await;
        let granted = decide(true).await;
        refused += u32::from(granted.0.status() == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 0, "the letters are used up");
    expect(decide(false).await, StatusCode::OK).await;
    let object = json!({ "objected": true });
    expect(world.put(&anna, "/v1/privacy/objections/work_hours", &object).await, StatusCode::OK).await;
}

/// People consented to these texts, and their receipts name the hashes: a notice is never edited. A change is a new version.
#[test]
fn a_notice_that_landed_is_never_edited() {
    const LANDED: &[(Purpose, &str, &str)] = &[
        (Purpose::WorkHours, "1", "d1d2f84eba35eaccecfc6b3d8ac5daa5bc3719593fdf6cf52e10733fa21cb3aa"),
        (Purpose::Statistics, "1", "7b84c94202417c529af68444a15d30950022d6135d48d35e810e4d82b952c855"),
        (Purpose::Statistics, "2", "a85dcf382abb42a92c84da8cb007fb3243dec45894fdcc44eb639c472f091fc1"),
        (Purpose::Hearing, "1", "15da30df577602a7a898b58363cce3817ff09554ffc51f7c5d514ae6d02c20e0"),
        (Purpose::Demographics, "1", "7c49ce6c5bd1bb7c683d3a90f82b1c00918494b19b973dea99726dd4d1a8d010"),
        (Purpose::Wordbook, "1", "c8ecab819dd47484726a4e6f348dd53709eb00c46f7221d089d2718a8fb3dc18"),
    ];
    let notices: Vec<_> = NOTICES.iter().map(|notice| (notice.purpose, notice.version, notice_hash(notice))).collect();
    assert_eq!(notices, LANDED, "left: the notices; right: those that landed, each with the SHA-256 of its text");
}
