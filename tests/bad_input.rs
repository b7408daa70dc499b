//! Bad input: every refusal is a problem that names the field, repeats nothing that was sent, and changes nothing.

use poem::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    steps::{Answer, fields, staff, state_of},
    support::{Person, World, day, registration},
};

/// A word that bad requests hold wherever they can, and that no answer may repeat.
const MARK: &str = "Zebrafink4711";

const DAILY: &str = "/v1/work-events/daily";
const BATCH: &str = "/v1/work-events/batch";
const LIST: &str = "/v1/work-events/me";
const CODE: &str = "/v1/auth/code";
const REGISTER: &str = "/v1/auth/register";
const LOGIN: &str = "/v1/auth/login";
const REFRESH: &str = "/v1/auth/refresh";
const ME: &str = "/v1/auth/me";
const CONSENT: &str = "/v1/consents/work_hours";
const AUDIT: &str = "/v1/privacy/audit-log";

/// A bad request, and the expected refusal.
struct Case {
    what: String,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    status: u16,
    fields: Vec<String>,
}

/// A request with a JSON body of exactly these bytes.
fn raw(method: Method, path: &str, body: impl Into<Vec<u8>>, status: u16, fields: &[&str]) -> Case {
    let body = body.into();
    let what: String = String::from_utf8_lossy(&body).chars().take(80).collect();
    Case {
        what: format!("{method} {path} {what}"),
        method,
        path: path.to_owned(),
        headers: vec![("content-type", "application/json".to_owned())],
        body: Some(body),
        status,
        fields: fields.iter().map(|&field| field.to_owned()).collect(),
    }
}

fn post(path: &str, body: &Value, fields: &[&str]) -> Case {
    raw(Method::POST, path, body.to_string(), 422, fields)
}

fn get(path: &str, query: &str, status: u16, fields: &[&str]) -> Case {
    let case = raw(Method::GET, &format!("{path}{query}"), "", status, fields);
    Case { headers: Vec::new(), body: None, ..case }
}

/// A good object with some fields replaced. A `null` is kept, because clients send it.
fn but(mut body: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    body.as_object_mut().expect("it is an object").extend(changes);
    body
}

fn without(mut body: Value, field: &str) -> Value {
    body.as_object_mut().expect("it is an object").remove(field);
    body
}

fn good_day() -> Value {
    json!({ "date": "2026-02-02", "planned_hours": 8, "actual_hours": 9, "source": "manual" })
}

impl Case {
    fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.what = format!("{} ({header}: {})", self.what, value.chars().take(40).collect::<String>());
        self.headers.retain(|(known, _)| *known != header);
        self.headers.push((header, value));
        self
    }

    fn without_headers(mut self) -> Self {
        self.what = format!("{} (no content type)", self.what);
        self.headers.clear();
        self
    }

    async fn send(&self, world: &World, person: Option<&Person>) -> Answer {
        let client = world.client();
        let mut request = client.request(self.method.clone(), &self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        if let Some(person) = person {
            request = person.sign(request);
        }
        Answer::of(request.send().await).await
    }

    /// The fault of an answer to this case, if there is one.
    fn fault(&self, answer: &Answer) -> Option<String> {
        if answer.status.as_u16() != self.status {
            return Some(format!("answers {} instead of {}: {}", answer.status.as_u16(), self.status, answer.text));
        }
        let problem = answer.problem(answer.status);
        // All fields are named at once; their order is not promised.
        let (mut named, mut expected) = (fields(&problem), self.fields.clone());
        named.sort_unstable();
        expected.sort_unstable();
        if named != expected {
            return Some(format!("names {named:?} instead of {expected:?}"));
        }
        let said = format!("{} {:?}", answer.text, answer.headers);
        said.contains(MARK).then(|| format!("repeats what was sent: {said}"))
    }
}

