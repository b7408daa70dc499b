//! New records are stored by one statement without being looked for, and whatever has changed since the server looked last
//! is noticed all the same.

use std::{collections::HashSet, sync::atomic::AtomicUsize};

use chrono::TimeDelta;
use context::{Role, SubjectId};
use db::{Login, Session};
use futures_util::future::join_all;
use poem::http::{Method, StatusCode};
use serde_json::Value;
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

async fn submit(world: &World, person: &Person, date: &str, hours: f64) -> StatusCode {
    world.post(person, "/v1/work-events/daily", &day(date, hours, hours)).await.0.status()
}

#[tokio::test]
async fn a_new_record_is_stored_in_one_flight_and_any_other_after_a_look() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    submit_day(&world, &anna, "2025-11-01").await;
    let client = &world.client();
    let keyed = |hours| {
        let request = client.post("/v1/work-events/daily").header("idempotency-key", "a key");
        anna.sign(request.body_json(&day("2025-11-04", hours, hours))).send()
    };
    let_look(&superuser, false).await;
    for date in ["2025-11-02", "2025-11-03"] {
        assert_eq!(submit(&world, &anna, date, 8.0).await, StatusCode::CREATED, "{date}");
    }
    assert_eq!(keyed(8.0).await.0.status(), StatusCode::CREATED);
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    assert_eq!(submit(&world, &anna, "2025-11-02", 7.0).await, failed, "it was there");
    assert_eq!(keyed(8.0).await.0.status(), failed, "it was answered");
    assert_eq!(submit(&world, &ben, "2025-11-02", 7.0).await, failed, "nobody knows him yet");
    let_look(&superuser, true).await;
    assert_eq!(submit(&world, &anna, "2025-11-02", 7.0).await, StatusCode::OK, "it is amended");
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
    // A key of hers is wrapped anew, and a record is removed, which renews the key that wraps the others.
    let gone = submit_day(&world, &anna, "2025-11-20").await;
    let removed = world.send(&anna, Method::DELETE, format!("/v1/records/work_day/{gone}"), &Value::Null).await;
    assert_eq!(removed.0.status(), StatusCode::NO_CONTENT);
    assert_eq!(submit(&world, &anna, "2025-11-20", 8.0).await, StatusCode::CREATED);
    let listed = world.get(&anna, "/v1/work-events/me?from=2025-10-31&to=2025-11-30").await;
    listed.assert_status_is_ok();
}

/// One of them may not submit any more, one amends, one's lock is taken: each gets the answer that is theirs.
#[tokio::test]
async fn of_a_group_only_those_stay_for_whom_everything_is_still_so() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let (mut people, mut subjects) = (Vec::new(), Vec::<Uuid>::new());
    for number in 0..7 {
        let person = world.person(&format!("person-{number}")).await;
        subjects.push(subject_of(&world, &person).await);
        submit_day(&world, &person, "2025-11-01").await;
        people.push(person);
    }
    let withdrawn = "UPDATE read.consents SET granted = false WHERE subject_id = $1";
    superuser.execute(withdrawn, &[&subjects[0]]).await.expect("withdrawn");
    hold(&superuser, subjects[2]).await;
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let date = |at: usize| if at == 1 { "2025-11-01" } else { "2025-11-02" };
    let submissions = people.iter().enumerate().map(|(at, person)| {
        let (world, superuser, subjects) = (&world, &superuser, &subjects);
        async move {
            let submitted = submit(world, person, date(at), 7.0);
            if at != 2 {
                return submitted.await;
            }
            // Nobody waits for the one whose lock is taken.
            tokio::join!(submitted, async {
                let stored = "SELECT FROM log.events WHERE subject_id = $1 AND kind = 'work_day'";
                while superuser.execute(stored, &[&subjects[6]]).await.expect("read") < 2 {
                    tokio::task::yield_now().await;
                }
                let_go(superuser, subjects[2]).await;
            })
            .0
        }
    });
    let (statuses, ()) = tokio::join!(join_all(submissions), occupied.go_on(&waiting, 0));
    let mut expected = vec![StatusCode::CREATED; 7];
    (expected[0], expected[1]) = (StatusCode::FORBIDDEN, StatusCode::OK);
    assert_eq!(statuses, expected);
    let (mut transactions, days) = (
        HashSet::new(),
        "SELECT txid::text FROM log.events WHERE subject_id = $1 AND kind = 'work_day' ORDER BY position DESC",
    );
    for (at, subject) in subjects.iter().enumerate() {
        let rows = superuser.query(days, &[subject]).await.expect("read");
        assert_eq!(rows.len(), if at == 0 { 1 } else { 2 }, "{at}");
        if at > 2 {
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
