//! Signing in: codes, registration, login, refresh, logout; and the changes by which a database administrator can't get
//! in.

use std::{
    collections::BTreeSet,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use context::Role;
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use lethe::app::identity::staff;
use poem::{http::StatusCode, test::TestResponse};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    steps::{Answer, events_of, fields, let_pass, problem, sign_in, subject_of, wrong},
    support::{Person, World, day, expect, registration},
};

async fn post(world: &World, path: &str, body: &Value) -> TestResponse {
    world.client().post(path).body_json(body).send().await
}

async fn login(world: &World, email: &str, code: &str) -> TestResponse {
    post(world, "/v1/auth/login", &json!({ "email": email, "code": code })).await
}

async fn refresh(world: &World, token: &str) -> TestResponse {
    post(world, "/v1/auth/refresh", &json!({ "refresh_token": token })).await
}

async fn me(world: &World, person: &Person) -> TestResponse {
    person.sign(world.client().get("/v1/auth/me")).send().await
}

/// The letters in the folder of mail.
fn letters(world: &World) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(lethe::server::mail_folder(&world.folder)).expect("there is a mail folder");
    folder.map(|entry| entry.expect("the folder can be read").path()).collect()
}

async fn sql(world: &World, text: &str, values: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> u64 {
    world.superuser().await.execute(text, values).await.expect("a superuser may do that")
}

/// An internal error whose answer reveals nothing.
async fn failed_silently(answer: TestResponse) {
    let problem = problem(answer, StatusCode::INTERNAL_SERVER_ERROR, "failed").await;
    let said: BTreeSet<&str> =
        problem.as_object().expect("a problem is an object").keys().map(String::as_str).collect();
    assert_eq!(said, BTreeSet::from(["status", "title", "type"]), "{problem}");
}

#[tokio::test]
async fn somebody_registers_submits_a_day_and_sees_it() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.client();
    let today = world.clock.now().date_naive().to_string();
    let answer = anna.sign(client.post("/v1/work-events/daily").body_json(&day(&today, 8.5, 9.2))).send().await;
    let created = expect(answer, StatusCode::CREATED).await;
    assert_eq!(created["actual_minutes"], 552);
    let answer = anna.sign(client.post("/v1/work-events/daily").body_json(&day(&today, 8.5, 9.2))).send().await;
    let same = expect(answer, StatusCode::OK).await;
    assert_eq!(same["event_id"], created["event_id"]);
    let listed = expect(anna.sign(client.get("/v1/work-events/me")).send().await, StatusCode::OK).await;
    assert_eq!(listed["events"][0]["planned_hours"], json!(8.5));
    let seen = expect(me(&world, &anna).await, StatusCode::OK).await;
    assert_eq!(seen["email"], anna.email);
    let gone = expect(anna.sign(client.delete("/v1/work-events/me")).send().await, StatusCode::OK).await;
    assert_eq!(gone["deleted_count"], 1);
    let log = expect(anna.sign(client.get("/v1/privacy/audit-log")).send().await, StatusCode::OK).await;
    let actions: Vec<&str> = log["entries"]
        .as_array()
        .expect("entries are a list")
        .iter()
        .map(|entry| entry["action"].as_str().expect("an action is a text"))
        .collect();
    assert_eq!(
        actions,
        [
            "record.removed",
            "data.accessed",
            "data.accessed",
            "record.submitted",
            "consent.granted",
            "record.submitted",
            "record.submitted",
            "account.signed_in",
            "account.registered",
        ]
    );
}

