//! `Idempotency-Key`: each operation that takes one does what it does once, however often the request is sent.

use std::collections::BTreeSet;

use poem::http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    documented::{Documented, operations},
    operations::{Call, Stage},
    steps::{Answer, state_of, subject_of},
};

const FIELD: &str = "Idempotency-Key";
const REPLAYED: &str = "idempotency-replayed";

/// The operations by POST without a key, and why. Every other one takes it.
const WITHOUT: &[(&str, &str)] = &[
    ("auth_code", "nobody is signed in, and a second code is one letter more at most"),
    ("auth_register", "nobody is signed in, and an address registers once"),
    ("auth_login", "a code signs in once"),
    ("auth_refresh", "a refresh token is used once, and its answer is a secret"),
    ("auth_logout", "a session ends once"),
    ("guest_token", "nothing is kept about a guest"),
    ("guest_evaluate", "nothing is kept about a guest"),
    ("alert_acknowledge", "an alert is acknowledged once"),
    ("deletion_cancel", "a deletion is cancelled once"),
    ("export_cancel", "an export is cancelled once"),
    (
        "export_token",
        "the answer is a secret that opens a file: a stored one would outlive it, and a second one harms nobody",
    ),
    ("import", "is many transactions, and a second import of a document changes nothing"),
];

/// Another body of a call that succeeds.
fn another(operation: &str, body: &Value) -> Value {
    let changed = match operation {
        "breach_open" => json!({ "reference": "INC-2026-18" }),
        "breach_step" => json!({ "step": "people_notified" }),
        "data_open" | "request_extend" => json!({ "reason": "is another reason than before" }),
        "delivery_replay" => json!({ "event_id": Uuid::nil() }),
        "deletion_request" => json!({ "deletion_type": "sessions_only" }),
        "deletion_confirm" => json!({ "phrase": "another phrase" }),
        "export_request" => json!({ "format": "csv" }),
        "record_submit" => json!({ "source": "mixed" }),
        "work_day_submit" => json!({ "actual_hours": 7.5 }),
        "work_day_submit_batch" => json!({ "events": [crate::support::day("2025-12-09", 7.5, 7.5)] }),
        other => panic!("{other} takes an {FIELD}: say which other body it has"),
    };
    let mut body = body.clone();
    body.as_object_mut().expect("an object").extend(changed.as_object().expect("an object").clone());
    body
}

#[test]
fn each_post_takes_a_key_or_is_named_with_a_reason() {
    let (mut without, mut documented) = (BTreeSet::new(), 0);
    for operation in operations() {
        let (id, takes) = (operation.id, operation.has_parameter(FIELD));
        if operation.method == Method::POST && !takes {
            without.insert(id);
        }
        for (status, response) in operation.says["responses"].as_object().expect("responses") {
            let says = response["headers"].get("Idempotency-Replayed").is_some();
            assert_eq!(says, takes && status.starts_with('2'), "{id} {status}");
            documented += usize::from(says);
        }
    }
    let named: BTreeSet<&str> = WITHOUT.iter().map(|(id, _)| *id).collect();
    assert_eq!(without, named, "the operations by POST without a key");
    assert!(documented >= 12, "{documented} answers are documented");
}

/// What may not change when a request is repeated: everything but the record that somebody asked.
async fn state(stage: &Stage) -> (String, i64) {
    let client = stage.world.superuser().await;
    let more = "SELECT (SELECT count(*) FROM auth.openings) + (SELECT count(*) FROM jobs.jobs)
                     + (SELECT count(*) FROM log.events WHERE event_type IN ('data.opened', 'data.refused'))";
    let more = client.query_one(more, &[]).await.expect("counted").get(0);
    (state_of(&client).await, more)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_with_a_key_is_done_once_and_answers_a_repeated_request_as_the_first() {
    let stage = Stage::new().await;
    let mut tried = 0;
    for Documented { id, .. } in operations().filter(|operation| operation.has_parameter(FIELD)) {
        let person = stage.newcomer().await;
        let call = stage.prepare(&person, id).await.unwrap_or_else(|| panic!("{id} has no call"));
        let send =
            async |call: &Call, key: &str| Answer::of(stage.send_with(&person, call, &[(FIELD, key)]).await).await;
        let first = send(&call, "k-1").await;
        assert!(first.status.is_success(), "{id}: {first:?}");
        assert_eq!(first.header(REPLAYED), None, "{id}");
        let before = state(&stage).await;
        let second = send(&call, "k-1").await;
        assert_eq!((second.status, &second.text), (first.status, &first.text), "{id}");
        assert_eq!(second.header(REPLAYED), Some("true"), "{id}");
        for name in ["location", "etag"] {
            assert_eq!(second.header(name), first.header(name), "{id}: {name}");
        }
        assert_eq!(state(&stage).await, before, "{id} changed something when it was repeated");
        let other = if call.body().is_null() { call.elsewhere() } else { call.with(&another(id, &call.body())) };
        let refused = send(&other, "k-1").await.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(refused["type"], "/problems/key-reused", "{id}");
        assert_eq!(state(&stage).await, before, "{id} changed something when it was refused");
        tried += 1;
    }
    assert!(tried >= 12, "{tried} operations were tried");
}

/// A member of staff acts under tickets of others. The answer stays theirs, also before colleagues.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_staff_is_kept_under_their_own_keys() {
    let stage = Stage::new().await;
    let person = stage.newcomer().await;
    let call = stage.prepare(&person, "data_open").await.expect("a call");
    stage.send_with(&person, &call, &[(FIELD, "k-1")]).await.assert_status_is_ok();
    let client = stage.world.superuser().await;
    let row = client.query_one("SELECT subject_id, sealed FROM read.answers", &[]).await.expect("one answer");
    assert_eq!(row.get::<_, Uuid>(0), subject_of(&stage.world, &stage.staff).await);
    let dora = crate::steps::staff(&stage.world, "dora", context::Role::Compliance).await;
    let client = stage.world.client();
    let request = client.post("/v1/compliance/openings").header(FIELD, "k-1").body_json(&call.body());
    let colleague = Answer::of(dora.sign(request).send().await).await;
    assert_eq!((colleague.status, colleague.header(REPLAYED)), (StatusCode::OK, None), "{colleague:?}");
}

/// Two requests with one key at the same moment: one is done. The other one is told to wait, or gets the same answer.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_moment_with_one_key_do_one_thing() {
    let stage = Stage::new().await;
    let person = stage.newcomer().await;
    for (id, made) in [
        ("breach_open", "SELECT count(*) FROM log.events WHERE event_type = 'breach.opened'"),
        ("data_open", "SELECT count(*) FROM auth.openings"),
        ("export_request", "SELECT count(*) FROM read.exports"),
    ] {
        let call = stage.prepare(&person, id).await.expect("a call");
        let send = async || Answer::of(stage.send_with(&person, &call, &[(FIELD, "k-1")]).await).await;
        let (a, b, c) = tokio::join!(send(), send(), send());
        let (mut texts, mut first) = (BTreeSet::new(), 0);
        for answer in [&a, &b, &c] {
            if answer.status.is_success() {
                texts.insert(answer.text.clone());
                first += usize::from(answer.header(REPLAYED).is_none());
            } else {
                assert_eq!(answer.problem(StatusCode::CONFLICT)["type"], "/problems/in-flight", "{id}");
            }
        }
        assert_eq!((texts.len(), first), (1, 1), "{id}: {a:?} {b:?} {c:?}");
        let made: i64 = stage.world.superuser().await.query_one(made, &[]).await.expect("counted").get(0);
        assert_eq!(made, 1, "{id}");
    }
}
