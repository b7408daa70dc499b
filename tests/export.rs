//! Export: a file holds everything that is known, in both formats; it is sealed, shows its progress, is downloaded only
//! by authorised callers, and is removed in time.

use std::{collections::BTreeMap, io::Read, sync::atomic::AtomicUsize};

use chrono::TimeDelta;
use context::{Ctx, SubjectId};
use domain::{
    filter::Filter,
    kinds::{WORDBOOK_ENTRY, WORDBOOK_SETTINGS, kind as kind_of},
    rights::{deletion::Scope, export::ExportFormat},
};
use lethe::{
    app::{
        records::record::{self, Batch, Submission},
        rights::{export, export_run},
    },
    jobs::{keep_house_once, run_due},
};
use poem::{http::StatusCode, test::TestResponse};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    isolation::property,
    steps::{Answer, erase, events_of, fields, let_pass, problem, sign_in, subject_of, submit_day},
    support::{Person, World, expect},
};

const ASK: &str = "/v1/privacy/export-data";

pub fn full(format: &str) -> Value {
    json!({ "request_type": "full", "format": format })
}

async fn ask(world: &World, person: &Person, body: &Value) -> String {
    let asked = expect(world.post(person, ASK, body).await, StatusCode::ACCEPTED).await;
    assert_eq!((&asked["status"], &asked["progress_percent"]), (&json!("pending"), &json!(0)));
    asked["export_id"].as_str().expect("an id").to_owned()
}

pub fn path(id: &str, rest: &str) -> String {
    format!("/v1/privacy/exports/{id}{rest}")
}

async fn see(world: &World, person: &Person, id: &str) -> Value {
    expect(world.get(person, path(id, "")).await, StatusCode::OK).await
}

/// Asks for a file and runs the job that writes it.
pub async fn export(world: &World, person: &Person, body: &Value) -> String {
    let id = ask(world, person, body).await;
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    let seen = see(world, person, &id).await;
    assert_eq!((&seen["status"], &seen["progress_percent"]), (&json!("completed"), &json!(100)), "{seen}");
    id
}

async fn bytes(answer: TestResponse, status: StatusCode) -> Vec<u8> {
    assert_eq!(answer.0.status(), status);
    answer.0.into_body().into_vec().await.expect("a body")
}

pub async fn download(world: &World, person: &Person, id: &str) -> Vec<u8> {
    bytes(world.get(person, path(id, "/download")).await, StatusCode::OK).await
}

/// The document of a full export.
pub async fn document(world: &World, person: &Person) -> (String, Value) {
    let id = export(world, person, &full("json")).await;
    let text = String::from_utf8(download(world, person, &id).await).expect("text");
    let value = serde_json::from_str(&text).expect("JSON");
    (text, value)
}

fn tables(zip: Vec<u8>) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip)).expect("a zip");
    let count = archive.len();
    let read = |number| {
        let mut file = archive.by_index(number).expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        (file.name().expect("a name").into_owned(), text)
    };
    (0..count).map(read).collect()
}

async fn submit(world: &World, person: &Person, kind: &str, body: &Value) -> Value {
    expect(world.put(person, format!("/v1/records/{kind}"), body).await, StatusCode::CREATED).await
}

pub async fn consent(world: &World, person: &Person, purpose: &str, granted: bool) {
    let path = format!("/v1/consents/{purpose}");
    expect(world.put(person, path, &json!({ "granted": granted })).await, StatusCode::OK).await;
}

pub fn word(id: &str, lemma: &str) -> Value {
    json!({ "word_id": id, "lemma": lemma, "passive_review_count": 5, "active_review_count": 3,
            "next_active_review_time": "2025-10-25T00:00:00Z" })
}

/// A person with records of several kinds.
pub async fn somebody(world: &World, name: &str) -> Person {
    let person = world.person(name).await;
    for purpose in ["hearing", "wordbook"] {
        consent(world, &person, purpose, true).await;
    }
    for date in ["2025-10-31", "2025-11-01", "2025-11-30"] {
        submit_day(world, &person, date).await;
    }
    submit(world, &person, "screening", &domain::kinds::SCREENING.example().into_inner()).await;
    submit(world, &person, "wordbook_entry", &word("w1", "hej")).await;
    submit(world, &person, "wordbook_entry", &word("w2", "=cmd|' /C calc'!A0")).await;
    submit(world, &person, "wordbook_settings", &json!({ "auto_new_review": 2, "daily_new_review_count": 10 })).await;
    person
}

