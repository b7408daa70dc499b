//! Devices on which a person signed in before. Neither strangers' wrong codes nor their requests for letters lock the
//! owner of an address out.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use lethe::http::{self, TrustedProxies};
use poem::{Endpoint, Response, http::StatusCode, test::TestResponse};
use serde_json::{Value, json};

use crate::{
    steps::{Answer, events_of, let_pass, problem, subject_of, wrong},
    support::{Person, World, expect, registration, request_from},
};

/// A request from the client with this number: its address is `198.51.x.y`.
async fn from(routes: &impl Endpoint<Output = Response>, number: u32, target: &str, body: &Value) -> TestResponse {
    let peer = format!("198.51.{}.{}:4000", number / 250, number % 250 + 1);
    TestResponse(routes.get_response(request_from(&peer, target, &[], body)).await)
}

fn routes(world: &World) -> impl Endpoint<Output = Response> + use<> {
    http::routes(world.app.clone(), TrustedProxies::default())
}

async fn ask(routes: &impl Endpoint<Output = Response>, number: u32, body: &Value) -> StatusCode {
    from(routes, number, "POST /v1/auth/code", body).await.0.status()
}

async fn login(routes: &impl Endpoint<Output = Response>, number: u32, body: &Value) -> TestResponse {
    from(routes, number, "POST /v1/auth/login", body).await
}

/// Registers a person; returns the person and the secret of the device.
async fn somebody(world: &World, name: &str) -> (Person, String) {
    let email = format!("{name}@klinik.example");
    // Daily counters end at midnight, so that no test may run past it.
    let morning = (world.clock.now().date_naive() + TimeDelta::days(1)).and_hms_opt(9, 0, 0).expect("nine is a time");
    let_pass(world, morning.and_utc() - world.clock.now()).await;
    let code = world.code(&email).await;
    let answer = world.client().post("/v1/auth/register").body_json(&registration(&email, &code)).send().await;
    let grant = expect(answer, StatusCode::CREATED).await;
    (Person::new(email, &grant), grant["device_secret"].as_str().expect("a secret").to_owned())
}

/// Strangers from `clients` addresses try five wrong codes each; returns how many were refused as wrong.
async fn guess(routes: &impl Endpoint<Output = Response>, email: &str, clients: std::ops::Range<u32>) -> usize {
    let mut refused = 0;
    for client in clients {
        for _ in 0..5 {
            let body = json!({ "email": email, "code": "000000" });
            problem(login(routes, client, &body).await, StatusCode::UNAUTHORIZED, "code-refused").await;
            refused += 1;
        }
    }
    refused
}

#[tokio::test]
async fn auth_login_lets_a_known_device_in_whatever_strangers_tried() {
    let world = World::new().await;
    let (anna, secret) = somebody(&world, "anna").await;
    let routes = routes(&world);
    let email = anna.email.as_str();
    assert!(guess(&routes, email, 100..114).await > 60);
    // The request comes even from the address of one of the strangers.
    assert_eq!(ask(&routes, 100, &json!({ "email": email, "device_secret": secret })).await, StatusCode::ACCEPTED);
    let code = world.mailed_code(email).await;
    assert_eq!(code.len(), 6, "what a known device shows is not guessed");
    let body = json!({ "email": email, "code": code, "device_secret": secret });
    let grant = expect(login(&routes, 100, &body).await, StatusCode::OK).await;
    assert_eq!(grant["device_secret"], json!(secret), "it stays the same device");
    let signed_in = "SELECT payload #>> '{SignedIn,device}' FROM log.events
                     WHERE subject_id = $1 AND event_type = 'account.signed_in' ORDER BY position";
    let subject = subject_of(&world, &anna).await;
    let rows = world.superuser().await.query(signed_in, &[&subject]).await.expect("the log is read");
    let devices: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(devices, ["new", "known"], "that a device became known is on record");
}

#[tokio::test]
async fn auth_code_is_long_after_many_wrong_tries_and_lets_its_owner_in() {
    let world = World::new().await;
    let (anna, _) = somebody(&world, "anna").await;
    let routes = routes(&world);
    let email = anna.email.as_str();
    assert_eq!(ask(&routes, 7, &json!({ "email": email })).await, StatusCode::ACCEPTED);
    let short = world.mailed_code(email).await;
    assert_eq!(short.len(), 6);
    assert_eq!(guess(&routes, email, 100..112).await, 60);
    let body = json!({ "email": email, "code": short });
    problem(login(&routes, 7, &body).await, StatusCode::UNAUTHORIZED, "code-refused").await;
    assert_eq!(ask(&routes, 8, &json!({ "email": email })).await, StatusCode::ACCEPTED);
    let long = world.mailed_code(email).await;
    assert_eq!(long.len(), 14, "twelve in groups of four: {long}");
    // More wrong codes do not change that.
    guess(&routes, email, 120..130).await;
    let body = json!({ "email": email, "code": wrong(&long) });
    problem(login(&routes, 8, &body).await, StatusCode::UNAUTHORIZED, "code-refused").await;
    let body = json!({ "email": email, "code": long.replace('-', " ").to_lowercase() });
    expect(login(&routes, 8, &body).await, StatusCode::OK).await;
    problem(login(&routes, 8, &body).await, StatusCode::UNAUTHORIZED, "code-refused").await;
}

