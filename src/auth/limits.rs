//! Limits on trying: so many requests an address and a client in a window, counted in the database for all servers alike.

use chrono::{DateTime, TimeDelta, Utc};
use context::Ctx;
use db::{Gate, Query};

use crate::app::{App, AppError};

const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// What is limited.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Codes mailed to one address.
    CodesPerAddress,
    /// Codes asked for by one client.
    CodesPerClient,
    /// Sign-ins, registrations and refreshes tried by one client.
    SignInsPerClient,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::CodesPerAddress => "codes-per-address",
            Self::CodesPerClient => "codes-per-client",
            Self::SignInsPerClient => "sign-ins-per-client",
        }
    }

    fn quota(self) -> i32 {
        match self {
            Self::CodesPerAddress => 5,
            Self::CodesPerClient => 200,
            Self::SignInsPerClient => 600,
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
        format!("\"{}\";q={};w={}", self.limit.name(), self.limit.quota(), WINDOW.num_seconds())
    }
}

impl App {
    /// Counts one request against each limit and says what the tightest leaves; refuses where one is used up.
    pub async fn limit_count(&self, ctx: &Ctx, limits: &[(Limit, &str)]) -> Result<Left, AppError> {
        let queries =
            || -> Vec<Query> { limits.iter().map(|(limit, who)| self.limit_query(ctx, *limit, who)).collect() };
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

    fn limit_query(&self, ctx: &Ctx, limit: Limit, who: &str) -> Query {
        Query::new(
            "-- limit_count
            INSERT INTO auth.limits AS l (limit_hash, window_end, used) VALUES ($1, $2, 1)
            ON CONFLICT (limit_hash) DO UPDATE
            SET used = CASE WHEN l.window_end <= $3 THEN 1 ELSE l.used + 1 END,
                window_end = CASE WHEN l.window_end <= $3 THEN excluded.window_end ELSE l.window_end END
            RETURNING used, window_end",
        )
        .bind(self.vault.ring().lookup(limit.name(), who.as_bytes()).0.to_vec())
        .bind(ctx.now() + WINDOW)
        .bind(ctx.now())
    }
}