#[tokio::test]
async fn export_download_gives_a_document_of_everything_that_is_known_of_a_person() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    submit_day(&world, &world.person("ben").await, "2025-11-02").await;
    let (text, document) = document(&world, &anna).await;
    assert!(!text.contains("ben@klinik.example") && !text.contains("2025-11-02"), "of nobody else");
    assert!(
        !text.contains(&subject_of(&world, &anna).await.to_string()),
        "the log's own id links nothing outside of it"
    );

    let metadata = document["exportMetadata"].as_object().expect("an object");
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["exportDate", "exportVersion", "userId"]);
    assert_eq!((&metadata["exportVersion"], &metadata["userId"]), (&json!("1.0"), &json!(anna.email)));
    assert_eq!(document["user"]["email"], anna.email);
    let settings = document["settings"].as_object().expect("an object");
    assert_eq!(settings.keys().collect::<Vec<_>>(), ["autoNewReview", "dailyNewReviewCount", "updatedAt"]);
    let words = document["wordbook"].as_array().expect("a list");
    assert_eq!((words.len(), &words[0]["lemma"], &words[0]["partOfSpeech"]), (2, &json!("hej"), &Value::Null));
    assert_eq!(words[0]["nextActiveReviewTime"], "2025-10-25T00:00:00Z");

    let records = document["records"].as_object().expect("an object");
    let counts: BTreeMap<&str, usize> =
        records.iter().map(|(kind, list)| (kind.as_str(), list.as_array().expect("a list").len())).collect();
    let expected =
        [("contact", 1), ("demographics", 0), ("screening", 1), ("wordbook_entry", 2), ("wordbook_settings", 1)];
    assert!(expected.iter().all(|(kind, count)| counts[kind] == *count), "{counts:?}");
    assert_eq!((counts["work_day"], counts["work_profile"]), (3, 1));
    assert_eq!(records["work_day"][0]["body"]["date"], "2025-10-31", "oldest first");

    let decisions: Vec<&Value> =
        document["consents"].as_array().expect("a list").iter().map(|one| &one["purpose"]).collect();
    assert_eq!(decisions, ["hearing", "wordbook", "work_hours"]);
    assert!(document["consents"][0]["noticeText"].as_str().is_some_and(|text| text.len() > 100));
    assert!(document["retention"].as_array().is_some_and(|rules| rules.len() == domain::kinds::KINDS.len()));
    assert_eq!(document["requests"][0]["type"], "export");

    // Every event is listed, with its origin and content.
    let events = document["events"].as_array().expect("a list");
    let mut types: Vec<&str> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    let mut known = events_of(&world, &anna).await;
    known.retain(|event| !["export.completed", "export.downloaded"].contains(&event.as_str()));
    types.retain(|event| *event != "data.accessed");
    types.sort_unstable();
    known.sort_unstable();
    assert_eq!(types, known);
    let submitted = events.iter().find(|event| event["kind"] == "work_day").expect("a day was submitted");
    assert_eq!(submitted["data"]["actual_minutes"], 540);
    assert!(submitted["address"].is_string() && submitted["agent"].is_string(), "{submitted}");

    world.take_letter(&anna.email, "Subject: Your data is ready").await;
}

