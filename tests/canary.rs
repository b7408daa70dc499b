//! The first invariant: nothing on disk links a value to a person.
//!
//! The test sends unique texts to the real binary wherever a client can put text, on a cluster that logs every
//! statement with its bound values. Then it searches the raw bytes of every file below the data folder, and the whole
//! output of the server, for each text in every encoding that could hold it. It also searches for tokens, for the
//! ring's keys and for the logins' passwords. Only the mail may name its recipients.

mod rights;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use lethe::{data::home::Database, server::Store};
use serde_json::{Value, json};

use crate::{
    program::{Answer, Call, DataFolder, Program, free_address, run, serve_without_grace, take_code, text},
    support::Suite,
};

/// The address that the requests come from; it is a canary itself. Only Linux has all of 127.0.0.0/8 without set-up.
const CLIENT: Ipv4Addr =
    if cfg!(target_os = "linux") { Ipv4Addr::new(127, 193, 141, 207) } else { Ipv4Addr::LOCALHOST };

/// The settings with which PostgreSQL writes down as much as it can. The last two undo settings of our own supervisor.
const LOUD: [(&str, &str); 9] = [
    ("fsync", "off"),
    ("wal_keep_size", "1GB"),
    ("log_statement", "all"),
    ("log_min_duration_statement", "0"),
    ("log_parameter_max_length", "-1"),
    ("log_connections", "on"),
    ("log_error_verbosity", "verbose"),
    ("log_min_error_statement", "error"),
    ("log_parameter_max_length_on_error", "-1"),
];

const ZEROS: [u8; 8192] = [0; 8192];

/// The texts that are searched for: each in every encoding, with the file in which it may be.
#[derive(Default)]
struct Needle {
    things: Vec<(String, Option<&'static str>)>,
    needles: Vec<(usize, &'static str, Vec<u8>)>,
    by_head: HashMap<[u8; 4], Vec<usize>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    what: String,
    encoding: &'static str,
    file: PathBuf,
}

impl Needle {
    /// A new random text of 18 small letters, to be submitted at the field or header that `place` names.
    fn canary(&mut self, place: &str) -> String {
        let letters = context::EventId::random().0.into_bytes().map(|byte| char::from(b'a' + byte % 26));
        let text = format!("zq{}", String::from_iter(letters));
        self.add(place, text.as_bytes(), None);
        text
    }

    /// Adds any other bytes to the search. They may be in the file `but_in`.
    fn add(&mut self, what: &str, bytes: &[u8], but_in: Option<&'static str>) {
        let thing = self.things.len();
        self.things.push((what.to_owned(), but_in));
        for (encoding, needle) in encodings(bytes) {
            let head = needle[..4].try_into().expect("what is searched for is longer");
            self.by_head.entry(head).or_default().push(self.needles.len());
            self.needles.push((thing, encoding, needle));
        }
    }

    fn scan(&self, file: &Path, bytes: &[u8], found: &mut BTreeSet<Finding>) {
        // In most positions the first two bytes decide. Much of a new WAL segment is zeros, which no text begins with.
        let mut begins = vec![false; 1 << 16];
        for head in self.by_head.keys() {
            begins[usize::from(u16::from_be_bytes([head[0], head[1]]))] = true;
        }
        let mut last = 0;
        for (page, start) in bytes.chunks(ZEROS.len()).zip((0..).step_by(ZEROS.len())) {
            if *page == ZEROS[..page.len()] {
                last = 0;
                continue;
            }
            for (byte, end) in page.iter().zip(start..) {
                last = (last << 8 | usize::from(*byte)) & 0xffff;
                if begins[last] && end > 0 {
                    self.look(file, &bytes[end - 1..], found);
                }
            }
        }
    }

    fn look(&self, file: &Path, rest: &[u8], found: &mut BTreeSet<Finding>) {
        let candidates = rest.first_chunk().and_then(|head| self.by_head.get(head)).into_iter().flatten();
        for (thing, encoding, _) in candidates.map(|at| &self.needles[*at]).filter(|needle| rest.starts_with(&needle.2))
        {
            let (what, but_in) = &self.things[*thing];
            if but_in.is_none_or(|name| file.file_name().is_none_or(|found| found != name)) {
                found.insert(Finding { what: what.clone(), encoding, file: file.into() });
            }
        }
    }

    /// Searches every file below a folder, except those that `skipped` names.
    fn scan_folder(&self, folder: &Path, skipped: &[&str], found: &mut BTreeSet<Finding>) -> usize {
        let mut files = 0;
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if skipped.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                files += self.scan_folder(&path, skipped, found);
            } else if path.is_file() {
                self.scan(&path, &std::fs::read(&path).expect("we may read it"), found);
                files += 1;
            }
        }
        files
    }
}

