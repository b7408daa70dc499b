//! Signing in: codes, registration, login, refresh, logout. Called by anyone; the logout needs a session.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::{Ctx, Personal};
use domain::{
    RoleLevel, Specialty, StateCode, identity::account::AccountError, kinds::WorkProfile, rights::consent::Purpose,
};
use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json};
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        identity::{
            account::{self, Registration},
            asker, code,
            known::{self, Known},
            limit, sign_in,
        },
    },
    auth::{
        Grant,
        codes::Proof,
        devices::Asker,
        limits::{Allowance, Limit},
    },
    http::{
        problem::Refusal,
        request::{
            caller::{Anyone, SignedIn},
            input::{Body, Input},
            text::{CountryCode, Email, HospitalId, SignInCode, Text, TimeZone},
        },
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// Asks for a code.
#[derive(Object)]
pub struct CodeRequest {
    /// The e-mail address that the code is sent to.
    email: Text<Email>,
    /// The secret of a device on which this address signed in before, from the answer to that sign-in; absent if there
    /// is none.
    #[oai(skip_serializing_if_is_none)]
    device_secret: Option<String>,
}

/// Makes an account. The code was mailed to the address by `POST /v1/auth/code`.
#[derive(Object)]
pub struct RegisterRequest {
    /// The e-mail address of the account.
    email: Text<Email>,
    /// The code that was mailed to it: six digits, or twelve letters and digits.
    code: Text<SignInCode>,
    /// The id of the hospital: 2 to 64 lower-case letters, digits and hyphens, beginning with a letter.
    hospital_id: Text<HospitalId>,
    /// The person's specialty.
    specialty: OneOf<Specialty>,
    /// The level of the person's role.
    role_level: OneOf<RoleLevel>,
    /// The federal state; absent if it is not given. Without a state, no statistic by state counts the person.
    #[oai(skip_serializing_if_is_none)]
    state_code: Option<OneOf<StateCode>>,
    /// The country, ISO 3166-1 alpha-3; if absent, `DEU`.
    #[oai(skip_serializing_if_is_none)]
    country_code: Option<Text<CountryCode>>,
    /// The time zone by its IANA name; if absent, `Europe/Berlin`.
    #[oai(skip_serializing_if_is_none)]
    time_zone: Option<Text<TimeZone>>,
    /// The purposes that the person consents to, on their current notices, each once; absent: none.
    #[oai(skip_serializing_if_is_none, validator(unique_items = true))]
    consents: Option<Vec<OneOf<Purpose>>>,
    /// The secret of a device on which this address signed in before, from the answer to that sign-in; absent if there
    /// is none.
    #[oai(skip_serializing_if_is_none)]
    device_secret: Option<String>,
}

/// Signs in.
#[derive(Object)]
pub struct LoginRequest {
    /// The e-mail address of the account.
    email: Text<Email>,
    /// The code that was mailed to it: six digits, or twelve letters and digits.
    code: Text<SignInCode>,
    /// The secret of a device on which this address signed in before, from the answer to that sign-in; absent if there
    /// is none.
    #[oai(skip_serializing_if_is_none)]
    device_secret: Option<String>,
}

/// Exchanges a refresh token.
#[derive(Object)]
pub struct RefreshRequest {
    /// The newest refresh token of the session.
    refresh_token: String,
    /// The secret of the device, if it keeps one. A client that has one should send it: if an answer gets lost, the
    /// same device gets the same refresh token again, even from another network.
    #[oai(skip_serializing_if_is_none)]
    device_secret: Option<String>,
}

/// What a sign-in or a refresh gives.
#[derive(Object)]
pub struct SignInAnswer {
    /// The account's public id.
    user_id: Uuid,
    /// The access token, for `Authorization: Bearer …`.
    token: String,
    /// The refresh token. It is used once, and the answer holds the next one. The same client that shows it again
    /// within 30 seconds gets the same next one.
    refresh_token: String,
    /// When the access token expires.
    #[oai(serialize_with = "in_utc")]
    expires_at: DateTime<Utc>,
    /// A secret for this device to keep. The device shows it when it asks for a code and when it signs in again, so
    /// that strangers who try codes for the address do not hold it up. The secret opens nothing by itself. Absent in
    /// the answer to a refresh.
    #[oai(skip_serializing_if_is_none)]
    device_secret: Option<String>,
}

impl Input for CodeRequest {}
impl Input for LoginRequest {}
impl Input for RefreshRequest {}
impl Input for RegisterRequest {}

impl RegisterRequest {
    fn registration(self) -> Registration {
        let work = WorkProfile {
            hospital_id: self.hospital_id.text,
            specialty: self.specialty.0,
            role_level: self.role_level.0,
            state_code: self.state_code.map(|state| state.0),
            country_code: self.country_code.map_or_else(|| WorkProfile::DEFAULT_COUNTRY.to_owned(), |it| it.text),
            time_zone: self.time_zone.map_or_else(|| WorkProfile::DEFAULT_TIME_ZONE.to_owned(), |it| it.text),
        };
        let consents = self.consents.unwrap_or_default().into_iter().map(|purpose| purpose.0).collect();
        Registration { email: self.email.text, work: Some(work), consents }
    }
}

impl From<Grant> for SignInAnswer {
    fn from(grant: Grant) -> Self {
        Self {
            user_id: grant.claims.user.0,
            token: grant.token,
            refresh_token: grant.refresh_token,
            expires_at: grant.expires_at,
            device_secret: grant.device_secret.map(Personal::into_inner),
        }
    }
}

/// The answer to a request for a code.
#[derive(ApiResponse)]
pub enum CodeSent {
    /// A code is on its way, if the address can receive one. Known and unknown addresses are treated alike.
    #[oai(status = 202)]
    Accepted(
        /// How many requests the limit still allows, and in how many seconds it resets.
        #[oai(header = "RateLimit")]
        String,
        /// The quota of the limit, and its window in seconds.
        #[oai(header = "RateLimit-Policy")]
        String,
    ),
}

/// The answer to a registration.
#[derive(ApiResponse)]
pub enum Registered {
    /// The account is made, and its holder is signed in.
    #[oai(status = 201)]
    Created(
        Json<SignInAnswer>,
        /// How many requests the limit still allows, and in how many seconds it resets.
        #[oai(header = "RateLimit")]
        String,
        /// The quota of the limit, and its window in seconds.
        #[oai(header = "RateLimit-Policy")]
        String,
    ),
}

/// The answer to a refresh.
#[derive(ApiResponse)]
pub enum Refreshed {
    /// A new pair of tokens.
    #[oai(status = 200)]
    Ok(Json<SignInAnswer>),
}

/// The answer to a login.
#[derive(ApiResponse)]
pub enum SignedInNow {
    /// The person is signed in.
    #[oai(status = 200)]
    Ok(
        Json<SignInAnswer>,
        /// How many requests the limit still allows, and in how many seconds it resets.
        #[oai(header = "RateLimit")]
        String,
        /// The quota of the limit, and its window in seconds.
        #[oai(header = "RateLimit-Policy")]
        String,
    ),
}

/// The answer to a logout.
#[derive(ApiResponse)]
pub enum SignedOutNow {
    /// The session has ended; its tokens are refused from now on.
    #[oai(status = 204)]
    Done,
}

pub struct AuthApi;

#[OpenApi(prefix_path = "/v1/auth", tag = "Tag::SignIn")]
impl AuthApi {
    /// Mail a code
    ///
    /// Sends a code to an address: six digits, valid for ten minutes and one sign-in; or twelve letters and digits, if
    /// too many wrong codes were tried with the address. A newer code replaces the older one of the same client or
    /// device.
    #[oai(path = "/code", method = "post", operation_id = "auth_code")]
    async fn code(&self, app: Data<&Arc<App>>, anyone: Anyone, body: Body<CodeRequest>) -> Result<CodeSent, Refusal> {
        let (ctx, CodeRequest { email, device_secret }) = (&anyone.0, &body.0);
        let known = code::to_mail(&app, ctx, email).await?;
        let asker = asker::find(&app, ctx, known.as_ref(), device_secret.as_deref()).await?;
        let left = code::count(&app, ctx, email, &asker).await?;
        code::send(&app, ctx, email, known.as_ref(), &asker).await?;
        Ok(CodeSent::Accepted(left.header(), left.policy_header()))
    }

    /// Register
    ///
    /// Makes an account for an address that has none, with a mailed code.
    #[oai(path = "/register", method = "post", operation_id = "auth_register")]
    async fn register(
        &self,
        app: Data<&Arc<App>>,
        anyone: Anyone,
        body: Body<RegisterRequest>,
    ) -> Result<Registered, Refusal> {
        let (ctx, code, device_secret) = (&anyone.0, body.0.code.text.clone(), body.0.device_secret.clone());
        let registration = body.0.registration();
        registration.check(ctx)?;
        let Proven { proof, known, left } =
            prove(&app, ctx, &registration.email, &code, device_secret.as_deref()).await?;
        if known.is_some() {
            return Err(AppError::of_rule(AccountError::Exists).into());
        }
        let outcome = account::register(&app, ctx, &registration, &proof).await;
        let grant = recorded(&app, ctx, None, outcome).await?;
        Ok(Registered::Created(Json(grant.into()), left.header(), left.policy_header()))
    }

    /// Sign in
    ///
    /// Signs in an address that has an account, with a mailed code.
    #[oai(path = "/login", method = "post", operation_id = "auth_login")]
    async fn login(
        &self,
        app: Data<&Arc<App>>,
        anyone: Anyone,
        body: Body<LoginRequest>,
    ) -> Result<SignedInNow, Refusal> {
        let ctx = &anyone.0;
        let LoginRequest { email, code, device_secret } = &body.0;
        let Proven { proof, known, left } = prove(&app, ctx, email, code, device_secret.as_deref()).await?;
        let known = known.ok_or(AppError::NotFound("account"))?;
        let outcome = sign_in::begin(&app, ctx, email, &known, &proof).await;
        let grant = recorded(&app, ctx, Some(&known), outcome).await?;
        Ok(SignedInNow::Ok(Json(grant.into()), left.header(), left.policy_header()))
    }

    /// Refresh
    ///
    /// Exchanges a refresh token for a new pair. A refresh token that is shown a second time ends its session. The
    /// exception is the same client that shows it again within 30 seconds, because an answer got lost or two requests
    /// met: it gets the same refresh token again.
    #[oai(path = "/refresh", method = "post", operation_id = "auth_refresh")]
    async fn refresh(
        &self,
        app: Data<&Arc<App>>,
        anyone: Anyone,
        body: Body<RefreshRequest>,
    ) -> Result<Refreshed, Refusal> {
        let RefreshRequest { refresh_token, device_secret } = &body.0;
        let grant = sign_in::refresh(&app, &anyone.0, refresh_token, device_secret.as_deref()).await?;
        Ok(Refreshed::Ok(Json(grant.into())))
    }

    /// Sign out
    ///
    /// Ends the session at once: its access tokens and refresh tokens are refused from now on.
    #[oai(path = "/logout", method = "post", operation_id = "auth_logout")]
    async fn logout(&self, app: Data<&Arc<App>>, caller: SignedIn) -> Result<SignedOutNow, Refusal> {
        sign_in::end(&app, caller.ctx()).await?;
        Ok(SignedOutNow::Done)
    }
}

/// What a right code proves: the code itself, the person if the address has an account, and what is left of the limit.
struct Proven {
    proof: Proof,
    known: Option<Known>,
    left: Allowance,
}

/// Checks a code, and records a wrong one. Only a caller who showed a right code learns if the address has an account.
async fn prove(app: &App, ctx: &Ctx, email: &str, code: &str, device_secret: Option<&str>) -> Result<Proven, AppError> {
    let known = known::account_of(app, ctx, email).await?;
    let asker = asker::find(app, ctx, known.as_ref(), device_secret).await?;
    let left = match &asker {
        Asker::Device(device) => limit::count(app, ctx, &[(Limit::SignInsPerDevice, &device.key())]).await?,
        Asker::Client(client) => limit::count(app, ctx, &[(Limit::SignInsPerClient, client)]).await?,
    };
    let outcome = code::show(app, ctx, email, code, &asker).await;
    let shown = recorded(app, ctx, known.as_ref(), outcome).await?;
    Ok(Proven { proof: Proof::Code(shown), known, left })
}

/// Records that a code was refused: it was wrong, too old, or used by a request that was faster.
async fn recorded<T>(app: &App, ctx: &Ctx, known: Option<&Known>, outcome: Result<T, AppError>) -> Result<T, AppError> {
    if let Err(AppError::CodeRefused) = outcome {
        code::fail_sign_in(app, ctx, known).await?;
    }
    outcome
}