/// Sends all cases as one signed-in person, and fails with all that are not refused as expected.
async fn refused(cases: Vec<Case>) {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.client();
    let stored = anna.sign(client.post(DAILY).body_json(&good_day())).send().await;
    assert_eq!(stored.0.status(), StatusCode::CREATED);
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let mut complaints = Vec::new();
    for case in &cases {
        let answer = case.send(&world, Some(&anna)).await;
        complaints.extend(case.fault(&answer).map(|fault| format!("{}\n    {fault}", case.what)));
        if state_of(&client).await != before {
            complaints.push(format!("{}\n    changes something", case.what));
            break;
        }
    }
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), cases.len(), complaints.join("\n"));
}

#[tokio::test]
async fn what_is_not_json_is_malformed() {
    let day = good_day().to_string();
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
    let mut cases = Vec::new();
    for body in [
        String::new(),
        " \n".to_owned(),
        "{".to_owned(),
        day[..day.len() - 1].to_owned(),
        format!("{day},"),
        format!("{day}{day}"),
        format!("{{'date': '{MARK}'}}"),
        format!("{{\"date\": {MARK}}}"),
        format!("{MARK}={MARK}&date=2026-02-02"),
        day.replace("2026-02-02", "2026\u{0}02-02"),
        day.replace("2026-02-02", "\\ud800"),
        day.replace(":8", ":NaN"),
        day.replace(":8", ":Infinity"),
        day.replace(":8", ":-"),
        day.replace(":8", ":08"),
        day.replace(":8", ":+8"),
        day.replace(":8", ":1e999"),
        format!("\u{feff}{day}"),
        nested("[", "]"),
        nested("{\"date\":", "}"),
        day.replace("\"manual\"", &nested("[", "]")),
        "[".repeat(10_000),
        "{\"events\":[".repeat(10_000),
    ] {
        cases.push(raw(Method::POST, DAILY, body.clone(), 400, &[]));
        cases.push(raw(Method::PATCH, ME, body.clone(), 400, &[]));
        cases.push(raw(Method::PUT, CONSENT, body.clone(), 400, &[]));
        cases.push(raw(Method::POST, CODE, body, 400, &[]));
    }
    cases.push(raw(Method::POST, DAILY, b"\xff\xfe{\x00}\x00".to_vec(), 400, &[]));
    let mut latin = day.replace("manual", "man?al").into_bytes();
    let at = latin.iter().position(|byte| *byte == b'?').expect("it is there");
    latin[at] = 0xe4;
    cases.push(raw(Method::POST, DAILY, latin, 400, &[]));
    refused(cases).await;
}

#[tokio::test]
async fn a_body_is_an_object() {
    let mut cases = Vec::new();
    for body in ["[]", "null", "true", "8.5", "\"2026-02-02\"", "[{\"date\":\"2026-02-02\"}]"] {
        for (method, path) in [
            (Method::POST, DAILY),
            (Method::POST, BATCH),
            (Method::POST, CODE),
            (Method::POST, REGISTER),
            (Method::POST, LOGIN),
            (Method::POST, REFRESH),
            (Method::PATCH, ME),
            (Method::PUT, CONSENT),
        ] {
            cases.push(raw(method, path, body, 422, &[""]));
        }
    }
    refused(cases).await;
}

#[tokio::test]
async fn a_body_is_not_too_large() {
    let text = |bytes: usize| format!("\"{}\"", MARK.repeat(bytes / MARK.len()));
    let mut cases = Vec::new();
    for bytes in [300 * 1024, 5 * 1024 * 1024] {
        for (method, path) in [
            (Method::POST, DAILY),
            (Method::POST, BATCH),
            (Method::POST, CODE),
            (Method::POST, REGISTER),
            (Method::PATCH, ME),
            (Method::PUT, CONSENT),
        ] {
            cases.push(raw(method, path, format!("{{\"date\":{}}}", text(bytes)), 413, &[]));
        }
        cases.push(raw(Method::POST, DAILY, format!("{}{}", good_day(), " ".repeat(bytes)), 413, &[]));
        cases.push(raw(Method::POST, DAILY, "[".repeat(bytes), 413, &[]));
    }
    // A body below the limit is read, and refused for its content.
    cases.push(raw(
        Method::POST,
        DAILY,
        format!("{{\"date\":{}}}", text(200 * 1024)),
        422,
        &["date", "source", "planned_hours", "actual_hours"],
    ));
    refused(cases).await;
}