/// Bytes as they are, as UTF-16, and in hexadecimal and base64 at every offset in a longer value.
fn encodings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = hex::encode(bytes);
    let mut all =
        vec![("as it is", bytes.to_vec()), ("hex", hex.clone().into_bytes()), ("HEX", hex.to_uppercase().into_bytes())];
    if let Ok(text) = std::str::from_utf8(bytes) {
        all.push(("UTF-16LE", text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    }
    for before in 0..3 {
        // The characters at both ends that also depend on neighbouring bytes are left out.
        let (first, last) = ((before * 8_usize).div_ceil(6), (before + bytes.len()) * 8 / 6);
        let longer = [&vec![0; before], bytes].concat();
        let standard = STANDARD.encode(&longer)[first..last].to_owned();
        let url_safe = URL_SAFE.encode(&longer)[first..last].to_owned();
        if url_safe != standard {
            all.push(("base64url", url_safe.into_bytes()));
        }
        all.push(("base64", standard.into_bytes()));
    }
    all
}

#[test]
fn the_scanner_finds_every_encoding_at_every_place() {
    let secret = [0xfb, 0xff, 0xbf, b'K', b'a', b'n', b'a', b'r', b'i', b'e', b'n', b'v'];
    let mut wanted = Needle::default();
    let canary = wanted.canary("text");
    wanted.add("bytes", &secret, Some("ring.json"));
    let found = |bytes: &[u8], file: &str| {
        let mut found = BTreeSet::new();
        wanted.scan(Path::new(file), bytes, &mut found);
        found.into_iter().map(|finding| (finding.what, finding.encoding)).collect::<Vec<_>>()
    };
    for before in 0..5 {
        let within = |bytes: &[u8]| [&vec![b'.'; before], bytes, b"and more"].concat();
        let text = within(canary.as_bytes());
        assert_eq!(found(&text, "a"), [("text".to_owned(), "as it is")]);
        assert_eq!(found(STANDARD.encode(&text).as_bytes(), "a"), [("text".to_owned(), "base64")], "{before}");
        assert_eq!(found(hex::encode(&text).as_bytes(), "a"), [("text".to_owned(), "hex")]);
        assert_eq!(found(hex::encode_upper(&text).as_bytes(), "a"), [("text".to_owned(), "HEX")]);
        let bytes = within(&secret);
        assert_eq!(found(&bytes, "a"), [("bytes".to_owned(), "as it is")]);
        assert_eq!(found(&bytes, "in/ring.json"), []);
        assert_eq!(found(STANDARD.encode(&bytes).as_bytes(), "a"), [("bytes".to_owned(), "base64")]);
        assert_eq!(found(URL_SAFE.encode(&bytes).as_bytes(), "a"), [("bytes".to_owned(), "base64url")]);
    }
    let wide: Vec<u8> = format!("so {canary}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(found(&wide, "a"), [("text".to_owned(), "UTF-16LE")]);
    assert_eq!(found(&canary.as_bytes()[..17], "a"), []);
}

/// A cluster that writes everything down, and the binary that serves on it.
struct Stage {
    data: DataFolder,
    store: Store,
    superuser: tokio_postgres::Client,
    program: Program,
    address: SocketAddr,
}

impl Stage {
    async fn set(data: DataFolder) -> Self {
        let (store, _) = data.cluster(&LOUD).await;
        let Database { address, admin } = &store.database;
        let superuser = db::admin(address, admin, None).await.expect("the superuser connects");
        let address = free_address();
        let (listen, url) = (address.to_string(), store.database.url(admin, None));
        let mut program = Program::start(&serve_without_grace(data.text(), &url, &listen), "trace");
        program.wait_for("serving");
        Self { data, store, superuser, program, address }
    }

    fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.address, method, target).from(IpAddr::V4(CLIENT))
    }

    async fn post(&self, target: &str, body: &Value) -> Answer {
        self.call("POST", target).json(body).send().await
    }

    async fn code(&self, email: &str) -> String {
        self.post("/v1/auth/code", &json!({ "email": email })).await.expect(202);
        take_code(&self.data.path().join("mail"), &email.to_lowercase()).await
    }
}

