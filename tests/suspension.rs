//! A suspension stops a thief of a session, and never keeps a person from a right over their own data. A deletion that
//! waits pauses meanwhile.

use chrono::{DateTime, TimeDelta, Utc};
use context::RecordId;
use domain::rights::deletion::Scope;
use lethe::{
    app::desk::alert_rules::Rules,
    jobs::{run_due, watch_log_once},
};
use poem::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    operations::{self, Stage, Who},
    steps::{ask_to_delete, confirm_deletion, events_of, let_pass, problem, sign_in, subject_of},
    support::{Person, World, expect},
};

/// The operations that stay open while an account is suspended: reading one's own data and the log about it, exporting
/// it, withdrawing and objecting, restricting, cancelling a deletion, signing out, and what keeps the person signed in
/// for these.
const RIGHTS: [&str; 27] = [
    "account_get",
    "audit_list",
    "audit_proof",
    "auth_logout",
    "auth_refresh",
    "consent_decide",
    "consent_history",
    "consent_list",
    "deletion_cancel",
    "deletion_get",
    "deletion_list",
    "export_cancel",
    "export_download",
    "export_get",
    "export_list",
    "export_request",
    "export_retry",
    "export_token",
    "objection_decide",
    "overview_get",
    "receipt_get",
    "record_get",
    "record_list",
    "restriction_decide",
    "restriction_get",
    "retention_get",
    "work_day_list",
];

/// Suspends an account as a rule would. With no time, or a negative one, the suspension is over.
async fn suspend(world: &World, person: &Person, time: TimeDelta) {
    let until: DateTime<Utc> = world.clock.now() + time;
    let sql =
        "INSERT INTO auth.suspensions VALUES ($1, $2) ON CONFLICT (subject_id) DO UPDATE SET until = excluded.until";
    let subject = subject_of(world, person).await;
    world.superuser().await.execute(sql, &[&subject, &until]).await.expect("suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_a_right_or_is_barred_while_an_account_is_suspended() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let (mut open, mut barred) = (0, 0);
    for id in operations::ids() {
        let person = stage.newcomer().await;
        let Some(call) = stage.prepare(&person, &id).await else { continue };
        let right = RIGHTS.contains(&id.as_str());
        let whom = if call.who() == Who::Staff { &stage.staff } else { &person };
        suspend(world, whom, TimeDelta::hours(1)).await;
        let answer = stage.send(&person, &call).await;
        suspend(world, whom, TimeDelta::zero()).await;
        if right {
            let (status, text) = (answer.0.status(), answer.0.into_body().into_string().await.unwrap_or_default());
            assert!(status.is_success(), "{id} is a right: {status} {text}");
            open += 1;
        } else if call.who() != Who::Nobody {
            assert_eq!(answer.0.status(), StatusCode::FORBIDDEN, "{id} is no right");
            let wait = answer.0.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse::<i64>().ok());
            assert!(wait.is_some_and(|wait| (1..=3600).contains(&wait)), "{id}: {wait:?}");
            problem(answer, StatusCode::FORBIDDEN, "suspended").await;
            barred += 1;
        }
    }
    assert_eq!(open, RIGHTS.len());
    assert!(barred >= 30, "{barred} operations are barred");
}

/// One operation may tighten, which is a right, or loosen, which is an act.
#[tokio::test]
async fn what_loosens_is_barred_and_what_a_thief_set_can_be_set_back() {
    let stage = Stage::new().await;
    let (world, anna) = (&stage.world, stage.newcomer().await);
    let put = async |path: &str, body: Value| world.put(&anna, path, &body).await;
    let rule = |days: Value| json!({ "data_retention_days": days });
    expect(put("/v1/consents/work_hours", json!({ "granted": false })).await, StatusCode::OK).await;
    expect(put("/v1/privacy/objections/statistics", json!({ "objected": true })).await, StatusCode::OK).await;
    expect(put("/v1/privacy/restriction", json!({ "restricted": true })).await, StatusCode::OK).await;
    expect(put("/v1/privacy/retention/work_day", rule(json!(1))).await, StatusCode::OK).await;
    suspend(world, &anna, TimeDelta::hours(1)).await;
    for (path, body) in [
        ("/v1/consents/work_hours", json!({ "granted": true })),
        ("/v1/privacy/objections/statistics", json!({ "objected": false })),
        ("/v1/privacy/restriction", json!({ "restricted": false })),
        ("/v1/privacy/retention/work_day", rule(json!(2))),
    ] {
        problem(put(path, body).await, StatusCode::FORBIDDEN, "suspended").await;
    }
    let kept = expect(put("/v1/privacy/retention/work_day", rule(Value::Null)).await, StatusCode::OK).await;
    assert!(!kept.to_string().contains("waiting"), "{kept}");
    assert_eq!(events_of(world, &anna).await.last().map(String::as_str), Some("retention.set"));
}

