//! Transactions: a command is stored as a whole or not at all, and each of several simultaneous callers gets a true
//! answer.

use context::{Ctx, RecordId, SubjectId};
use db::{DbError, Gate, Query, Tx};
use event_log::event_append;
use futures_util::future::join_all;
use poem::http::StatusCode;
use projections::INLINE;
use serde_json::Value;
use uuid::Uuid;
use vault::{RecordEntry, record_insert};

use crate::{
    log::event_of,
    support::{World, day, expect},
};

/// The number of rows of a stream: events, register, read model, stored answers.
async fn traces(world: &World, subject: SubjectId) -> [i64; 4] {
    let row = world
        .superuser()
        .await
        .query_one(
            "SELECT (SELECT count(*) FROM log.events WHERE subject_id = $1 AND kind = 'work_day'),
                    (SELECT count(*) FROM vault.records WHERE subject_id = $1 AND kind = 'work_day'),
                    (SELECT count(*) FROM read.records WHERE subject_id = $1 AND kind = 'work_day'),
                    (SELECT count(*) FROM read.answers WHERE subject_id = $1)",
            &[&subject.0],
        )
        .await
        .expect("counted");
    [row.get(0), row.get(1), row.get(2), row.get(3)]
}

async fn subject_of(world: &World, user_id: &str) -> SubjectId {
    let user: Uuid = user_id.parse().expect("an id");
    let row = world.superuser().await.query_one("SELECT subject_id FROM auth.users WHERE user_id = $1", &[&user]).await;
    SubjectId(row.expect("the account is there").get(0))
}

#[tokio::test]
async fn a_transaction_that_fails_stores_nothing_of_it() {
    let world = World::new().await;
    let anna = subject_of(&world, &world.person("anna").await.user_id).await;
    let ctx = &Ctx::system(world.clock.clone()).for_subject(anna, None);
    for fails in [true, false] {
        let stored = world
            .app
            .db
            .api
            .run_tx("fails", ctx, Gate::shared(ctx), move |tx: Tx| async move {
                let record = RecordId::random();
                let events = [event_of(anna, "record", &record.to_string(), 1, ctx.now())];
                let entry = RecordEntry {
                    record,
                    kind: "work_day".to_owned(),
                    key_hash: vec![1; 32],
                    bucket: None,
                    wrapped_key: vec![0; 61],
                };
                tx.queue(record_insert(vec![(anna, entry)]));
                INLINE.iter().for_each(|projection| projection.project(&events, &tx));
                tx.queue(event_append(events.to_vec()));
                if fails {
                    tx.queue(Query::new("-- fail\nSELECT 1 / 0"));
                }
                Ok::<_, DbError>(())
            })
            .await;
        assert_eq!(stored.is_err(), fails, "{stored:?}");
        assert_eq!(traces(&world, anna).await, if fails { [0; 4] } else { [1, 1, 1, 0] });
    }
}

#[tokio::test]
async fn a_submission_that_fails_in_any_table_stores_nothing_in_the_others() {
    let world = World::new().await;
    let (anna, superuser) = (world.person("anna").await, world.superuser().await);
    let subject = subject_of(&world, &anna.user_id).await;
    let client = world.client();
    let submit = async || {
        let request = client.post("/v1/work-events/daily").header("idempotency-key", "one");
        anna.sign(request.body_json(&day("2025-12-08", 8.0, 9.0))).send().await
    };
    for table in ["log.events", "vault.records", "read.records", "read.answers"] {
        let broken = format!("ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID");
        superuser.batch_execute(&broken).await.expect("a superuser may");
        expect(submit().await, StatusCode::INTERNAL_SERVER_ERROR).await;
        assert_eq!(traces(&world, subject).await, [0; 4], "{table}");
        superuser.batch_execute(&format!("ALTER TABLE {table} DROP CONSTRAINT broken")).await.expect("a superuser may");
    }
    expect(submit().await, StatusCode::CREATED).await;
    assert_eq!(traces(&world, subject).await, [1; 4]);
}

/// Submits each day of a month eight times at once. One of the eight creates the day, all get the same id, and `events`
/// events are stored.
async fn submit_at_once(hours: impl Fn(u8) -> f64, events: i64) {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = subject_of(&world, &anna.user_id).await;
    let client = world.client();
    for date in 1..=31 {
        let submit = async |number| {
            let body = day(&format!("2025-10-{date:02}"), 8.0, hours(number));
            let answer = anna.sign(client.post("/v1/work-events/daily").body_json(&body)).send().await;
            (answer.0.status().as_u16(), answer.0.into_body().into_json::<Value>().await.expect("JSON"))
        };
        let mut answers = join_all((0..8).map(submit)).await;
        answers.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [201, 200, 200, 200, 200, 200, 200, 200], "day {date}");
        assert!(answers.iter().all(|(_, answer)| answer["event_id"] == answers[0].1["event_id"]), "one record");
        assert_eq!(traces(&world, subject).await, [date * events, date, date, 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_who_submit_a_day_at_once_one_creates_it() {
    submit_at_once(|_| 9.0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_who_submit_different_hours_at_once_each_is_one_event() {
    submit_at_once(|number| 9.0 + f64::from(number) / 4.0, 8).await;
}
