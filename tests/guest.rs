//! Guests: served without an account, limited in memory, and gone without a trace.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;
use context::Personal;
use domain::kinds::{SCREENING, kind};
use poem::{
    http::{Method, StatusCode},
    test::TestResponse,
};
use proptest::{collection, prelude::*};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tracing::Dispatch;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    isolation::property,
    steps::{Answer, fields, problem, state_of},
    support::{World, day, expect},
};

async fn token(world: &World) -> String {
    let answer = expect(world.client().post("/v1/guests").send().await, StatusCode::CREATED).await;
    assert_eq!(answer["stored"], false);
    answer["token"].as_str().expect("a token").to_owned()
}

async fn evaluate(world: &World, token: &str, kind: &str, body: &Value) -> TestResponse {
    let client = world.client();
    let request = client.post(format!("/v1/guests/evaluate/{kind}")).header("guest-token", token);
    request.body_json(body).send().await
}

#[tokio::test]
async fn guest_evaluate_answers_a_screening_and_tells_how_to_sign_in() {
    let world = World::new().await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let guest = token(&world).await;
    let body = SCREENING.example().into_inner();
    let answer = Answer::of(evaluate(&world, &guest, "screening", &body).await).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let left = answer.header("ratelimit").expect("it says what is left");
    assert!(left.starts_with("\"guests-per-client\";r=58;t="), "{left}");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"guests-per-client\";q=60;w=60"));
    assert_eq!(answer.header("deprecation"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = answer.json();
    assert_eq!((&answer["kind"], &answer["stored"]), (&json!("screening"), &json!(false)));
    assert_eq!(answer["result"], SCREENING.evaluate(&SCREENING.example()).expect("it is evaluated"));
    assert!(answer["sign_in"].as_str().is_some_and(|how| how.contains("/v1/auth/code")), "{answer}");

    for kind in ["work_day", "demographics", "wordbook_entry", "work_profile", "contact"] {
        let sample = kind_sample(kind);
        let refused =
            problem(evaluate(&world, &guest, kind, &sample).await, StatusCode::FORBIDDEN, "sign-in-needed").await;
        assert!(refused["detail"].as_str().is_some_and(|how| how.contains("/v1/auth/login")), "{refused}");
    }
    problem(evaluate(&world, &guest, "nothing", &body).await, StatusCode::NOT_FOUND, "missing").await;
    let wrong = evaluate(&world, &guest, "screening", &json!({ "left": "Zebrafink4711" })).await;
    let wrong = problem(wrong, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    assert_eq!(fields(&wrong), ["left", "right", "taken_at", "test_type"]);
    assert!(!wrong.to_string().contains("Zebrafink"), "{wrong}");
    assert_eq!(state_of(&client).await, before);
}

fn kind_sample(name: &str) -> Value {
    kind(name).expect("a kind").example().into_inner()
}

#[tokio::test]
async fn guest_token_opens_nothing_else_and_nothing_else_is_a_guests_token() {
    let world = World::new().await;
    let (anna, guest) = (world.person("anna").await, token(&world).await);
    let body = SCREENING.example().into_inner();
    for (method, path) in [
        (Method::GET, "/v1/records/screening"),
        (Method::PUT, "/v1/records/screening"),
        (Method::GET, "/v1/auth/me"),
        (Method::GET, "/v1/privacy/audit-log"),
        (Method::GET, "/v1/consents"),
        (Method::POST, "/v1/auth/logout"),
    ] {
        let client = world.client();
        let request = client.request(method, path).header("authorization", format!("Bearer {guest}"));
        problem(request.body_json(&body).send().await, StatusCode::UNAUTHORIZED, "signed-out").await;
    }
    for wrong in [anna.refresh_token.as_str(), "", "x"] {
        problem(evaluate(&world, wrong, "screening", &body).await, StatusCode::UNAUTHORIZED, "signed-out").await;
    }
    problem(evaluate(&world, &anna.token, "screening", &body).await, StatusCode::FORBIDDEN, "forbidden").await;
    let bare = world.client().post("/v1/guests/evaluate/screening").body_json(&body).send().await;
    problem(bare, StatusCode::UNAUTHORIZED, "signed-out").await;
    world.clock.advance(TimeDelta::hours(1));
    problem(evaluate(&world, &guest, "screening", &body).await, StatusCode::UNAUTHORIZED, "signed-out").await;
}

#[tokio::test]
async fn a_guests_token_may_still_be_a_bearer_token_and_is_told_that_it_should_not() {
    let world = World::new().await;
    let guest = token(&world).await;
    let body = SCREENING.example().into_inner();
    let client = world.client();
    let old = client.post("/v1/guests/evaluate/screening").header("authorization", format!("Bearer {guest}"));
    let answer = Answer::of(old.body_json(&body).send().await).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("deprecation"), Some("@1796083200"));
    assert_eq!(answer.header("sunset"), Some("Wed, 01 Dec 2027 00:00:00 GMT"));
}

#[tokio::test]
async fn guest_evaluate_makes_a_client_that_asks_too_often_wait_for_the_next_window() {
    let world = World::new().await;
    let guest = token(&world).await;
    let body = SCREENING.example().into_inner();
    for _ in 1..60 {
        expect(evaluate(&world, &guest, "screening", &body).await, StatusCode::OK).await;
    }
    let refused = Answer::of(evaluate(&world, &guest, "screening", &body).await).await;
    refused.problem(StatusCode::TOO_MANY_REQUESTS);
    let wait: i64 = refused.header("retry-after").expect("it says when").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    problem(world.client().post("/v1/guests").send().await, StatusCode::TOO_MANY_REQUESTS, "limited").await;
    world.clock.advance(TimeDelta::minutes(1));
    expect(evaluate(&world, &guest, "screening", &body).await, StatusCode::OK).await;
}

#[tokio::test]
async fn guests_need_no_database_at_all() {
    let world = World::new().await;
    world.close_database().await;
    let answer = world.client().post("/v1/auth/code").body_json(&json!({ "email": "a@klinik.example" })).send().await;
    assert!(answer.0.status().is_server_error(), "whoever signs in needs it");
    let guest = token(&world).await;
    let body = SCREENING.example().into_inner();
    expect(evaluate(&world, &guest, "screening", &body).await, StatusCode::OK).await;
}

const TABLES: &str = "-- tables
    SELECT string_agg(format('(SELECT %L || coalesce(string_agg(t::text, E''\\n'' ORDER BY t::text), '''') FROM %s t)',
                             c.oid::regclass, c.oid::regclass), ' || ' ORDER BY c.oid::regclass::text)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

const SEQUENCES: &str = "-- sequences
    SELECT coalesce(string_agg(s::text, E'\\n' ORDER BY s::text), '') FROM pg_sequences s";

/// Everything that could keep a trace: each table and sequence of the database, each file of the data folder, and the
/// output of tracing.
struct Traces {
    client: Client,
    dump: String,
    folder: PathBuf,
    traced: Arc<Mutex<Vec<u8>>>,
}

/// The output of tracing, kept in memory.
struct Traced(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Traces {
    async fn of(world: &World) -> Self {
        let client = world.superuser().await;
        let tables: String = client.query_one(TABLES, &[]).await.expect("the catalogue is read").get(0);
        assert!(tables.contains("log.events") && tables.contains("auth.limits"), "{tables}");
        let dump = format!("SELECT {tables}");
        Self { client, dump, folder: world.folder.path().to_owned(), traced: Arc::default() }
    }

    /// Listens to everything that this thread traces. There are two listeners, because with only one, the first thread
    /// that reaches a trace point would decide for all threads whether it is traced, and a test beside this one does
    /// not listen.
    fn listen(&self) -> (tracing::subscriber::DefaultGuard, Dispatch) {
        let traced = self.traced.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(move || Traced(traced.clone()))
            .finish();
        let other = Dispatch::new(tracing_subscriber::registry());
        (tracing::subscriber::set_default(subscriber), other)
    }

    fn traced(&self) -> String {
        String::from_utf8_lossy(&self.traced.lock().expect("nobody panicked")).into_owned()
    }

    async fn all(&self) -> (String, String, BTreeMap<PathBuf, Vec<u8>>, String) {
        let rows = self.client.query_one(&self.dump, &[]).await.expect("the tables are read").get(0);
        let sequences = self.client.query_one(SEQUENCES, &[]).await.expect("the sequences are read").get(0);
        let mut files = BTreeMap::new();
        read_files(&self.folder, &mut files);
        (rows, sequences, files, self.traced())
    }
}

fn read_files(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_files(&path, into);
        } else {
            let bytes = std::fs::read(&path).expect("we may read it");
            into.insert(path, bytes);
        }
    }
}

/// A screening, valid or not.
fn screening() -> impl Strategy<Value = Value> {
    let hz = prop_oneof![12 => prop::sample::select(vec![250, 500, 1000, 2000, 4000, 8000]), 1 => 0..9000_i64];
    let ear = || collection::vec((hz.clone(), prop_oneof![12 => -10..=120_i64, 1 => any::<i64>()]), 0..5);
    let taken_at = prop_oneof![6 => "2026-0[1-6]-[12][0-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9]Z", 1 => "[ -~]{0,30}"];
    let test_type =
        prop_oneof![6 => Just("pure_tone".to_owned()), 1 => Just("speech_in_noise".to_owned()), 1 => "[a-z]{1,9}"];
    let more = prop::option::weighted(0.1, "[a-z]{1,9}");
    (taken_at, test_type, ear(), ear(), more).prop_map(|(taken_at, test_type, left, right, more)| {
        let ear = |thresholds: Vec<(i64, i64)>| -> Value {
            thresholds.into_iter().map(|(hz, db)| json!({ "frequency_hz": hz, "threshold_db": db })).collect()
        };
        let mut body = json!({ "taken_at": taken_at, "test_type": test_type, "left": ear(left), "right": ear(right) });
        if let Some(more) = more {
            body[more] = json!(1);
        }
        body
    })
}

/// A guest's request: a kind, a body, and the client's agent.
type Asked = (&'static str, Value, String);

fn asked() -> impl Strategy<Value = Asked> {
    let kinds = prop_oneof![8 => Just("screening"), 1 => Just("demographics"), 1 => Just("nothing")];
    (kinds, screening(), "[!-~]{1,30}")
}

async fn ask(world: &World, guest: &str, (name, body, agent): &Asked) -> Result<bool, TestCaseError> {
    let client = world.client();
    let request = client.post(format!("/v1/guests/evaluate/{name}")).header("user-agent", agent.as_str());
    let request = request.header("guest-token", guest).body_json(body);
    let answer = Answer::of(request.send().await).await;
    let known = Personal::new(body.clone());
    let expected = match *name {
        "screening" if SCREENING.faults(&known, world.clock.now().date_naive()).is_empty() => StatusCode::OK,
        "screening" => StatusCode::UNPROCESSABLE_ENTITY,
        "demographics" => StatusCode::FORBIDDEN,
        _ => StatusCode::NOT_FOUND,
    };
    prop_assert_eq!(answer.status, expected, "{}", answer.text);
    if answer.status == StatusCode::OK {
        let answer = answer.json();
        prop_assert_eq!(&answer["stored"], false);
        let evaluated = SCREENING.evaluate(&known).unwrap_or_default();
        prop_assert_eq!(&answer["result"], &evaluated);
    }
    Ok(expected == StatusCode::OK)
}

/// **Feature: privacy-controls, Property 2: Guest data non-persistence**
#[test]
fn whatever_a_guest_does_leaves_no_trace() {
    let runtime = Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::new());
    runtime.block_on(async {
        let anna = world.person("anna").await;
        let client = world.client();
        let request = client.post("/v1/work-events/daily").body_json(&day("2026-01-05", 8.0, 9.0));
        expect(anna.sign(request).send().await, StatusCode::CREATED).await;
    });
    let traces = runtime.block_on(Traces::of(&world));
    let _listening = traces.listen();
    // A request that does leave traces is found, so this comparison can fail.
    let empty = runtime.block_on(traces.all());
    runtime.block_on(async {
        let code =
            world.client().post("/v1/auth/code").body_json(&json!({ "email": "ben@klinik.example" })).send().await;
        expect(code, StatusCode::ACCEPTED).await;
    });
    let counted = runtime.block_on(traces.all());
    assert!(empty.0 != counted.0, "a request for a code is counted and stored");
    assert!(empty.3 != counted.3, "it is traced");

    let evaluated = Mutex::new(0);
    property(128, &runtime, collection::vec(asked(), 1..5), async |questions| {
        // A new window for each guest, so that the limit does not end the test.
        world.clock.advance(TimeDelta::minutes(1));
        let before = traces.all().await;
        let guest = token(&world).await;
        for question in &questions {
            let served = ask(&world, &guest, question).await?;
            *evaluated.lock().expect("nobody panicked") += u32::from(served);
        }
        prop_assert!(traces.all().await == before, "a trace is left of {:?}", questions);
        Ok(())
    });
    assert!(evaluated.into_inner().expect("nobody panicked") > 30, "most guests are served");
}
