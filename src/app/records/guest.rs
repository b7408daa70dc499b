//! Guests, who have not signed in: what they send is evaluated and never stored. Nothing of it reaches a table, a file,
//! the log or tracing output.
//!
//! For that reason each server counts the requests of guests by itself, in memory.

use context::Ctx;
use domain::{Body, Kind};
use serde_json::Value;

use crate::{
    app::AppError,
    auth::{
        counter::Counter,
        limits::{Allowance, client_key},
    },
};

/// How many requests of guests a client may make in a minute.
const QUOTA: i32 = 60;

/// The limit on the requests of guests.
pub fn counter() -> Counter {
    Counter::new("guests-per-client", QUOTA)
}

/// Counts a guest's request; refuses if the client has used up its quota.
pub fn count(guests: &Counter, ctx: &Ctx) -> Result<Allowance, AppError> {
    let left = guests.count(client_key(ctx), ctx.now());
    if left.is_over() { Err(AppError::from(left)) } else { Ok(left) }
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
