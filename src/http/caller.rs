//! The caller's right as a parameter: an operation that takes a [`Subject`] can be called by a person on their own data only.

use std::{net::IpAddr, sync::Arc};

use chrono::NaiveDate;
use context::{Client, Ctx, Personal, RequestId, Role, UserId};
use poem::{FromRequest, Request, RequestBody, Result, web::RemoteAddr};
use poem_openapi::{SecurityScheme, auth::Bearer};

use super::problem::Refusal;
use crate::{
    app::{App, AppError, account::today},
    auth::{Claims, limits::Limit},
};

/// Proxies whose word on a client's address is taken.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpAddr>);

/// The client that nobody has signed in on.
pub struct Anyone(pub Ctx);

/// Whoever is signed in, in whatever role, on their own account.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "bearer", checker = "check")]
pub struct SignedIn(Caller);

/// A person on their own data; staff are refused.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "bearer", checker = "check_subject")]
pub struct Subject(Caller);

/// Somebody with a guest's token: nobody in particular, of whom nothing is kept.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "guest", checker = "check_guest")]
pub struct Guest(pub Ctx);

/// Staff of the compliance desk, or an auditor; nobody else.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "bearer", checker = "check_staff")]
pub struct Staff(Caller);

/// Staff of the compliance desk, and nobody else.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "bearer", checker = "check_compliance")]
pub struct Compliance(Caller);

/// Who is calling.
pub struct Caller {
    ctx: Ctx,
    claims: Claims,
}

impl std::ops::Deref for SignedIn {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl std::ops::Deref for Subject {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl std::ops::Deref for Compliance {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl std::ops::Deref for Staff {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Caller {
    /// The circumstances of the request.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// The caller's public id.
    pub fn user(&self) -> UserId {
        self.claims.user
    }

    /// Counts a command that sends a letter; refuses where there were too many.
    pub async fn count_letter(&self, app: &App) -> Result<(), AppError> {
        app.limit_count(&self.ctx, &[(Limit::LettersPerPerson, &self.ctx.subject.to_string())]).await.map(drop)
    }

    /// The time zone of the caller's work profile; UTC if it has none.
    pub fn zone(&self) -> chrono_tz::Tz {
        self.claims.time_zone.parse().unwrap_or(chrono_tz::Tz::UTC)
    }

    /// The day, where the caller is.
    pub fn today(&self) -> NaiveDate {
        today(self.ctx.now(), &self.claims.time_zone)
    }
}

/// Where a request came from.
fn client(request: &Request) -> Client {
    let address = match request.remote_addr() {
        RemoteAddr(poem::Addr::SocketAddr(address)) => {
            let trusted = request.data::<TrustedProxies>().map_or(&[][..], |proxies| proxies.0.as_slice());
            let values: Vec<_> = request.headers().get_all("x-forwarded-for").iter().collect();
            behind(trusted, address.ip(), values.iter().filter_map(|value| value.to_str().ok())).to_string()
        }
        RemoteAddr(other) => other.to_string(),
    };
    let agent = request.header(poem::http::header::USER_AGENT).unwrap_or_default();
    let agent: String = agent.chars().filter(|c| !c.is_control()).take(256).collect();
    Client { address: Personal::new(address), agent: Personal::new(agent) }
}

/// Whom the connection's other end speaks for: where it is a trusted proxy, the last address that `X-Forwarded-For` names
/// and that is no trusted proxy itself. What stands before that, anybody may have written.
fn behind<'a>(trusted: &[IpAddr], peer: IpAddr, forwarded_for: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
    if !trusted.contains(&peer) {
        return peer;
    }
    let hops = forwarded_for.rev().flat_map(|value| value.rsplit(',')).map(|hop| hop.trim().parse::<IpAddr>());
    let mut known = hops.map_while(Result::ok).filter(|hop| !trusted.contains(hop));
    known.next().unwrap_or(peer)
}

fn app(request: &Request) -> Result<&Arc<App>> {
    request.data::<Arc<App>>().ok_or_else(|| poem::Error::from_status(poem::http::StatusCode::INTERNAL_SERVER_ERROR))
}

fn context(request: &Request) -> Result<Ctx> {
    let id = request.data::<RequestId>().copied().unwrap_or_else(RequestId::random);
    Ok(Ctx::anonymous(app(request)?.clock.clone(), client(request), id))
}

async fn check(request: &Request, bearer: Bearer) -> Result<Caller> {
    let ctx = context(request)?;
    let signed_out = || poem::Error::from(Refusal::from(AppError::SignedOut));
    let claims = app(request)?.tokens.verify(&bearer.token, ctx.now()).ok_or_else(signed_out)?;
    let ctx = ctx.for_subject(claims.subject, Some(claims.session)).acting_as(claims.role);
    Ok(Caller { ctx, claims })
}

async fn check_subject(request: &Request, bearer: Bearer) -> Result<Caller> {
    let caller = check(request, bearer).await?;
    if caller.claims.role == Role::Subject { Ok(caller) } else { Err(Refusal::from(AppError::Forbidden).into()) }
}

async fn check_guest(request: &Request, bearer: Bearer) -> Result<Ctx> {
    let ctx = context(request)?;
    let known = app(request)?.tokens.verify_guest(&bearer.token, ctx.now());
    if known { Ok(ctx) } else { Err(Refusal::from(AppError::SignedOut).into()) }
}

/// What is kept of a request that shows a token, in case it is refused.
pub struct Signed {
    app: Arc<App>,
    ctx: Ctx,
    token: String,
}

impl Signed {
    /// None where it shows none.
    pub fn of(request: &Request) -> Option<Self> {
        let token = request.header(poem::http::header::AUTHORIZATION)?.strip_prefix("Bearer ")?.to_owned();
        Some(Self { app: app(request).ok()?.clone(), ctx: context(request).ok()?, token })
    }

