//! Import: a file that is given back makes the same data again. A file that is damaged, foreign or edited is refused
//! with the faulty field, and nothing is written.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest;
use context::{Ctx, Personal, SubjectId, UserId};
use domain::{kinds::WORDBOOK_ENTRY, rights::deletion::Scope};
use futures_util::StreamExt;
use lethe::{
    app::records::record::{self, Batch, Submission},
    export::{BEFORE_PROOF, prove},
};
use poem::{
    Body,
    http::{Method, StatusCode},
    test::TestResponse,
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};
use vault::Ring;

use crate::{
    export::{consent, document, download, export, somebody, word},
    steps::{ask_to_delete, confirm_deletion, erase, fields, problem, state_of, subject_of, submit_day},
    support::{Person, World, day, expect},
};

async fn import(world: &World, person: &Person, text: &str, dry_run: bool) -> TestResponse {
    let client = world.client();
    let request = client.post("/v1/privacy/import").query("dry_run", &dry_run).content_type("application/octet-stream");
    person.sign(request.body(text.to_owned())).send().await
}

/// The counts of created, updated and unchanged records by kind; kinds without any are left out.
fn counts(answer: &Value) -> BTreeMap<String, (u64, u64, u64)> {
    let number = |kind: &Value, name: &str| kind[name].as_u64().expect("a count");
    let kinds = answer["kinds"].as_array().expect("a list").iter().map(|kind| {
        let counted = (number(kind, "created_count"), number(kind, "updated_count"), number(kind, "unchanged_count"));
        (kind["kind"].as_str().expect("a name").to_owned(), counted)
    });
    kinds.filter(|(_, counted)| *counted != (0, 0, 0)).collect()
}

/// The bodies of all records by kind, without ids and times.
fn bodies(document: &Value) -> BTreeMap<String, Vec<String>> {
    let kinds = document["records"].as_object().expect("an object").iter();
    let said = |list: &Value| {
        let list = list.as_array().expect("a list").iter();
        let mut said: Vec<String> = list.map(|record| record["body"].to_string()).collect();
        said.sort_unstable();
        said
    };
    kinds.map(|(kind, list)| (kind.clone(), said(list))).collect()
}

#[tokio::test]
async fn import_of_a_file_given_back_makes_the_same_data_again() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let (text, before) = document(&world, &anna).await;
    // The person is erased, and registers again with the same address.
    erase(&world, &anna).await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let state = state_of(&client).await;
    let refused = problem(import(&world, &anna, &text, false).await, StatusCode::FORBIDDEN, "consent-needed").await;
    assert!(refused["purpose"].is_string(), "{refused}");
    assert_eq!(state_of(&client).await, state, "nothing was written");
    for purpose in ["hearing", "wordbook"] {
        consent(&world, &anna, purpose, true).await;
    }
    let state = state_of(&client).await;
    let planned = expect(import(&world, &anna, &text, true).await, StatusCode::OK).await;
    assert_eq!(state_of(&client).await, state, "nothing was written");
    let done = expect(import(&world, &anna, &text, false).await, StatusCode::OK).await;
    assert_eq!(counts(&planned), counts(&done));
    assert_eq!(counts(&done)["work_day"], (3, 0, 0));
    assert_eq!(counts(&done)["work_profile"], (0, 0, 1), "it was given at the registration");
    assert_eq!(bodies(&document(&world, &anna).await.1), bodies(&before));
    let again = expect(import(&world, &anna, &text, false).await, StatusCode::OK).await;
    assert!(counts(&again).values().all(|(created, updated, _)| created + updated == 0), "{again}");
    // A day that was changed since the export is set back.
    let changed = day("2025-11-01", 1.0, 1.0);
    expect(world.post(&anna, "/v1/work-events/daily", &changed).await, StatusCode::OK).await;
    let planned = expect(import(&world, &anna, &text, true).await, StatusCode::OK).await;
    assert_eq!(counts(&planned)["work_day"], (0, 1, 2));
    expect(import(&world, &anna, &text, false).await, StatusCode::OK).await;
    assert_eq!(bodies(&document(&world, &anna).await.1), bodies(&before));
}

