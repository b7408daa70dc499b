//! Import: a file that is given back makes the same data again, whatever its format and its size. A file that is damaged,
//! foreign or edited is refused with the faulty field, and nothing is written. While it waits it lies sealed on the disk,
//! and nothing of it stays there.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
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
    export::{consent, document, download, export, full, somebody, word},
    steps::{ask_to_delete, confirm_deletion, erase, fields, problem, state_of, subject_of, submit_day},
    support::{Person, World, day, expect},
};

async fn import(world: &World, person: &Person, file: impl AsRef<[u8]>, dry_run: bool) -> TestResponse {
    let client = world.client();
    let request = client.post("/v1/privacy/import").query("dry_run", &dry_run).content_type("application/octet-stream");
    person.sign(request.body(file.as_ref().to_vec())).send().await
}

/// The fields that the refusal of a file names.
async fn refused(world: &World, person: &Person, file: impl AsRef<[u8]>) -> Vec<String> {
    let refusal = import(world, person, file, false).await;
    let refusal = problem(refusal, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    fields(&refusal).into_iter().map(str::to_owned).collect()
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
async fn import_of_a_document_given_back_makes_the_same_data_again() {
    comes_back("json").await;
}

#[tokio::test]
async fn import_of_tables_given_back_makes_the_same_data_again() {
    comes_back("csv").await;
}

async fn comes_back(format: &str) {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let (_, before) = document(&world, &anna).await;
    let id = export(&world, &anna, &full(format)).await;
    let file = &download(&world, &anna, &id).await;
    // The person is erased, and registers again with the same address.
    erase(&world, &anna).await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let state = state_of(&client).await;
    let refused = problem(import(&world, &anna, file, false).await, StatusCode::FORBIDDEN, "consent-needed").await;
    assert!(refused["purpose"].is_string(), "{refused}");
    assert_eq!(state_of(&client).await, state, "nothing was written");
    for purpose in ["hearing", "wordbook"] {
        consent(&world, &anna, purpose, true).await;
    }
    let state = state_of(&client).await;
    let planned = expect(import(&world, &anna, file, true).await, StatusCode::OK).await;
    assert_eq!(state_of(&client).await, state, "nothing was written");
    let done = expect(import(&world, &anna, file, false).await, StatusCode::OK).await;
    assert_eq!(counts(&planned), counts(&done));
    assert_eq!(counts(&done)["work_day"], (3, 0, 0));
    assert_eq!(counts(&done)["work_profile"], (0, 0, 1), "it was given at the registration");
    assert_eq!(bodies(&document(&world, &anna).await.1), bodies(&before));
    let again = expect(import(&world, &anna, file, false).await, StatusCode::OK).await;
    assert!(counts(&again).values().all(|(created, updated, _)| created + updated == 0), "{again}");
    // A day that was changed since the export is set back.
    let changed = day("2025-11-01", 1.0, 1.0);
    expect(world.post(&anna, "/v1/work-events/daily", &changed).await, StatusCode::OK).await;
    let planned = expect(import(&world, &anna, file, true).await, StatusCode::OK).await;
    assert_eq!(counts(&planned)["work_day"], (0, 1, 2));
    expect(import(&world, &anna, file, false).await, StatusCode::OK).await;
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

/// A document with other text before the proof, which a ring signs.
fn signed(ring: &Ring, person: &Person, before_proof: &str) -> String {
    let user = UserId(person.user_id.parse().expect("an id"));
    let hash = digest::digest(&digest::SHA256, before_proof.as_bytes());
    let proof = serde_json::to_string(&prove(ring, user, hash.as_ref()).expect("proved")).expect("JSON");
    format!("{before_proof}{BEFORE_PROOF}{proof}}}")
}

#[tokio::test]
async fn import_refuses_files_of_another_installation_and_large_ones_without_a_proof() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let (text, _) = document(&world, &anna).await;
    let before_proof = &text[..text.rfind(BEFORE_PROOF).expect("a proof")];
    let theirs = Ring::open_or_create(&world.folder.join("theirs.json"), None).expect("a ring");
    let client = world.superuser().await;
    let before = state_of(&client).await;
    assert_eq!(refused(&world, &anna, signed(&theirs, &anna, before_proof)).await, ["proof"]);
    let endless = format!("{{\"records\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    assert_eq!(refused(&world, &anna, endless).await, ["proof"]);
    assert_eq!(state_of(&client).await, before, "nothing was written");
}

#[tokio::test]
async fn import_takes_documents_of_any_size() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let (text, _) = document(&world, &anna).await;
    // More words than were exported, before the records: they are read over.
    let word = format!("{{\"lemma\":\"{}\"}},", "x".repeat(1_000_000));
    let (head, rest) = text.split_once("\"wordbook\":[").expect("words");
    let before_proof = &rest[..rest.rfind(BEFORE_PROOF).expect("a proof")];
    let large = format!("{head}\"wordbook\":[{}{before_proof}", word.repeat(70));
    let large = signed(world.app.vault.ring(), &anna, &large);
    assert!(large.len() > 64 * 1024 * 1024);
    let done = expect(import(&world, &anna, large, false).await, StatusCode::OK).await;
    assert_eq!(counts(&done)["work_day"], (0, 0, 3));
}

#[tokio::test]
async fn import_refuses_edited_tables_and_names_the_file() {
    let world = World::new().await;
    let (anna, ben) = (somebody(&world, "anna").await, somebody(&world, "ben").await);
    let id = export(&world, &anna, &full("csv")).await;
    let file = download(&world, &anna, &id).await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let edited = |from: &str, to: &str| {
        let at = file.windows(from.len()).position(|part| part == from.as_bytes()).expect("it is there");
        [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
    };
    let day = edited("540,2025-11-01", "541,2025-11-01");
    assert_eq!(refused(&world, &anna, day).await, ["records/work_day.csv"]);
    assert_eq!(refused(&world, &anna, edited("anna@klinik.example", "anne@klinik.example")).await, ["export.csv"]);
    assert_eq!(refused(&world, &anna, edited("\"rows\": 3", "\"rows\": 4")).await, ["proof"]);
    assert_eq!(refused(&world, &anna, &file[..file.len() - 100]).await, [""]);
    assert_eq!(refused(&world, &anna, "PK and nothing more").await, [""]);
    assert_eq!(refused(&world, &ben, &file).await, ["exportMetadata.userId"]);
    // A zip of another program, which unpacks to a thousand times its size.
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    let mut bomb = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    bomb.start_file("records/work_day.csv", options).expect("begun");
    bomb.write_all(&vec![b'0'; 10_000_000]).expect("written");
    let bomb = bomb.finish().expect("ended").into_inner();
    assert_eq!(refused(&world, &anna, bomb).await, ["records/work_day.csv"]);
    assert_eq!(state_of(&client).await, before, "nothing was written");
}

#[tokio::test]
async fn import_refuses_damaged_foreign_and_edited_files_with_the_place() {
    let world = World::new().await;
    let (anna, ben) = (somebody(&world, "anna").await, somebody(&world, "ben").await);
    let (text, _) = document(&world, &anna).await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let edited = text.replacen("\"date\":\"2025-11-01\"", "\"date\":\"2025-11-02\"", 1);
    // The event has the same text as the record, so the first match may be in the log or in the record.
    assert!(refused(&world, &anna, &edited).await.contains(&"proof".to_owned()));
    let at = text.find("\"records\":{").expect("records");
    let in_records = |from: &str, to: &str| format!("{}{}", &text[..at], text[at..].replacen(from, to, 1));
    let edited = in_records("\"date\":\"2025-11-01\"", "\"date\":\"2025-13-01\"");
    assert_eq!(refused(&world, &anna, &edited).await, ["records.work_day", "proof", "records.work_day[1].date"]);
    let edited = in_records("\"actual_minutes\":540", "\"actual_minutes\":5405");
    assert_eq!(
        refused(&world, &anna, &edited).await,
        ["records.work_day", "proof", "records.work_day[0].actual_minutes"]
    );
    assert_eq!(refused(&world, &anna, &text[..text.len() - 100]).await, [""]);
    let lacks = text.replacen("\"wordbook\":", "\"words\":", 1);
    assert_eq!(refused(&world, &anna, &lacks).await, ["wordbook", "words", "proof"]);
    assert_eq!(refused(&world, &ben, &text).await, ["exportMetadata.userId"]);
    for nonsense in ["not JSON", "[]", ""] {
        assert_eq!(refused(&world, &anna, nonsense).await, [""], "{nonsense}");
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
        client.post("/v1/privacy/import").content_type("application/json").header("content-length", "4294967297");
    let emil = world.person("emil").await;
    let large = emil.sign(request.body(body)).send().await;
    problem(large, StatusCode::PAYLOAD_TOO_LARGE, "too-large").await;
    assert!(!asked.load(Ordering::SeqCst), "nothing was read");
}

/// What this process holds open of files without a name on the disk of the world's folder.
fn spooled(world: &World) -> Vec<Vec<u8>> {
    let folder = world.folder.path().to_str().expect("UTF-8").to_owned();
    let open = std::fs::read_dir("/proc/self/fd").expect("Linux").filter_map(|entry| {
        let path = entry.ok()?.path();
        let target = std::fs::read_link(&path).ok()?.to_str()?.to_owned();
        (target.starts_with(&folder) && target.ends_with(" (deleted)")).then(|| std::fs::read(path).ok())?
    });
    open.collect()
}

/// The names in the world's folder.
fn names(world: &World) -> BTreeSet<std::ffi::OsString> {
    std::fs::read_dir(world.folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect()
}

/// Waits until so many files without a name are there that hold something.
async fn until_spooled(world: &World, count: usize) -> Vec<Vec<u8>> {
    for _ in 0..3000 {
        let found: Vec<Vec<u8>> = spooled(world).into_iter().filter(|file| !file.is_empty()).collect();
        if found.len() == count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there are {} files", spooled(world).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn import_keeps_a_document_sealed_without_a_name_and_only_while_it_lasts() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let before = names(&world);
    for breaks_off in [false, true] {
        let (body, asked, release) = slow_upload();
        let canary = b"canary of a document ".repeat(10_000);
        let first = futures_util::stream::once(async { Ok::<_, std::io::Error>(bytes::Bytes::from(canary)) });
        let body = Body::from_bytes_stream(first.chain(body.into_bytes_stream()));
        let upload = upload(&world, &anna, body);
        until(&asked).await;
        let files = until_spooled(&world, 1).await;
        assert!(files[0].len() > 128 * 1024, "it is on the disk while it arrives");
        assert!(!files[0].windows(6).any(|part| part == b"canary"), "sealed");
        assert_eq!(names(&world), before, "it has no name, so a server that is killed leaves nothing");
        if breaks_off {
            upload.abort();
            assert!(upload.await.is_err(), "broken off");
        } else {
            drop(release);
            problem(upload.await.expect("it ended"), StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        }
        until_spooled(&world, 0).await;
        assert_eq!(names(&world), before);
    }
    let anna = somebody(&world, "ben").await;
    let (text, _) = document(&world, &anna).await;
    expect(import(&world, &anna, &text, false).await, StatusCode::OK).await;
    until_spooled(&world, 0).await;
}

#[tokio::test]
async fn import_is_answered_in_order_where_the_disk_can_not_be_written() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let (text, _) = document(&world, &anna).await;
    let away = world.folder.path().with_extension("away");
    std::fs::rename(world.folder.path(), &away).expect("moved");
    let refused = import(&world, &anna, &text, false).await;
    std::fs::rename(&away, world.folder.path()).expect("moved back");
    problem(refused, StatusCode::INTERNAL_SERVER_ERROR, "failed").await;
    expect(import(&world, &anna, &text, false).await, StatusCode::OK).await;
}