#[tokio::test]
async fn auth_register_answers_201_with_all_five_fields_and_keeps_the_address_in_lower_case() {
    let world = World::new().await;
    let code = world.code("anna@klinik.example").await;
    let answer =
        Answer::of(post(&world, "/v1/auth/register", &registration(" Anna@Klinik.Example ", &code)).await).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let grant = answer.json();
    let names: Vec<&String> = grant.as_object().expect("a grant is an object").keys().collect();
    assert_eq!(names, ["device_secret", "expires_at", "refresh_token", "token", "user_id"]);
    grant["user_id"].as_str().expect("an id is a text").parse::<Uuid>().expect("the public id is a UUID");
    let expires_at: DateTime<Utc> =
        grant["expires_at"].as_str().expect("a time is a text").parse().expect("a time has a zone");
    let life = expires_at - world.clock.now();
    assert!(TimeDelta::minutes(14) < life && life <= TimeDelta::minutes(15), "{life}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let anna = Person::new("anna@klinik.example".to_owned(), &grant);
    let seen = expect(me(&world, &anna).await, StatusCode::OK).await;
    assert_eq!((&seen["email"], &seen["user_id"]), (&json!("anna@klinik.example"), &grant["user_id"]));
    assert_eq!((&seen["country_code"], &seen["time_zone"]), (&json!("DEU"), &json!("Europe/Berlin")));
}

#[tokio::test]
async fn auth_code_is_mailed_to_known_and_unknown_addresses_alike() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    // Anna has asked once, to register. The stranger asks once more, so that both have the same number of requests
    // left.
    let _ = world.code("nobody@klinik.example").await;
    let mut said = Vec::new();
    for email in [&anna.email, "nobody@klinik.example"] {
        let answer = Answer::of(post(&world, "/v1/auth/code", &json!({ "email": email })).await).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::ACCEPTED, ""));
        let mut headers: Vec<(String, String)> = (answer.headers.iter())
            .filter(|(name, _)| *name != "x-request-id")
            .map(|(name, value)| (name.to_string(), value.to_str().expect("plain text").to_owned()))
            .collect();
        headers.sort();
        // The seconds until the window ends depend on when the window began.
        for (_, value) in headers.iter_mut().filter(|(name, _)| name == "ratelimit") {
            value.truncate(value.find(";t=").expect("a limit says when it ends"));
        }
        said.push(headers);
        let code = world.mailed_code(email).await;
        assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    }
    assert_eq!(said[0], said[1]);
    assert!(said[0].iter().any(|(name, value)| name == "ratelimit" && value.ends_with(";r=3")), "{said:?}");
}

#[tokio::test]
async fn auth_code_is_in_a_letter_that_only_its_owner_may_read() {
    let world = World::new().await;
    let answer = post(&world, "/v1/auth/code", &json!({ "email": "anna@klinik.example" })).await;
    assert_eq!(answer.0.status(), StatusCode::ACCEPTED);
    world.deliver_letters().await;
    let all = letters(&world);
    let [path] = all.as_slice() else { panic!("one letter, no halves: {all:?}") };
    let text = std::fs::read_to_string(path).expect("a letter is text");
    let found = std::fs::metadata(path).expect("a letter has metadata");
    let folder = std::fs::metadata(lethe::server::mail_folder(&world.folder)).expect("the folder has metadata");
    let ours = std::fs::metadata(world.folder.path()).expect("the data folder has metadata");
    assert_eq!((found.uid(), folder.uid()), (ours.uid(), ours.uid()), "both are the server's own");
    assert_eq!(folder.permissions().mode() & 0o077, 0, "who reads the letter can sign in");
    assert_eq!(found.permissions().mode() & 0o133, 0, "a letter is no program, and nobody else writes to it");
    let left: i64 = world
        .superuser()
        .await
        .query_one("SELECT count(*) FROM auth.letters", &[])
        .await
        .expect("the queue is read")
        .get(0);
    assert_eq!(left, 0, "what was handed over waits no longer");
    let code = world.mailed_code("anna@klinik.example").await;
    assert!(text.contains("To: anna@klinik.example") && text.contains(&format!("Your code: {code}")), "{text}");
}