#[tokio::test]
async fn import_brings_many_records_back_in_one_file_or_in_parts() {
    let world = World::new().await;
    let anna = world.person_with("anna", json!({ "consents": ["wordbook", "work_hours"] })).await;
    let submission = |number: u32| Submission {
        body: WORDBOOK_ENTRY.normal(Personal::new(word(&format!("w{number}"), "hej"))),
        expected: None,
        within: None,
    };
    let ctx = &Ctx::system(world.clock.clone()).for_subject(SubjectId(subject_of(&world, &anna).await), None);
    for from in [0, 400, 800] {
        let (words, today) = ((from..from + 400).map(submission).collect::<Vec<_>>(), world.clock.now().date_naive());
        let batch =
            Batch { operation: "record_submit", kind: WORDBOOK_ENTRY, submissions: &words, today, faults: Vec::new() };
        record::submit(&world.app, ctx, &batch, None).await.expect("submitted");
    }
    for date in ["2025-10-30", "2025-11-02"] {
        submit_day(&world, &anna, date).await;
    }
    let (text, before) = document(&world, &anna).await;
    let part = json!({
        "request_type": "partial", "format": "json", "filters": { "from": "2025-11-01", "kinds": ["work_day"] },
    });
    let id = export(&world, &anna, &part).await;
    let part = String::from_utf8(download(&world, &anna, &id).await).expect("text");
    erase(&world, &anna).await;
    let anna = world.person_with("anna", json!({ "consents": ["wordbook", "work_hours"] })).await;
    let done = expect(import(&world, &anna, &part, false).await, StatusCode::OK).await;
    assert_eq!(counts(&done), BTreeMap::from([("work_day".to_owned(), (1, 0, 0))]), "a part is a file like any other");
    let done = expect(import(&world, &anna, &text, false).await, StatusCode::OK).await;
    assert_eq!(counts(&done)["wordbook_entry"], (1200, 0, 0), "more than are submitted together");
    assert_eq!(counts(&done)["work_day"], (1, 0, 1));
    assert_eq!(bodies(&document(&world, &anna).await.1), bodies(&before));
}

#[tokio::test]
async fn import_refuses_files_of_another_installation_and_files_without_end() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    // The same document with a proof by another installation's ring.
    let (text, _) = document(&world, &anna).await;
    let before_proof = &text[..text.rfind(BEFORE_PROOF).expect("a proof")];
    let theirs = Ring::open_or_create(&world.folder.join("theirs.json"), None).expect("a ring");
    let user = UserId(anna.user_id.parse().expect("an id"));
    let hash = digest::digest(&digest::SHA256, before_proof.as_bytes());
    let proof = serde_json::to_string(&prove(&theirs, user, hash.as_ref()).expect("proved")).expect("JSON");
    let text = format!("{before_proof}{BEFORE_PROOF}{proof}}}");
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let refused = import(&world, &anna, &text, false).await;
    let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    assert_eq!(fields(&refused), ["proof"]);
    let endless = format!("{{\"records\":\"{}\"}}", "x".repeat(64 * 1024 * 1024));
    problem(import(&world, &anna, &endless, false).await, StatusCode::PAYLOAD_TOO_LARGE, "too-large").await;
    assert_eq!(state_of(&client).await, before, "nothing was written");
}