#[tokio::test]
async fn export_download_gives_an_archive_with_a_table_of_everything_and_no_formula() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let id = export(&world, &anna, &full("csv")).await;
    let answer = world.get(&anna, path(&id, "/download")).await;
    assert_eq!(answer.0.header("content-type"), Some("application/zip"));
    let name = answer.0.header("content-disposition").expect("a name").to_owned();
    assert!(name.starts_with("attachment; filename=\"lethe-export-") && name.ends_with(".zip\""), "{name}");
    let tables = tables(bytes(answer, StatusCode::OK).await);
    let expected =
        ["export.csv", "wordbook.csv", "records/work_day.csv", "records/screening.csv", "consents.csv", "events.csv"];
    assert!(expected.iter().all(|name| tables.contains_key(*name)), "{:?}", tables.keys());
    assert!(tables["export.csv"].starts_with("Section,Field,Value\nmetadata,exportDate,"));
    assert!(tables["export.csv"].contains("\nsettings,autoNewReview,2\n"), "{}", tables["export.csv"]);
    let flat =
        "UserEmail,AutoNewReview,DailyCount,WordId,Lemma,POS,PassiveCount,NextPassive,ActiveCount,NextActive,AddedAt\n";
    assert!(tables["wordbook.csv"].starts_with(flat));
    assert!(tables["wordbook.csv"].contains("\nanna@klinik.example,2,10,w1,hej,,5,,3,2025-10-25T00:00:00Z,"));
    for (name, text) in &tables {
        assert!(!text.contains("anna@klinik.example,2,10,w2,=cmd"), "{name}");
        if name.ends_with(".csv") {
            for row in csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes()).records() {
                let row = row.expect("well formed");
                assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{name}: {row:?}");
            }
        }
    }
    assert!(tables["records/wordbook_entry.csv"].contains("'=cmd|' /C calc'!A0"));
    assert_eq!(tables["records/work_day.csv"].lines().count(), 4);
    let manifest: Value = serde_json::from_str(&tables["manifest.json"]).expect("JSON");
    assert_eq!(manifest["files"]["records/work_day.csv"]["rows"], 3);
}

#[tokio::test]
async fn export_request_takes_filters_and_refuses_those_that_match_nothing() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let partial = |filters: Value| json!({ "request_type": "partial", "format": "json", "filters": filters });
    let refused = async |body: &Value| {
        let refusal =
            problem(world.post(&anna, ASK, body).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        let mut named = fields(&refusal);
        named.sort_unstable();
        named.join(" ")
    };
    assert_eq!(refused(&json!({ "request_type": "partial", "format": "json" })).await, "filters");
    assert_eq!(refused(&json!({ "request_type": "all", "format": "xml" })).await, "format request_type");
    assert_eq!(refused(&partial(json!({ "kinds": ["moods"], "until": 3 }))).await, "filters.until");
    assert_eq!(refused(&partial(json!({ "kinds": ["moods"] }))).await, "filters.kinds[0]");
    let narrowed = json!({ "request_type": "full", "format": "json", "filters": { "kinds": ["work_day"] } });
    assert_eq!(refused(&narrowed).await, "filters");
    let sessions = |filters: Value| json!({ "request_type": "sessions_only", "format": "json", "filters": filters });
    assert_eq!(refused(&sessions(json!({ "kinds": ["work_day"] }))).await, "filters.kinds");
    for nothing in [
        partial(json!({ "from": "2024-01-01", "to": "2024-12-31" })),
        partial(json!({ "to": "2025-10-30" })),
        partial(json!({ "kinds": ["demographics"] })),
        partial(json!({ "kinds": ["work_day"], "test_type": "pure_tone" })),
        partial(json!({ "test_type": "speech_in_noise" })),
        sessions(json!({ "from": "2020-01-01", "to": "2020-12-31" })),
    ] {
        assert_eq!(refused(&nothing).await, "filters", "{nothing}");
    }

    let found = async |body: Value| {
        let id = export(&world, &anna, &body).await;
        let document: Value = serde_json::from_slice(&download(&world, &anna, &id).await).expect("JSON");
        assert!(["consents", "events", "requests"].iter().all(|name| document.get(*name).is_none()), "{document}");
        let kinds = document["records"].as_object().expect("an object").clone();
        (document, kinds.into_iter().filter(|(_, list)| list != &json!([])).collect::<BTreeMap<_, _>>())
    };
    let (document, november) = found(partial(json!({ "from": "2025-11-01", "to": "2025-11-30" }))).await;
    assert_eq!(november.keys().collect::<Vec<_>>(), ["work_day"]);
    assert_eq!(november["work_day"].as_array().map(Vec::len), Some(2));
    let meant = json!({ "from": "2025-11-01", "to": "2025-11-30", "time_zone": "Europe/Berlin" });
    assert_eq!(document["request"]["filters"], meant);
    let (_, since) = found(partial(json!({ "from": "2025-11-30", "kinds": ["work_day"] }))).await;
    assert_eq!(since["work_day"].as_array().map(Vec::len), Some(1));
    let (document, words) = found(partial(json!({ "kinds": ["wordbook_entry"] }))).await;
    assert_eq!((words.len(), document["wordbook"].as_array().map(Vec::len)), (1, Some(2)));
    assert_eq!(document.get("settings"), None, "not asked for");
    let (_, sessions) = found(json!({ "request_type": "sessions_only", "format": "json" })).await;
    assert_eq!(sessions.keys().collect::<Vec<_>>(), ["screening"]);
    let listed = expect(world.get(&anna, "/v1/privacy/exports").await, StatusCode::OK).await;
    assert_eq!(listed["exports"].as_array().map(Vec::len), Some(4));
    assert_eq!(listed["exports"][0]["request_type"], "sessions_only", "newest first");
}

