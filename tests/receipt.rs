//! Consent receipts: signed, mailed, downloadable, the same each time, and checked with the published key alone.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use lethe::{app::rights::controller::Controller, server::Settings};
use poem::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    deletion::attachment,
    steps::problem,
    support::{Person, World, expect},
};

async fn public_key(world: &World) -> Vec<u8> {
    let answer = world.client().get("/.well-known/receipt-keys.json").send().await;
    let keys = expect(answer, StatusCode::OK).await;
    URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().expect("a key")).expect("base64url")
}

async fn decide(world: &World, person: &Person, purpose: &str, granted: bool) {
    let body = json!({ "granted": granted });
    expect(world.put(person, format!("/v1/consents/{purpose}"), &body).await, StatusCode::OK).await;
}

/// The receipts that were mailed to a person, oldest first.
async fn mailed(world: &World, person: &Person) -> Vec<Value> {
    let letters = world.take_letters(&person.email).await;
    let letters = letters.iter().filter(|letter| letter.contains("consent-receipt.jsonld"));
    let mut receipts: Vec<Value> = letters.map(|letter| attachment(letter)).collect();
    receipts.sort_by_key(|receipt| receipt["consentEvents"][0]["eventTime"].to_string());
    receipts
}

async fn downloaded(world: &World, person: &Person, purpose: &str) -> Vec<Value> {
    let history = world.get(person, format!("/v1/consents/{purpose}/history")).await;
    let history = expect(history, StatusCode::OK).await;
    let mut receipts = Vec::new();
    for decision in history["decisions"].as_array().expect("a list").iter().rev() {
        let id = decision["receipt_id"].as_str().expect("an id");
        receipts.push(expect(world.get(person, format!("/v1/consents/receipts/{id}")).await, StatusCode::OK).await);
    }
    receipts
}

#[tokio::test]
async fn receipt_get_gives_every_decision_a_receipt_that_anybody_can_check() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for granted in [false, false, true] {
        decide(&world, &anna, "work_hours", granted).await;
    }
    let receipts = mailed(&world, &anna).await;
    let states: Vec<_> = receipts.iter().map(|receipt| receipt["consentEvents"][0]["eventState"].clone()).collect();
    assert_eq!(states, ["ConsentGiven", "ConsentWithdrawn", "ConsentGiven"], "at registration too, and once a change");
    assert_eq!(downloaded(&world, &anna, "work_hours").await, receipts, "the same, however often it is asked for");
    let key = public_key(&world).await;
    for receipt in &receipts {
        assert!(vault::check_document(receipt, &key));
        assert_eq!(receipt["schemaVersion"], "ISO/IEC TS 27560:2023");
        assert_eq!(receipt["piiPrincipalId"], anna.user_id.as_str());
        let purpose = &receipt["purposes"][0];
        let information = &purpose["piiInformation"][0];
        assert_eq!((&information["piiType"], &information["specialPiiCategory"]), (&json!("work_day"), &json!(false)));
        assert!(purpose["privacyRights"].as_array().is_some_and(|rights| rights.len() == 8), "{purpose}");
        assert!(receipt["privacyNotice"]["text"].as_str().is_some_and(|text| text.contains("withdraw")));
        for (pointer, value) in [("/consentEvents/0/eventState", "ConsentGiven!"), ("/piiPrincipalId", "somebody else")]
        {
            let mut forged = receipt.clone();
            *forged.pointer_mut(pointer).expect("the field is there") = json!(value);
            assert!(!vault::check_document(&forged, &key), "{pointer}");
        }
    }
    decide(&world, &anna, "hearing", true).await;
    let hearing = downloaded(&world, &anna, "hearing").await.remove(0);
    let purpose = &hearing["purposes"][0];
    assert_eq!(purpose["piiInformation"][0]["specialPiiCategory"], "pd:Health", "{hearing}");
    assert_eq!(purpose["lawfulBasis"], "eu-gdpr:A9-2-a", "explicit consent");
    means_something(&hearing);
}

/// Every value that must be a term is defined in the context, or has a prefix that is.
fn means_something(receipt: &Value) {
    let context = receipt["@context"][0].as_object().expect("the context stands in the receipt");
    let is_term = |name: &String| {
        let meaning = &context.get(name).unwrap_or(&Value::Null);
        meaning["@type"] == "@vocab" || **meaning == "@type"
    };
    let mut terms = Vec::new();
    let mut waiting = vec![receipt];
    while let Some(value) = waiting.pop() {
        waiting.extend(value.as_array().into_iter().flatten());
        for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| !name.starts_with('@')) {
            waiting.push(value);
            if is_term(name) {
                let all = value.as_array().map_or_else(|| vec![value], |all| all.iter().collect());
                terms.extend(all.into_iter().filter_map(Value::as_str));
            }
        }
    }
    assert!(terms.len() > 6, "{terms:?}");
    for term in terms {
        let known = term.split_once(':').map_or(term, |(prefix, _)| prefix);
        assert!(context.contains_key(known), "{term} is not in the context");
    }
}

#[tokio::test]
async fn receipt_get_names_the_controller_as_it_was_set_up() {
    let world = World::new().await;
    let text = |text: &str| Some(text.to_owned());
    let controller = Controller {
        name: "Klinikum am See".to_owned(),
        contact: text("datenschutz@klinikum-am-see.example"),
        jurisdiction: text("DE"),
        locations: vec!["Nürnberg, DE".to_owned()],
    };
    let settings = Settings { controller, ..Settings::new(world.folder.clone(), world.clock.clone()) };
    let anna = world.person("anna").await;
    let world = world.again(&settings).await;
    let receipt = downloaded(&world, &anna, "work_hours").await.remove(0);
    let named = json!({
        "name": "Klinikum am See", "contact": "datenschutz@klinikum-am-see.example", "jurisdiction": "DE",
    });
    assert_eq!(receipt["piiController"], named);
    assert_eq!(receipt["purposes"][0]["storageLocations"], json!(["Nürnberg, DE"]));
    assert!(vault::check_document(&receipt, &public_key(&world).await));
}

#[tokio::test]
async fn receipt_get_shows_a_receipt_to_its_owner_only() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let receipt = downloaded(&world, &anna, "work_hours").await.remove(0);
    let id = receipt["receiptId"].as_str().expect("an id").trim_start_matches("urn:uuid:").to_owned();
    let target = format!("/v1/consents/receipts/{id}");
    problem(world.get(&ben, target).await, StatusCode::NOT_FOUND, "missing").await;
    let unknown = format!("/v1/consents/receipts/{}", context::EventId::random());
    problem(world.get(&anna, unknown).await, StatusCode::NOT_FOUND, "missing").await;
}
