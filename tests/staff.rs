//! Members of staff: what the command line gives, lists and takes, and what stays of somebody who was one.

use chrono::TimeDelta;
use context::{Role, SubjectId};
use lethe::app::{
    AppError,
    identity::staff::{self, Added, Removed},
    operation::restore,
};
use poem::http::StatusCode;
use serde_json::json;

use crate::{
    steps::{events_of, problem, rows_of, sign_in},
    support::{Person, World, expect},
};

const CARLA: &str = "carla@lethe.example";
const OVERVIEW: &str = "/v1/compliance/overview";

async fn refresh(world: &World, person: &Person) -> StatusCode {
    let body = json!({ "refresh_token": person.refresh_token });
    world.client().post("/v1/auth/refresh").body_json(&body).send().await.0.status()
}

#[tokio::test]
async fn a_removed_member_of_staff_is_signed_out_and_no_longer_staff() {
    let world = World::new().await;
    let added = staff::add(&world.app, CARLA, Role::Compliance).await.expect("added");
    assert!(added.is_new && added.given);
    let again = staff::add(&world.app, CARLA, Role::Compliance).await.expect("added");
    assert_eq!(again, Added { is_new: false, given: false, ..added });
    let (one, other) = (sign_in(&world, CARLA).await, sign_in(&world, CARLA).await);
    expect(world.get(&one, OVERVIEW).await, StatusCode::OK).await;

    let subject = added.subject;
    let removed = staff::remove(&world.app, CARLA, None).await.expect("removed");
    assert_eq!(removed, Removed { subject, roles: vec![Role::Compliance], sessions: 2 });
    for person in [&one, &other] {
        problem(world.get(person, OVERVIEW).await, StatusCode::UNAUTHORIZED, "signed-out").await;
        assert_eq!(refresh(&world, person).await, StatusCode::UNAUTHORIZED);
    }
    let events = events_of(&world, &one).await;
    let last: Vec<&str> = events.iter().rev().take(3).rev().map(String::as_str).collect();
    assert_eq!(last, ["account.role_taken", "account.signed_out", "account.signed_out"]);

    // The account is that of any person from now on.
    let carla = sign_in(&world, CARLA).await;
    problem(world.get(&carla, OVERVIEW).await, StatusCode::FORBIDDEN, "forbidden").await;
    expect(world.get(&carla, "/v1/privacy/audit-log").await, StatusCode::OK).await;
    let nothing = staff::remove(&world.app, CARLA, None).await.expect("nothing is to be done");
    assert_eq!(nothing, Removed { subject, roles: Vec::new(), sessions: 0 });
    expect(world.get(&carla, "/v1/privacy/audit-log").await, StatusCode::OK).await;
    let unknown = staff::remove(&world.app, "nobody@lethe.example", None).await;
    assert!(matches!(unknown, Err(AppError::NotFound("account"))));
}

#[tokio::test]
async fn one_of_two_roles_can_be_taken() {
    let world = World::new().await;
    for role in [Role::Compliance, Role::Auditor] {
        staff::add(&world.app, CARLA, role).await.expect("added");
    }
    let removed = staff::remove(&world.app, CARLA, Some(Role::Compliance)).await.expect("removed");
    assert_eq!(removed.roles, [Role::Compliance]);
    let carla = sign_in(&world, CARLA).await;
    problem(world.get(&carla, OVERVIEW).await, StatusCode::FORBIDDEN, "forbidden").await;
    expect(world.get(&carla, "/v1/compliance/alerts").await, StatusCode::OK).await;
    assert!(matches!(staff::erase(&world.app, CARLA).await, Err(AppError::Invalid(_))), "she is still an auditor");
}

#[tokio::test]
async fn a_list_shows_addresses_and_each_look_is_in_its_owners_log() {
    let world = World::new().await;
    assert!(staff::list(&world.app).await.expect("listed").is_empty());
    staff::add(&world.app, CARLA, Role::Auditor).await.expect("added");
    let before = staff::list(&world.app).await.expect("listed");
    assert_eq!((before[0].email.as_str(), before[0].row.role.as_str()), (CARLA, "auditor"));
    assert_eq!(before[0].row.signed_in_at, None);
    let carla = sign_in(&world, CARLA).await;
    assert!(staff::list(&world.app).await.expect("listed")[0].row.signed_in_at.is_some());
    let seen = expect(world.get(&carla, "/v1/privacy/audit-log?action=data.accessed").await, StatusCode::OK).await;
    let by_system =
        seen["entries"].as_array().expect("a list").iter().filter(|entry| entry["actor"] == "system").count();
    assert_eq!(by_system, 2, "{seen}");
}

#[tokio::test]
async fn the_account_of_former_staff_can_be_erased_if_it_holds_nothing_else() {
    let world = World::new().await;
    let refused = |outcome: Result<bool, AppError>| matches!(outcome, Err(AppError::Invalid(_)));
    // Anna has an account of her own, with records and consents.
    let anna = world.person("anna").await;
    assert!(refused(staff::erase(&world.app, &anna.email).await), "she was never staff");
    staff::add(&world.app, &anna.email, Role::Auditor).await.expect("added");
    staff::remove(&world.app, &anna.email, None).await.expect("removed");
    assert!(refused(staff::erase(&world.app, &anna.email).await), "her records are hers");

    let SubjectId(subject) = staff::add(&world.app, CARLA, Role::Compliance).await.expect("added").subject;
    let carla = sign_in(&world, CARLA).await;
    assert!(refused(staff::erase(&world.app, CARLA).await), "she is staff");
    staff::remove(&world.app, CARLA, None).await.expect("removed");
    let until = world.clock.now() + TimeDelta::days(1);
    let hold = |hold| lethe::app::rights::hold::decide(&world.app, CARLA, hold);
    hold(Some((until, "evidence in a suit"))).await.expect("placed");
    assert!(!staff::erase(&world.app, CARLA).await.expect("looked at"), "a hold keeps her");
    hold(None).await.expect("lifted");
    assert!(staff::erase(&world.app, CARLA).await.expect("erased"));
    assert_eq!(rows_of(&world.superuser().await, subject).await, Vec::<String>::new());
    assert!(matches!(staff::remove(&world.app, CARLA, None).await, Err(AppError::NotFound("account"))));
    problem(world.get(&carla, "/v1/auth/me").await, StatusCode::UNAUTHORIZED, "erased").await;
    assert!(world.app.ledger.unfinished().await.expect("read").is_empty());
}

/// The keys of a backup hold the roles of its time.
#[tokio::test]
async fn a_restored_backup_makes_nobody_staff_again() {
    let world = World::new().await;
    staff::add(&world.app, CARLA, Role::Compliance).await.expect("added");
    let superuser = world.superuser().await;
    let run = async |sql: &str| superuser.batch_execute(sql).await.expect("a superuser may do anything");
    run("CREATE TEMP TABLE old AS SELECT * FROM auth.staff_roles").await;
    staff::remove(&world.app, CARLA, None).await.expect("removed");
    run("INSERT INTO auth.staff_roles SELECT * FROM old").await;
    assert_eq!(restore::replay(&world.app).await.expect("replayed").roles, 1);
    assert!(staff::list(&world.app).await.expect("listed").is_empty());
    assert_eq!(restore::replay(&world.app).await.expect("replayed").roles, 0);
    // A role that was given again stays.
    staff::add(&world.app, CARLA, Role::Compliance).await.expect("added");
    assert_eq!(restore::replay(&world.app).await.expect("replayed").roles, 0);
    assert_eq!(staff::list(&world.app).await.expect("listed").len(), 1);
}