#[tokio::test]
async fn export_cancel_ends_the_one_export_that_may_wait() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let id = ask(&world, &anna, &full("json")).await;
    problem(world.post(&anna, ASK, &full("csv")).await, StatusCode::CONFLICT, "export-waiting").await;
    problem(world.get(&anna, path(&id, "/download")).await, StatusCode::NOT_FOUND, "missing").await;
    problem(world.post(&anna, path(&id, "/token"), &Value::Null).await, StatusCode::NOT_FOUND, "missing").await;
    problem(world.post(&anna, path(&id, "/retry"), &Value::Null).await, StatusCode::CONFLICT, "export-closed").await;
    let cancelled = expect(world.post(&anna, path(&id, "/cancel"), &Value::Null).await, StatusCode::OK).await;
    assert_eq!(cancelled["status"], "cancelled");
    problem(world.post(&anna, path(&id, "/cancel"), &Value::Null).await, StatusCode::CONFLICT, "export-closed").await;
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 0, "the job went with the request");
    // A job that has begun before notices the cancellation, and leaves nothing behind.
    let subject = SubjectId(subject_of(&world, &anna).await);
    let next =
        export_run::run(&world.app, subject, context::ExportId(id.parse().expect("an id")), 1).await.expect("run");
    assert_eq!(next, lethe::app::operation::job::Next::Done);
    assert!(world.app.exports.list().await.expect("listed").is_empty());
    let id = export(&world, &anna, &full("csv")).await;
    problem(world.post(&anna, path(&id, "/cancel"), &Value::Null).await, StatusCode::CONFLICT, "export-closed").await;
}

#[tokio::test]
async fn export_list_shows_ones_own_exports_newest_first() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let first = export(&world, &anna, &full("json")).await;
    let second = ask(&world, &anna, &full("csv")).await;
    let listed = expect(world.get(&anna, "/v1/privacy/exports").await, StatusCode::OK).await;
    let of = |export: &Value| ["export_id", "format", "status"].map(|name| export[name].clone());
    let listed: Vec<_> = listed["exports"].as_array().expect("a list").iter().map(of).collect();
    assert_eq!(
        listed,
        [[json!(second), json!("csv"), json!("pending")], [json!(first), json!("json"), json!("completed")]]
    );
    let none = expect(world.get(&ben, "/v1/privacy/exports").await, StatusCode::OK).await;
    assert_eq!(none["exports"], json!([]));
}

