//! Guests, who have not signed in: what they send is evaluated and never stored. Nothing of it reaches a table, a file,
//! the log or tracing output.
//!
//! For that reason each server counts the requests of guests by itself, in memory, and forgets the counts when the
//! window ends or the server restarts.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use context::Ctx;
use domain::{Body, Kind};
use serde_json::Value;

use crate::{app::AppError, auth::limits::client_key};

const NAME: &str = "guests-per-client";
/// How many requests a client may make in a window.
const QUOTA: u32 = 60;
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// How many clients are told apart in a window; all others share one counter, so that memory stays bounded.
const CLIENTS: usize = 10_000;

/// How many requests each client has made in the present window.
#[derive(Default)]
pub struct GuestCounter(Mutex<Window>);

#[derive(Default)]
struct Window {
    ends_at: DateTime<Utc>,
    used: HashMap<String, u32>,
}

/// How much of the limit is left, for the `RateLimit` header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestAllowance {
    remaining: u32,
    reset_s: i64,
}

impl GuestAllowance {
    /// The value of the `RateLimit` header field.
    pub fn header(&self) -> String {
        format!("\"{NAME}\";r={};t={}", self.remaining, self.reset_s)
    }

    /// The value of the `RateLimit-Policy` header field.
    pub fn policy_header(&self) -> String {
        format!("\"{NAME}\";q={QUOTA};w={}", WINDOW.num_seconds())
    }
}

impl GuestCounter {
    /// Counts a request; refuses if the client has used up its quota.
    fn count(&self, client: String, now: DateTime<Utc>) -> Result<GuestAllowance, AppError> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not lock guests out.
        if now >= window.ends_at || now + WINDOW < window.ends_at {
            *window = Window { ends_at: now + WINDOW, used: HashMap::new() };
        }
        let reset_s = (window.ends_at - now).num_seconds().max(1);
        let told_apart = window.used.len() < CLIENTS || window.used.contains_key(&client);
        let used = window.used.entry(if told_apart { client } else { String::new() }).or_default();
        if *used >= QUOTA {
            return Err(AppError::Limited { retry_after_s: reset_s });
        }
        *used += 1;
        Ok(GuestAllowance { remaining: QUOTA - *used, reset_s })
    }
}

/// Counts a guest's request; refuses if the client has used up its quota.
pub fn count(guests: &GuestCounter, ctx: &Ctx) -> Result<GuestAllowance, AppError> {
    guests.count(client_key(ctx), ctx.now())
}

/// Says what a body of a kind means, without storing it. Refuses kinds that only signed-in people may submit.
pub fn evaluate(ctx: &Ctx, kind: &Kind, body: &Body) -> Result<Value, AppError> {
    if !kind.for_guests() {
        return Err(AppError::SignInNeeded);
    }
    // The time zone of a guest is not known, so the day of UTC counts.
    let faults = kind.faults(body, ctx.now().date_naive());
    if !faults.is_empty() {
        return Err(AppError::Invalid(faults));
    }
    kind.evaluate(body).ok_or_else(|| AppError::Corrupt("a sound body can't be evaluated".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).expect("a time")
    }

    #[test]
    fn a_client_has_a_quota_a_window() {
        let counter = GuestCounter::default();
        let ask = |client: &str, seconds| counter.count(client.to_owned(), at(seconds));
        for left in (0..QUOTA).rev() {
            assert_eq!(ask("a", 0).expect("within the quota"), GuestAllowance { remaining: left, reset_s: 60 });
        }
        assert!(matches!(ask("a", 45), Err(AppError::Limited { retry_after_s: 15 })));
        assert!(ask("b", 45).is_ok(), "another client");
        assert!(ask("a", 60).is_ok(), "another window");
        assert!(ask("a", -9999).is_ok(), "the clock was set back");
    }

    #[test]
    fn memory_is_bounded_whoever_asks() {
        let counter = GuestCounter::default();
        let outcomes: Vec<_> = (0..2 * CLIENTS).map(|n| counter.count(n.to_string(), at(0)).is_ok()).collect();
        let window = counter.0.lock().expect("nobody panicked");
        assert_eq!(window.used.len(), CLIENTS + 1);
        assert_eq!(outcomes.iter().filter(|served| **served).count(), CLIENTS + QUOTA as usize);
    }
}
