//! Texts that people read must be readable: reasons of staff, names, words, and people's own words.

use chrono::TimeDelta;
use context::{Ctx, Role};
use lethe::app::{
    desk::{extension, opening},
    identity::staff,
    rights::hold,
};
use poem::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    export::consent,
    steps::{ask_to_delete, events_of, fields, problem, sign_in, state_of},
    support::{World, expect},
};

/// Texts of at least ten characters that show nothing, or that look different from their content.
fn unreadable() -> Vec<String> {
    let repeated = ["\u{200B}", "\u{FEFF}", "\u{3164}", "\u{2800}", "\u{E0041}", "\u{301}", "\u{A0}", "\u{AD}"];
    let mut texts: Vec<String> = repeated.iter().map(|one| one.repeat(12)).collect();
    texts.extend(
        ["because\u{200B}\u{200B}\u{200B}\u{200B}", "\u{202E}enohp yb deksa", "asked by\u{1F} phone"]
            .map(str::to_owned),
    );
    texts
}

#[tokio::test]
async fn data_open_and_request_extend_refuse_a_reason_that_nobody_can_read() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    staff::add(&world.app, "carla@lethe.example", Role::Compliance).await.expect("added");
    let carla = sign_in(&world, "carla@lethe.example").await;
    let (asked, _) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    let request: Uuid = asked["deletion_id"].as_str().expect("an id").parse().expect("an id");
    let (events, client) = (events_of(&world, &anna).await, world.superuser().await);
    let before = state_of(&client).await;
    let until = world.clock.now() + TimeDelta::days(3);
    let staff = &Ctx::system(world.clock.clone());
    for reason in unreadable() {
        let wish = json!({ "email": anna.email, "reason": reason });
        for (path, body) in [
            ("/v1/compliance/openings".to_owned(), &wish),
            (format!("/v1/compliance/requests/{request}/extension"), &json!({ "reason": reason })),
        ] {
            let refused = world.post(&carla, path, body).await;
            let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
            assert_eq!(fields(&refused), ["reason"], "{reason:?}");
        }
        // The ways around HTTP refuse the text too.
        assert!(opening::keys_grant(&world.app, &anna.email, &reason).await.is_err(), "{reason:?}");
        assert!(hold::decide(&world.app, &anna.email, Some((until, &reason))).await.is_err(), "{reason:?}");
        assert!(extension::extend(&world.app, staff, request, &reason, None).await.is_err(), "{reason:?}");
    }
    let opened = "SELECT (SELECT count(*) FROM auth.openings) + (SELECT count(*) FROM log.events WHERE event_type = 'data.opened')";
    assert_eq!(client.query_one(opened, &[]).await.expect("read").get::<_, i64>(0), 0);
    assert_eq!((events_of(&world, &anna).await, state_of(&client).await), (events, before), "nothing was changed");
    // The person reads the given text in Unicode's form C.
    let given = "Ru\u{308}ckfrage per Telefon \u{1F4DE}";
    let wish = json!({ "email": anna.email, "reason": format!("  {given}\n") });
    expect(world.post(&carla, "/v1/compliance/openings", &wish).await, StatusCode::OK).await;
    let log = expect(world.get(&anna, "/v1/privacy/audit-log?action=data.opened").await, StatusCode::OK).await;
    assert_eq!(log["entries"][0]["details"]["asked_for"], "reason: R\u{fc}ckfrage per Telefon \u{1F4DE}");
}

#[tokio::test]
async fn names_and_words_are_kept_in_one_form_and_can_be_read() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for purpose in ["wordbook", "demographics"] {
        consent(&world, &anna, purpose, true).await;
    }
    let word = |id: &str, lemma: &str| json!({ "word_id": id, "lemma": lemma, "passive_review_count": 0, "active_review_count": 0 });
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for text in unreadable() {
        for (kind, field, body) in [
            ("wordbook_entry", "lemma", word("w1", &text)),
            ("wordbook_entry", "word_id", word(&text, "hej")),
            ("demographics", "name", json!({ "name": text })),
            ("demographics", "surname", json!({ "name": "Anna", "surname": text })),
        ] {
            let refused = world.put(&anna, format!("/v1/records/{kind}"), &body).await;
            let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
            assert_eq!(fields(&refused), [field], "{text:?}");
        }
        let wish = json!({ "deletion_type": "full", "reason": text });
        let blank = text.trim().is_empty();
        if !blank {
            let refused = world.post(&anna, "/v1/privacy/delete-data", &wish).await;
            let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
            assert_eq!(fields(&refused), ["reason"], "{text:?}");
        }
    }
    assert_eq!(state_of(&client).await, before);
    let submit = async |kind: &str, body: &Value, status| {
        expect(world.put(&anna, format!("/v1/records/{kind}"), body).await, status).await
    };
    let stored = submit("wordbook_entry", &word("ga\u{30A}", "ga\u{30A}"), StatusCode::CREATED).await;
    assert_eq!((&stored["body"]["word_id"], &stored["body"]["lemma"]), (&json!("g\u{e5}"), &json!("g\u{e5}")));
    let again = submit("wordbook_entry", &word("g\u{e5}", "g\u{e5}"), StatusCode::OK).await;
    assert_eq!(again["record_id"], stored["record_id"], "two spellings of one word are one record");
    for name in [
        "Zoe\u{308}",
        "\u{645}\u{6CC}\u{200C}\u{62E}\u{648}\u{627}\u{647}\u{645}",
        "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}",
    ] {
        let name = json!({ "name": name });
        assert!(world.put(&anna, "/v1/records/demographics", &name).await.0.status().is_success(), "{name}");
    }
}