#[tokio::test]
async fn only_who_has_a_valid_code_learns_whether_an_address_is_known() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let stranger = "nobody@klinik.example";
    for (email, path, status, kind) in [
        (anna.email.as_str(), "/v1/auth/register", StatusCode::CONFLICT, "account-exists"),
        (stranger, "/v1/auth/login", StatusCode::NOT_FOUND, "missing"),
    ] {
        let body = |code: &str| match path {
            "/v1/auth/login" => json!({ "email": email, "code": code }),
            _ => registration(email, code),
        };
        problem(post(&world, path, &body("123456")).await, StatusCode::UNAUTHORIZED, "code-refused").await;
        let code = world.code(email).await;
        problem(post(&world, path, &body(&wrong(&code))).await, StatusCode::UNAUTHORIZED, "code-refused").await;
        problem(post(&world, path, &body(&code)).await, status, kind).await;
    }
    // Wrong codes are answered alike, also for the address without an account.
    let one = world.code(&anna.email).await;
    let two = world.code(stranger).await;
    let known = Answer::of(login(&world, &anna.email, &wrong(&one)).await).await;
    let unknown = Answer::of(login(&world, stranger, &wrong(&two)).await).await;
    assert_eq!(known.problem(StatusCode::UNAUTHORIZED), unknown.problem(StatusCode::UNAUTHORIZED));
    let failures = events_of(&world, &anna).await.iter().filter(|name| *name == "account.sign_in_failed").count();
    assert_eq!(failures, 3, "each wrong code for Anna's address is on her record");
}

#[tokio::test]
async fn auth_login_takes_a_code_for_its_own_address_only() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let (for_anna, for_ben) = (world.code(&anna.email).await, world.code(&ben.email).await);
    if for_anna != for_ben {
        problem(login(&world, &ben.email, &for_anna).await, StatusCode::UNAUTHORIZED, "code-refused").await;
    }
    // Even an administrator who stores Anna's code under Ben's address can't sign in with it.
    let moved = sql(
        &world,
        "UPDATE auth.codes b SET code_hash = a.code_hash, ring_key = a.ring_key FROM auth.codes a
         WHERE a.ctid <> b.ctid AND a.used_at IS NULL AND b.used_at IS NULL",
        &[],
    )
    .await;
    assert_eq!(moved, 2);
    problem(login(&world, &ben.email, &for_anna).await, StatusCode::UNAUTHORIZED, "code-refused").await;
    problem(login(&world, &anna.email, &for_ben).await, StatusCode::UNAUTHORIZED, "code-refused").await;
}

#[tokio::test]
async fn auth_login_lets_one_of_fifty_in_who_show_a_code_at_once() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let code = world.code(&anna.email).await;
    let client = world.client();
    let body = json!({ "email": anna.email, "code": code });
    let tries = (0..50).map(|_| client.post("/v1/auth/login").body_json(&body).send());
    let mut statuses: Vec<u16> = join_all(tries).await.iter().map(|answer| answer.0.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    // So many failures on one address may also be limited for a while.
    assert!(statuses.iter().all(|status| [200, 401, 429].contains(status)), "{statuses:?}");
    let again = login(&world, &anna.email, &code).await.0.status();
    assert!([StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&again), "{again}");
    let refused =
        statuses.iter().filter(|status| **status == 401).count() + usize::from(again == StatusCode::UNAUTHORIZED);
    let events = events_of(&world, &anna).await;
    assert_eq!(events.iter().filter(|name| *name == "account.signed_in").count(), 2, "{events:?}");
    let failures = events.iter().filter(|name| *name == "account.sign_in_failed").count();
    assert_eq!(failures, refused, "each refusal is on record, the one of who was slower too");
}

#[tokio::test]
async fn auth_register_makes_one_account_for_fifty_who_show_a_code_at_once() {
    let world = World::new().await;
    let code = world.code("anna@klinik.example").await;
    let client = world.client();
    let body = registration("anna@klinik.example", &code);
    let tries = (0..50).map(|_| client.post("/v1/auth/register").body_json(&body).send());
    let mut statuses: Vec<u16> = join_all(tries).await.iter().map(|answer| answer.0.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 401, 409, 429].contains(status)), "{statuses:?}");
    let rows = world.superuser().await.query("SELECT FROM vault.subjects", &[]).await.expect("the vault is read");
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn auth_login_refuses_even_the_right_code_after_five_wrong_tries() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for (wrong_tries, status) in [(4, StatusCode::OK), (5, StatusCode::UNAUTHORIZED)] {
        let code = world.code(&anna.email).await;
        for _ in 0..wrong_tries {
            problem(login(&world, &anna.email, &wrong(&code)).await, StatusCode::UNAUTHORIZED, "code-refused").await;
        }
        let answer = login(&world, &anna.email, &code).await;
        assert_eq!(answer.0.status(), status, "after {wrong_tries} wrong tries");
    }
    // A fresh code lets the person in again.
    sign_in(&world, &anna.email).await;
}

