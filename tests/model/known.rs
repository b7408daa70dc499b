//! A person, and what their client remembers: tokens, ids, tags and answers that the model does not know.

use std::collections::BTreeMap;

use lethe::auth::Claims;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{
    model::{
        place::Place,
        state::Model,
        step::Ask,
        told::{Said, Told},
    },
    steps::{Answer, sign_in, subject_of},
    support::Person,
};

/// A person, and what their client remembers.
pub struct Known {
    pub subject: Uuid,
    /// With the tokens of their session.
    pub person: Person,
    /// Another session of theirs, which only looks, and of which there is a good token at any time.
    pub watcher: Claims,
    pub used_refresh_token: String,
    pub ended_token: String,
    /// The newest id of each day, also if the day is gone.
    pub records: BTreeMap<u8, String>,
    /// The tags of each day, also of records that were removed, newest last.
    pub tags: BTreeMap<u8, Vec<String>>,
    pub exports: Vec<String>,
    /// The token and the scope of each deletion.
    pub tokens: Vec<String>,
    pub scopes: Vec<String>,
    /// The text of the first answer to each key of each operation.
    answers: BTreeMap<(&'static str, u8), String>,
    /// How many events of each type there were before the sequence began.
    pub events_before: BTreeMap<String, i64>,
}

impl Known {
    pub async fn new(place: &Place, name: &str, consents: &Value) -> Self {
        let world = &place.world;
        let watcher = world.person_with(name, json!({ "consents": consents })).await;
        let person = sign_in(world, &watcher.email).await;
        let subject = subject_of(world, &person).await;
        let watcher = world.app.tokens.verify(&watcher.token, world.clock.now()).expect("the token is good");
        let mut known = Self {
            subject,
            person,
            watcher,
            used_refresh_token: String::new(),
            ended_token: String::new(),
            records: BTreeMap::new(),
            tags: BTreeMap::new(),
            exports: Vec::new(),
            tokens: Vec::new(),
            scopes: Vec::new(),
            answers: BTreeMap::new(),
            events_before: BTreeMap::new(),
        };
        known.events_before = known.events(&place.superuser).await;
        known
    }

    /// Compares an answer under a key with the first one.
    pub fn compare_replay(&mut self, model: &Model, key: Option<(&'static str, u8)>, answer: &Answer) {
        let is_replayed = answer.header("idempotency-replayed") == Some("true");
        let is_expected = matches!(model.told, Told::Done(_, Said::TheSameAgain));
        assert_eq!(is_replayed, is_expected, "whether it is the first answer again: {}", answer.text);
        match key {
            Some(key) if is_replayed => assert_eq!(answer.text, self.answers[&key], "the first answer again"),
            Some(key) if answer.status.is_success() => drop(self.answers.insert(key, answer.text.clone())),
            _ => {}
        }
    }

    /// Keeps what later requests need of an answer.
    pub fn remember(&mut self, ask: &Ask, answer: &Answer, mailed: Option<String>) {
        let text = |name: &str| answer.json()[name].as_str().expect("a text").to_owned();
        match ask {
            Ask::Submit { day, .. } => {
                let id = answer.json();
                let id = id["event_id"].as_str().or(id["record_id"].as_str()).expect("an id").to_owned();
                let tag = answer.header("etag").expect("a tag").to_owned();
                self.keep_tag(*day, id, tag);
            }
            Ask::Export(_) => self.exports.push(text("export_id")),
            Ask::Delete(range) => {
                self.tokens.push(mailed.expect("a token was mailed"));
                self.scopes.push(if range.is_none() { "full" } else { "partial" }.to_owned());
            }
            Ask::Refresh | Ask::RefreshTwice => {
                let refresh_token = text("refresh_token");
                self.used_refresh_token = std::mem::replace(&mut self.person.refresh_token, refresh_token);
                self.person.token = text("token");
            }
            Ask::SignIn => {
                self.person.token = text("token");
                self.person.refresh_token = text("refresh_token");
            }
            Ask::SignOut => self.ended_token.clone_from(&self.person.token),
            _ => {}
        }
    }

    /// Keeps the tag that a day has now.
    pub fn keep_tag(&mut self, day: u8, id: String, tag: String) {
        let tags = self.tags.entry(day).or_default();
        if tags.last() != Some(&tag) {
            assert!(!tags.contains(&tag), "the tag {tag} comes back");
            tags.push(tag);
        }
        self.records.insert(day, id);
    }

    /// How many events of each type the log holds about a person, without reads.
    pub async fn events(&self, superuser: &Client) -> BTreeMap<String, i64> {
        let sql = "SELECT event_type, count(*) FROM log.events WHERE subject_id = $1 AND aggregate_type <> 'access'
                   GROUP BY event_type";
        let rows = superuser.query(sql, &[&self.subject]).await.expect("the log is read");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}
