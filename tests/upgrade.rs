//! A database of an older version is migrated with what it holds.

use std::sync::Arc;

use lethe::server::Store;
use poem::http::StatusCode;
use vault::{Ring, Vault};

use crate::{
    compliance::tallied,
    export::consent,
    record::word,
    steps::Answer,
    support::{World, expect},
};

/// Takes everything back that migrations 19 to 21 added.
const BEFORE_GROWTH: &str = "
    DROP TABLE auth.standings;
    DROP FUNCTION auth.begin_standings, auth.move_standings, auth.end_standings CASCADE;
    DROP FUNCTION lethe.begin_session, lethe.keep, lethe.store_record, lethe.store_records;
    DROP TRIGGER tally_added ON read.accounts; DROP TRIGGER tally_changed ON read.accounts; DROP TRIGGER tally_removed ON read.accounts;
    DROP TRIGGER tally_added ON read.consents; DROP TRIGGER tally_changed ON read.consents; DROP TRIGGER tally_removed ON read.consents;
    DROP TRIGGER tally_added ON vault.erased;
    DROP FUNCTION read.tally_accounts, read.tally_consents, read.tally_erased, read.account_states, read.consent_states;
    DROP TABLE read.tally, read.hours;
    DROP INDEX read.accounts_held, read.deletions_open, read.exports_open, vault.erased_newest, vault.records_filed, log.events_of_subject;
    ALTER TABLE read.records DROP COLUMN listed_at;
    DELETE FROM lethe.schema_history WHERE version >= 19";

#[tokio::test]
async fn a_database_from_before_growth_keeps_its_lists_and_is_counted() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    consent(&world, &anna, "wordbook", true).await;
    let mut words = Vec::new();
    for number in 0..3 {
        let body = word(&format!("w-{number}"), 5);
        let made = Answer::of(world.put(&anna, "/v1/records/wordbook_entry", &body).await).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        words.push(made.json()["record_id"].clone());
    }
    let client = world.superuser().await;
    client.batch_execute(BEFORE_GROWTH).await.expect("as it was before");
    let store = Store { database: world.database.clone(), cluster: None };
    let vault = Arc::new(Vault::new(Ring::open(&world.folder.join("ring.json"), None).expect("the ring opens")));
    store.migrate(None, &vault, &world.suite.passwords).await.expect("migrated");
    let listed = expect(world.get(&anna, "/v1/records/wordbook_entry?limit=2").await, StatusCode::OK).await;
    let ids = |page: &serde_json::Value| -> Vec<serde_json::Value> {
        page["records"].as_array().expect("a list").iter().map(|record| record["record_id"].clone()).collect()
    };
    assert_eq!(ids(&listed), words[..2], "the oldest first");
    let (tally, tables) = tallied(&client).await;
    assert_eq!(tally, tables);
    assert!(tables.iter().any(|line| line.starts_with("granted wordbook")), "{tables:?}");
    let standings = "SELECT count(*) > 0 AND count(*) = (SELECT count(*) FROM vault.subjects) FROM auth.standings";
    assert!(client.query_one(standings, &[]).await.expect("counted").get::<_, bool>(0), "everybody has a standing");
}
