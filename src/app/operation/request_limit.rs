//! Limits on all requests, whatever they ask for: of a client, and of an account. They keep one caller from taking a
//! server for itself. Each server counts by itself, in memory.

use context::Ctx;

use crate::{
    app::AppError,
    auth::{
        Claims,
        counter::Counter,
        limits::{Allowance, client_key},
    },
};

/// How many requests a client may make in a minute if nothing else is set. Many people may share an address.
pub const PER_CLIENT: i32 = 12_000;
/// How many requests an account may make in a minute if nothing else is set.
pub const PER_ACCOUNT: i32 = 1_200;

/// The limits on all requests; `None` means no limit.
pub struct RequestLimits {
    clients: Option<Counter>,
    accounts: Option<Counter>,
}

impl RequestLimits {
    /// The limits with these quotas a minute; 0 means no limit.
    pub fn new(per_client: i32, per_account: i32) -> Self {
        let counter = |name, quota| (quota > 0).then(|| Counter::new(name, quota));
        Self {
            clients: counter("requests-per-client", per_client),
            accounts: counter("requests-per-account", per_account),
        }
    }

    /// Counts a request, and returns what is left of each limit. Refuses if one is exceeded.
    pub fn count(&self, ctx: &Ctx, claims: Option<&Claims>) -> Result<Vec<Allowance>, AppError> {
        let of_client = self.clients.as_ref().map(|clients| clients.count(client_key(ctx), ctx.now()));
        let of_account = self.accounts.as_ref().zip(claims);
        let of_account = of_account.map(|(accounts, claims)| accounts.count(claims.subject.to_string(), ctx.now()));
        let left: Vec<Allowance> = of_account.into_iter().chain(of_client).collect();
        match left.iter().find(|left| left.is_over()) {
            Some(over) => Err(AppError::from(*over)),
            None => Ok(left),
        }
    }
}
