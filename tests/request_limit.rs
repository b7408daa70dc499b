//! The limits on all requests: of a client, and of an account.

use chrono::TimeDelta;
use lethe::server::Settings;
use poem::http::StatusCode;

use crate::{
    steps::Answer,
    support::{Person, World},
};

/// A world whose server allows so many requests a minute.
async fn allowing(per_client: i32, per_account: i32) -> (World, Person, Person) {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let usual = Settings::new(world.folder.clone(), world.clock.clone());
    let settings = Settings { requests_per_client: per_client, requests_per_account: per_account, ..usual };
    (world.again(&settings).await, anna, ben)
}

async fn me(world: &World, person: &Person) -> Answer {
    Answer::of(world.get(person, "/v1/auth/me").await).await
}

#[tokio::test]
async fn an_account_that_asks_too_often_waits_and_others_do_not() {
    let (world, anna, ben) = allowing(100, 3).await;
    for left in (0..3).rev() {
        let answer = me(&world, &anna).await;
        assert_eq!(answer.status, StatusCode::OK);
        let told = answer.header("ratelimit").expect("what is left");
        assert!(told.starts_with(&format!("\"requests-per-account\";r={left};t=")), "{told}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"requests-per-account\";q=3;w=60"));
        let all = answer.headers.get_all("ratelimit").iter().count();
        assert_eq!(all, 2, "the client's limit stands behind it");
    }
    let refused = me(&world, &anna).await;
    assert_eq!(refused.problem(StatusCode::TOO_MANY_REQUESTS)["type"], "/problems/limited");
    assert!(refused.header("ratelimit").is_some_and(|told| told.starts_with("\"requests-per-account\";r=0;t=")));
    let wait: i64 = refused.header("retry-after").expect("it says when").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(me(&world, &ben).await.status, StatusCode::OK);
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(me(&world, &anna).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_asks_too_often_waits_whoever_is_signed_in() {
    let (world, anna, ben) = allowing(3, 100).await;
    // A refusal counts too.
    Answer::of(world.client().get("/v1/auth/me").send().await).await.problem(StatusCode::UNAUTHORIZED);
    assert_eq!(me(&world, &anna).await.status, StatusCode::OK);
    assert_eq!(me(&world, &anna).await.status, StatusCode::OK);
    me(&world, &ben).await.problem(StatusCode::TOO_MANY_REQUESTS);
    Answer::of(world.client().get("/v1/records/kinds").send().await).await.problem(StatusCode::TOO_MANY_REQUESTS);
    for never_limited in ["/health", "/ready"] {
        let answer = Answer::of(world.client().get(never_limited).send().await).await;
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{never_limited}");
        assert_eq!(answer.header("ratelimit"), None, "{never_limited}");
    }
}

#[tokio::test]
async fn without_limits_nothing_is_said_of_any() {
    let (world, anna, _) = allowing(0, 0).await;
    for _ in 0..5 {
        let answer = me(&world, &anna).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (StatusCode::OK, None));
    }
}
