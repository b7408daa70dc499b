//! Restriction of processing (GDPR Art. 18) and objections (Art. 21): switches that every command obeys. Called by
//! anybody who is signed in, on their own data.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::rights::consent::Purpose;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use crate::{
    app::{
        App,
        log::access,
        rights::{
            consent,
            restriction::{self, Switches},
        },
    },
    http::{
        problem::Refusal,
        request::{
            caller::SignedIn,
            input::{Body, Input},
        },
        rights::consent::known,
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// Restricts processing, or lifts the restriction.
#[derive(Object)]
pub struct RestrictionDecision {
    /// True to restrict, false to lift.
    restricted: bool,
}

/// Objects to a purpose, or takes the objection back.
#[derive(Object)]
pub struct ObjectionDecision {
    /// True to object, false to take the objection back.
    objected: bool,
}

/// A legal hold on the caller's data.
#[derive(Object)]
pub struct HoldAnswer {
    /// The end of the hold.
    #[oai(serialize_with = "in_utc")]
    until: DateTime<Utc>,
    /// Why the hold was placed.
    reason: String,
}

/// The switches that limit what may be done with the caller's data.
#[derive(Object)]
pub struct RestrictionAnswer {
    /// Whether processing is restricted: data is stored, and nothing else is done with it; no submission, no export, no
    /// statistic.
    restricted: bool,
    /// Since when processing is restricted; absent if it is not.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    restricted_at: Option<DateTime<Utc>>,
    /// A legal hold, which defers a deletion; absent if there is none.
    #[oai(skip_serializing_if_is_none)]
    hold: Option<HoldAnswer>,
}

/// An objection in its present state.
#[derive(Object)]
pub struct ObjectionAnswer {
    /// The name of the purpose.
    purpose: OneOf<Purpose>,
    /// Whether the person objects to the purpose.
    objected: bool,
}

impl Input for RestrictionDecision {}
impl Input for ObjectionDecision {}

impl From<Switches> for RestrictionAnswer {
    fn from(switches: Switches) -> Self {
        Self {
            restricted: switches.restricted_at.is_some(),
            restricted_at: switches.restricted_at,
            hold: switches.hold.map(|(until, reason)| HoldAnswer { until, reason }),
        }
    }
}

pub struct RestrictionApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Privacy")]
impl RestrictionApi {
    /// See the restriction
    ///
    /// Whether processing is restricted, and whether a legal hold is in force, with its reason and its end.
    #[oai(path = "/restriction", method = "get", operation_id = "restriction_get")]
    async fn get(&self, app: Data<&Arc<App>>, caller: SignedIn) -> Result<Json<RestrictionAnswer>, Refusal> {
        show(&app, &caller).await
    }

    /// Restrict processing, or lift the restriction
    ///
    /// While processing is restricted, submissions, exports and imports are refused, records take part in no statistic,
    /// and no record is removed because it is expired. Reading, deciding on consents and deleting stay possible.
    #[oai(path = "/restriction", method = "put", operation_id = "restriction_decide")]
    async fn decide(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        body: Body<RestrictionDecision>,
    ) -> Result<Json<RestrictionAnswer>, Refusal> {
        restriction::decide(&app, caller.ctx(), body.0.restricted).await?;
        show(&app, &caller).await
    }

    /// Object to a purpose, or take the objection back
    ///
    /// An objection ends the consent, and no consent can be given until it is taken back. Taking it back gives no
    /// consent.
    #[oai(path = "/objections/:purpose", method = "put", operation_id = "objection_decide")]
    async fn object(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The name of the purpose.
        purpose: Path<String>,
        body: Body<ObjectionDecision>,
    ) -> Result<Json<ObjectionAnswer>, Refusal> {
        let purpose = known(&purpose.0)?;
        if !body.0.objected {
            // Objecting is never counted, so that nobody can keep the person from it by using up the letters.
            caller.count_letter(&app).await?;
        }
        consent::objection_decide(&app, caller.ctx(), purpose, body.0.objected).await?;
        Ok(Json(ObjectionAnswer { purpose: OneOf(purpose), objected: body.0.objected }))
    }
}

async fn show(app: &App, caller: &SignedIn) -> Result<Json<RestrictionAnswer>, Refusal> {
    let (switches, keys) = restriction::get(app, caller.ctx()).await?;
    access::note_read(app, caller.ctx(), keys, "restriction", 1, String::new()).await?;
    Ok(Json(switches.into()))
}