/// Asks for records that do not exist, until a rule suspends the account.
pub async fn provoke(world: &World, person: &Person) {
    for _ in 0..Rules::built_in().rules[0].at_least {
        let path = format!("/v1/records/work_day/{}", RecordId::random());
        problem(world.get(person, path).await, StatusCode::NOT_FOUND, "missing").await;
    }
    assert_eq!(watch_log_once(&world.app).await.expect("looked"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_deletion_pauses_while_its_owner_is_suspended() {
    let world = World::new().await;
    let [anna, ben] = [world.person("anna").await, world.person("ben").await];
    let_pass(&world, TimeDelta::zero()).await;
    let mut tokens = Vec::new();
    for person in [&anna, &ben] {
        let (_, token) = ask_to_delete(&world, person, &json!({ "deletion_type": "full" })).await;
        confirm_deletion(&world, person, &token, Scope::Full).await;
        tokens.push(token);
    }
    // When each account is suspended for a quarter of an hour, one hour of the grace is left.
    world.clock.advance(TimeDelta::hours(47));
    let (anna, ben) = (sign_in(&world, &anna.email).await, sign_in(&world, &ben.email).await);
    for person in [&anna, &ben] {
        world.take_letters(&person.email).await;
        provoke(&world, person).await;
        let letters = world.take_letters(&person.email).await;
        assert!(letters.iter().any(|letter| letter.contains("Subject: The deletion pauses")), "{letters:?}");
        assert_eq!(events_of(&world, person).await.last().map(String::as_str), Some("deletion.paused"));
    }
    world.clock.advance(TimeDelta::minutes(14));
    let waiting = expect(world.get(&anna, "/v1/privacy/deletions").await, StatusCode::OK).await;
    let left = waiting["deletions"][0]["seconds_left"].as_i64().expect("it waits");
    assert!((2880..=3660).contains(&left), "one hour from the end of the suspension on: {left}");
    // The suspended owner cancels with the mailed token.
    problem(
        world.post(&anna, "/v1/privacy/delete-data", &json!({ "deletion_type": "full" })).await,
        StatusCode::FORBIDDEN,
        "suspended",
    )
    .await;
    let cancelled = world.send(&anna, Method::POST, format!("/v1/privacy/cancel-deletion/{}", tokens[0]), &Value::Null);
    assert_eq!(expect(cancelled.await, StatusCode::OK).await["status"], "cancelled");
    // The other deletion is not carried out at the old end of its grace, but once the prolonged grace is over.
    world.clock.advance(TimeDelta::minutes(47));
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 0, "the old end of the grace has passed");
    world.clock.advance(TimeDelta::minutes(15));
    let (subject, client) = (subject_of(&world, &ben).await, world.superuser().await);
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    let erased = "SELECT count(*) FROM vault.erased WHERE subject_id = $1";
    assert_eq!(client.query_one(erased, &[&subject]).await.expect("read").get::<_, i64>(0), 1);
    expect(world.get(&sign_in(&world, &anna.email).await, "/v1/auth/me").await, StatusCode::OK).await;
}

/// A suspension keeps a confirmed deletion from being carried out, whatever made its job due.
#[tokio::test]
async fn nothing_is_carried_out_while_a_suspension_lasts() {
    for (name, wish, scope) in [
        ("anna", json!({ "deletion_type": "full" }), Scope::Full),
        ("ben", json!({ "deletion_type": "partial", "filters": { "kinds": ["work_day"] } }), Scope::Partial),
    ] {
        let world = World::new().await;
        let person = world.person(name).await;
        crate::steps::submit_day(&world, &person, "2025-12-08").await;
        let (_, token) = ask_to_delete(&world, &person, &wish).await;
        confirm_deletion(&world, &person, &token, scope).await;
        let_pass(&world, TimeDelta::hours(48)).await;
        suspend(&world, &person, TimeDelta::hours(1)).await;
        assert_eq!(run_due(&world.app).await.expect("jobs run"), 1, "it looks, and waits");
        let person = sign_in(&world, &person.email).await;
        let kept = expect(world.get(&person, "/v1/work-events/me").await, StatusCode::OK).await;
        assert_eq!(kept["events"].as_array().map(Vec::len), Some(1), "{name}");
    }
}

/// No record is removed for its age either, because a thief may have shortened the time.
#[tokio::test]
async fn no_record_goes_for_its_age_while_a_suspension_lasts() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    crate::steps::submit_day(&world, &anna, "2025-12-08").await;
    let rule = json!({ "data_retention_days": 1 });
    expect(world.put(&anna, "/v1/privacy/retention/work_day", &rule).await, StatusCode::OK).await;
    let subject = context::SubjectId(subject_of(&world, &anna).await);
    // After the grace of the rule.
    let_pass(&world, TimeDelta::days(4)).await;
    let run = async || {
        lethe::app::rights::retention::run(&world.app, subject).await.expect("it looks");
        let held = "SELECT count(*) FROM read.records WHERE subject_id = $1 AND kind = 'work_day'";
        world.superuser().await.query_one(held, &[&subject.0]).await.expect("counted").get::<_, i64>(0)
    };
    suspend(&world, &anna, TimeDelta::hours(1)).await;
    assert_eq!(run().await, 1, "as long as it lasts");
    suspend(&world, &anna, TimeDelta::zero()).await;
    assert_eq!(run().await, 0, "behind it");
}

/// A session that has ended gives no rights, whether the account is suspended or not.
#[tokio::test]
async fn a_right_needs_a_living_session() {
    let stage = Stage::new().await;
    let (world, anna) = (&stage.world, stage.newcomer().await);
    suspend(world, &anna, TimeDelta::hours(1)).await;
    let out = world.send(&anna, Method::POST, "/v1/auth/logout", &Value::Null).await;
    assert_eq!(out.0.status(), StatusCode::NO_CONTENT);
    problem(world.get(&anna, "/v1/privacy/data-overview").await, StatusCode::UNAUTHORIZED, "signed-out").await;
}