#[tokio::test]
async fn auth_login_takes_a_code_for_ten_minutes() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for (seconds, status) in [(590, StatusCode::OK), (601, StatusCode::UNAUTHORIZED)] {
        let code = world.code(&anna.email).await;
        let_pass(&world, TimeDelta::seconds(seconds)).await;
        let answer = Answer::of(login(&world, &anna.email, &code).await).await;
        assert_eq!(answer.status, status, "after {seconds} s: {}", answer.text);
    }
}

#[tokio::test]
async fn auth_login_refuses_a_code_that_a_newer_one_replaced() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let older = world.code(&anna.email).await;
    let newer = loop {
        let code = world.code(&anna.email).await;
        if code != older {
            break code;
        }
    };
    problem(login(&world, &anna.email, &older).await, StatusCode::UNAUTHORIZED, "code-refused").await;
    expect(login(&world, &anna.email, &newer).await, StatusCode::OK).await;
}

#[tokio::test]
async fn auth_code_is_sent_to_an_address_five_times_in_fifteen_minutes() {
    let world = World::new().await;
    let mut last = String::new();
    for written in [
        "anna@klinik.example",
        "ANNA@klinik.example",
        " anna@Klinik.Example",
        "anna@klinik.example ",
        "Anna@klinik.example",
    ] {
        let answer = post(&world, "/v1/auth/code", &json!({ "email": written })).await;
        assert_eq!(answer.0.status(), StatusCode::ACCEPTED, "{written}");
        last = world.mailed_code("anna@klinik.example").await;
    }
    let refused = Answer::of(post(&world, "/v1/auth/code", &json!({ "email": "anna@klinik.example" })).await).await;
    assert_eq!(refused.problem(StatusCode::TOO_MANY_REQUESTS)["type"], "/problems/limited");
    let wait: i64 = refused.header("retry-after").expect("it says when").parse().expect("in seconds");
    assert!((800..=900).contains(&wait), "{wait}");
    assert_eq!(world.take_letters("anna@klinik.example").await.len(), 0, "the sixth request mails nothing");
    // Another address is not limited, and the newest code still works.
    assert_eq!(world.code("ben@klinik.example").await.len(), 6);
    let answer = post(&world, "/v1/auth/register", &registration("anna@klinik.example", &last)).await;
    expect(answer, StatusCode::CREATED).await;
    let_pass(&world, TimeDelta::seconds(wait + 1)).await;
    sign_in(&world, "anna@klinik.example").await;
}

#[tokio::test]
async fn auth_refresh_rotates_the_token_and_a_replayed_one_ends_the_session() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let next =
        Person::new(anna.email.clone(), &expect(refresh(&world, &anna.refresh_token).await, StatusCode::OK).await);
    assert_ne!((&next.token, &next.refresh_token), (&anna.token, &anna.refresh_token));
    assert_eq!(next.user_id, anna.user_id);
    expect(me(&world, &next).await, StatusCode::OK).await;
    let third =
        Person::new(anna.email.clone(), &expect(refresh(&world, &next.refresh_token).await, StatusCode::OK).await);
    // The first token is shown again. Nobody can tell whether by the thief or the owner, so the whole session ends.
    problem(refresh(&world, &anna.refresh_token).await, StatusCode::UNAUTHORIZED, "refresh-refused").await;
    for ended in [&anna, &next, &third] {
        problem(me(&world, ended).await, StatusCode::UNAUTHORIZED, "signed-out").await;
    }
    problem(refresh(&world, &third.refresh_token).await, StatusCode::UNAUTHORIZED, "refresh-refused").await;
    let again = sign_in(&world, &anna.email).await;
    let path = "/v1/privacy/audit-log?action=account.refresh_reused";
    let log = expect(again.sign(world.client().get(path)).send().await, StatusCode::OK).await;
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(1), "{log}");
    assert_eq!(log["entries"][0]["action"], "account.refresh_reused");
    for wrong in ["", "x", &anna.token, &anna.refresh_token[1..]] {
        problem(refresh(&world, wrong).await, StatusCode::UNAUTHORIZED, "refresh-refused").await;
    }
}