    /// Records a refusal in the log of whoever is signed in.
    pub async fn record_refusal(self, status: u16, path: &str) {
        let Some(claims) = self.app.tokens.verify(&self.token, self.ctx.now()) else { return };
        let ctx = self.ctx.for_subject(claims.subject, Some(claims.session)).acting_as(claims.role);
        if let Err(error) = self.app.refusal_record(&ctx, status, path).await {
            tracing::error!(%error, "a refusal can't be recorded");
        }
    }
}

/// The member of staff who makes a request that the framework does not check.
pub async fn staff(request: &Request) -> Result<Caller> {
    let token = request.header(poem::http::header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let bearer = Bearer { token: token.unwrap_or_default().to_owned() };
    check_staff(request, bearer).await
}

async fn check_compliance(request: &Request, bearer: Bearer) -> Result<Caller> {
    let caller = check(request, bearer).await?;
    if caller.claims.role == Role::Compliance { Ok(caller) } else { Err(Refusal::from(AppError::Forbidden).into()) }
}

async fn check_staff(request: &Request, bearer: Bearer) -> Result<Caller> {
    let caller = check(request, bearer).await?;
    let staff = matches!(caller.claims.role, Role::Compliance | Role::Auditor);
    if staff { Ok(caller) } else { Err(Refusal::from(AppError::Forbidden).into()) }
}

impl<'a> FromRequest<'a> for Anyone {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        context(request).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(trusted: &[&str], peer: &str, forwarded_for: &[&str]) -> String {
        let parse = |text: &str| text.parse().expect("an address");
        let trusted: Vec<IpAddr> = trusted.iter().map(|text| parse(text)).collect();
        behind(&trusted, parse(peer), forwarded_for.iter().copied()).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_its_own_word() {
        assert_eq!(seen(&[], "192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "nobody is trusted");
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.9", &["198.51.100.7"]), "192.0.2.9", "another peer");
        let forged = ["203.0.113.5, 198.51.100.7"];
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &forged), "198.51.100.7", "what the client wrote itself");
        let chain = ["203.0.113.5", "198.51.100.7, 192.0.2.2"];
        assert_eq!(seen(&["192.0.2.1", "192.0.2.2"], "192.0.2.1", &chain), "198.51.100.7", "a chain of proxies");
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &["unknown"]), "192.0.2.1");
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &[]), "192.0.2.1");
    }
}
