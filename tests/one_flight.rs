//! New records are stored by one statement without being looked for, and whatever has changed since the server looked last
//! is noticed all the same.

use std::{collections::HashSet, sync::atomic::AtomicUsize, time::Duration};

use chrono::TimeDelta;
use context::{Role, SubjectId};
use db::{Login, Session};
use futures_util::future::join_all;
use poem::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_postgres::{Client, error::SqlState};
use uuid::Uuid;

use crate::{
    group::Occupied,
    plans::new_record,
    steps::{hold, let_go, subject_of, submit_day},
    support::{Person, World, day},
};

/// Takes away, or gives back, what a look at a person's standing needs.
async fn let_look(superuser: &Client, may: bool) {
    let sql = if may {
        "GRANT SELECT ON read.accounts TO lethe_api"
    } else {
        "REVOKE SELECT ON read.accounts FROM lethe_api"
    };
    superuser.batch_execute(sql).await.expect("a superuser may");
}

/// Submits days that this server does not remember, because they are many.
async fn submit_batch(world: &World, person: &Person, dates: [&str; 2]) {
    let days = json!({ "events": dates.map(|date| day(date, 8.0, 8.0)) });
    world.post(person, "/v1/work-events/batch", &days).await.assert_status_is_ok();
}

async fn submit(world: &World, person: &Person, date: &str, hours: f64) -> StatusCode {
    world.post(person, "/v1/work-events/daily", &day(date, hours, hours)).await.0.status()
}

#[tokio::test]
async fn a_new_record_is_stored_in_one_flight_and_any_other_after_a_look() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    submit_day(&world, &anna, "2025-11-01").await;
    submit_batch(&world, &anna, ["2025-11-05", "2025-11-06"]).await;
    let client = &world.client();
    let keyed_for = |date, hours| {
        let request = client.post("/v1/work-events/daily").header("idempotency-key", "a key");
        anna.sign(request.body_json(&day(date, hours, hours))).send()
    };
    let keyed = |hours| keyed_for("2025-11-04", hours);
    let_look(&superuser, false).await;
    for date in ["2025-11-02", "2025-11-03"] {
        assert_eq!(submit(&world, &anna, date, 8.0).await, StatusCode::CREATED, "{date}");
    }
    assert_eq!(keyed(8.0).await.0.status(), StatusCode::CREATED);
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    for date in ["2025-11-02", "2025-11-05"] {
        assert_eq!(submit(&world, &anna, date, 7.0).await, failed, "it was there: {date}");
    }
    assert_eq!(keyed(8.0).await.0.status(), failed, "it was answered");
    assert_eq!(keyed_for("2025-11-07", 8.0).await.0.status(), failed, "the key was used");
    assert_eq!(submit(&world, &ben, "2025-11-02", 7.0).await, failed, "nobody knows him yet");
    let_look(&superuser, true).await;
    for date in ["2025-11-02", "2025-11-05"] {
        assert_eq!(submit(&world, &anna, date, 7.0).await, StatusCode::OK, "it is amended: {date}");
    }
    assert_eq!(keyed_for("2025-11-07", 8.0).await.0.status(), StatusCode::UNPROCESSABLE_ENTITY, "the key was used");
    assert_eq!(keyed(8.0).await.0.status(), StatusCode::CREATED, "the stored answer");
    assert_eq!(keyed(7.0).await.0.status(), StatusCode::UNPROCESSABLE_ENTITY, "another body");
}

/// What another server may do at any moment, as SQL about the person `$1`; what undoes it; and the answer in between.
const CHANGES: &[(&str, &str, StatusCode)] = &[
    (
        "UPDATE read.consents SET granted = false WHERE subject_id = $1",
        "UPDATE read.consents SET granted = true WHERE subject_id = $1",
        StatusCode::FORBIDDEN,
    ),
    (
        "UPDATE read.consents SET notice_version = 'x' || notice_version WHERE subject_id = $1",
        "UPDATE read.consents SET notice_version = substr(notice_version, 2) WHERE subject_id = $1",
        StatusCode::FORBIDDEN,
    ),
    (
        "UPDATE read.accounts SET restricted_at = now() WHERE subject_id = $1",
        "UPDATE read.accounts SET restricted_at = NULL WHERE subject_id = $1",
        StatusCode::CONFLICT,
    ),
    (
        "UPDATE read.accounts SET deletion_at = now() WHERE subject_id = $1",
        "UPDATE read.accounts SET deletion_at = NULL WHERE subject_id = $1",
        StatusCode::CONFLICT,
    ),
    (
        "INSERT INTO auth.suspensions VALUES ($1, now() + interval '1 hour')",
        "DELETE FROM auth.suspensions WHERE subject_id = $1",
        StatusCode::FORBIDDEN,
    ),
    (
        "UPDATE auth.sessions SET ended_at = now() WHERE subject_id = $1",
        "UPDATE auth.sessions SET ended_at = NULL WHERE subject_id = $1",
        StatusCode::UNAUTHORIZED,
    ),
];

