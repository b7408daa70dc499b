//! The caller's own account: seeing it, and correcting the work profile (GDPR Art. 16). Called by anybody who is signed
//! in.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{RoleLevel, Specialty, StateCode, kinds::WorkProfile};
use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json};
use uuid::Uuid;

use crate::{
    app::{App, AppError, identity::profile, log::access, records::version::Expected},
    http::{
        problem::Refusal,
        request::{
            caller::SignedIn,
            etag::{Conditions, quoted},
            header_field::HeaderList,
            input::Input,
            patch::{Patch, Removable},
            text::{CountryCode, HospitalId, Text, TimeZone},
        },
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// An account, as its holder sees it.
#[derive(Object)]
pub struct AccountAnswer {
    /// The account's public id.
    user_id: Uuid,
    /// The e-mail address of the account.
    email: String,
    /// The id of the hospital; absent if the account has no work profile, as for staff.
    #[oai(skip_serializing_if_is_none)]
    hospital_id: Option<String>,
    /// The specialty; absent if the account has no work profile.
    #[oai(skip_serializing_if_is_none)]
    specialty: Option<OneOf<Specialty>>,
    /// The level of the role; absent if the account has no work profile.
    #[oai(skip_serializing_if_is_none)]
    role_level: Option<OneOf<RoleLevel>>,
    /// The federal state; absent if it was not given.
    #[oai(skip_serializing_if_is_none)]
    state_code: Option<OneOf<StateCode>>,
    /// The country, ISO 3166-1 alpha-3; absent if the account has no work profile.
    #[oai(skip_serializing_if_is_none)]
    country_code: Option<String>,
    /// The time zone, by its IANA name; absent if the account has no work profile.
    #[oai(skip_serializing_if_is_none)]
    time_zone: Option<String>,
    /// When the account was made.
    #[oai(serialize_with = "in_utc")]
    created_at: DateTime<Utc>,
    /// When a work day was last submitted or changed; absent if there is no work day.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    last_submission_at: Option<DateTime<Utc>>,
}

/// What to correct, as a merge patch (RFC 7396): an absent field stays as it is.
#[derive(Object)]
pub struct AccountPatch {
    /// The id of the new hospital: 2 to 64 lower-case letters, digits and hyphens, beginning with a letter.
    #[oai(skip_serializing_if_is_none)]
    hospital_id: Option<Text<HospitalId>>,
    /// The new specialty.
    #[oai(skip_serializing_if_is_none)]
    specialty: Option<OneOf<Specialty>>,
    /// The new level of the role.
    #[oai(skip_serializing_if_is_none)]
    role_level: Option<OneOf<RoleLevel>>,
    /// The new federal state; `null` removes it. No other field can be removed.
    #[oai(skip_serializing_if_is_none)]
    state_code: Removable<OneOf<StateCode>>,
    /// The new country, ISO 3166-1 alpha-3.
    #[oai(skip_serializing_if_is_none)]
    country_code: Option<Text<CountryCode>>,
    /// The new time zone, by its IANA name.
    #[oai(skip_serializing_if_is_none)]
    time_zone: Option<Text<TimeZone>>,
}

impl Input for AccountPatch {}

impl AccountPatch {
    fn apply(&self, work: &WorkProfile) -> WorkProfile {
        WorkProfile {
            hospital_id: given(&self.hospital_id, &work.hospital_id),
            specialty: self.specialty.map_or(work.specialty, |choice| choice.0),
            role_level: self.role_level.map_or(work.role_level, |choice| choice.0),
            state_code: self.state_code.apply(work.state_code.map(OneOf)).map(|choice| choice.0),
            country_code: given(&self.country_code, &work.country_code),
            time_zone: given(&self.time_zone, &work.time_zone),
        }
    }
}

/// The text that a patch gives, otherwise the present one.
fn given<F>(text: &Option<Text<F>>, present: &str) -> String {
    text.as_ref().map_or(present, |given| &given.text).to_owned()
}

/// The account, and its version.
#[derive(ApiResponse)]
pub enum AccountShown {
    /// The account.
    #[oai(status = 200)]
    Ok(
        Json<AccountAnswer>,
        /// The account's tag, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
    /// The caller has this version already.
    #[oai(status = 304)]
    Unchanged(
        /// The account's tag.
        #[oai(header = "ETag")]
        String,
    ),
}

/// The account after a change, and its version.
#[derive(ApiResponse)]
pub enum AccountRectified {
    /// The account.
    #[oai(status = 200)]
    Ok(
        Json<AccountAnswer>,
        /// The account's tag, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
}

/// How often a change is tried again because somebody else changed the work profile in between.
const RECTIFY_ATTEMPTS: usize = 5;

pub struct AccountApi;

#[OpenApi(prefix_path = "/v1/auth", tag = "Tag::Account")]
impl AccountApi {
    /// See the account
    ///
    /// The caller's address and work profile, as they are today.
    #[oai(path = "/me", method = "get", operation_id = "account_get")]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// Tags of versions, one of which the account must have, or `*` for any; otherwise the answer is 412.
        #[oai(name = "If-Match")]
        if_match: HeaderList,
        /// Tags of versions that the caller has; if the account has one of them, the answer is 304 without a body.
        #[oai(name = "If-None-Match")]
        if_none_match: HeaderList,
    ) -> Result<AccountShown, Refusal> {
        let conditions = Conditions::read(&if_match, &if_none_match)?;
        let (answer, etag) = open(&app, &caller, &conditions).await?;
        Ok(answer
            .map_or_else(|| AccountShown::Unchanged(etag.clone()), |answer| AccountShown::Ok(answer, etag.clone())))
    }

    /// Rectify the account
    ///
    /// Changes the fields that the body names, and removes those that it names with `null`. A new time zone takes
    /// effect with the next access token.
    #[oai(path = "/me", method = "patch", operation_id = "account_rectify")]
    async fn rectify(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// Tags of versions, one of which the account must have, or `*` for any; otherwise nothing is changed and the
        /// answer is 412.
        #[oai(name = "If-Match")]
        if_match: HeaderList,
        /// Tags of versions that the account must not have; with `*` nothing that exists is changed.
        #[oai(name = "If-None-Match")]
        if_none_match: HeaderList,
        body: Patch<AccountPatch>,
    ) -> Result<AccountRectified, Refusal> {
        let ctx = caller.ctx();
        // Only the work profile's part of the tag is compared: a day that is submitted meanwhile changes the tag, but
        // nothing that is corrected here.
        let conditions = Conditions::read(&if_match, &if_none_match)?.expected_by(work_version);
        for _ in 0..RECTIFY_ATTEMPTS {
            let (profile, _) = profile::get(&app, ctx).await?;
            let (work, version) = profile.work.ok_or(AppError::NotFound("work profile"))?;
            let permitted = conditions.permits(Some(&version));
            let expected = if permitted { Expected::version(version) } else { Expected::nothing() };
            match profile::rectify(&app, ctx, &body.0.apply(&work), expected, caller.today()).await {
                // Somebody else was faster, so the condition is compared with the version that is there now.
                Err(AppError::PreconditionFailed) if permitted => {}
                outcome => {
                    outcome?;
                    let (answer, etag) = open(&app, &caller, &Conditions::default()).await?;
                    let answer = answer.ok_or_else(|| AppError::Corrupt("an account was not shown".to_owned()))?;
                    return Ok(AccountRectified::Ok(answer, etag));
                }
            }
        }
        Err(AppError::PreconditionFailed.into())
    }
}

/// The account's tag. It changes with everything that the account shows: the version of the work profile, and the time
/// of the last submission.
fn opaque(version: String, last_submission_at: Option<DateTime<Utc>>) -> String {
    match last_submission_at {
        Some(at) => format!("{version}.{}", at.timestamp_micros()),
        None => version,
    }
}

/// The work profile's version in the account's tag.
fn work_version(opaque: &str) -> &str {
    opaque.split_once('.').map_or(opaque, |(version, _)| version)
}

/// The account and its tag; no account if the caller has it already.
async fn open(
    app: &App,
    caller: &SignedIn,
    conditions: &Conditions,
) -> Result<(Option<Json<AccountAnswer>>, String), Refusal> {
    let (profile, keys) = profile::get(app, caller.ctx()).await?;
    let (work, version) = profile.work.unzip();
    let etag = opaque(version.unwrap_or_default(), profile.last_submission_at);
    let unchanged = conditions.has(&etag)?;
    access::note_read(app, caller.ctx(), keys, "account", usize::from(!unchanged), String::new()).await?;
    if unchanged {
        return Ok((None, quoted(&etag)));
    }
    let answer = AccountAnswer {
        user_id: caller.user().0,
        email: profile.contact.email,
        hospital_id: work.as_ref().map(|work| work.hospital_id.clone()),
        specialty: work.as_ref().map(|work| OneOf(work.specialty)),
        role_level: work.as_ref().map(|work| OneOf(work.role_level)),
        state_code: work.as_ref().and_then(|work| work.state_code).map(OneOf),
        country_code: work.as_ref().map(|work| work.country_code.clone()),
        time_zone: work.map(|work| work.time_zone),
        created_at: profile.registered_at,
        last_submission_at: profile.last_submission_at,
    };
    Ok((Some(Json(answer)), quoted(&etag)))
}
