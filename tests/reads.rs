//! The log of reads when the database refuses it: a person's own read is written to the journal and answered, a read of
//! staff is refused.

use std::time::Duration;

use context::Role;
use lethe::app::identity::staff;
use poem::http::StatusCode;

use crate::support::{Person, World, expect};

async fn reads_on_record(world: &World) -> i64 {
    let client = world.superuser().await;
    let sql = "SELECT count(*) FROM log.events WHERE aggregate_type = 'access'";
    client.query_one(sql, &[]).await.expect("counted").get(0)
}

#[tokio::test]
async fn what_the_log_could_not_take_is_stored_once_when_it_can_again() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let superuser = world.superuser().await;
    let journal = world.folder.join("reads.journal");
    superuser.batch_execute("REVOKE USAGE ON SCHEMA log FROM lethe_access").await.expect("cut off");
    let me = anna.sign(world.client().get("/v1/auth/me")).send().await;
    expect(me, StatusCode::OK).await;
    assert!(journal.exists(), "the read is in the journal before its answer leaves");
    // An unfinished line, which a crash can leave, must not spoil the lines around it.
    let mut text = std::fs::read(&journal).expect("readable");
    text.extend(b"{\"half\": \xff\n");
    std::fs::write(&journal, text).expect("written");
    assert_eq!(reads_on_record(&world).await, 0);
    superuser.batch_execute("GRANT USAGE ON SCHEMA log TO lethe_access").await.expect("given back");
    for _ in 0..100 {
        if !journal.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!journal.exists(), "the journal is emptied");
    assert_eq!(reads_on_record(&world).await, 1);
    assert!(world.folder.join("reads.damaged").exists(), "what can't be read is kept");
}

/// A server whose clock is ahead must not store reads in the future.
#[tokio::test]
async fn a_read_of_a_clock_that_is_ahead_waits_and_is_not_lost() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let before = reads_on_record(&world).await;
    world.clock.advance(chrono::TimeDelta::minutes(10));
    let me = anna.sign(world.client().get("/v1/auth/me")).send().await;
    expect(me, StatusCode::OK).await;
    assert_eq!(reads_on_record(&world).await, before, "its time has not come");
    let journal = std::fs::read_to_string(world.folder.join("reads.journal")).expect("the read is in the journal");
    assert_eq!(journal.lines().count(), 1);
    // A read that is refused again stays in the journal; it is stored once its time has come.
    let superuser = world.superuser().await;
    let policy = "ALTER POLICY events_access_append ON log.events WITH CHECK (aggregate_type = 'access')";
    superuser.batch_execute(policy).await.expect("as if ten minutes had gone by");
    for _ in 0..100 {
        if !world.folder.join("reads.journal").exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(reads_on_record(&world).await, before + 1);
    assert!(!world.folder.join("reads.damaged").exists(), "it was never taken for damaged");
}

#[tokio::test]
async fn a_read_of_staff_that_cannot_be_logged_is_not_answered() {
    let world = World::new().await;
    let email = "dora@lethe.example";
    staff::add(&world.app, email, Role::Auditor).await.expect("staff are made");
    let code = world.code(email).await;
    let body = serde_json::json!({ "email": email, "code": code });
    let grant = expect(world.client().post("/v1/auth/login").body_json(&body).send().await, StatusCode::OK).await;
    let dora = Person::new(email.to_owned(), &grant);
    world.superuser().await.batch_execute("REVOKE USAGE ON SCHEMA log FROM lethe_access").await.expect("cut off");
    let refused = dora.sign(world.client().get("/v1/privacy/audit-log")).send().await;
    expect(refused, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(!world.folder.join("reads.journal").exists());
}