#[tokio::test]
async fn what_was_submitted_stands_nowhere_in_clear() {
    let stage = Stage::set(DataFolder::new("")).await;
    let (mut wanted, mut control) = (Needle::default(), Needle::default());
    let in_clear = control.canary("the control");
    stage
        .superuser
        .batch_execute("CREATE TABLE public.control (note text PRIMARY KEY)")
        .await
        .expect("the superuser makes a table");
    stage.superuser.execute("INSERT INTO public.control VALUES ($1)", &[&in_clear]).await.expect("stored in clear");
    if CLIENT != Ipv4Addr::LOCALHOST {
        wanted.add("client address", CLIENT.to_string().as_bytes(), None);
    }
    let anna = strangers_and_sign_in(&stage, &mut wanted).await;
    submissions(&stage, &mut wanted, &anna).await;
    questions(&stage, &mut wanted, &anna).await;
    rights::exercised(&stage, &mut wanted, &anna).await;
    let staff_output = [staff(&stage, &mut wanted), rights::held(&stage, &mut wanted, &anna)].concat();
    reads_without_their_log(&stage, &mut wanted, &anna).await;
    farewell(&stage, &anna).await;
    rights::erased(&stage, &mut wanted, &anna).await;
    rights::nothing_leads_to_anybody(&stage.superuser).await;
    kept_apart(stage.data.path(), &mut wanted);
    every_field_of_an_event_is_argued_for(&stage.superuser).await;

    let Stage { data, store, superuser, mut program, .. } = stage;
    let (status, output) = program.stop();
    assert!(status.success(), "{}", String::from_utf8_lossy(&output));
    superuser.batch_execute("CHECKPOINT").await.expect("everything is on disk");
    drop(superuser);
    store.stop().await.expect("PostgreSQL stops");

    let mut found = BTreeSet::new();
    let files = control.scan_folder(data.path(), &[], &mut found);
    let places: BTreeMap<&str, usize> = ["base", "pg_wal", "postgres.log"]
        .map(|place| (place, found.iter().filter(|finding| finding.file.iter().any(|part| part == place)).count()))
        .into();
    assert!(places["base"] >= 2 && places["pg_wal"] >= 1 && places["postgres.log"] == 1, "heap, index: {found:?}");
    assert!(files > 1000, "{files} files were searched");
    assert!(data.path().join("reads.journal").exists(), "reads went into the journal");
    let traced = String::from_utf8_lossy(&output);
    assert!(traced.contains("DEBUG") && traced.contains("status=201"), "the server wrote down what it did");

    let mut found = BTreeSet::new();
    wanted.scan_folder(data.path(), &["mail"], &mut found);
    wanted.scan(Path::new("the output of lethe serve"), &output, &mut found);
    wanted.scan(Path::new("the output of lethe staff and lethe hold"), &staff_output, &mut found);
    assert!(found.is_empty(), "in clear: {found:#?}");
}

/// A signed-in person.
struct Person {
    email: String,
    token: String,
    refresh_token: String,
}

impl Person {
    fn new(email: String, grant: &Value, wanted: &mut Needle) -> Self {
        let issued = |name: &str| grant[name].as_str().expect("issued").to_owned();
        let person = Self { email, token: issued("token"), refresh_token: issued("refresh_token") };
        for (what, part) in ["header", "claims", "signature"].into_iter().zip(person.token.split('.')).skip(1) {
            wanted.add(&format!("access token's {what}"), part.as_bytes(), None);
        }
        wanted.add("refresh token", person.refresh_token.as_bytes(), None);
        if let Some(secret) = grant["device_secret"].as_str() {
            wanted.add("device secret", secret.as_bytes(), None);
        }
        person
    }
}

