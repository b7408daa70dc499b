//! The caller's right as the type of a parameter: an operation that takes a [`Subject`] can only be called by a person,
//! and only on their own data.

use std::sync::Arc;

use chrono::NaiveDate;
use context::{Ctx, RequestId, Role, UserId};
use poem::{Endpoint, FromRequest, IntoResponse, Request, RequestBody, Response, Result, http::StatusCode};
use poem_openapi::{
    SecurityScheme,
    auth::{ApiKey, Bearer, BearerAuthorization},
};

use crate::{
    app::{
        App, AppError,
        identity::{account::today, limit},
        log::access,
        rights::erasure,
    },
    auth::Claims,
    http::{
        problem::{self, Refusal},
        request::client::client,
    },
};

/// Any client; whether somebody is signed in is not checked.
pub struct Anyone(pub Ctx);

/// A person or a member of staff who is signed in, on their own account.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "bearer", checker = "check")]
pub struct SignedIn(Caller);

/// A person on their own data; staff are refused.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "bearer", checker = "check_subject")]
pub struct Subject(Caller);

/// A guest with a guest's token: nobody in particular, about whom nothing is kept.
#[derive(SecurityScheme)]
#[oai(ty = "api_key", key_in = "header", key_name = "Guest-Token", rename = "guest", checker = "check_guest")]
pub struct Guest(pub Ctx);

/// Staff of the compliance desk, or an auditor; nobody else.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "bearer", checker = "check_staff")]
pub struct Staff(Caller);

/// Staff of the compliance desk, and nobody else.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", rename = "bearer", checker = "check_compliance")]
pub struct Compliance(Caller);

/// The caller, as the access token names them.
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
    /// The context of the request.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// The caller's public id.
    pub fn user(&self) -> UserId {
        self.claims.user
    }

    /// Counts a command that sends a letter; refuses if there were too many.
    pub async fn count_letter(&self, app: &App) -> Result<(), AppError> {
        limit::count_letter(app, &self.ctx).await
    }

    /// The time zone of the caller's work profile; UTC if it has none.
    pub fn zone(&self) -> chrono_tz::Tz {
        self.claims.time_zone.parse().unwrap_or(chrono_tz::Tz::UTC)
    }

    /// The current day in the caller's time zone.
    pub fn today(&self) -> NaiveDate {
        today(self.ctx.now(), &self.claims.time_zone)
    }
}

fn app(request: &Request) -> Result<&Arc<App>> {
    request.data::<Arc<App>>().ok_or_else(|| poem::Error::from_status(poem::http::StatusCode::INTERNAL_SERVER_ERROR))
}

/// The context of a request before anybody is known to have signed in.
pub fn context(request: &Request) -> Result<Ctx> {
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

async fn check_guest(request: &Request, token: ApiKey) -> Result<Ctx> {
    let ctx = context(request)?;
    let tokens = &app(request)?.tokens;
    if tokens.verify_guest(&token.key, ctx.now()) {
        return Ok(ctx);
    }
    // Whoever is signed in is no guest.
    let signed_in = tokens.verify(&token.key, ctx.now()).is_some();
    Err(Refusal::from(if signed_in { AppError::Forbidden } else { AppError::SignedOut }).into())
}

/// The claims of the access token that a request shows; `None` if it shows none that counts.
pub fn verified(request: &Request) -> Option<Claims> {
    let Bearer { token } = Bearer::from_request(request).ok()?;
    let app = app(request).ok()?;
    app.tokens.verify(&token, app.clock.now())
}

/// Tells the holder of a token that was good that the person whom it names was erased.
pub async fn tell_erased<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let signed = request.data::<Arc<Signed>>().cloned();
    let response = problem::answer_of(next, request).await;
    let signed = signed.filter(|_| response.status() == StatusCode::UNAUTHORIZED);
    let erased = match signed {
        Some(signed) => signed.refuse_erased().await,
        None => None,
    };
    Ok(erased.map_or(response, IntoResponse::into_response))
}

/// What is kept of a request with a token, so that its refusal can be recorded, or told to be that of a person who was
/// erased.
pub struct Signed {
    app: Arc<App>,
    ctx: Ctx,
    token: String,
}

impl Signed {
    /// `None` if the request shows no token. `Authorization` is read by the framework's own parser, here, in [`staff`]
    /// and in every operation, so that no spelling of it lets a caller in without a record of the refusals.
    pub fn of(request: &Request) -> Option<Self> {
        let Bearer { token } = Bearer::from_request(request).ok()?;
        Some(Self { app: app(request).ok()?.clone(), ctx: context(request).ok()?, token })
    }

    /// The context of the person whom the token names; `None` if the token does not count.
    fn person(&self) -> Option<Ctx> {
        let claims = self.app.tokens.verify(&self.token, self.ctx.now())?;
        Some(self.ctx.for_subject(claims.subject, Some(claims.session)).acting_as(claims.role))
    }

    /// The refusal of a token whose person was erased; `None` if nobody was.
    async fn refuse_erased(&self) -> Option<Refusal> {
        match erasure::day_of(&self.app, &self.person()?).await {
            Ok(day) => day.map(|day| AppError::Erased { day }.into()),
            Err(error) => Some(error.into()),
        }
    }

    /// Records a refusal in the log of the person whom the token names.
    pub async fn record_refusal(&self, status: u16, path: &str) {
        let Some(ctx) = self.person() else { return };
        if let Err(error) = access::record_refusal(&self.app, &ctx, status, path).await {
            tracing::error!(%error, "a refusal can't be recorded");
        }
    }
}

/// The member of staff who calls a route that the framework does not check.
pub async fn staff(request: &Request) -> Result<Caller> {
    let bearer = Bearer::from_request(request).map_err(|_| Refusal::from(AppError::SignedOut))?;
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