#[tokio::test]
async fn export_retry_writes_the_file_of_an_export_that_failed_and_said_why() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    // A file where the folder should be.
    let folder = world.folder.join("exports");
    std::fs::write(&folder, "in the way").expect("written");
    let id = ask(&world, &anna, &full("json")).await;
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    let failed = see(&world, &anna, &id).await;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("store_unavailable")));
    world.take_letter(&anna.email, "Subject: Your data could not be put together").await;
    problem(world.get(&anna, path(&id, "/download")).await, StatusCode::NOT_FOUND, "missing").await;
    std::fs::remove_file(&folder).expect("out of the way");
    let again = expect(world.post(&anna, path(&id, "/retry"), &Value::Null).await, StatusCode::ACCEPTED).await;
    assert_eq!((&again["status"], again.get("reason")), (&json!("pending"), None));
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    assert_eq!(see(&world, &anna, &id).await["status"], "completed");
    assert!(serde_json::from_slice::<Value>(&download(&world, &anna, &id).await).is_ok());
    let types = events_of(&world, &anna).await;
    let exports: Vec<&str> = types.iter().filter_map(|name| name.strip_prefix("export.")).collect();
    assert_eq!(exports, ["requested", "failed", "requested", "completed", "downloaded"]);
}

#[tokio::test]
async fn a_run_that_died_is_begun_anew_and_what_it_left_is_swept() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let id = ask(&world, &anna, &full("json")).await;
    let (subject, export) = (SubjectId(subject_of(&world, &anna).await), context::ExportId(id.parse().expect("an id")));
    // The remains of a server that was killed while writing: half a file, and a row that names it.
    let client = world.superuser().await;
    let died = "UPDATE read.exports SET state = 'processing', etag = 'dead', file_key = 'none', done = 1, total = 9";
    assert_eq!(client.execute(died, &[]).await.expect("updated"), 1);
    let folder = world.folder.join("exports").join(subject.to_string());
    std::fs::create_dir_all(&folder).expect("made");
    let (half, stray) = (folder.join(format!("{export}.dead.half")), folder.join(format!("{export}.0ld")));
    std::fs::write(&half, "half").expect("written");
    std::fs::write(&stray, "stray").expect("written");
    assert_eq!(see(&world, &anna, &id).await["progress_percent"], 11);
    keep_house_once(&world.app).await.expect("kept");
    assert!(half.exists() && !stray.exists(), "what is being written stays");
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    assert_eq!(see(&world, &anna, &id).await["status"], "completed");
    keep_house_once(&world.app).await.expect("kept");
    assert!(!half.exists());
    assert_eq!(world.app.exports.list().await.expect("listed").len(), 1);
    assert!(serde_json::from_slice::<Value>(&download(&world, &anna, &id).await).is_ok());
    // A job that gives up after too many attempts tells the person.
    let id = ask(&world, &anna, &full("json")).await;
    export_run::run(&world.app, subject, context::ExportId(id.parse().expect("an id")), 6).await.expect("run");
    assert_eq!(see(&world, &anna, &id).await["reason"], "gave_up");
}

#[tokio::test]
async fn export_get_says_that_a_file_expired_and_the_file_goes_with_the_person() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let id = export(&world, &anna, &full("json")).await;
    let raw = std::fs::read(file(&world)).expect("read");
    for canary in [anna.email.as_bytes(), b"2025-10-31", b"exportMetadata"] {
        assert!(!raw.windows(canary.len()).any(|part| part == canary), "the file is sealed");
    }
    keep_house_once(&world.app).await.expect("kept");
    assert_eq!(world.app.exports.list().await.expect("listed").len(), 1, "not yet");
    let_pass(&world, TimeDelta::days(7)).await;
    let anna = sign_in(&world, &anna.email).await;
    assert_eq!(see(&world, &anna, &id).await["status"], "expired", "before anybody has swept");
    problem(world.get(&anna, path(&id, "/download")).await, StatusCode::NOT_FOUND, "missing").await;
    assert_eq!(world.app.exports.list().await.expect("listed").len(), 1);
    keep_house_once(&world.app).await.expect("kept");
    assert!(world.app.exports.list().await.expect("listed").is_empty());
    let key: Option<String> =
        world.superuser().await.query_one("SELECT file_key FROM read.exports", &[]).await.expect("a row").get(0);
    assert_eq!(key, None, "its key is gone");
    assert_eq!(see(&world, &anna, &id).await["status"], "expired");
    assert_eq!(events_of(&world, &anna).await.last().map(String::as_str), Some("export.expired"));

    export(&world, &anna, &full("csv")).await;
    let folder = file(&world).parent().expect("a folder").to_owned();
    erase(&world, &anna).await;
    assert!(!folder.exists(), "files go with the person");
}

