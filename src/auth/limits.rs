//! Limits on trying: so many requests an address and a client in a window, counted in the database for all servers alike.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use context::Ctx;
use db::{Gate, Query};
use vault::TransitId;

use crate::app::{App, AppError};

/// What is limited.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Codes mailed to one address at one client's request: nobody uses up somebody else's.
    CodesPerAddressAndClient,
    /// Codes mailed to one address at all.
    CodesPerAddress,
    /// Codes asked for by one client.
    CodesPerClient,
    /// Sign-ins and registrations tried by one client.
    SignInsPerClient,
    /// Codes shown for one address, right or wrong: bounds what guessing can reach in a day.
    TriesPerAddress,
    /// Commands of one person that each send a letter: decisions on consents, requests to delete.
    LettersPerPerson,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::CodesPerAddressAndClient => "codes-per-address-and-client",
            Self::CodesPerAddress => "codes-per-address",
            Self::CodesPerClient => "codes-per-client",
            Self::SignInsPerClient => "sign-ins-per-client",
            Self::TriesPerAddress => "tries-per-address",
            Self::LettersPerPerson => "letters-per-person",
        }
    }

    /// How many in a window.
    fn quota(self) -> i32 {
        match self {
            Self::CodesPerAddressAndClient => 5,
            Self::CodesPerAddress => 20,
            Self::CodesPerClient => 200,
            Self::SignInsPerClient => 600,
            Self::TriesPerAddress => 60,
            Self::LettersPerPerson => 40,
        }
    }

    fn window(self) -> TimeDelta {
        match self {
            Self::TriesPerAddress => TimeDelta::hours(24),
            _ => TimeDelta::minutes(15),
        }
    }
}

/// How much of a limit is left, for the `RateLimit` header fields.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    limit: Limit,
    remaining: i32,
    reset_s: i64,
}

impl Left {
    /// The value of the `RateLimit` header field.
    pub fn header(&self) -> String {
        format!("\"{}\";r={};t={}", self.limit.name(), self.remaining.max(0), self.reset_s)
    }

    /// The value of the `RateLimit-Policy` header field.
    pub fn policy_header(&self) -> String {
        format!("\"{}\";q={};w={}", self.limit.name(), self.limit.quota(), self.limit.window().num_seconds())
    }
}

impl App {
    /// Counts one request against each limit and says what the tightest leaves; refuses where one is used up.
    pub async fn limit_count(&self, ctx: &Ctx, limits: &[(Limit, &str)]) -> Result<Left, AppError> {
        // Under a transit key: what is left of a client's address in old copies tells nothing after 72 hours.
        let (key, _) = self.vault.ring().transit(ctx.now())?;
        let queries =
            || -> Vec<Query> { limits.iter().map(|(limit, who)| self.limit_query(ctx, key, *limit, who)).collect() };
        let rows = self
            .db
            .api
            .run_tx("limit_count", ctx, Gate::read(ctx), move |tx| async move {
                Ok::<_, AppError>(tx.flight_all(queries()).await?)
            })
            .await?;
        let left = limits.iter().zip(&rows).map(|((limit, _), rows)| {
            let (used, window_end): (i32, DateTime<Utc>) = (rows[0].get(0), rows[0].get(1));
            Left {
                limit: *limit,
                remaining: limit.quota() - used,
                reset_s: (window_end - ctx.now()).num_seconds().max(1),
            }
        });
        let tightest = left.min_by_key(|left| left.remaining).expect("at least one limit is counted");
        if tightest.remaining < 0 { Err(AppError::Limited { retry_after_s: tightest.reset_s }) } else { Ok(tightest) }
    }

    fn limit_query(&self, ctx: &Ctx, key: TransitId, limit: Limit, who: &str) -> Query {
        let hash = self.vault.ring().transit_hash(key, &[b"limit", limit.name().as_bytes(), who.as_bytes()]);
        let hash = hash.expect("today's transit key is there");
        Query::new(
            "-- limit_count
            INSERT INTO auth.limits AS l (limit_hash, window_end, used) VALUES ($1, $2, 1)
            ON CONFLICT (limit_hash) DO UPDATE
            SET used = CASE WHEN l.window_end <= $3 THEN 1 ELSE l.used + 1 END,
                window_end = CASE WHEN l.window_end <= $3 THEN excluded.window_end ELSE l.window_end END
            RETURNING used, window_end",
        )
        .bind(hash.to_vec())
        .bind(ctx.now() + limit.window())
        .bind(ctx.now())
    }
}

/// What counts as one client: an IPv4 address, or the /64 network that an IPv6 subscriber has to itself.
pub fn client_key(ctx: &Ctx) -> String {
    let address = ctx.client.address.reveal();
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => format!("{:x?}", &address.segments()[..4]),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => address.clone(),
    }
}