#[tokio::test]
async fn fields_that_nobody_asked_for_are_named() {
    let day = || but(good_day(), json!({ "colour": MARK }));
    let cases = vec![
        post(DAILY, &day(), &["colour"]),
        post(DAILY, &but(day(), json!({ "event_id": MARK })), &["colour", "event_id"]),
        post(DAILY, &but(good_day(), json!({ "Date": "2026-02-02" })), &["Date"]),
        post(DAILY, &but(good_day(), json!({ "colour": null })), &["colour"]),
        post(BATCH, &json!({ "events": [good_day(), day()] }), &["events[1].colour"]),
        post(BATCH, &json!({ "events": [good_day()], "mode": MARK }), &["mode"]),
        post(CODE, &json!({ "email": "anna@klinik.example", "locale": MARK }), &["locale"]),
        post(LOGIN, &json!({ "email": "anna@klinik.example", "code": "123456", "role": MARK }), &["role"]),
        post(REFRESH, &json!({ "refresh_token": MARK, "role": MARK }), &["role"]),
        post(REGISTER, &but(registration("b@klinik.example", "123456"), json!({ "staff": MARK })), &["staff"]),
        raw(Method::PATCH, ME, json!({ "email": MARK }).to_string(), 422, &["email"]),
        raw(Method::PUT, CONSENT, json!({ "granted": true, "purpose": MARK }).to_string(), 422, &["purpose"]),
    ];
    refused(cases).await;
}

#[tokio::test]
async fn fields_that_are_missing_are_named() {
    let mut cases = vec![
        post(DAILY, &json!({}), &["date", "source", "planned_hours", "actual_hours"]),
        post(DAILY, &without(good_day(), "planned_hours"), &["planned_hours"]),
        post(DAILY, &but(good_day(), json!({ "actual_hours": null })), &["actual_hours"]),
        post(BATCH, &json!({}), &["events"]),
        post(
            BATCH,
            &json!({ "events": [good_day(), {}] }),
            &["events[1].date", "events[1].source", "events[1].planned_hours", "events[1].actual_hours"],
        ),
        post(CODE, &json!({}), &["email"]),
        post(LOGIN, &json!({}), &["email", "code"]),
        post(REFRESH, &json!({}), &["refresh_token"]),
        post(REGISTER, &json!({}), &["email", "code", "hospital_id", "specialty", "role_level"]),
        raw(Method::PUT, CONSENT, "{}", 422, &["granted"]),
    ];
    for field in ["date", "source"] {
        cases.push(post(DAILY, &without(good_day(), field), &[field]));
        cases.push(post(DAILY, &but(good_day(), json!({ field: null })), &[field]));
    }
    for field in ["email", "code", "hospital_id", "specialty", "role_level"] {
        cases.push(post(REGISTER, &without(registration("b@klinik.example", "123456"), field), &[field]));
    }
    refused(cases).await;
}

#[tokio::test]
async fn faults_of_form_and_faults_of_rule_are_named_together() {
    let wrong = || but(good_day(), json!({ "date": MARK, "planned_minutes": 1 }));
    let nobody = json!({ "reason": MARK });
    let both =
        json!({ "reason": 7, "email": "anna@klinik.example", "subject_id": context::SubjectId::NIL.to_string() });
    let cases = vec![
        post(DAILY, &wrong(), &["date", "planned_minutes"]),
        post(BATCH, &json!({ "events": [good_day(), wrong()] }), &["events[1].date", "events[1].planned_minutes"]),
    ];
    refused(cases).await;
    let world = World::new().await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    for (body, expected) in [(nobody, &["subject_id"][..]), (both, &["reason", "subject_id"])] {
        let case = post("/v1/compliance/openings", &body, expected);
        assert_eq!(case.fault(&case.send(&world, Some(&carla)).await), None, "{}", case.what);
    }
}