/// The only file in the store.
fn file(world: &World) -> std::path::PathBuf {
    let people = std::fs::read_dir(world.folder.join("exports")).expect("the folder");
    let person = people.map(|entry| entry.expect("an entry").path()).next().expect("a person");
    let mut files = std::fs::read_dir(person).expect("the person's folder");
    files.next().expect("a file").expect("an entry").path()
}

#[tokio::test]
async fn export_download_answers_ranges_and_tags_and_each_is_on_record() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let id = export(&world, &anna, &full("json")).await;
    let all = download(&world, &anna, &id).await;
    let get = async |headers: &[(&'static str, String)]| {
        let client = world.client();
        let mut request = anna.sign(client.get(path(&id, "/download")));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.0
    };
    let whole = get(&[]).await;
    let etag = whole.header("etag").expect("a tag").to_owned();
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("content-length"), Some(all.len().to_string().as_str()));
    assert_eq!(whole.header("content-type"), Some("application/json"));
    assert_eq!(whole.header("cache-control"), Some("no-store"));

    let middle = ("range", "bytes=100-299".to_owned());
    let part = get(std::slice::from_ref(&middle)).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.header("content-range"), Some(format!("bytes 100-299/{}", all.len()).as_str()));
    assert_eq!(part.into_body().into_vec().await.expect("a body"), all[100..300]);
    let last = get(&[("range", "bytes=-7".to_owned()), ("if-range", etag.clone())]).await;
    assert_eq!(last.into_body().into_vec().await.expect("a body"), all[all.len() - 7..]);
    let other = get(&[middle, ("if-range", "\"other\"".to_owned())]).await;
    assert_eq!((other.status(), other.into_body().into_vec().await.expect("a body")), (StatusCode::OK, all.clone()));
    let downloads = async || {
        let types = events_of(&world, &anna).await;
        types.iter().filter(|name| *name == "export.downloaded").count()
    };
    assert_eq!(downloads().await, 5);
    assert_eq!(get(&[("if-none-match", etag)]).await.status(), StatusCode::NOT_MODIFIED);
    let outside = get(&[("range", format!("bytes={}-", all.len()))]).await;
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(outside.header("content-range"), Some(format!("bytes */{}", all.len()).as_str()));
    assert_eq!(downloads().await, 5, "nothing was sent");

    // The audit log shows the downloads, with the client's address.
    let log = expect(world.get(&anna, "/v1/privacy/audit-log?action=export.downloaded").await, StatusCode::OK).await;
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(5));
    assert!(log["entries"][0]["ip_address"].is_string(), "{log}");
}

#[tokio::test]
async fn export_token_opens_one_file_for_ten_minutes_and_foreign_ids_are_as_unknown_ones() {
    let world = World::new().await;
    let (anna, ben) = (somebody(&world, "anna").await, world.person("ben").await);
    let (mine, his) = (export(&world, &anna, &full("json")).await, export(&world, &ben, &full("json")).await);
    let made = expect(world.post(&anna, path(&mine, "/token"), &Value::Null).await, StatusCode::OK).await;
    let token = made["token"].as_str().expect("a token");
    let with =
        async |id: &str, token: &str| world.client().get(path(id, "/download")).query("token", &token).send().await;
    let found = bytes(with(&mine, token).await, StatusCode::OK).await;
    assert_eq!(found.len(), download(&world, &anna, &mine).await.len());
    let (nobody, other) = (context::ExportId::random().to_string(), export(&world, &anna, &full("csv")).await);
    let mut answers = Vec::new();
    for (id, token) in
        [(&his, token), (&other, token), (&nobody, token), (&mine, "x"), (&mine, &token[1..]), (&nobody, "x")]
    {
        answers.push(Answer::of(with(id, token).await).await);
    }
    for (person, rest) in [(&ben, ""), (&ben, "/download")] {
        answers.push(Answer::of(world.get(person, path(&mine, rest)).await).await);
        answers.push(Answer::of(world.get(person, path(&nobody, rest)).await).await);
    }
    for rest in ["/cancel", "/retry", "/token"] {
        answers.push(Answer::of(world.post(&ben, path(&mine, rest), &Value::Null).await).await);
    }
    world.clock.advance(TimeDelta::minutes(10));
    answers.push(Answer::of(with(&mine, token).await).await);
    for answer in &answers {
        assert_eq!(answer.problem(StatusCode::NOT_FOUND), answers[0].problem(StatusCode::NOT_FOUND));
    }
    let anybody = world.client().get(path(&mine, "/download")).send().await;
    problem(anybody, StatusCode::UNAUTHORIZED, "signed-out").await;
}

