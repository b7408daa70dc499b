//! Limits on trying: how many requests a mailbox, a client or a device may make in a window of time. Counters are in
//! the database, so that all servers count together.
//!
//! A counter's key is hashed under the transit key of the day, so that even a window of 24 hours ends with the day
//! (UTC).

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use context::Ctx;
use db::{FromRow, Query, Row, sql};
use vault::{Ring, TransitId};

/// The limits. A window lasts 15 minutes, or up to 24 hours where the comment says "in a day".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Codes mailed to one mailbox at the request of one client, so that nobody can use up somebody else's codes.
    CodesPerMailboxAndClient,
    /// Codes mailed to one mailbox at the request of clients that are not known devices. An address with a `+tag`
    /// counts as the mailbox without it.
    CodesPerMailbox,
    /// Codes mailed to one mailbox in a day, counted in the same way.
    CodesPerMailboxAndDay,
    CodesPerClient,
    CodesPerClientAndDay,
    /// Codes asked for by a device on which the person signed in before.
    CodesPerDevice,
    CodesPerDeviceAndDay,
    SignInsPerClient,
    SignInsPerDevice,
    /// Codes shown by one client or device for one mailed code.
    TriesPerCode,
    /// Codes shown for one address in a day, right or wrong, by clients that are not known devices. Beyond this limit
    /// only long codes are accepted.
    TriesPerAddress,
    /// Codes shown by one known device in a day.
    TriesPerDevice,
    /// Commands of one person that each send a letter: decisions on consents, requests to delete.
    LettersPerPerson,
    LettersPerPersonAndDay,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::CodesPerMailboxAndClient => "codes-per-mailbox-and-client",
            Self::CodesPerMailbox => "codes-per-mailbox",
            Self::CodesPerMailboxAndDay => "codes-per-mailbox-and-day",
            Self::CodesPerClient => "codes-per-client",
            Self::CodesPerClientAndDay => "codes-per-client-and-day",
            Self::CodesPerDevice => "codes-per-device",
            Self::CodesPerDeviceAndDay => "codes-per-device-and-day",
            Self::SignInsPerClient => "sign-ins-per-client",
            Self::SignInsPerDevice => "sign-ins-per-device",
            Self::TriesPerCode => "tries-per-code",
            Self::TriesPerAddress => "tries-per-address",
            Self::TriesPerDevice => "tries-per-device",
            Self::LettersPerPerson => "letters-per-person",
            Self::LettersPerPersonAndDay => "letters-per-person-and-day",
        }
    }

    /// How many requests a window allows.
    pub(super) fn quota(self) -> i32 {
        match self {
            Self::CodesPerMailboxAndClient | Self::CodesPerDevice | Self::TriesPerCode => 5,
            Self::CodesPerMailbox => 10,
            Self::CodesPerMailboxAndDay | Self::CodesPerDeviceAndDay => 30,
            Self::CodesPerClient => 200,
            Self::CodesPerClientAndDay => 2_000,
            Self::SignInsPerClient => 600,
            Self::SignInsPerDevice | Self::TriesPerAddress | Self::TriesPerDevice => 60,
            Self::LettersPerPerson => 40,
            Self::LettersPerPersonAndDay => 120,
        }
    }

    fn window(self) -> TimeDelta {
        match self {
            Self::CodesPerMailboxAndDay
            | Self::CodesPerClientAndDay
            | Self::CodesPerDeviceAndDay
            | Self::TriesPerAddress
            | Self::TriesPerDevice
            | Self::LettersPerPersonAndDay => TimeDelta::hours(24),
            Self::CodesPerMailboxAndClient
            | Self::CodesPerMailbox
            | Self::CodesPerClient
            | Self::CodesPerDevice
            | Self::TriesPerCode
            | Self::SignInsPerClient
            | Self::SignInsPerDevice
            | Self::LettersPerPerson => TimeDelta::minutes(15),
        }
    }
}

#[derive(FromRow)]
struct CountRow {
    used: i32,
    window_end: DateTime<Utc>,
}

/// How much of a limit is left to a caller.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    name: &'static str,
    quota: i32,
    window_s: i64,
    used: i32,
    reset_s: i64,
}

impl Allowance {
    /// Reads the row that [`limit_count`] returns.
    pub fn of(ctx: &Ctx, limit: Limit, rows: &[Row]) -> Self {
        let CountRow { used, window_end } = CountRow::from_row(&rows[0]);
        Self::new(limit.name(), limit.quota(), limit.window(), used, window_end - ctx.now())
    }

    /// What is left of a quota for each window, of which this one ends in `left`.
    pub fn new(name: &'static str, quota: i32, window: TimeDelta, used: i32, left: TimeDelta) -> Self {
        Self { name, quota, window_s: window.num_seconds(), used, reset_s: left.num_seconds().max(1) }
    }

    /// How many more requests the window allows; negative when there were too many.
    pub fn remaining(&self) -> i32 {
        self.quota - self.used
    }

    /// How many requests the window has seen, including this one.
    pub fn used(&self) -> i32 {
        self.used
    }

    /// Whether this request was one too many.
    pub fn is_over(&self) -> bool {
        self.remaining() < 0
    }

    /// Seconds until the window ends and requests are accepted again; at least 1.
    pub fn retry_after_s(&self) -> i64 {
        self.reset_s
    }

    /// The value of the `RateLimit` header field.
    pub fn header(&self) -> String {
        format!("\"{}\";r={};t={}", self.name, self.remaining().max(0), self.reset_s)
    }

    /// The value of the `RateLimit-Policy` header field.
    pub fn policy_header(&self) -> String {
        format!("\"{}\";q={};w={}", self.name, self.quota, self.window_s)
    }
}

/// Counts one request of `who` against a limit, under today's transit key.
pub fn limit_count(ring: &Ring, ctx: &Ctx, key: TransitId, limit: Limit, who: &str) -> Query {
    Query::new(sql!(
        "-- limit_count
        INSERT INTO auth.limits AS l (limit_hash, window_end, used) VALUES ($1, $2, 1)
        ON CONFLICT (limit_hash) DO UPDATE
        SET used = CASE WHEN l.window_end <= $3 THEN 1 ELSE l.used + 1 END,
            window_end = CASE WHEN l.window_end <= $3 THEN excluded.window_end ELSE l.window_end END
        RETURNING ",
        CountRow::COLUMNS
    ))
    .bind(limit_hash(ring, key, limit, who))
    .bind(ctx.now() + limit.window())
    .bind(ctx.now())
}

/// Returns a row when a limit is used up. Counts nothing.
pub fn limit_get(ring: &Ring, ctx: &Ctx, key: TransitId, limit: Limit, who: &str) -> Query {
    Query::new("-- limit_get\nSELECT true FROM auth.limits WHERE limit_hash = $1 AND window_end > $2 AND used >= $3")
        .bind(limit_hash(ring, key, limit, who))
        .bind(ctx.now())
        .bind(limit.quota())
}

fn limit_hash(ring: &Ring, key: TransitId, limit: Limit, who: &str) -> Vec<u8> {
    let hash = ring.transit_hash(key, &[b"limit", limit.name().as_bytes(), who.as_bytes()]);
    hash.expect("today's transit key is there").to_vec()
}

/// The name under which a client is counted: its IPv4 address, or its /64 network in IPv6, because a subscriber has the
/// whole network.
pub fn client_key(ctx: &Ctx) -> String {
    let address = ctx.client.address.reveal();
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => format!("{:x?}", &address.segments()[..4]),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => address.clone(),
    }
}