#[tokio::test]
async fn a_hundred_faults_are_named_and_no_more() {
    let wrong = vec![but(good_day(), json!({ "date": MARK })); 120];
    let names: Vec<String> = (0..100).map(|number| format!("events[{number}].date")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    refused(vec![post(BATCH, &json!({ "events": wrong }), &names)]).await;
}

#[tokio::test]
async fn values_of_the_wrong_type_are_named() {
    let mut cases = Vec::new();
    let mut wrong = |method: &Method, path: &str, good: &Value, field: &str, values: &[Value]| {
        for value in values {
            let body = but(good.clone(), json!({ field: value }));
            cases.push(raw(method.clone(), path, body.to_string(), 422, &[field]));
        }
    };
    let not_text = [json!(12), json!(1.5), json!(true), json!([]), json!({}), json!([MARK]), json!({ MARK: MARK })];
    let not_number = [json!(true), json!([]), json!({}), json!(MARK), json!([8]), json!("")];
    for field in ["date", "source"] {
        wrong(&Method::POST, DAILY, &good_day(), field, &not_text);
    }
    for field in ["planned_hours", "actual_hours"] {
        wrong(&Method::POST, DAILY, &good_day(), field, &not_number);
    }
    let in_minutes = json!({ "date": "2026-02-02", "planned_minutes": 480, "actual_minutes": 480, "source": "manual" });
    for field in ["planned_minutes", "actual_minutes"] {
        wrong(&Method::POST, DAILY, &in_minutes, field, &not_number);
    }
    let register = registration("b@klinik.example", "123456");
    for field in ["email", "code", "hospital_id", "specialty", "role_level", "state_code", "country_code", "time_zone"]
    {
        wrong(&Method::POST, REGISTER, &register, field, &not_text);
    }
    wrong(&Method::POST, REGISTER, &register, "consents", &[json!("work_hours"), json!(true), json!({}), json!(1)]);
    for field in ["hospital_id", "specialty", "role_level", "state_code", "country_code", "time_zone"] {
        wrong(&Method::PATCH, ME, &json!({}), field, &not_text);
    }
    wrong(&Method::POST, CODE, &json!({}), "email", &not_text);
    wrong(&Method::POST, REFRESH, &json!({}), "refresh_token", &not_text);
    wrong(&Method::POST, BATCH, &json!({}), "events", &[json!({}), json!("x"), json!(1), json!([])]);
    wrong(&Method::PUT, CONSENT, &json!({}), "granted", &[json!("true"), json!(1), json!([]), json!({})]);
    wrong(&Method::PUT, CONSENT, &json!({ "granted": true }), "notice_version", &[json!(1), json!(true), json!([])]);
    for item in [json!(null), json!(1), json!(MARK), json!([])] {
        cases.push(post(BATCH, &json!({ "events": [good_day(), item] }), &["events[1]"]));
    }
    for (given, field) in [
        (json!(["x"]), "consents[0]"),
        (json!(["work_hours", 1]), "consents[1]"),
        (json!(["work_hours", "work_hours"]), "consents"),
    ] {
        cases.push(post(REGISTER, &but(register.clone(), json!({ "consents": given })), &[field]));
    }
    refused(cases).await;
}

#[tokio::test]
async fn impossible_dates_are_named() {
    let mut cases = Vec::new();
    for date in [
        "",
        " ",
        "today",
        "20260101",
        "2026-02-30",
        "2026-13-01",
        "2026-00-10",
        "2026-01-00",
        "2025-02-29",
        "2026-1-1",
        "2026/01/01",
        "01.02.2026",
        "2026-01-01T00:00:00Z",
        "2026-01-01 ",
        " 2026-1-01",
        "2026- 1-01",
        "2026-01- 1",
        "+2026-1-01",
        "+10000-01-01",
        "-2026-01-01",
        "-026-01-01",
        "0000-00-00",
        "2026-W05-1",
        "2026-001",
        "２０２６-０１-０１",
        "2026‐01‐01",
        "1767225600",
        "9999-12-31",
        "0001-01-01",
        MARK,
    ] {
        cases.push(post(DAILY, &but(good_day(), json!({ "date": date })), &["date"]));
        cases.push(post(
            BATCH,
            &json!({ "events": [good_day(), but(good_day(), json!({ "date": date }))] }),
            &["events[1].date"],
        ));
    }
    for date in ["2026-02-30", "2026-13-01", "today", "", "20260101", MARK] {
        cases.push(get(LIST, &format!("?from={date}"), 422, &["from"]));
        cases.push(get(LIST, &format!("?to={date}"), 422, &["to"]));
        cases.push(get(AUDIT, &format!("?from={date}"), 422, &["from"]));
    }
    refused(cases).await;
}

#[tokio::test]
async fn negative_and_absurd_hours_are_named() {
    let mut cases = Vec::new();
    for hours in [
        json!(-1),
        json!(-0.01),
        json!(24.01),
        json!(25),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!("NaN"),
        json!("1e999"),
        json!("inf"),
        json!("-1"),
        json!("8,5"),
        json!("8.5.1"),
        json!("."),
        json!(""),
        json!(" 8"),
        json!("8h"),
        json!("8:30"),
        json!("0x8"),
        json!("８"),
        json!(MARK),
    ] {
        for field in ["planned_hours", "actual_hours"] {
            cases.push(post(DAILY, &but(good_day(), json!({ field: hours })), &[field]));
        }
    }
    let in_minutes = json!({ "date": "2026-02-02", "planned_minutes": 480, "actual_minutes": 480, "source": "manual" });
    for minutes in [
        json!(-1),
        json!(1441),
        json!(65_536),
        json!(66_016),
        json!(510.5),
        json!(u64::MAX),
        json!(1e300),
        json!("510"),
    ] {
        for field in ["planned_minutes", "actual_minutes"] {
            cases.push(post(DAILY, &but(in_minutes.clone(), json!({ field: minutes })), &[field]));
        }
    }
    let body = good_day().to_string().replace(":8", &format!(":{}", "9".repeat(400)));
    cases.push(raw(Method::POST, DAILY, body, 400, &[]));
    cases.push(post(
        DAILY,
        &but(good_day(), json!({ "planned_hours": 30, "actual_hours": -3, "source": MARK })),
        &["source", "planned_hours", "actual_hours"],
    ));
    refused(cases).await;
}

#[tokio::test]
async fn every_fault_of_a_batch_is_named_by_its_place() {
    let at = |date: &str| but(good_day(), json!({ "date": date }));
    let bad_hours = |date: &str| but(at(date), json!({ "planned_hours": 25 }));
    let cases = vec![
        post(
            BATCH,
            &json!({ "events": [at("2026-02-03"), at("2026-02-30"), at("2026-02-04"), bad_hours("2026-02-05")] }),
            &["events[1].date", "events[3].planned_hours"],
        ),
        post(BATCH, &json!({ "events": [at("2026-02-03"), at("2026-02-04"), at("2026-02-03")] }), &["events[2].date"]),
        post(
            BATCH,
            &json!({ "events": [at("2026-02-03"), at("2026-02-03"), at("2026-02-03"), at("9999-01-01")] }),
            &["events[1].date", "events[2].date", "events[3].date"],
        ),
        post(
            BATCH,
            &json!({ "events": [bad_hours("today"), at("2026-02-04")] }),
            &["events[0].date", "events[0].planned_hours"],
        ),
    ];
    refused(cases).await;
}

#[tokio::test]
async fn faults_of_form_and_of_rule_are_named_together() {
    let at = |date: &str| but(good_day(), json!({ "date": date }));
    let bad_hours = |date: &str| but(at(date), json!({ "planned_hours": 25 }));
    let cases = vec![
        // A day in the future and one with too many hours.
        post(
            BATCH,
            &json!({ "events": [at("2026-02-03"), at("9999-01-01"), at("2026-02-04"), bad_hours("2026-02-05")] }),
            &["events[1].date", "events[3].planned_hours"],
        ),
        // A repeated day, and a day with an unknown source.
        post(
            BATCH,
            &json!({ "events": [at("2026-02-03"), at("2026-02-03"), but(at("2026-02-04"), json!({ "source": MARK }))] }),
            &["events[1].date", "events[2].source"],
        ),
    ];
    refused(cases).await;
}

#[tokio::test]
async fn texts_hold_no_control_characters_and_are_not_too_long() {
    let register = registration("b@klinik.example", "123456");
    let long = MARK.repeat(400);
    let mut cases = Vec::new();
    for (field, values) in [
        (
            "hospital_id",
            vec![
                "klinik\u{0}",
                "klinik\nam",
                "klinik\u{7f}",
                "klinik\u{85}",
                "krankenhaus-süd",
                "病院",
                "-klinik",
                "k",
                "",
                " klinik",
                long.as_str(),
            ],
        ),
        (
            "email",
            vec![
                "a@klinik.example\u{0}",
                "a\n@klinik.example",
                "a b@klinik.example",
                "a@klinik\r\nBcc: x@y.example",
                "anna",
                "@klinik.example",
                "a@",
                "a@@b.c",
                "a@b..c",
                "",
                "<a@b.c>",
                "a@b.c,d@e.f",
                long.as_str(),
            ],
        ),
        (
            "code",
            vec!["12345", "1234567", "12345\u{0}", "12a456", "１２３４５６", " 23456", "-12345", "", long.as_str()],
        ),
        ("specialty", vec!["surgery\u{0}", "Surgery", "chirurgie", "", long.as_str()]),
        ("role_level", vec!["specialist\n", "compliance", "auditor", "", long.as_str()]),
        ("state_code", vec!["by", "BY\u{0}", "DE-BY", "", long.as_str()]),
        ("country_code", vec!["de", "DE", "deu", "D3U", "ÄÖ", "DEU\u{0}", "", long.as_str()]),
        (
            "time_zone",
            vec!["Mars/Olympus_Mons", "Europe/Berlin\u{0}", "+01:00", "CEST+1", "../etc/localtime", "", long.as_str()],
        ),
    ] {
        for value in values {
            cases.push(post(REGISTER, &but(register.clone(), json!({ field: value })), &[field]));
            if !["email", "code"].contains(&field) {
                cases.push(raw(Method::PATCH, ME, json!({ field: value }).to_string(), 422, &[field]));
            }
        }
    }
    for value in ["manual\u{0}", "Manual", "gps", "", long.as_str()] {
        cases.push(post(DAILY, &but(good_day(), json!({ "source": value })), &["source"]));
    }
    for value in ["1\u{0}", "1\n", long.as_str()] {
        let body = json!({ "granted": true, "notice_version": value });
        cases.push(raw(Method::PUT, CONSENT, body.to_string(), 422, &["notice_version"]));
    }
    for value in ["x\u{0}", long.as_str()] {
        cases.push(post(REFRESH, &json!({ "refresh_token": value }), &["refresh_token"]));
    }
    let key = |key: &str| post(DAILY, &good_day(), &["Idempotency-Key"]).with("idempotency-key", key);
    cases.extend([key(""), key(&"k".repeat(256)), key(&"k".repeat(4000)), key("tab\there")]);
    // A malformed tag is refused. A tag that we never gave matches no version.
    let patch = |status: u16, fields: &[&str]| raw(Method::PATCH, ME, r#"{"hospital_id":"anderswo"}"#, status, fields);
    cases.extend(["3", "\"1", ""].map(|tag| patch(400, &["If-Match"]).with("if-match", tag)));
    cases.extend(["\"x\"", "\"\"", "\"99999999999999999999\""].map(|tag| patch(412, &[]).with("if-match", tag)));
    refused(cases).await;
}

#[tokio::test]
async fn parameters_of_the_wrong_form_are_named() {
    let mut cases = Vec::new();
    for path in [LIST, AUDIT] {
        for limit in ["abc", "-1", "1.5", "4294967296", "", MARK] {
            cases.push(get(path, &format!("?limit={limit}"), 422, &["limit"]));
        }
        for limit in ["0", "1001", "4294967295"] {
            cases.push(get(path, &format!("?limit={limit}"), 422, &["limit"]));
        }
        // The last ones are base64url: of a word, of nothing, of bytes that are not text, of a date that does not
        // exist.
        cases.push(get(path, "?cursor=%FF", 400, &["cursor"]));
        for cursor in [MARK, "!!!", "%00", "Zm9v", "%20", "_w", "MjAyNi0wMi0zMA", "MjAyNi0wMi0wMg=="] {
            cases.push(get(path, &format!("?cursor={cursor}"), 422, &["cursor"]));
        }
    }
    cases.push(get(AUDIT, "?limit=201", 422, &["limit"]));
    cases.push(get(LIST, "?from=2026-02-02&to=2026-02-01", 422, &["from"]));
    cases.push(get(AUDIT, &format!("?action={}", MARK.repeat(6)), 422, &["action"]));
    refused(cases).await;
}

#[tokio::test]
async fn only_json_is_read() {
    let day = || post(DAILY, &good_day(), &[]);
    let other = |case: Case| Case { status: 415, ..case };
    let cases = vec![
        other(day()).without_headers(),
        other(day()).with("content-type", ""),
        other(day()).with("content-type", "text/plain"),
        other(day()).with("content-type", "application/x-www-form-urlencoded"),
        other(day()).with("content-type", "multipart/form-data; boundary=x"),
        other(day()).with("content-type", "application/jsonp"),
        other(day()).with("content-type", "text/plain; application/json"),
        other(day()).with("content-type", MARK),
        other(post(CODE, &json!({ "email": "b@klinik.example" }), &[])).with("content-type", "text/plain"),
        other(raw(Method::PATCH, ME, "{}", 415, &[])).without_headers(),
    ];
    refused(cases).await;
    let world = World::new().await;
    let anna = world.person("anna").await;
    for accepted in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        let answer = day().with("content-type", accepted).send(&world, Some(&anna)).await;
        assert!(answer.status.is_success(), "{accepted}: {}", answer.text);
    }
}

#[tokio::test]
async fn routes_and_methods_that_are_not_there_are_problems() {
    let mut cases = Vec::new();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/auth/me",
        "/v1/nothing",
        "/v1/auth",
        "/v1/auth/me/x",
        "/v1/work-events/2026-02-02",
        "/index.html",
        "/v1/%00",
    ] {
        cases.push(get(path, "", 404, &[]));
        cases.push(get(path, &format!("?{MARK}={MARK}"), 404, &[]));
    }
    cases.push(get(&format!("/v1/{MARK}/{MARK}"), "", 404, &[]));
    cases.push(get("/v1/%FF", "", 400, &[]));
    cases.push(get(&format!("/v1/consents/{MARK}/history"), "", 404, &[]));
    refused(cases).await;
    let world = World::new().await;
    let anna = world.person("anna").await;
    for (method, path, allowed) in [
        (Method::GET, DAILY, "POST"),
        (Method::PUT, LIST, "DELETE"),
        (Method::GET, LOGIN, "POST"),
        (Method::DELETE, ME, "PATCH"),
        (Method::POST, "/health", "GET"),
        (Method::POST, CONSENT, "PUT"),
        (Method::POST, "/openapi.json", "GET"),
        (Method::DELETE, "/.well-known/jwks.json", "GET"),
        (Method::from_bytes(b"BREW").expect("it is a token"), DAILY, "POST"),
    ] {
        let client = world.client();
        let answer = Answer::of(anna.sign(client.request(method.clone(), path)).send().await).await;
        assert_eq!(answer.problem(StatusCode::METHOD_NOT_ALLOWED)["type"], "/problems/method-not-allowed");
        // RFC 9110, 15.5.6: the answer must list the allowed methods.
        let allow = answer.header("allow").unwrap_or_else(|| panic!("{method} {path} says nothing of what is allowed"));
        assert!(allow.split(", ").any(|known| known == allowed), "{method} {path}: {allow}");
    }
}