/// All requests that need no sign-in, and signing in.
async fn strangers_and_sign_in(stage: &Stage, wanted: &mut Needle) -> Person {
    let unknown = format!("{}@klinik.example", wanted.canary("unknown address asks for a code"));
    stage.code(&unknown).await;
    let body = json!({ "email": unknown, "code": "000000" });
    stage.post("/v1/auth/login", &body).await.expect(401);
    let body =
        json!({ "email": format!("{}@klinik.example", wanted.canary("unknown address signs in")), "code": "123456" });
    stage.post("/v1/auth/login", &body).await.expect(401);
    let body = json!({ "email": wanted.canary("malformed address") });
    stage.post("/v1/auth/code", &body).await.expect(422);

    let local = wanted.canary("e-mail local part");
    let domain = format!("{}.example", wanted.canary("e-mail domain"));
    // Addresses are stored in lower case; the typed spelling must not stay anywhere either.
    let (typed, email) = (format!("{}@{domain}", local.to_uppercase()), format!("{local}@{domain}"));
    wanted.add("e-mail local part as typed", local.to_uppercase().as_bytes(), None);
    let code = stage.code(&typed).await;
    let mut body = json!({
        "email": typed, "code": wanted.canary("malformed code"), "hospital_id": wanted.canary("hospital_id"),
        "specialty": wanted.canary("unknown specialty"), "role_level": wanted.canary("unknown role_level"),
        "state_code": wanted.canary("unknown state_code"), "country_code": wanted.canary("unknown country_code"),
        "time_zone": wanted.canary("unknown time_zone"), "consents": [wanted.canary("unknown purpose")],
        (wanted.canary("name of an unknown field")): wanted.canary("value of an unknown field"),
    });
    stage.post("/v1/auth/register", &body).await.expect(422);
    body["code"] = json!("000000");
    for (name, value) in [("specialty", "surgery"), ("role_level", "specialist"), ("state_code", "BY")] {
        body[name] = json!(value);
    }
    body["consents"] = json!(["work_hours"]);
    let known: serde_json::Map<_, _> =
        body.as_object().expect("an object").clone().into_iter().filter(|(name, _)| !name.starts_with("zq")).collect();
    let mut body = Value::Object(known);
    stage.post("/v1/auth/register", &body).await.expect(422);
    (body["country_code"], body["time_zone"]) = (json!("AUT"), json!("Europe/Vienna"));
    if code != "000000" {
        stage.post("/v1/auth/register", &body).await.expect(401);
    }
    body["code"] = json!(code);
    let agent = wanted.canary("user agent at registration");
    let call = stage.call("POST", "/v1/auth/register").header("user-agent", &agent).json(&body);
    let anna = Person::new(email.clone(), &call.send().await.expect(201), wanted);
    body["code"] = json!(stage.code(&email).await);
    stage.post("/v1/auth/register", &body).await.expect(409);

    let agent = wanted.canary("user agent of a failed sign-in");
    stage.code(&email).await;
    let body = json!({ "email": email, "code": wanted.canary("malformed code at login") });
    stage.post("/v1/auth/login", &body).await.expect(422);
    let call = stage.call("POST", "/v1/auth/login").header("user-agent", &agent);
    let answer = call.json(&json!({ "email": email, "code": "999999" })).send().await;
    assert!([200, 401].contains(&answer.status), "one code in a million is right");
    let code = stage.code(&email).await;
    let secret = wanted.canary("device secret of one's own making");
    let answer = stage.post("/v1/auth/login", &json!({ "email": email, "code": code, "device_secret": secret })).await;
    let again = Person::new(email, &answer.expect(200), wanted);
    let body = json!({ "refresh_token": again.refresh_token });
    let refreshed = Person::new(again.email, &stage.post("/v1/auth/refresh", &body).await.expect(200), wanted);
    // A thief uses the token again: the session ends.
    let agent = wanted.canary("user agent of a thief");
    stage.call("POST", "/v1/auth/refresh").header("user-agent", &agent).json(&body).send().await.expect(401);
    let body = json!({ "refresh_token": wanted.canary("refresh token of one's own making") });
    stage.post("/v1/auth/refresh", &body).await.expect(401);
    stage.call("POST", "/v1/auth/logout").token(&refreshed.token).send().await.expect(401);
    anna
}