#[tokio::test]
async fn auth_login_counts_the_tries_of_a_stranger_for_the_stranger_only() {
    let world = World::new().await;
    let (anna, _) = somebody(&world, "anna").await;
    let routes = routes(&world);
    let email = anna.email.as_str();
    assert_eq!(ask(&routes, 1, &json!({ "email": email })).await, StatusCode::ACCEPTED);
    let code = world.mailed_code(email).await;
    for _ in 0..5 {
        let body = json!({ "email": email, "code": wrong(&code) });
        problem(login(&routes, 2, &body).await, StatusCode::UNAUTHORIZED, "code-refused").await;
    }
    let body = json!({ "email": email, "code": code });
    problem(login(&routes, 2, &body).await, StatusCode::UNAUTHORIZED, "code-refused").await;
    expect(login(&routes, 1, &body).await, StatusCode::OK).await;
}

#[tokio::test]
async fn auth_code_for_a_stranger_replaces_nobody_elses_code() {
    let world = World::new().await;
    let (anna, _) = somebody(&world, "anna").await;
    let routes = routes(&world);
    let email = anna.email.as_str();
    let mailed = async |client: u32| {
        assert_eq!(ask(&routes, client, &json!({ "email": email })).await, StatusCode::ACCEPTED);
        json!({ "email": email, "code": world.mailed_code(email).await })
    };
    let (annas, strangers, newest) = (mailed(1).await, mailed(2).await, mailed(3).await);
    expect(login(&routes, 1, &annas).await, StatusCode::OK).await;
    problem(login(&routes, 1, &annas).await, StatusCode::UNAUTHORIZED, "code-refused").await;
    // A person who asked on another device shows the newest code, which came to the same mailbox.
    expect(login(&routes, 4, &newest).await, StatusCode::OK).await;
    expect(login(&routes, 2, &strangers).await, StatusCode::OK).await;
}

#[tokio::test]
async fn auth_code_floods_no_mailbox_for_many_clients_or_with_tags() {
    let world = World::new().await;
    let (anna, secret) = somebody(&world, "anna").await;
    let routes = routes(&world);
    let_pass(&world, TimeDelta::minutes(16)).await;
    let mut sent = Vec::new();
    for round in 0..6_u32 {
        let mut taken = 0;
        for number in 0..40 {
            let email = if number % 4 == 0 { anna.email.clone() } else { format!("anna+{number}@klinik.example") };
            match ask(&routes, round * 40 + number, &json!({ "email": email })).await {
                StatusCode::ACCEPTED => taken += 1,
                status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
            }
        }
        sent.push(taken);
        // Meanwhile Anna's own device is mailed a code and signs in.
        world.take_letters(&anna.email).await;
        let own = json!({ "email": anna.email, "device_secret": secret });
        assert_eq!(ask(&routes, 0, &own).await, StatusCode::ACCEPTED, "round {round}");
        let body =
            json!({ "email": anna.email, "code": world.mailed_code(&anna.email).await, "device_secret": secret });
        expect(login(&routes, 0, &body).await, StatusCode::OK).await;
        world.clock.advance(TimeDelta::minutes(15));
    }
    // One of the thirty codes of the day was used to register. Beyond the limit, one code in a quarter of an hour is
    // mailed.
    assert_eq!(sent, [10, 10, 9, 1, 1, 1]);
    let own = json!({ "email": anna.email, "device_secret": secret });
    let mut left = 0;
    while ask(&routes, 0, &own).await == StatusCode::ACCEPTED {
        left += 1;
        assert!(left <= 30, "a device has a limit too");
    }
}