#[tokio::test]
async fn who_does_not_sign_in_properly_is_refused_before_anything_is_read() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    let basic = format!("Basic {MARK}");
    let mut complaints = Vec::new();
    for scheme in [
        None,
        Some(basic.as_str()),
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer x"),
        Some(MARK),
        Some("Token x"),
        Some(anna.token.as_str()),
        Some("Bearer \u{e4}"),
    ] {
        for (method, path, body) in [
            (Method::GET, LIST, String::new()),
            (Method::GET, ME, String::new()),
            (Method::GET, AUDIT, String::new()),
            (Method::GET, "/v1/consents", String::new()),
            (Method::POST, DAILY, good_day().to_string()),
            (Method::POST, DAILY, format!("{{{MARK}")),
            (Method::POST, BATCH, "[".repeat(300 * 1024)),
            (Method::PATCH, ME, json!({ "email": MARK }).to_string()),
            (Method::PUT, CONSENT, json!({ "granted": false }).to_string()),
            (Method::DELETE, LIST, String::new()),
            (Method::POST, "/v1/auth/logout", String::new()),
        ] {
            let mut case = raw(method, path, body, 401, &[]);
            if let Some(scheme) = scheme {
                case = case.with("authorization", scheme);
            }
            let answer = case.send(&world, None).await;
            complaints.extend(case.fault(&answer).map(|fault| format!("{}\n    {fault}", case.what)));
            if !answer.header("www-authenticate").is_some_and(|how| how.starts_with("Bearer")) {
                complaints.push(format!("{}\n    does not say how to sign in", case.what));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(state_of(&client).await, before);
    // RFC 9110, 11.1: the case of a scheme's name does not matter.
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let case = get(ME, "", 200, &[]).with("authorization", format!("{scheme} {}", anna.token));
        assert_eq!(case.send(&world, None).await.status, StatusCode::OK, "{scheme}");
    }
}

#[tokio::test]
async fn the_paths_of_older_clients_lead_to_the_first_version() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for (method, path) in [
        (Method::GET, "/work-events/me"),
        (Method::GET, "/work-events/me?from=2026-01-01&limit=5&cursor=%2F%2F"),
        (Method::DELETE, "/work-events/me"),
        (Method::POST, "/work-events/daily"),
        (Method::POST, "/work-events/batch"),
        (Method::POST, "/auth/code"),
        (Method::POST, "/auth/login"),
        (Method::POST, "/auth/register"),
        (Method::GET, "/auth/me"),
        (Method::GET, "/consents"),
        (Method::PUT, "/consents/work_hours"),
        (Method::GET, "/privacy/audit-log"),
    ] {
        let answer = Answer::of(world.client().request(method.clone(), path).send().await).await;
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT, "{method} {path}: {}", answer.text);
        assert_eq!(answer.header("location"), Some(format!("/v1{path}").as_str()), "{method} {path}");
        assert!(answer.header("deprecation").is_some() && answer.header("sunset").is_some(), "{method} {path}");
        // The redirect leads to an existing operation.
        let there = world.client();
        let there = anna.sign(there.request(method.clone(), format!("/v1{path}"))).send().await;
        let status = there.0.status();
        assert!(
            ![StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status),
            "{method} {path}: {status}"
        );
    }
    for path in ["/authority", "/work-events-x", "/consentsx/y"] {
        let answer = Answer::of(world.client().get(path).send().await).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_failure_inside_tells_nothing_and_changes_nothing() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    client.batch_execute("REVOKE INSERT ON vault.records FROM lethe_api").await.expect("a right is taken away");
    let before = state_of(&client).await;
    let http = world.client();
    let answer = anna.sign(http.post(DAILY).body_json(&day("2026-02-02", 8.0, 8.0))).send().await;
    let answer = Answer::of(answer).await;
    let problem = answer.problem(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(problem.as_object().map(serde_json::Map::len), Some(3), "type, title and status: {problem}");
    assert_eq!(state_of(&client).await, before);
}