#[tokio::test]
async fn auth_refresh_keeps_a_session_for_thirty_days_and_no_longer() {
    let world = World::new().await;
    let mut anna = world.person("anna").await;
    for _ in 0..2 {
        let_pass(&world, TimeDelta::days(14)).await;
        let grant = expect(refresh(&world, &anna.refresh_token).await, StatusCode::OK).await;
        anna = Person::new(anna.email.clone(), &grant);
        expect(me(&world, &anna).await, StatusCode::OK).await;
    }
    let_pass(&world, TimeDelta::days(3)).await;
    problem(refresh(&world, &anna.refresh_token).await, StatusCode::UNAUTHORIZED, "refresh-refused").await;
    sign_in(&world, &anna.email).await;
}

#[tokio::test]
async fn auth_logout_ends_access_at_once_and_leaves_other_sessions_alone() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let other = sign_in(&world, &anna.email).await;
    let answer = anna.sign(world.client().post("/v1/auth/logout")).send().await;
    assert_eq!(expect(answer, StatusCode::NO_CONTENT).await, Value::Null);
    let today = world.clock.now().date_naive().to_string();
    let client = world.client();
    for request in [
        client.get("/v1/auth/me"),
        client.get("/v1/work-events/me"),
        client.get("/v1/privacy/audit-log"),
        client.get("/v1/consents"),
        client.get("/v1/consents/work_hours/history"),
        client.post("/v1/work-events/daily").body_json(&day(&today, 8.0, 8.0)),
        client.post("/v1/work-events/batch").body_json(&json!({ "events": [day(&today, 8.0, 8.0)] })),
        client.delete("/v1/work-events/me"),
        client.put("/v1/consents/work_hours").body_json(&json!({ "granted": false })),
        client.patch("/v1/auth/me").body_json(&json!({ "hospital_id": "anderswo" })),
        client.post("/v1/auth/logout"),
    ] {
        problem(anna.sign(request).send().await, StatusCode::UNAUTHORIZED, "signed-out").await;
    }
    problem(refresh(&world, &anna.refresh_token).await, StatusCode::UNAUTHORIZED, "refresh-refused").await;
    expect(me(&world, &other).await, StatusCode::OK).await;
    assert_eq!(events_of(&world, &anna).await.last().map(String::as_str), Some("account.signed_out"));
}

#[tokio::test]
async fn an_access_token_is_good_for_fifteen_minutes_and_refuses_to_be_altered() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let part = |person: &Person, at: usize| person.token.split('.').nth(at).expect("a JWT has three parts").to_owned();
    let (head, body, sign) = (part(&anna, 0), part(&anna, 1), part(&anna, 2));
    let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "typ": "at+jwt" }).to_string());
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&body).expect("claims are base64url")).expect("claims are JSON");
    claims["sub"] = json!(ben.user_id);
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    for forged in [
        String::new(),
        "x".to_owned(),
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}.{}.{sign}", part(&ben, 1)),
        format!("{head}.{claims}.{sign}"),
        format!("{head}.{body}.{}", part(&ben, 2)),
        format!("{none}.{body}."),
        format!("{none}.{body}.{sign}"),
        anna.refresh_token.clone(),
    ] {
        let answer = Person { token: forged.clone(), ..anna.clone() };
        let answer = Answer::of(me(&world, &answer).await).await;
        assert_eq!(answer.problem(StatusCode::UNAUTHORIZED)["type"], "/problems/signed-out", "{forged}");
        let challenge = answer.header("www-authenticate").expect("a 401 says how to sign in");
        assert!(challenge.starts_with("Bearer"), "{challenge}");
    }
    expect(me(&world, &anna).await, StatusCode::OK).await;
    world.clock.advance(TimeDelta::seconds(880));
    expect(me(&world, &anna).await, StatusCode::OK).await;
    world.clock.advance(TimeDelta::seconds(21));
    problem(me(&world, &anna).await, StatusCode::UNAUTHORIZED, "signed-out").await;
}

