//! One client: it submits and amends days, reads them, repeats requests, refreshes sessions and asks for exports, one
//! request after another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{Days, NaiveDate};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::Instant;

use crate::{
    check::records,
    export::Exports,
    ledger::{Ledger, Write},
    outcome::{Finding, Wrong},
    town::{Came, Town},
};

/// How many days of each person a client writes.
const DATES: usize = 40;
const MOST_IN_A_BATCH: usize = 5;
const LONGEST_THOUGHT_MS: u64 = 60;
/// The pause after a request whose outcome is unknown.
const PAUSE: Duration = Duration::from_millis(100);

pub struct Client {
    pub ledger: Ledger,
    exports: Arc<Exports>,
    number: usize,
    clients: usize,
    dice: StdRng,
    keys: u64,
}

impl Client {
    /// One of so many clients. Each has days of its own of all people.
    pub fn new(number: usize, clients: usize, seed: u64, exports: Arc<Exports>) -> Self {
        let dice = StdRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(number as u64));
        Self { ledger: Ledger::default(), exports, number, clients, dice, keys: 0 }
    }

    /// Sends requests until `stop` is set.
    pub async fn work(mut self, town: Arc<Town>, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let done = match self.dice.random_range(0..100) {
                0..65 => self.submit(&town, 1).await,
                65..73 => {
                    let days = self.dice.random_range(2..=MOST_IN_A_BATCH);
                    self.submit(&town, days).await
                }
                73..81 => self.repeat(&town).await,
                81..87 => self.read(&town).await,
                87..92 => self.refresh(&town).await,
                92..96 => self.export(&town).await,
                _ => self.resolve_one(&town).await,
            };
            let thought = self.dice.random_range(0..LONGEST_THOUGHT_MS);
            tokio::time::sleep(if done { Duration::from_millis(thought) } else { PAUSE }).await;
        }
        self
    }

    fn someone(&mut self, town: &Town) -> usize {
        self.dice.random_range(0..town.people.len())
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("client-{}-{}", self.number, self.keys)
    }

    /// Submits days that a person may have already. Of an unknown outcome, every second one is left for later, so that
    /// newer writes of the same days overtake it.
    pub async fn submit(&mut self, town: &Town, days: usize) -> bool {
        let (person, key) = (self.someone(town), self.key());
        let first = NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date");
        let date = |place: usize| first + Days::new((place * self.clients + self.number) as u64);
        let places = rand::seq::index::sample(&mut self.dice, DATES, days);
        let dates: Vec<NaiveDate> = places.iter().map(date).collect();
        let write = self.ledger.write(person, &dates, &key);
        let again = self.dice.random_bool(0.5);
        if self.attempt(town, write.clone(), false).await {
            return true;
        }
        if again {
            self.ledger.pending.retain(|it| it.call.key != write.call.key);
            tokio::time::sleep(PAUSE).await;
            return self.attempt(town, write, true).await;
        }
        false
    }

    /// Sends a write; returns whether its outcome is known.
    async fn attempt(&mut self, town: &Town, write: Write, is_again: bool) -> bool {
        match town.command(&town.people[write.person], &write.call).await {
            Came::Acknowledged(answer) => {
                if is_again {
                    town.http.tally.resolved();
                }
                if let Err(finding) = self.ledger.acknowledge(write, answer) {
                    town.note(finding);
                }
                true
            }
            Came::Unknown(_) => {
                self.ledger.pending.push(write);
                false
            }
            Came::Refused(answer) => {
                let key = write.call.key.as_deref().unwrap_or_default();
                town.note(Finding::new(Wrong::Unequal, format!("{key} was refused: {}", answer.said())));
                true
            }
        }
    }

    /// Repeats a write with an unknown outcome, if there is one.
    async fn resolve_one(&mut self, town: &Town) -> bool {
        if self.ledger.pending.is_empty() {
            return true;
        }
        let place = self.dice.random_range(0..self.ledger.pending.len());
        let write = self.ledger.pending.remove(place);
        self.attempt(town, write, true).await
    }

    /// Repeats all writes with an unknown outcome, until each is known or the time is over.
    pub async fn resolve(&mut self, town: &Town, until: Instant) {
        while !self.ledger.pending.is_empty() {
            let is_known = self.resolve_one(town).await;
            if Instant::now() > until {
                let what = format!("{} writes have no outcome, however often repeated", self.ledger.pending.len());
                return town.note(Finding::new(Wrong::Stuck, what));
            }
            if !is_known {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Repeats an acknowledged write.
    async fn repeat(&mut self, town: &Town) -> bool {
        let Some((write, first)) = self.ledger.done.choose(&mut self.dice) else { return true };
        match town.command(&town.people[write.person], &write.call).await {
            Came::Acknowledged(again) => {
                if let Err(finding) = Ledger::repeated(write, first, &again) {
                    town.note(finding);
                }
                true
            }
            Came::Unknown(_) => false,
            Came::Refused(answer) => {
                town.note(Finding::new(Wrong::Unequal, format!("a repeated request was refused: {}", answer.said())));
                true
            }
        }
    }

    /// Reads a person's days, and compares this client's own.
    async fn read(&mut self, town: &Town) -> bool {
        let person = self.someone(town);
        let Ok(days) = town.days_of(&town.people[person]).await else { return false };
        records::compare(&self.ledger, person, &days).into_iter().for_each(|finding| town.note(finding));
        true
    }

    async fn refresh(&mut self, town: &Town) -> bool {
        let person = &town.people[self.someone(town)];
        let token = person.token().await;
        match person.renew(&town.http, &town.post, &token).await {
            Ok(finding) => {
                finding.into_iter().for_each(|finding| town.note(finding));
                true
            }
            Err(_) => false,
        }
    }

    async fn export(&mut self, town: &Town) -> bool {
        let (person, key) = (self.someone(town), self.key());
        self.exports.ask(town, person, &key).await
    }
}