#[tokio::test]
async fn import_refuses_damaged_foreign_and_edited_files_with_the_place() {
    let world = World::new().await;
    let (anna, ben) = (somebody(&world, "anna").await, somebody(&world, "ben").await);
    let (text, _) = document(&world, &anna).await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let refused = async |person: &Person, text: &str| {
        let refusal = import(&world, person, text, false).await;
        let refusal = problem(refusal, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        fields(&refusal).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let edited = text.replacen("\"date\":\"2025-11-01\"", "\"date\":\"2025-11-02\"", 1);
    // The event has the same text as the record, so the first match may be in the log or in the record.
    assert!(refused(&anna, &edited).await.contains(&"proof".to_owned()));
    let at = text.find("\"records\":{").expect("records");
    let in_records = |from: &str, to: &str| format!("{}{}", &text[..at], text[at..].replacen(from, to, 1));
    let edited = in_records("\"date\":\"2025-11-01\"", "\"date\":\"2025-13-01\"");
    assert_eq!(refused(&anna, &edited).await, ["records.work_day", "proof", "records.work_day[1].date"]);
    let edited = in_records("\"actual_minutes\":540", "\"actual_minutes\":5405");
    assert_eq!(refused(&anna, &edited).await, ["records.work_day", "proof", "records.work_day[0].actual_minutes"]);
    assert_eq!(refused(&anna, &text[..text.len() - 100]).await, [""]);
    let lacks = text.replacen("\"wordbook\":", "\"words\":", 1);
    assert_eq!(refused(&anna, &lacks).await, ["wordbook", "words", "proof"]);
    assert_eq!(refused(&ben, &text).await, ["exportMetadata.userId"]);
    for nonsense in ["not JSON", "[]", ""] {
        assert_eq!(refused(&anna, nonsense).await, [""], "{nonsense}");
    }
    let routes = world.client();
    for media_type in [None, Some("text/plain"), Some("application/octet-streams")] {
        let plain = routes.post("/v1/privacy/import").body(text.clone());
        let asks = media_type.into_iter().fold(plain, |asks, media_type| asks.content_type(media_type));
        assert_eq!(anna.sign(asks).send().await.0.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media_type:?}");
    }
    assert_eq!(state_of(&client).await, before, "nothing was written");
}

/// A body that sends a byte twice a second, and a flag that tells whether anybody has read from it. It ends when its
/// sender is dropped.
fn slow_upload() -> (Body, Arc<AtomicBool>, oneshot::Sender<()>) {
    let (asked, (release, released)) = (Arc::new(AtomicBool::new(false)), oneshot::channel());
    let sign = asked.clone();
    let first = futures_util::stream::once(async move {
        sign.store(true, Ordering::SeqCst);
        Ok::<_, std::io::Error>(b"{".to_vec())
    });
    let rest = futures_util::stream::unfold(Some(released), async |released| {
        let mut released = released?;
        match tokio::time::timeout(Duration::from_millis(500), &mut released).await {
            Ok(_) => Some((Ok(b"}".to_vec()), None)),
            Err(_) => Some((Ok(b" ".to_vec()), Some(released))),
        }
    });
    (Body::from_bytes_stream(first.chain(rest)), asked, release)
}

/// A person's import of a body that comes slowly.
fn upload(world: &World, person: &Person, body: Body) -> JoinHandle<TestResponse> {
    let (client, token) = (world.client(), person.token.clone());
    tokio::spawn(async move {
        let request = client.post("/v1/privacy/import").content_type("application/json").body(body);
        request.header("authorization", format!("Bearer {token}")).send().await
    })
}

/// Waits until a body is read from.
async fn until(asked: &AtomicBool) {
    for _ in 0..3000 {
        if asked.load(Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody asks for the body");
}

#[tokio::test(flavor = "multi_thread")]
async fn import_by_a_slow_upload_holds_up_nobody_and_each_person_has_one() {
    let world = World::new().await;
    let people = [world.person("anna").await, world.person("ben").await, world.person("carla").await];
    let dora = somebody(&world, "dora").await;
    let (text, _) = document(&world, &dora).await;
    let mut slow = Vec::new();
    for person in &people {
        let (body, asked, release) = slow_upload();
        let upload = upload(&world, person, body);
        until(&asked).await;
        slow.push((upload, release));
    }
    let imported = tokio::time::timeout(Duration::from_secs(60), import(&world, &dora, &text, false));
    let imported = expect(imported.await.expect("it is not held up by the others"), StatusCode::OK).await;
    assert_eq!(counts(&imported)["work_day"], (0, 0, 3));
    // A second import of the same person is refused before a byte of it is read, and accepted once the first has ended.
    let (body, asked, _release) = slow_upload();
    let second = upload(&world, &people[0], body).await.expect("it ended");
    problem(second, StatusCode::CONFLICT, "import-running").await;
    assert!(!asked.load(Ordering::SeqCst), "nothing was read");
    for (upload, release) in slow {
        drop(release);
        let ended = upload.await.expect("it ended");
        problem(ended, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    }
    problem(import(&world, &people[0], "{}", false).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn import_reads_nothing_of_a_caller_who_may_not_import() {
    let world = World::new().await;
    let [out, suspended, restricted, leaving] = ["anna", "ben", "carla", "dora"].map(|name| world.person(name));
    let (out, suspended, restricted, leaving) = (out.await, suspended.await, restricted.await, leaving.await);
    let signed_out = world.send(&out, Method::POST, "/v1/auth/logout", &Value::Null).await;
    assert!(signed_out.0.status().is_success());
    let until = world.clock.now() + chrono::TimeDelta::hours(1);
    let subject = subject_of(&world, &suspended).await;
    let sql = "INSERT INTO auth.suspensions VALUES ($1, $2)";
    world.superuser().await.execute(sql, &[&subject, &until]).await.expect("suspended");
    let restrict = json!({ "restricted": true });
    expect(world.put(&restricted, "/v1/privacy/restriction", &restrict).await, StatusCode::OK).await;
    let (_, token) = ask_to_delete(&world, &leaving, &json!({ "deletion_type": "full" })).await;
    confirm_deletion(&world, &leaving, &token, Scope::Full).await;
    let unknown = Person { token: "x".to_owned(), ..out.clone() };
    for (person, status, kind) in [
        (&unknown, StatusCode::UNAUTHORIZED, "signed-out"),
        (&out, StatusCode::UNAUTHORIZED, "signed-out"),
        (&suspended, StatusCode::FORBIDDEN, "suspended"),
        (&restricted, StatusCode::CONFLICT, "restricted"),
        (&leaving, StatusCode::CONFLICT, "deletion-waiting"),
    ] {
        let (body, asked, release) = slow_upload();
        // If the body is read after all, it ends.
        drop(release);
        problem(upload(&world, person, body).await.expect("it ended"), status, kind).await;
        assert!(!asked.load(Ordering::SeqCst), "{kind}: nothing was read");
    }
    // A document whose declared length is too large is refused in the same way.
    let (body, asked, release) = slow_upload();
    drop(release);
    let client = world.client();
    let request =
        client.post("/v1/privacy/import").content_type("application/json").header("content-length", "67108865");
    let emil = world.person("emil").await;
    let large = emil.sign(request.body(body)).send().await;
    problem(large, StatusCode::PAYLOAD_TOO_LARGE, "too-large").await;
    assert!(!asked.load(Ordering::SeqCst), "nothing was read");
}
