//! People who leave: they submit a day, ask for their deletion, and confirm it with the mailed token and the phrase,
//! while faults happen.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::time::Instant;
use tokio_postgres::Client as Database;

use crate::{
    http::{Answer, Call},
    outcome::{Finding, Outcome, Wrong},
    people::Person,
    post::token_of,
    town::{Came, Town},
};

const PHRASE: &str = "delete everything about me";
const PAUSE: Duration = Duration::from_millis(100);
/// How long each step may take, faults included.
const LIMIT: Duration = Duration::from_secs(150);

/// Somebody whose deletion was confirmed, or who is still there.
pub struct Leaver {
    pub person: Person,
    /// Whether the server acknowledged the confirmation, or says that the account is erased.
    pub is_confirmed: bool,
    /// The random id by which the database knows the person. Nobody knows it after the erasure.
    pub subject: String,
    /// The id of the request to delete; empty before the server has answered it.
    pub deletion: String,
}

impl Leaver {
    /// Makes an account with one day. Needs a server that answers.
    pub async fn register(town: &Town, database: &Database, number: usize) -> Outcome<Self> {
        let person = Person::register(&town.http, &town.post, number).await?;
        let day = json!({ "date": "2025-01-01", "planned_minutes": 480, "actual_minutes": 480, "source": "manual" });
        let call = Call::post("/v1/work-events/daily", day).key("day");
        person.send(&town.http, &town.post, &call).await.success()?;
        let sql = "SELECT subject_id::text FROM auth.users WHERE user_id = $1::text::uuid";
        let subject = database.query_one(sql, &[&person.user]).await?.get(0);
        Ok(Self { person, is_confirmed: false, subject, deletion: String::new() })
    }

    /// Asks and confirms, with pauses in between, and repeats what is not answered.
    pub async fn leave(mut self, town: &Town, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..2500))).await;
        match self.ask(town).await {
            Ok(()) => self.is_confirmed = true,
            Err(finding) => town.note(finding),
        }
        self
    }

    async fn ask(&mut self, town: &Town) -> Result<(), Finding> {
        let email = &self.person.email;
        let ask = Call::post("/v1/privacy/delete-data", json!({ "deletion_type": "full" })).key("ask");
        let asked = self.until_known(town, &ask).await?;
        self.deletion = asked.map(|answer| answer.text("deletion_id")).unwrap_or_default();
        let letter = town.post.take(email, "you need this one-time code", LIMIT).await;
        let lost = || Finding::new(Wrong::Lost, format!("the letter to {email} with the token of a deletion"));
        let token = letter.as_deref().and_then(token_of).ok_or_else(lost)?;
        let confirm = Call::post(format!("/v1/privacy/confirm-deletion/{token}"), json!({ "phrase": PHRASE }));
        self.until_known(town, &confirm.key("confirm")).await.map(drop)
    }

    /// Sends a command until its outcome is known. `None`: the person was erased meanwhile.
    async fn until_known(&self, town: &Town, call: &Call) -> Result<Option<Answer>, Finding> {
        let (until, mut is_again) = (Instant::now() + LIMIT, false);
        loop {
            let why = match town.command(&self.person, call).await {
                Came::Acknowledged(answer) => {
                    if is_again {
                        town.http.tally.resolved();
                    }
                    return Ok(Some(answer));
                }
                Came::Refused(answer) if is_again && answer.is_problem("erased") => {
                    town.http.tally.resolved();
                    return Ok(None);
                }
                Came::Refused(answer) => {
                    let what = format!("{} {} was refused: {}", self.person.email, call.path, answer.said());
                    return Err(Finding::new(Wrong::Unequal, what));
                }
                Came::Unknown(why) => why,
            };
            if Instant::now() > until {
                let what = format!("{} gets no answer to {}: {why}", self.person.email, call.path);
                return Err(Finding::new(Wrong::Stuck, what));
            }
            is_again = true;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