#[tokio::test]
async fn the_published_keys_verify_a_token_that_names_nobody_of_the_log() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let answer = Answer::of(world.client().get("/.well-known/jwks.json").send().await).await;
    assert_eq!(answer.status, StatusCode::OK);
    let keys = answer.json();
    let head = decode_header(&anna.token).expect("a token has a header");
    assert_eq!((head.alg, head.typ.as_deref()), (Algorithm::EdDSA, Some("at+jwt")));
    let key = (keys["keys"].as_array().expect("keys are a list").iter())
        .find(|key| key["kid"].as_str() == head.kid.as_deref())
        .expect("the key that signed is published");
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    assert_eq!(key["d"], Value::Null, "never the private half");
    let public = DecodingKey::from_ed_components(key["x"].as_str().expect("a point is a text")).expect("a point");
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&["lethe-api"]);
    rules.set_issuer(&["lethe"]);
    let claims = decode::<Value>(&anna.token, &public, &rules).expect("the signature holds").claims;
    assert_eq!(claims["sub"], anna.user_id);
    assert!(claims["exp"].as_i64() > claims["iat"].as_i64());
    let subject = subject_of(&world, &anna).await;
    assert!(!claims.to_string().contains(&subject.to_string()), "the log's id never leaves");
}

#[tokio::test]
async fn staff_sign_in_with_a_code_and_have_no_work_days() {
    let world = World::new().await;
    for (name, role) in [("carla", Role::Compliance), ("otto", Role::Auditor)] {
        let email = format!("{name}@lethe.example");
        staff::add(&world.app, &email, role).await.expect("the command line makes staff");
        // Adding the same role twice changes nothing.
        staff::add(&world.app, &email, role).await.expect("the command line makes staff");
        let mut staff = sign_in(&world, &email).await;
        for _ in 0..2 {
            let seen = expect(me(&world, &staff).await, StatusCode::OK).await;
            assert_eq!(seen["email"], email);
            assert_eq!(seen["hospital_id"], Value::Null, "staff have no work profile");
            let today = world.clock.now().date_naive().to_string();
            let client = world.client();
            for request in [
                client.get("/v1/work-events/me"),
                client.delete("/v1/work-events/me"),
                client.post("/v1/work-events/daily").body_json(&day(&today, 8.0, 8.0)),
                client.post("/v1/work-events/batch").body_json(&json!({ "events": [day(&today, 8.0, 8.0)] })),
            ] {
                problem(staff.sign(request).send().await, StatusCode::FORBIDDEN, "forbidden").await;
            }
            // The role is kept by a refresh.
            let grant = expect(refresh(&world, &staff.refresh_token).await, StatusCode::OK).await;
            staff = Person::new(email.clone(), &grant);
        }
    }
}

