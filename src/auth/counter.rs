//! Limits that each server counts by itself, in memory: those of every request, and those of guests, of whom nothing is
//! stored. Counts are forgotten when the window ends or the server restarts.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::auth::limits::Allowance;

const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// How many callers are told apart in a minute, so that memory stays bounded.
const TOLD_APART: usize = 50_000;
/// How many counts all further callers share. Whoever comes from very many addresses uses up the counts that their own
/// addresses fall into, and not those of everybody.
const SHARED: u64 = 4_096;

/// How many requests each caller has made in the present minute.
pub struct Counter {
    name: &'static str,
    quota: i32,
    minute: Mutex<Minute>,
    /// Makes the shared counts unpredictable.
    hasher: RandomState,
}

#[derive(Default)]
struct Minute {
    ends_at: DateTime<Utc>,
    used: HashMap<String, i32>,
}

impl Counter {
    /// A limit with this name, and how many requests it allows a caller in a minute.
    pub fn new(name: &'static str, quota: i32) -> Self {
        Self { name, quota, minute: Mutex::default(), hasher: RandomState::new() }
    }

    /// Counts a request, and returns what is left of the caller's quota. Does not refuse.
    pub fn count(&self, who: String, now: DateTime<Utc>) -> Allowance {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not lock anybody out.
        if now >= minute.ends_at || now + WINDOW < minute.ends_at {
            *minute = Minute { ends_at: now + WINDOW, used: HashMap::new() };
        }
        let is_told_apart = minute.used.len() < TOLD_APART || minute.used.contains_key(&who);
        let used = minute.used.entry(if is_told_apart { who } else { self.shared(&who) }).or_default();
        *used = used.saturating_add(1);
        let used = *used;
        Allowance::new(self.name, self.quota, WINDOW, used, minute.ends_at - now)
    }

    /// The name of the count that a caller shares with others.
    fn shared(&self, who: &str) -> String {
        format!("shared {}", self.hasher.hash_one(who) % SHARED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: i32 = 60;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).expect("a time")
    }

    #[test]
    fn a_caller_has_a_quota_a_minute() {
        let counter = Counter::new("requests", QUOTA);
        let ask = |who: &str, seconds| counter.count(who.to_owned(), at(seconds));
        for left in (0..QUOTA).rev() {
            let allowance = ask("a", 0);
            assert!(!allowance.is_over());
            assert_eq!(allowance.header(), format!("\"requests\";r={left};t=60"));
        }
        let over = ask("a", 45);
        assert!(over.is_over() && over.retry_after_s() == 15);
        assert_eq!(over.policy_header(), "\"requests\";q=60;w=60");
        assert!(!ask("b", 45).is_over(), "another caller");
        assert!(!ask("a", 60).is_over(), "another minute");
        assert!(!ask("a", -9999).is_over(), "the clock was set back");
    }

    #[test]
    fn memory_is_bounded_whoever_asks() {
        let counter = Counter::new("requests", QUOTA);
        let flood = (0..20 * TOLD_APART).filter(|n| !counter.count(n.to_string(), at(0)).is_over()).count();
        assert!(counter.minute.lock().expect("nobody panicked").used.len() <= TOLD_APART + 4_096);
        assert!(flood <= TOLD_APART + 4_096 * 60, "{flood}");
        let counter = Counter::new("requests", QUOTA);
        for n in 0..2 * TOLD_APART {
            counter.count(n.to_string(), at(0));
        }
        let newcomers = (0..100).filter(|n| !counter.count(format!("new {n}"), at(0)).is_over()).count();
        assert!(newcomers > 90, "{newcomers} of 100 are served beside a client of very many addresses");
    }
}