/// A person's submissions, accepted and refused.
async fn submissions(stage: &Stage, wanted: &mut Needle, anna: &Person) {
    let day = |date: &str| json!({ "date": date, "planned_hours": 8.5, "actual_hours": 9.2, "source": "geofence" });
    let agent = wanted.canary("user agent of a submission");
    let key = wanted.canary("Idempotency-Key");
    let submit = |target: &str| stage.call("POST", target).token(&anna.token).header("user-agent", &agent);
    for status in [201, 201, 422] {
        let date = if status == 422 { "2025-10-02" } else { "2025-10-01" };
        let call = submit("/v1/work-events/daily").header("idempotency-key", &key).json(&day(date));
        call.send().await.expect(status);
    }
    let key = wanted.canary("Idempotency-Key of a batch");
    let batch = json!({ "events": [day("2025-10-01"), day("2025-10-03"), day("2025-10-04")] });
    for _ in 0..2 {
        let call = submit("/v1/work-events/batch").header("idempotency-key", &key).json(&batch);
        assert_eq!(call.send().await.expect(200)["created_count"], 2);
    }
    let wrong = json!({ "events": [day("2025-10-05"), {
        "date": wanted.canary("malformed date"), "planned_hours": wanted.canary("malformed hours"), "actual_minutes": 1,
        "source": wanted.canary("unknown source"), (wanted.canary("unknown field of a day")): 1,
    }] });
    submit("/v1/work-events/batch").json(&wrong).send().await.expect(422);
    let text = wanted.canary("not JSON");
    submit("/v1/work-events/daily").json(&json!({})).body(format!("{{\"date\": {text}")).send().await.expect(400);
    let text = wanted.canary("not an object");
    submit("/v1/work-events/daily").json(&json!(text)).send().await.expect(422);
    let text = wanted.canary("beside control characters");
    let body = json!({ "date": format!("{text}\u{0}\n{text}"), "source": "manual" });
    submit("/v1/work-events/daily").json(&body).send().await.expect(422);
    let text = wanted.canary("not UTF-8");
    let body = [br#"{"date": ""#, text.as_bytes(), b"\xff\"}"].concat();
    submit("/v1/work-events/daily").json(&json!({})).body(body).send().await.expect(400);
    let text = wanted.canary("too large");
    let body = json!({ "events": text.repeat(20_000) });
    submit("/v1/work-events/batch").json(&body).send().await.expect(413);
    let text = wanted.canary("nested too deeply");
    let body = format!("{}\"{text}\"{}", "[".repeat(10_000), "]".repeat(10_000));
    submit("/v1/work-events/daily").json(&json!({})).body(body).send().await.expect(400);
    let text = wanted.canary("another media type");
    submit("/v1/work-events/daily").header("content-type", &format!("text/{text}")).body(text).send().await.expect(415);

    let patch = |if_match: &str| stage.call("PATCH", "/v1/auth/me").token(&anna.token).header("if-match", if_match);
    let hospital = json!({ "hospital_id": wanted.canary("rectified hospital_id") });
    patch(&wanted.canary("If-Match")).json(&hospital).send().await.expect(400);
    patch("\"99\"").json(&hospital).send().await.expect(412);
    patch("*").json(&hospital).send().await.expect(200);
    let refused = json!({ "hospital_id": format!("!{}", wanted.canary("malformed hospital_id")) });
    patch("*").json(&refused).send().await.expect(422);
    let refused = json!({ "email": format!("{}@klinik.example", wanted.canary("an address that can't be changed")) });
    patch("*").json(&refused).send().await.expect(422);

    let put = |purpose: &str| stage.call("PUT", &format!("/v1/consents/{purpose}")).token(&anna.token);
    let version = wanted.canary("notice_version");
    put("statistics").json(&json!({ "granted": true, "notice_version": version })).send().await.expect(409);
    put("statistics").json(&json!({ "granted": wanted.canary("malformed decision") })).send().await.expect(422);
    put(&wanted.canary("purpose in the path")).json(&json!({ "granted": true })).send().await.expect(404);
    put("statistics").json(&json!({ "granted": true })).send().await.expect(200);
    records(stage, wanted, anna).await;
}

/// Records of other kinds, and a guest's evaluations.
async fn records(stage: &Stage, wanted: &mut Needle, anna: &Person) {
    for purpose in ["demographics", "wordbook"] {
        let consent = stage.call("PUT", &format!("/v1/consents/{purpose}")).token(&anna.token);
        consent.json(&json!({ "granted": true })).send().await.expect(200);
    }
    let put = |kind: &str| stage.call("PUT", &format!("/v1/records/{kind}")).token(&anna.token);
    let body = json!({ "name": wanted.canary("name"), "surname": wanted.canary("surname") });
    put("demographics").json(&body).send().await.expect(201);
    let word = json!({
        "word_id": wanted.canary("word_id"), "lemma": wanted.canary("lemma"), "passive_review_count": 1,
        "active_review_count": 1, "part_of_speech": wanted.canary("part_of_speech"),
    });
    let key = wanted.canary("Idempotency-Key of a record");
    put("wordbook_entry").header("idempotency-key", &key).json(&word).send().await.expect(201);
    let wrong = json!({ (wanted.canary("unknown field of a record")): 1, "gender": wanted.canary("unknown gender") });
    put("demographics").json(&wrong).send().await.expect(422);
    put(&wanted.canary("unknown kind")).json(&word).send().await.expect(404);

    let guest = stage.post("/v1/guests", &json!({})).await.expect(201);
    let agent = wanted.canary("user agent of a guest");
    let evaluate = |kind: &str| {
        let call = stage.call("POST", &format!("/v1/guests/evaluate/{kind}")).header("user-agent", &agent);
        call.token(guest["token"].as_str().expect("a token"))
    };
    let sound = domain::kinds::SCREENING.example().into_inner();
    evaluate("screening").json(&sound).send().await.expect(200);
    let wrong = json!({ "taken_at": wanted.canary("taken_at of a guest"), (wanted.canary("field of a guest")): 1 });
    evaluate("screening").json(&wrong).send().await.expect(422);
    evaluate("demographics").json(&json!({ "name": wanted.canary("name of a guest") })).send().await.expect(403);
    evaluate(&wanted.canary("kind of a guest")).json(&sound).send().await.expect(404);
    wanted.add("guest's token", guest["token"].as_str().expect("a token").as_bytes(), None);
}

/// A person's questions, and every header that anybody can fill.
async fn questions(stage: &Stage, wanted: &mut Needle, anna: &Person) {
    let agent = wanted.canary("user agent of a question");
    let get = |target: &str| stage.call("GET", target).token(&anna.token).header("user-agent", &agent);
    assert_eq!(get("/v1/work-events/me").send().await.expect(200)["events"].as_array().map(Vec::len), Some(3));
    let me = get("/v1/auth/me").send().await.expect(200);
    assert_eq!(me["email"], anna.email, "the canary was kept, or nothing is shown by not finding it");
    get("/v1/consents").send().await.expect(200);
    get("/v1/consents/statistics/history").send().await.expect(200);
    let log = get("/v1/privacy/audit-log?limit=200").send().await.expect(200).to_string();
    assert!(log.contains(&agent), "the agent was kept");
    if CLIENT != Ipv4Addr::LOCALHOST {
        assert!(log.contains(&CLIENT.to_string()), "the address was kept");
    }
    get("/v1/privacy/audit-log?action=record").send().await.expect(200);
    // Another test decides whether an unknown action is refused or finds nothing.
    get(&format!("/v1/privacy/audit-log?action={}", wanted.canary("filter of the audit log"))).send().await;
    let cursor = |wanted: &mut Needle, place: &str| URL_SAFE.encode(wanted.canary(place)).replace('=', "");
    for target in ["/v1/privacy/audit-log", "/v1/work-events/me"] {
        get(&format!("{target}?cursor={}", wanted.canary("cursor"))).send().await.expect(422);
        get(&format!("{target}?cursor={}", cursor(wanted, "well-formed cursor"))).send().await.expect(422);
        get(&format!("{target}?limit={}", wanted.canary("limit"))).send().await.expect(422);
        get(&format!("{target}?from={}", wanted.canary("from"))).send().await.expect(422);
        get(&format!("{target}?{}=1", wanted.canary("unknown parameter"))).send().await.expect(422);
    }
    get(&format!("/v1/consents/{}/history", wanted.canary("purpose in the path"))).send().await.expect(404);
    get(&format!("/v1/{}", wanted.canary("path"))).send().await.expect(404);
    get(&format!("/v1/{}/%00%ff", wanted.canary("path that is not UTF-8"))).send().await.expect(400);
    get(&format!("/auth/{}", wanted.canary("path of an older client"))).send().await.expect(308);
    stage.call(&wanted.canary("method"), "/v1/auth/me").send().await;
    let claims = json!({ "sub": wanted.canary("claim of a forged token"), "exp": 4_102_444_800_u32 });
    let forged = format!("{}.{}.AAAA", URL_SAFE.encode(r#"{"alg":"none"}"#), URL_SAFE.encode(claims.to_string()));
    for authorization in [
        wanted.canary("Authorization"),
        format!("Basic {}", STANDARD.encode(wanted.canary("Basic credentials"))),
        format!("Bearer {}", wanted.canary("Bearer token")),
        format!("Bearer {forged}"),
    ] {
        let call = stage.call("GET", "/v1/auth/me").header("authorization", &authorization);
        call.send().await.expect(401);
    }
    let mut call = get("/v1/auth/me");
    for name in
        ["cookie", "referer", "origin", "forwarded", "x-forwarded-for", "x-request-id", "traceparent", "x-unheard-of"]
    {
        call = call.header(name, &wanted.canary(name));
    }
    call.header(&wanted.canary("name of a header"), "1").send().await.expect(200);
    get("/v1/auth/me").header("content-length", &wanted.canary("Content-Length")).send().await.expect(400);
}

/// The command line adds a member of staff.
fn staff(stage: &Stage, wanted: &mut Needle) -> Vec<u8> {
    let url = stage.store.database.url(&stage.store.database.admin, None);
    let email = format!("{}@lethe.example", wanted.canary("address of a member of staff"));
    let place = ["staff", "add", "--data", stage.data.text(), "--database", &url, "--role", "auditor"];
    let output = run(&[&place[..], &["--email", &email]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let refused = format!("{} at klinik", wanted.canary("malformed address of a member of staff"));
    let refused = run(&[&place[..], &["--email", &refused]].concat());
    assert!(!refused.status.success());
    [text(&output), text(&refused)].concat().into_bytes()
}

/// Reads that can't be logged in the database are logged in the journal.
async fn reads_without_their_log(stage: &Stage, wanted: &mut Needle, anna: &Person) {
    stage
        .superuser
        .batch_execute(
            "ALTER ROLE lethe_access CONNECTION LIMIT 0;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lethe_access'",
        )
        .await
        .expect("the log of reads is cut off");
    let agent = wanted.canary("user agent of a read that the journal keeps");
    let call = stage.call("GET", "/v1/auth/me").token(&anna.token).header("user-agent", &agent);
    call.send().await.expect(200);
}

/// Requests that end consents, records and sessions.
async fn farewell(stage: &Stage, anna: &Person) {
    let consent = stage.call("PUT", "/v1/consents/statistics").token(&anna.token);
    consent.json(&json!({ "granted": false })).send().await.expect(200);
    stage.call("DELETE", "/v1/work-events/me").token(&anna.token).send().await.expect(200);
    stage.call("POST", "/v1/auth/logout").token(&anna.token).send().await.expect(204);
    stage.call("GET", "/v1/auth/me").token(&anna.token).send().await.expect(401);
}

/// Keys and passwords, which may be in their own files only.
fn kept_apart(data: &Path, wanted: &mut Needle) {
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(data.join(name)).expect("we may read it")).expect("JSON")
    };
    let (ring, logins) = (read("ring.json"), read("logins.json"));
    let (mut secrets, mut passwords) = (Vec::new(), Vec::new());
    texts(&ring, &mut secrets);
    texts(&logins, &mut passwords);
    let keys: Vec<_> =
        secrets.iter().filter_map(|text| STANDARD.decode(text).ok()).filter(|key| key.len() == 32).collect();
    assert!(keys.len() >= 6, "the ring holds {} keys", keys.len());
    keys.iter().for_each(|key| wanted.add("key of the ring", key, Some("ring.json")));
    assert_eq!(passwords.len(), 7, "each login has a password");
    passwords.iter().for_each(|password| wanted.add("password of a login", password.as_bytes(), Some("logins.json")));
}

fn texts<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
        _ => {}
    }
}

/// The words for values that a column, or a field of an event, may hold in clear.
const HOLDS: [&str; 12] =
    ["id", "hash", "sealed", "key", "kind", "state", "time", "count", "version", "mac", "role", "name"];

/// The lines of `columns.allow` without their words: columns, or fields of events.
fn allowed(fields: bool) -> BTreeSet<String> {
    let lines = include_str!("columns.allow").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut allowed = BTreeSet::new();
    for line in lines {
        let (what, holds) = line.split_once(": ").expect("a line is `schema.table.column type: word`");
        assert!(HOLDS.contains(&holds), "{line}: the word must be one of {HOLDS:?}");
        assert!(allowed.insert(what.to_owned()), "{what} stands there twice");
    }
    allowed.into_iter().filter(|what| what.starts_with("event ") == fields).collect()
}

fn argue_for(found: &BTreeSet<String>, allowed: &BTreeSet<String>) {
    let new: Vec<_> = found.difference(allowed).collect();
    assert!(new.is_empty(), "what do these hold? Add them to tests/columns.allow, with a word: {new:#?}");
}

const COLUMNS: &str = "-- columns
    SELECT format('%I.%I.%I %s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod))
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    ORDER BY 1";

#[tokio::test]
async fn every_column_is_argued_for() {
    let suite = Suite::get().await;
    let client = suite.superuser(&suite.database.address.database).await;
    let rows = client.query(COLUMNS, &[]).await.expect("the catalogue is read");
    let (found, allowed): (BTreeSet<String>, _) = (rows.iter().map(|row| row.get(0)).collect(), allowed(false));
    for schema in ["lethe", "log", "vault", "auth", "read", "jobs", "stats"] {
        assert!(
            found.iter().any(|column| column.starts_with(&format!("{schema}."))),
            "no column of {schema} is looked at"
        );
    }
    argue_for(&found, &allowed);
    let gone: Vec<_> = allowed.difference(&found).collect();
    assert!(gone.is_empty(), "these exist no more: {gone:#?}");
}

/// The two JSON columns hold fields, and few of these are in clear. Each must be named together with the events that
/// have it.
async fn every_field_of_an_event_is_argued_for(client: &tokio_postgres::Client) {
    let events = "-- events\nSELECT event_type, payload, metadata FROM log.events";
    let mut found = BTreeSet::new();
    for row in client.query(events, &[]).await.expect("the log is read") {
        let event: String = row.get(0);
        fields(&format!("event {event} payload"), &row.get(1), &mut found);
        fields("event * metadata", &row.get(2), &mut found);
    }
    assert!(found.len() > 15, "too little happened: {found:#?}");
    argue_for(&found, &allowed(true));
}

fn fields(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(inner) => inner.iter().for_each(|(name, value)| fields(&format!("{path}.{name}"), value, into)),
        Value::Array(values) => values.iter().for_each(|value| fields(&format!("{path}[]"), value, into)),
        _ => drop(into.insert(path.to_owned())),
    }
}
