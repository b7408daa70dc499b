//! What a reader of the API's documentation knows of two people after a sequence of steps: days with their times, words,
//! decisions, requests, sessions, and how many events of each type there are. It knows nothing of tables, keys or
//! versions, and learns nothing from the server. Time is in seconds since the sequence began.

use std::collections::BTreeMap;

use domain::rights::consent::Purpose;

use crate::model::{
    asked::{Deletion, DeletionState, Export},
    step::{Ask, Step, Who},
    told::Told,
};

pub const HOUR: u64 = 3_600;
pub const DAY: u64 = 24 * HOUR;
/// How long an access token is accepted.
pub const TOKEN: u64 = 15 * 60;
/// The grace of a deletion, and of a shorter retention.
pub const GRACE: u64 = 48 * HOUR;

/// The purposes on which people decide.
pub const PURPOSES: [Purpose; 2] = [Purpose::WorkHours, Purpose::Wordbook];

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub now: u64,
    people: [Person; 2],
    /// When the guest got their token.
    pub guest: Option<u64>,
    /// When the daily work is due next.
    pub sweep_due: u64,
    /// How often a used refresh token was shown since the last hour passed.
    pub half_minutes: u8,
    pub told: Told,
    /// Whether the last step added an event or changed what is shown.
    pub changed: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Person {
    pub is_erased: bool,
    pub days: BTreeMap<u8, Day>,
    pub words: BTreeMap<u8, u8>,
    pub decisions: BTreeMap<Purpose, Decision>,
    pub is_restricted: bool,
    /// The end of the last hold, until it is lifted.
    pub hold: Option<u64>,
    pub rule: Rule,
    pub session: Session,
    /// How many sessions are alive: this one, the one that looks, and those that were left.
    pub sessions: u64,
    /// How often records were removed; each time the person gets a new wrapping key.
    pub renewals: u64,
    /// Oldest first.
    pub exports: Vec<Export>,
    /// Oldest first.
    pub deletions: Vec<Deletion>,
    /// When requests were cancelled, as far as it counts.
    pub cancelled: Vec<u64>,
    /// The first request with each key of each operation.
    pub answered: BTreeMap<(&'static str, u8), Answered>,
    /// When codes were mailed.
    pub codes: Vec<u64>,
    /// How many events of each type there are.
    pub events: BTreeMap<&'static str, u64>,
    pub newest: Option<&'static str>,
    /// Whether an export may have been written just before the person was erased.
    pub is_last_export_unknown: bool,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    pub ask: Ask,
    /// Which of the person's deletions it named.
    pub meant: Option<usize>,
    pub at: u64,
}

#[derive(Clone, Debug)]
pub struct Day {
    pub minutes: u16,
    pub changed_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Granted,
    Withdrawn,
    Objected,
}

/// The person's own rule for work days.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub days: Option<u32>,
    pub set_at: u64,
    /// The rule before a shorter one, and until when it counts.
    pub waits: Option<(Option<u32>, u64)>,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub is_open: bool,
    pub token_at: u64,
    /// Whether it has a refresh token that was used.
    pub has_used_token: bool,
    /// Whether an earlier session ended.
    pub has_ended_before: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self { is_open: true, token_at: 0, has_used_token: false, has_ended_before: false }
    }
}

impl Model {
    /// Two people who registered and signed in once more. Both consented to keep work days, and Anna to keep words too.
    pub fn begin() -> Self {
        let who = |granted: &[Purpose]| Person {
            sessions: 2,
            decisions: granted.iter().map(|purpose| (*purpose, Decision::Granted)).collect(),
            ..Person::default()
        };
        Self { people: [who(&PURPOSES), who(&PURPOSES[..1])], sweep_due: DAY, ..Self::default() }
    }

    pub fn person(&self, who: Who) -> &Person {
        &self.people[who as usize]
    }

    pub(super) fn person_mut(&mut self, who: Who) -> &mut Person {
        &mut self.people[who as usize]
    }

    /// The state after a step.
    pub fn after(mut self, step: &Step) -> Self {
        let events = |model: &Self| Who::BOTH.map(|who| model.person(who).events.clone());
        let before = events(&self);
        self.told = self.take(step);
        self.changed = events(&self) != before;
        self
    }
}

impl Person {
    /// Adds events of a type.
    pub fn add(&mut self, event: &'static str, count: u64) {
        if count > 0 {
            *self.events.entry(event).or_default() += count;
            self.newest = Some(event);
        }
    }

    pub fn is_held(&self, now: u64) -> bool {
        self.hold.is_some_and(|until| now < until)
    }

    /// The confirmed request that waits.
    pub fn is_waiting(&self) -> bool {
        self.deletions.iter().any(|deletion| matches!(deletion.state, DeletionState::Confirmed(_)))
    }

    /// Whether a deletion is to be carried out.
    pub fn is_erasable(&self, now: u64) -> bool {
        let is_due = |state| matches!(state, DeletionState::Confirmed(ends) if now >= ends);
        !self.is_held(now) && self.deletions.iter().any(|deletion| is_due(deletion.state))
    }

    pub fn consents(&self, purpose: Purpose) -> bool {
        self.decisions.get(&purpose) == Some(&Decision::Granted)
    }

    pub fn objects(&self, purpose: Purpose) -> bool {
        self.decisions.get(&purpose) == Some(&Decision::Objected)
    }

    /// The days in a range, or all.
    pub fn days_in(&self, range: Option<(u8, u8)>) -> Vec<u8> {
        self.days.keys().copied().filter(|day| range.is_none_or(|(from, to)| (from..=to).contains(day))).collect()
    }

    /// The days whose retention is over.
    pub fn expired(&self, now: u64) -> Vec<u8> {
        let Some(kept) = self.rule.in_force(now).filter(|_| !self.rule.is_young(now)) else { return Vec::new() };
        let old = |day: &Day| now - day.changed_at >= u64::from(kept) * DAY;
        self.days.iter().filter(|(_, day)| old(day)).map(|(day, _)| *day).collect()
    }

    /// Whether records are kept although their retention is over.
    pub fn keeps(&self, now: u64) -> bool {
        self.is_restricted || self.is_held(now)
    }
}

impl Rule {
    pub fn in_force(&self, now: u64) -> Option<u32> {
        self.waits.filter(|(_, until)| now < *until).map_or(self.days, |(before, _)| before)
    }

    /// Whether the rule replaced a shorter one within the grace; then it removes nothing yet.
    fn is_young(&self, now: u64) -> bool {
        self.waits.is_none() && self.days.is_some() && now < self.set_at + GRACE
    }
}