#[tokio::test]
async fn the_api_makes_no_staff() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let code = world.code("mallory@klinik.example").await;
    for (name, value) in [("role", json!("compliance")), ("roles", json!(["auditor"])), ("staff", json!(true))] {
        let mut body = registration("mallory@klinik.example", &code);
        body[name] = value.clone();
        let refused =
            problem(post(&world, "/v1/auth/register", &body).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input")
                .await;
        assert_eq!(fields(&refused), [name]);
        let patch = anna.sign(world.client().patch("/v1/auth/me").body_json(&json!({ name: value }))).send().await;
        let refused = problem(patch, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        assert_eq!(fields(&refused), [name]);
    }
    let rows = world.superuser().await.query("SELECT FROM auth.staff_roles", &[]).await.expect("the roles are read");
    assert!(rows.is_empty());
}

#[tokio::test]
async fn an_address_that_was_moved_to_another_person_lets_nobody_in() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let (a, b) = (subject_of(&world, &anna).await, subject_of(&world, &ben).await);
    let stored: Vec<u8> = world
        .superuser()
        .await
        .query_one("SELECT mac FROM auth.addresses WHERE subject_id = $1", &[&a])
        .await
        .expect("Anna has an address")
        .get(0);
    for taken in ["mac", "(SELECT mac FROM auth.addresses WHERE subject_id = $2)"] {
        let moved = format!("UPDATE auth.addresses SET subject_id = $2, mac = {taken} WHERE subject_id = $1");
        assert_eq!(sql(&world, &moved, &[&a, &b]).await, 1);
        let code = world.code(&anna.email).await;
        failed_silently(login(&world, &anna.email, &code).await).await;
        failed_silently(post(&world, "/v1/auth/register", &registration(&anna.email, &code)).await).await;
        // Ben's own address leads to Ben as before.
        assert_eq!(sign_in(&world, &ben.email).await.user_id, ben.user_id);
        let back = "UPDATE auth.addresses SET subject_id = $1, mac = $3
                    WHERE subject_id = $2 AND ctid = (SELECT max(ctid) FROM auth.addresses WHERE subject_id = $2)";
        assert_eq!(sql(&world, back, &[&a, &b, &stored]).await, 1);
    }
    assert_eq!(sign_in(&world, &anna.email).await.user_id, anna.user_id, "put back, it works again");
    // The public id is protected in the same way.
    let swapped = "UPDATE auth.users SET user_id = $3 WHERE subject_id = $1 AND $2::uuid IS NOT NULL";
    assert_eq!(sql(&world, swapped, &[&a, &b, &Uuid::nil()]).await, 1);
    let code = world.code(&anna.email).await;
    failed_silently(login(&world, &anna.email, &code).await).await;
}

#[tokio::test]
async fn auth_refresh_gives_nothing_for_a_token_that_was_moved_to_another_person() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let (a, b) = (subject_of(&world, &anna).await, subject_of(&world, &ben).await);
    let moved = sql(
        &world,
        "UPDATE auth.refresh_tokens t SET subject_id = $2, session_id = s.session_id
         FROM auth.sessions s WHERE t.subject_id = $1 AND s.subject_id = $2",
        &[&a, &b],
    )
    .await;
    assert_eq!(moved, 1);
    failed_silently(refresh(&world, &anna.refresh_token).await).await;
    expect(refresh(&world, &ben.refresh_token).await, StatusCode::OK).await;
    let carl = world.person("carl").await;
    let c = subject_of(&world, &carl).await;
    let raised = sql(&world, "UPDATE auth.refresh_tokens SET role = 'compliance' WHERE subject_id = $1", &[&c]).await;
    assert_eq!(raised, 1);
    failed_silently(refresh(&world, &carl.refresh_token).await).await;
}

#[tokio::test]
async fn auth_login_lets_nobody_in_with_a_forged_staff_role() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let a = subject_of(&world, &anna).await;
    let forged = "INSERT INTO auth.staff_roles (subject_id, role, mac) VALUES ($1, 'compliance', $2)";
    assert_eq!(sql(&world, forged, &[&a, &vec![7_u8; 32]]).await, 1);
    let code = world.code(&anna.email).await;
    failed_silently(login(&world, &anna.email, &code).await).await;
    assert_eq!(sql(&world, "DELETE FROM auth.staff_roles", &[]).await, 1);
    // A genuine row of another person does not help either.
    staff::add(&world.app, "carla@lethe.example", Role::Compliance).await.expect("staff are made");
    assert_eq!(sql(&world, "UPDATE auth.staff_roles SET subject_id = $1", &[&a]).await, 1);
    failed_silently(login(&world, &anna.email, &code).await).await;
    assert_eq!(sql(&world, "DELETE FROM auth.staff_roles", &[]).await, 1);
    assert_eq!(sign_in(&world, &anna.email).await.user_id, anna.user_id);
}