#[tokio::test]
async fn whatever_has_changed_since_is_noticed() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let anna = world.person("anna").await;
    let subject = subject_of(&world, &anna).await;
    submit_day(&world, &anna, "2025-10-31").await;
    for (number, (change, undo, status)) in CHANGES.iter().enumerate() {
        let date = format!("2025-11-{:02}", number + 1);
        assert!(superuser.execute(*change, &[&subject]).await.expect(change) > 0, "{change}");
        assert_eq!(submit(&world, &anna, &date, 8.0).await, *status, "{change}");
        superuser.execute(*undo, &[&subject]).await.expect(undo);
        assert_eq!(submit(&world, &anna, &date, 8.0).await, StatusCode::CREATED, "{undo}");
    }
    // A record is removed, which renews the key that wraps the others.
    let gone = submit_day(&world, &anna, "2025-11-20").await;
    let standing = "SELECT version FROM auth.standings WHERE subject_id = $1";
    let version: i64 = superuser.query_one(standing, &[&subject]).await.expect("read").get(0);
    let removed = world.send(&anna, Method::DELETE, format!("/v1/records/work_day/{gone}"), &Value::Null).await;
    assert_eq!(removed.0.status(), StatusCode::NO_CONTENT);
    let renewed: i64 = superuser.query_one(standing, &[&subject]).await.expect("read").get(0);
    assert_ne!(version, renewed, "keys are a part of the standing");
    for date in ["2025-11-20", "2025-11-21"] {
        assert_eq!(submit(&world, &anna, date, 8.0).await, StatusCode::CREATED);
    }
    let listed = world.get(&anna, "/v1/work-events/me?from=2025-10-31&to=2025-11-30").await;
    listed.assert_status_is_ok();
}

/// One of them may not submit any more, one amends, one's lock is taken, one's session has ended, one's key was used: each gets
/// the answer that is theirs.
#[tokio::test]
async fn of_a_group_only_those_stay_for_whom_everything_is_still_so() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let (mut people, mut subjects) = (Vec::new(), Vec::<Uuid>::new());
    for number in 0..9 {
        let person = world.person(&format!("person-{number}")).await;
        subjects.push(subject_of(&world, &person).await);
        submit_day(&world, &person, "2025-11-01").await;
        people.push(person);
    }
    submit_batch(&world, &people[1], ["2025-11-02", "2025-11-03"]).await;
    let client = &world.client();
    let keyed = |date| {
        let request = client.post("/v1/work-events/daily").header("idempotency-key", "a key");
        people[4].sign(request.body_json(&day(date, 7.0, 7.0))).send()
    };
    assert_eq!(keyed("2025-11-03").await.0.status(), StatusCode::CREATED);
    let ended = "UPDATE auth.sessions SET ended_at = now() WHERE subject_id = $1";
    superuser.execute(ended, &[&subjects[3]]).await.expect("ended");
    let withdrawn = "UPDATE read.consents SET granted = false WHERE subject_id = $1";
    superuser.execute(withdrawn, &[&subjects[0]]).await.expect("withdrawn");
    hold(&superuser, subjects[2]).await;
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let submissions = people.iter().enumerate().map(|(at, person)| {
        let (world, superuser, subjects) = (&world, &superuser, &subjects);
        async move {
            if at == 4 {
                return keyed("2025-11-02").await.0.status();
            }
            let submitted = submit(world, person, "2025-11-02", 7.0);
            if at != 2 {
                return submitted.await;
            }
            // Nobody waits for the one whose lock is taken.
            tokio::join!(submitted, async {
                let stored = "SELECT FROM log.events WHERE subject_id = $1 AND kind = 'work_day'";
                while superuser.execute(stored, &[&subjects[8]]).await.expect("read") < 2 {
                    tokio::task::yield_now().await;
                }
                let_go(superuser, subjects[2]).await;
            })
            .0
        }
    });
    let (statuses, ()) = tokio::join!(join_all(submissions), occupied.go_on(&waiting, 0));
    let mut expected = vec![StatusCode::CREATED; 9];
    (expected[0], expected[1]) = (StatusCode::FORBIDDEN, StatusCode::OK);
    (expected[3], expected[4]) = (StatusCode::UNAUTHORIZED, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(statuses, expected);
    let (mut transactions, days) = (
        HashSet::new(),
        "SELECT txid::text FROM log.events WHERE subject_id = $1 AND kind = 'work_day' ORDER BY position DESC",
    );
    for (at, subject) in subjects.iter().enumerate() {
        let rows = superuser.query(days, &[subject]).await.expect("read");
        let stored = match at {
            0 | 3 => 1,
            1 => 4,
            _ => 2,
        };
        assert_eq!(rows.len(), stored, "{at}");
        if at > 4 {
            transactions.insert(rows[0].get::<_, String>(0));
        }
    }
    assert_eq!(transactions.len(), 1, "four of them share it");
}