#[tokio::test]
async fn export_token_ends_with_the_session_that_made_it() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let file = export(&world, &anna, &full("json")).await;
    let sessions = [sign_in(&world, &anna.email).await, sign_in(&world, &anna.email).await];
    let token_of = async |person: &Person| {
        let made = expect(world.post(person, path(&file, "/token"), &Value::Null).await, StatusCode::OK).await;
        made["token"].as_str().expect("a token").to_owned()
    };
    let with = async |token: &str| world.client().get(path(&file, "/download")).query("token", &token).send().await;
    let (by_anna, by_others) = (token_of(&anna).await, [token_of(&sessions[0]).await, token_of(&sessions[1]).await]);
    for token in [&by_anna, &by_others[0], &by_others[1]] {
        assert!(!bytes(with(token).await, StatusCode::OK).await.is_empty());
    }
    expect(world.post(&sessions[0], "/v1/auth/logout", &Value::Null).await, StatusCode::NO_CONTENT).await;
    problem(with(&by_others[0]).await, StatusCode::NOT_FOUND, "missing").await;
    // The reuse of a refresh token ends a session too.
    let refresh = async |token: &str| {
        world.client().post("/v1/auth/refresh").body_json(&json!({ "refresh_token": token })).send().await
    };
    expect(refresh(&sessions[1].refresh_token).await, StatusCode::OK).await;
    let_pass(&world, TimeDelta::minutes(5)).await;
    problem(refresh(&sessions[1].refresh_token).await, StatusCode::UNAUTHORIZED, "refresh-refused").await;
    problem(with(&by_others[1]).await, StatusCode::NOT_FOUND, "missing").await;
    // Another session's token opens the file as before, also while the account is suspended, because exporting one's
    // data is a right.
    assert!(!bytes(with(&by_anna).await, StatusCode::OK).await.is_empty());
    let suspend = "INSERT INTO auth.suspensions VALUES ($1, now() + interval '1 hour')";
    world.superuser().await.execute(suspend, &[&subject_of(&world, &anna).await]).await.expect("suspended");
    assert!(!bytes(with(&by_anna).await, StatusCode::OK).await.is_empty());
}

#[tokio::test]
async fn while_processing_is_restricted_nothing_is_exported() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let restrict = async |restricted: bool| {
        let body = json!({ "restricted": restricted });
        expect(world.put(&anna, "/v1/privacy/restriction", &body).await, StatusCode::OK).await
    };
    restrict(true).await;
    problem(world.post(&anna, ASK, &full("json")).await, StatusCode::CONFLICT, "restricted").await;
    let partial = json!({ "request_type": "partial", "format": "json", "filters": { "kinds": ["work_day"] } });
    problem(world.post(&anna, ASK, &partial).await, StatusCode::CONFLICT, "restricted").await;
    restrict(false).await;
    // An export that was requested before waits, however long.
    let id = ask(&world, &anna, &full("json")).await;
    restrict(true).await;
    for _ in 0..10 {
        run_due(&world.app).await.expect("jobs run");
        let_pass(&world, TimeDelta::hours(1)).await;
    }
    let anna = sign_in(&world, &anna.email).await;
    let waits = expect(world.get(&anna, format!("/v1/privacy/exports/{id}")).await, StatusCode::OK).await;
    assert_eq!(waits["status"], "pending");
    let body = json!({ "restricted": false });
    expect(world.put(&anna, "/v1/privacy/restriction", &body).await, StatusCode::OK).await;
    run_due(&world.app).await.expect("jobs run");
    let done = expect(world.get(&anna, format!("/v1/privacy/exports/{id}")).await, StatusCode::OK).await;
    assert_eq!(done["status"], "completed");
}

