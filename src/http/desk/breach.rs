//! The breach desk (GDPR Art. 33 and 34): the 72 hours of the controller, who is concerned, who was told. Called by the
//! compliance desk.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    desk::breach::{BreachCommand, Facts, Nature, Progress, Risk},
    kinds::KINDS,
};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::ToJSON,
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        desk::{breach, compliance},
        log::access,
        operation::projection,
    },
    http::{
        problem::Refusal,
        repeatable::Repeatable,
        request::{
            caller::Compliance,
            cursor,
            header_field::IdempotencyKey,
            input::{Body, Input},
            number::{Natural, Whole},
            text::{BreachReference, Text},
        },
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// What is known of a breach. It has no free text, because that would say things about people in clear.
#[derive(Object)]
pub struct BreachFacts {
    /// The reference of the controller's own file, such as `INC-2026-17`: 1 to 40 letters, digits, or one of - _ . /
    reference: Text<BreachReference>,
    /// What was breached.
    #[oai(validator(min_items = 1, unique_items = true))]
    nature: Vec<OneOf<Nature>>,
    /// The names of the kinds of data that are concerned; empty: any kind.
    kinds: Vec<String>,
    /// When the breach began.
    #[oai(serialize_with = "in_utc")]
    began_at: DateTime<Utc>,
    /// When the breach ended; absent if it has not.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    ended_at: Option<DateTime<Utc>>,
    /// The risk to people (Art. 33(1), 34(1)).
    risk: OneOf<Risk>,
    /// How many people are concerned, as far as is known; absent if that is not known.
    #[oai(skip_serializing_if_is_none)]
    affected: Option<Natural>,
    /// When the controller became aware; if absent, now. It is read when a breach is opened, and never changes after
    /// that.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    aware_at: Option<DateTime<Utc>>,
}

domain::choice! {
    /// What was done about a breach.
    BreachStepTaken {
        AuthorityNotified = "authority_notified", PeopleNotified = "people_notified", Closed = "closed",
    }
}

/// A step of a breach.
#[derive(Object)]
pub struct BreachStep {
    /// The step that was taken.
    step: OneOf<BreachStepTaken>,
    /// When the step was taken; if absent, now.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    at: Option<DateTime<Utc>>,
}

/// A breach.
#[derive(Object)]
pub struct BreachAnswer {
    /// The id of the breach.
    breach_id: Uuid,
    /// The facts that are known now.
    facts: BreachFacts,
    /// When the controller became aware.
    #[oai(serialize_with = "in_utc")]
    aware_at: DateTime<Utc>,
    /// Until when the authority must be notified; absent if it was notified, or need not be.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    due_at: Option<DateTime<Utc>>,
    /// How many seconds are left until then; negative if the time is over.
    #[oai(skip_serializing_if_is_none)]
    left_s: Option<i64>,
    /// When the authority was notified; absent if it was not.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    authority_notified_at: Option<DateTime<Utc>>,
    /// When the people concerned were told; absent if they were not.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    people_notified_at: Option<DateTime<Utc>>,
    /// When the breach was closed; absent if it is open.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    closed_at: Option<DateTime<Utc>>,
}

/// A page of breaches.
#[derive(Object)]
pub struct BreachesAnswer {
    /// The breaches; the one that changed last comes first.
    breaches: Vec<BreachAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// A person concerned by a breach.
#[derive(Object)]
pub struct AffectedPerson {
    /// The log's own id of the person.
    subject_id: Uuid,
    /// How many events about the person fall into the time.
    events: i64,
    /// When the first of these events was recorded.
    #[oai(serialize_with = "in_utc")]
    first_at: DateTime<Utc>,
    /// When the last of these events was recorded.
    #[oai(serialize_with = "in_utc")]
    last_at: DateTime<Utc>,
}

/// A page of the people concerned by a breach.
#[derive(Object)]
pub struct AffectedAnswer {
    /// How many people are concerned in all.
    people: i64,
    /// The people of the page, in the order of their ids.
    affected: Vec<AffectedPerson>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

impl Input for BreachFacts {}
impl Input for BreachStep {}

impl BreachFacts {
    fn facts(self, now: DateTime<Utc>) -> Result<Facts, AppError> {
        let facts = Facts {
            reference: self.reference.text,
            nature: self.nature.into_iter().map(|nature| nature.0).collect(),
            kinds: self.kinds,
            began_at: self.began_at,
            ended_at: self.ended_at,
            risk: self.risk.0,
            affected: self.affected.map(|people| people.0),
        };
        let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
        let mut faults = facts.faults(&kinds);
        if self.aware_at.is_some_and(|aware| aware > now) {
            faults.push(domain::Fault::new("aware_at", "must not lie in the future"));
        }
        if faults.is_empty() { Ok(facts) } else { Err(AppError::Invalid(faults)) }
    }
}

impl BreachAnswer {
    fn new((breach_id, progress): (Uuid, Progress), now: DateTime<Utc>) -> Self {
        let due_at = progress.due_at();
        let Progress { aware_at, authority_at, people_at, closed_at, facts } = progress;
        Self {
            breach_id,
            facts: BreachFacts {
                reference: Text::new(facts.reference),
                nature: facts.nature.into_iter().map(OneOf).collect(),
                kinds: facts.kinds,
                began_at: facts.began_at,
                ended_at: facts.ended_at,
                risk: OneOf(facts.risk),
                affected: facts.affected.map(Whole),
                aware_at: None,
            },
            aware_at,
            due_at,
            left_s: due_at.map(|due| (due - now).num_seconds()),
            authority_notified_at: authority_at,
            people_notified_at: people_at,
            closed_at,
        }
    }
}

/// A breach that was opened.
#[derive(ApiResponse)]
pub enum BreachOpened {
    /// The breach is on record, and its clock runs.
    #[oai(status = 201)]
    Created(
        Json<BreachAnswer>,
        /// Where it is found.
        #[oai(header = "Location")]
        String,
    ),
}

pub struct BreachApi;

#[OpenApi(prefix_path = "/v1/compliance/breaches", tag = "Tag::Compliance")]
impl BreachApi {
    /// See the breaches
    ///
    /// Each with the time that is left to notify the authority.
    #[oai(path = "/", method = "get", operation_id = "breach_list")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many breaches at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<BreachesAnswer>, Refusal> {
        let page = cursor::page(&cursor, &limit, 100)?;
        access::note_session_read(&app, caller.ctx(), "compliance", 1, "breaches".to_owned()).await?;
        let now = caller.ctx().now();
        let (breaches, next) = breach::list(&app, &page).await?;
        let breaches = breaches.into_iter().map(|breach| BreachAnswer::new(breach, now)).collect();
        Ok(Json(BreachesAnswer { breaches, next_cursor: next.map(cursor::make) }))
    }

    /// Open a breach
    ///
    /// 72 hours run from the moment in which the controller became aware (GDPR Art. 33(1)).
    #[oai(path = "/", method = "post", operation_id = "breach_open")]
    async fn open(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        facts: Body<BreachFacts>,
    ) -> Result<Repeatable<BreachOpened>, Refusal> {
        let request = key.request(&json!([facts.0.to_json()]));
        let now = caller.ctx().now();
        let aware_at = facts.0.aware_at.unwrap_or(now);
        let facts = facts.0.facts(now)?;
        projection::staff_standing(&app, caller.ctx()).await?;
        let command = (context::EventId::random().0, BreachCommand::Open { aware_at, facts });
        let opened = breach::decide(&app, caller.ctx(), "breach_open", command, request.as_ref()).await?;
        Ok(Repeatable::of(opened, |breach, at| {
            let address = format!("/v1/compliance/breaches/{}", breach.0);
            BreachOpened::Created(Json(BreachAnswer::new(breach, at)), address)
        }))
    }

    /// See a breach
    ///
    /// With the time that is left to notify the authority.
    #[oai(path = "/:id", method = "get", operation_id = "breach_get")]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The id of the breach.
        id: Path<Uuid>,
    ) -> Result<Json<BreachAnswer>, Refusal> {
        access::note_session_read(&app, caller.ctx(), "compliance", 1, format!("breach {}", id.0)).await?;
        Ok(Json(BreachAnswer::new((id.0, breach::get(&app, id.0).await?), caller.ctx().now())))
    }

    /// Put on record what is known now
    ///
    /// Replaces all facts; the time when the controller became aware stays as it was.
    #[oai(path = "/:id", method = "put", operation_id = "breach_assess")]
    async fn assess(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The id of the breach.
        id: Path<Uuid>,
        facts: Body<BreachFacts>,
    ) -> Result<Json<BreachAnswer>, Refusal> {
        let now = caller.ctx().now();
        let facts = facts.0.facts(now)?;
        projection::staff_standing(&app, caller.ctx()).await?;
        let command = (id.0, BreachCommand::Assess(facts));
        let assessed = breach::decide(&app, caller.ctx(), "breach_assess", command, None).await?;
        Ok(Json(BreachAnswer::new(assessed.value, now)))
    }

    /// Take a step
    ///
    /// The authority was notified, people were told, or nothing is left to do. A breach can be closed only if everybody
    /// was told who must be told.
    #[oai(path = "/:id/steps", method = "post", operation_id = "breach_step")]
    async fn step(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The id of the breach.
        id: Path<Uuid>,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        step: Body<BreachStep>,
    ) -> Result<Repeatable<Json<BreachAnswer>>, Refusal> {
        let request = key.request(&json!([id.0, step.0.to_json()]));
        let now = caller.ctx().now();
        let at = step.0.at.unwrap_or(now);
        if at > now {
            return Err(AppError::parameter("at", "must not lie in the future").into());
        }
        let command = match step.0.step.0 {
            BreachStepTaken::AuthorityNotified => BreachCommand::NotifyAuthority(at),
            BreachStepTaken::PeopleNotified => BreachCommand::NotifyPeople(at),
            BreachStepTaken::Closed => BreachCommand::Close(at),
        };
        projection::staff_standing(&app, caller.ctx()).await?;
        let taken = breach::decide(&app, caller.ctx(), "breach_step", (id.0, command), request.as_ref()).await?;
        Ok(Repeatable::of(taken, |breach, at| Json(BreachAnswer::new(breach, at))))
    }

    /// Who is concerned
    ///
    /// Everybody about whom data of these kinds was written or read in the time, by the log's own ids. Each look is an
    /// event too.
    #[oai(path = "/:id/affected", method = "get", operation_id = "breach_affected")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn affected(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The id of the breach.
        id: Path<Uuid>,
        /// The beginning, included; if absent, the beginning of the breach.
        from: Query<Option<DateTime<Utc>>>,
        /// The end, included; if absent, the end of the breach, or now.
        to: Query<Option<DateTime<Utc>>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many people at most, 1 to 10000; if absent, 1000.
        limit: Query<Option<Whole<1, 10000>>>,
    ) -> Result<Json<AffectedAnswer>, Refusal> {
        let page = cursor::page(&cursor, &limit, 1000)?;
        access::note_session_read(&app, caller.ctx(), "compliance", 1, format!("affected by {}", id.0)).await?;
        let facts = breach::get(&app, id.0).await?.facts;
        let from = from.0.unwrap_or(facts.began_at);
        let to = to.0.or(facts.ended_at).unwrap_or(caller.ctx().now());
        let (affected, next, people) = compliance::affected(&app, from, to, &facts.kinds, &page).await?;
        let affected = affected.into_iter().map(|it| AffectedPerson {
            subject_id: it.subject,
            events: it.events,
            first_at: it.first,
            last_at: it.last,
        });
        Ok(Json(AffectedAnswer { people, affected: affected.collect(), next_cursor: next.map(cursor::make) }))
    }
}
