//! Passing faults of the database: each has its own problem, a 503 with `Retry-After`; it changes nothing, and requests
//! succeed once the fault has passed.

use poem::http::StatusCode;
use serde_json::Value;

use crate::{
    steps::{Answer, hold, let_go, state_of, subject_of, who_waits},
    support::{Person, World, day},
};

const DAILY: &str = "/v1/work-events/daily";

/// Makes every write to the log, except reads, fail with an error code, as PostgreSQL itself would.
async fn fail_with(client: &tokio_postgres::Client, code: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'as the test wants it' USING ERRCODE = '{code}'; END $$;
         DROP TRIGGER IF EXISTS fail ON log.events;
         CREATE TRIGGER fail BEFORE INSERT ON log.events FOR EACH STATEMENT EXECUTE FUNCTION public.fail()"
    );
    client.batch_execute(&sql).await.expect("the trigger is made");
}

async fn submit(world: &World, anna: &Person) -> Answer {
    Answer::of(world.post(anna, DAILY, &day("2026-02-02", 8.0, 8.0)).await).await
}

#[tokio::test]
async fn each_kind_of_passing_fault_says_what_it_is_and_when_to_come_back() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for (code, kind) in [
        ("57014", "busy"),
        ("55P03", "busy"),
        ("53200", "busy"),
        ("53400", "busy"),
        ("40001", "busy"),
        ("40P01", "busy"),
        ("53100", "storage-full"),
        ("58P01", "out-of-order"),
        ("58030", "out-of-order"),
        ("25006", "out-of-order"),
        ("57P01", "unavailable"),
        ("57P02", "unavailable"),
        ("57P03", "unavailable"),
        ("53300", "unavailable"),
        ("08006", "unavailable"),
    ] {
        fail_with(&client, code).await;
        let answer = submit(&world, &anna).await;
        let problem = answer.problem(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{code}");
        assert_eq!(problem.as_object().map(serde_json::Map::len), Some(3), "it tells nothing of the inside: {problem}");
        let wait: u32 = answer.header("retry-after").expect("it says when").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{code}: {wait}");
        assert_eq!(state_of(&client).await, before, "{code}");
    }
    client.batch_execute("DROP TRIGGER fail ON log.events").await.expect("the fault is over");
    assert_eq!(submit(&world, &anna).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_fault_that_stays_is_no_passing_one() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    for code in ["42601", "22021", "XX001", "54000"] {
        fail_with(&client, code).await;
        let answer = submit(&world, &anna).await;
        assert_eq!(answer.problem(StatusCode::INTERNAL_SERVER_ERROR)["type"], "/problems/failed", "{code}");
        assert_eq!(answer.header("retry-after"), None, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_statement_or_session_is_ended_is_told_to_come_back() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let (holder, client, subject) = (world.superuser().await, world.superuser().await, subject_of(&world, &anna).await);
    let list = async || Answer::of(world.get(&anna, "/v1/work-events/me").await).await;
    for (function, kind) in [("pg_cancel_backend", "busy"), ("pg_terminate_backend", "unavailable")] {
        hold(&holder, subject).await;
        let end = async {
            let waiting = who_waits(&client).await;
            client.query_one(&format!("SELECT {function}($1)"), &[&waiting]).await.expect("it is ended");
        };
        let (answer, ()) = tokio::join!(list(), end);
        assert_eq!(answer.problem(StatusCode::SERVICE_UNAVAILABLE)["type"], format!("/problems/{kind}"), "{function}");
        assert!(answer.header("retry-after").is_some(), "{function}");
        let_go(&holder, subject).await;
        let answer = list().await;
        assert_eq!(
            (answer.status, &answer.json()["events"]),
            (StatusCode::OK, &Value::Array(Vec::new())),
            "{function}"
        );
    }
}