/// Nothing but the ticket says whose record may be stored, no matter what else the caller knows.
#[tokio::test]
async fn a_call_stores_nothing_for_whom_its_ticket_does_not_name() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let subjects = [subject_of(&world, &anna).await, subject_of(&world, &ben).await];
    let standings = "SELECT version FROM auth.standings JOIN unnest($1::uuid[]) WITH ORDINALITY AS u (subject_id, at) USING (subject_id) ORDER BY at";
    let versions = superuser.query(standings, &[&subjects.as_slice()]).await.expect("read");
    let values: Vec<_> = (0..)
        .zip(subjects.iter().zip(&versions))
        .map(|(number, (subject, row))| new_record(&format!("'{subject}'"), row.get(0), number))
        .collect();
    assert_eq!(values.len(), 2);
    let one = |at: usize| format!("SELECT lethe.store_record($1, {})::text", values[at].join(", "));
    let both: Vec<String> =
        (0..values[0].len()).map(|at| format!("ARRAY[{}, {}]", values[0][at], values[1][at])).collect();
    let both = format!("SELECT lethe.store_records($1, {})::text", both.join(", "));
    let client = world.login(Login::Api).await;
    let (session, now) = Session::begin(&client).await.expect("a session");
    let ours = world.app.vault.ring().ticket_key();
    let mint = |age: i64| {
        ours.mint_until(&[SubjectId(subjects[0])], None, Role::Subject, now + TimeDelta::seconds(60 - age), &session)
    };
    let forged = mint(0).replace(&subjects[0].to_string(), &subjects[1].to_string());
    let stored = async |sql: &str, ticket: &str| -> Result<String, tokio_postgres::Error> {
        Ok(client.query_one(sql, &[&ticket]).await?.get(0))
    };
    for (sql, ticket) in
        [(one(1), mint(0)), (one(1), forged.clone()), (one(0), forged.clone()), (one(0), String::new())]
    {
        assert_eq!(stored(&sql, &ticket).await.expect(&sql), "false", "{ticket}: {sql}");
    }
    assert_eq!(stored(&both, &forged).await.expect("nobody"), "{}");
    let ran_out = stored(&one(0), &mint(90)).await.expect_err("it ran out");
    assert_eq!(ran_out.code().map(SqlState::code), Some("LT001"));
    let days = "SELECT subject_id FROM vault.records WHERE kind = 'work_day'";
    assert!(superuser.query(days, &[]).await.expect("read").is_empty());
    assert_eq!(stored(&both, &mint(0)).await.expect("anna's"), format!("{{{}}}", subjects[0]));
    assert_eq!(stored(&one(0), &mint(0)).await.expect("it is there"), "false");
    let rows = superuser.query(days, &[]).await.expect("read");
    assert_eq!(rows.iter().map(|row| row.get::<_, Uuid>(0)).collect::<Vec<_>>(), subjects[..1]);
}

/// A transaction that others wait for waits for nobody for long, and who has to wait does so alone.
#[tokio::test]
async fn who_has_to_wait_for_another_transaction_waits_alone_and_is_stored() {
    let world = World::new().await;
    let (superuser, anna) = (world.superuser().await, world.person("anna").await);
    submit_day(&world, &anna, "2025-11-01").await;
    let client = &world.client();
    let keyed = client.post("/v1/work-events/daily").header("idempotency-key", "a key");
    superuser.batch_execute("BEGIN; LOCK TABLE read.answers IN EXCLUSIVE MODE").await.expect("a superuser may");
    let let_go = async {
        let alone = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '-- answer_store%'
                       AND datname = current_database()";
        while superuser.execute(alone, &[]).await.expect("activity is shown") == 0 {
            superuser.batch_execute("SELECT pg_stat_clear_snapshot()").await.expect("cleared");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        superuser.batch_execute("ROLLBACK").await.expect("let go");
    };
    let submitted = anna.sign(keyed.body_json(&day("2025-11-02", 8.0, 8.0))).send();
    let both = async { tokio::join!(submitted, let_go).0 };
    let submitted = tokio::time::timeout(Duration::from_secs(60), both).await.expect("it waits in its own transaction");
    assert_eq!(submitted.0.status(), StatusCode::CREATED);
}