#[tokio::test]
async fn strangers_learn_nothing_from_limits_long_codes_or_secrets() {
    let world = World::new().await;
    let (_, secret) = somebody(&world, "anna").await;
    let routes = routes(&world);
    let_pass(&world, TimeDelta::minutes(16)).await;
    let mut seen = Vec::new();
    for (email, first) in [("anna@klinik.example", 1_000), ("nobody@klinik.example", 2_000)] {
        let mut said = Vec::new();
        let mut note = async |answer: TestResponse| {
            let answer = Answer::of(answer).await;
            let limit = answer.header("ratelimit").map(|text| text.split(";t=").next().expect("a text").to_owned());
            said.push((answer.status, limit, answer.text));
        };
        for number in 0..12 {
            let body = json!({ "email": email, "device_secret": "bVd2YpfVnSx1sAc1bJHi0m0X3n0PqJd0oWq1uKf3a9w" });
            note(from(&routes, first + number, "POST /v1/auth/code", &body).await).await;
            for _ in 0..6 {
                let body = json!({ "email": email, "code": "000000", "device_secret": "x" });
                note(login(&routes, first + number, &body).await).await;
            }
        }
        world.clock.advance(TimeDelta::minutes(16));
        world.take_letters(email).await;
        note(from(&routes, first, "POST /v1/auth/code", &json!({ "email": email })).await).await;
        let shape = world.mailed_code(email).await.len();
        seen.push((said, shape));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].1, 14);
    // The secret of somebody else's device counts as none.
    let (ben, _) = somebody(&world, "ben").await;
    let body = json!({ "email": ben.email, "device_secret": secret });
    let answer = Answer::of(from(&routes, 3_000, "POST /v1/auth/code", &body).await).await;
    assert!(answer.header("ratelimit").is_some_and(|limit| limit.starts_with("\"codes-per-mailbox")), "{answer:?}");
}

#[tokio::test]
async fn auth_code_is_on_record_for_known_and_unknown_addresses() {
    let world = World::new().await;
    let (anna, _) = somebody(&world, "anna").await;
    let count = async |whose: &str| -> i64 {
        let sql = "SELECT count(*) FROM log.events WHERE event_type = 'account.code_requested' AND subject_id = $1::text::uuid";
        world.superuser().await.query_one(sql, &[&whose]).await.expect("the log is read").get(0)
    };
    let (subject, system) = (subject_of(&world, &anna).await.to_string(), uuid::Uuid::nil().to_string());
    assert_eq!((count(&subject).await, count(&system).await), (0, 1), "before the account was made");
    let _ = world.code(&anna.email).await;
    let _ = world.code("nobody@klinik.example").await;
    assert_eq!((count(&subject).await, count(&system).await), (1, 2));
    let log =
        expect(world.get(&anna, "/v1/privacy/audit-log?action=account.code_requested").await, StatusCode::OK).await;
    assert_eq!((log["entries"].as_array().map(Vec::len), &log["entries"][0]["actor"]), (Some(1), &json!("anonymous")));
}

#[tokio::test]
async fn ten_devices_are_known_and_a_row_that_was_moved_makes_nobody_known() {
    let world = World::new().await;
    let (anna, first) = somebody(&world, "anna").await;
    let (ben, _) = somebody(&world, "ben").await;
    let routes = routes(&world);
    let mut secrets = BTreeSet::from([first.clone()]);
    for number in 0..10 {
        let_pass(&world, TimeDelta::minutes(16)).await;
        assert_eq!(ask(&routes, number, &json!({ "email": anna.email })).await, StatusCode::ACCEPTED);
        let body = json!({ "email": anna.email, "code": world.mailed_code(&anna.email).await });
        let grant = expect(login(&routes, number, &body).await, StatusCode::OK).await;
        secrets.insert(grant["device_secret"].as_str().expect("a secret").to_owned());
    }
    assert_eq!(secrets.len(), 11, "each is another");
    // The name of the limit that counted a request tells whether the device is known.
    let is_known = async |person: &Person, secret: &str| {
        let_pass(&world, TimeDelta::minutes(16)).await;
        let body = json!({ "email": person.email, "device_secret": secret });
        let answer = Answer::of(from(&routes, 900, "POST /v1/auth/code", &body).await).await;
        answer.header("ratelimit").expect("a limit").starts_with("\"codes-per-device")
    };
    assert!(!is_known(&anna, &first).await, "the oldest made room");
    secrets.remove(&first);
    let newest = secrets.first().expect("ten are left").clone();
    assert!(is_known(&anna, &newest).await);
    let (a, b) = (subject_of(&world, &anna).await, subject_of(&world, &ben).await);
    let superuser = world.superuser().await;
    let moved = "UPDATE auth.devices SET subject_id = $2 WHERE subject_id = $1";
    assert_eq!(superuser.execute(moved, &[&a, &b]).await.expect("a superuser may"), 10);
    assert!(!is_known(&ben, &newest).await && !is_known(&anna, &newest).await);
    assert_eq!(superuser.execute(moved, &[&b, &a]).await.expect("a superuser may"), 11);
    assert!(is_known(&anna, &newest).await);
    let longer = "UPDATE auth.devices SET expires_at = expires_at + interval '1 day'";
    assert_eq!(superuser.execute(longer, &[]).await.expect("a superuser may"), 11);
    assert!(!is_known(&anna, &newest).await);
    assert!(events_of(&world, &anna).await.contains(&"account.code_requested".to_owned()));
}