/// A step of a person with their words.
#[derive(Clone, Debug)]
enum Step {
    Submit(u8, u8),
    Settings(u8),
    RemoveAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8, 0..3_u8).prop_map(|(word, count)| Step::Submit(word, count)),
        2 => (0..4_u8).prop_map(Step::Settings),
        1 => Just(Step::RemoveAll),
    ]
}

impl Step {
    async fn take(&self, world: &World, ctx: &Ctx) {
        let (kind, body) = match self {
            Self::Submit(word, count) => (
                WORDBOOK_ENTRY,
                json!({
                    "word_id": format!("w{word}"), "lemma": "hej", "passive_review_count": count, "active_review_count": 0,
                }),
            ),
            Self::Settings(count) => {
                (WORDBOOK_SETTINGS, json!({ "auto_new_review": count, "daily_new_review_count": 5 }))
            }
            Self::RemoveAll => {
                record::remove_all(&world.app, ctx, "record_remove_all", WORDBOOK_ENTRY).await.expect("removed");
                return;
            }
        };
        let submissions = [Submission { body: context::Personal::new(body), expected: None, within: None }];
        let today = world.clock.now().date_naive();
        let batch = Batch { operation: "record_submit", kind, submissions: &submissions, today, faults: Vec::new() };
        record::submit(&world.app, ctx, &batch, None).await.expect("submitted");
    }
}

/// The state that follows from the person's events: the newest body of each record, unless it was removed.
fn fold(events: &Value) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut living: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut streams: Vec<&Value> =
        events.as_array().expect("a list").iter().filter(|event| event["streamType"] == "record").collect();
    streams.sort_by_key(|event| event["sequence"].as_i64());
    for event in streams {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        let of_kind = living.entry(text("kind")).or_default();
        match event["type"].as_str() {
            Some("record.removed") => drop(of_kind.remove(&text("streamId"))),
            _ => drop(of_kind.insert(text("streamId"), event["data"].to_string())),
        }
    }
    living.retain(|_, records| !records.is_empty());
    living
}

/// **Feature: privacy-controls, Property 3: Export completeness**
#[test]
fn an_export_equals_a_fold_of_the_persons_events() {
    let runtime = Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::new());
    let number = AtomicUsize::new(0);
    property(100, &runtime, prop::collection::vec(step(), 0..8), async |steps: Vec<Step>| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let person = world.person_with(&format!("case{number}"), json!({ "consents": ["wordbook"] })).await;
        let ctx = Ctx::system(world.clock.clone()).for_subject(SubjectId(subject_of(&world, &person).await), None);
        for step in &steps {
            step.take(&world, &ctx).await;
        }
        let request = export::request(&world.app, &ctx, Scope::Full, ExportFormat::Json, Filter::default(), None).await;
        let id = request.expect("taken").value.row.export.to_string();
        run_due(&world.app).await.expect("jobs run");
        let document: Value = serde_json::from_slice(&download(&world, &person, &id).await).expect("JSON");
        let mut found = BTreeMap::new();
        for (kind, list) in document["records"].as_object().expect("an object") {
            let list = list.as_array().expect("a list").iter();
            let records: BTreeMap<String, String> = list
                .map(|record| (record["id"].as_str().expect("an id").to_owned(), record["body"].to_string()))
                .collect();
            prop_assert!(kind_of(kind).is_some());
            if !records.is_empty() {
                found.insert(kind.clone(), records);
            }
        }
        prop_assert_eq!(found, fold(&document["events"]));
        // The log itself knows no other events than the document, except the two at the export's own end.
        let known = events_of(&world, &person).await.len();
        let listed = document["events"].as_array().expect("a list").iter();
        let listed = listed.filter(|event| event["type"] != "data.accessed").count();
        prop_assert_eq!(listed + 2, known);
        Ok(())
    });
}
