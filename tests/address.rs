//! E-mail addresses: several spellings of one mailbox are one account, and every accepted address can be sent a letter.

use context::{Client, Ctx, RequestId, Role};
use lethe::app::identity::{
    account::{self, Registration},
    staff,
};
use poem::http::StatusCode;
use serde_json::json;

use crate::{
    steps::{fields, problem, sign_in, state_of, subject_of},
    support::{World, expect, registration},
};

/// Spellings of one mailbox, each as it is kept.
const ONE_MAILBOX: [&[&str]; 2] = [
    &[
        "anna@xn--bcher-kva.example",
        "anna@bücher.example",
        "anna@bu\u{308}cher.example",
        "Anna@BÜCHER.Example",
        "anna@XN--BCHER-KVA.example",
    ],
    &["jürgen@klinik.example", "ju\u{308}rgen@klinik.example", "JU\u{308}RGEN@klinik.example"],
];

#[tokio::test]
async fn one_mailbox_is_one_account_however_it_is_spelled() {
    let world = World::new().await;
    for spellings in ONE_MAILBOX {
        let kept = spellings[0];
        let mut user = None;
        for (number, spelling) in spellings.iter().enumerate() {
            let asked = world.client().post("/v1/auth/code").body_json(&json!({ "email": spelling })).send().await;
            expect(asked, StatusCode::ACCEPTED).await;
            // The letter is addressed in the normal spelling.
            let code = world.mailed_code(kept).await;
            if number == 0 {
                let body = registration(spelling, &code);
                let answer = world.client().post("/v1/auth/register").body_json(&body).send().await;
                user = Some(expect(answer, StatusCode::CREATED).await["user_id"].clone());
                continue;
            }
            let body = registration(spelling, &code);
            let answer = world.client().post("/v1/auth/register").body_json(&body).send().await;
            problem(answer, StatusCode::CONFLICT, "account-exists").await;
            let body = json!({ "email": spelling, "code": code });
            let grant =
                expect(world.client().post("/v1/auth/login").body_json(&body).send().await, StatusCode::OK).await;
            assert_eq!(Some(&grant["user_id"]), user.as_ref(), "{spelling}");
        }
        world.superuser().await.execute("DELETE FROM auth.limits", &[]).await.expect("as if time had passed");
    }
    let accounts: i64 =
        world.superuser().await.query_one("SELECT count(*) FROM auth.addresses", &[]).await.expect("counted").get(0);
    assert_eq!(accounts, 2);
}

#[tokio::test]
async fn auth_code_refuses_an_address_that_no_letter_reaches() {
    let world = World::new().await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for email in [
        "x\u{308}q\u{308}@klinik.example",
        "anna\u{200b}@klinik.example",
        "anna@klinik\u{202e}.example",
        "anna@xn--a.example",
        "anna@[192.0.2.1]",
        "anna@192.0.2.1",
        "\"anna\"@klinik.example",
        "anna@klinik",
    ] {
        let answer = world.client().post("/v1/auth/code").body_json(&json!({ "email": email })).send().await;
        let refused = problem(answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        assert_eq!(fields(&refused), ["email"], "{email:?}");
    }
    assert_eq!(state_of(&client).await, before);
}

#[tokio::test]
async fn an_account_that_was_filed_under_an_earlier_spelling_is_found() {
    let world = World::new().await;
    // The version before stored the domain in its own letters.
    let former = "otto@bücher.example";
    let person = Registration { email: former.to_owned(), work: None, consents: Vec::new() };
    let ctx = Ctx::anonymous(world.clock.clone(), Client::default(), RequestId::random());
    account::create(&world.app, &ctx, &person).await.expect("an account");
    let otto = sign_in(&world, "otto@xn--bcher-kva.example").await;
    let subject = subject_of(&world, &otto).await;
    world.superuser().await.execute("DELETE FROM auth.limits", &[]).await.expect("as if time had passed");
    let code = {
        let asked = world.client().post("/v1/auth/code").body_json(&json!({ "email": former })).send().await;
        expect(asked, StatusCode::ACCEPTED).await;
        world.mailed_code("otto@xn--bcher-kva.example").await
    };
    let answer = world.client().post("/v1/auth/register").body_json(&registration(former, &code)).send().await;
    problem(answer, StatusCode::CONFLICT, "account-exists").await;
    let body = json!({ "email": former, "code": code });
    let grant = expect(world.client().post("/v1/auth/login").body_json(&body).send().await, StatusCode::OK).await;
    assert_eq!(grant["user_id"], json!(otto.user_id));
    // The command line and the desk find the same person by any spelling.
    staff::add(&world.app, "otto@xn--bcher-kva.example", Role::Auditor).await.expect("a role is given");
    staff::add(&world.app, "carla@lethe.example", Role::Compliance).await.expect("staff are made");
    let carla = sign_in(&world, "carla@lethe.example").await;
    for email in [former, "otto@xn--bcher-kva.example", "OTTO@bu\u{308}cher.example"] {
        let body = json!({ "email": email, "reason": "Asked by phone to correct a day." });
        expect(world.post(&carla, "/v1/compliance/openings", &body).await, StatusCode::OK).await;
    }
    let roles = "SELECT count(*) FROM auth.staff_roles WHERE subject_id = $1";
    let roles: i64 = world.superuser().await.query_one(roles, &[&subject]).await.expect("counted").get(0);
    assert_eq!(roles, 1);
}
