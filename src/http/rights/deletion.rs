//! Deletion: asking for it, confirming it with a mailed token and a typed phrase, cancelling it, and watching its grace
//! run. Called by anybody who is signed in, on their own data.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::DeletionId;
use domain::{
    filter::Filter,
    rights::deletion::{DeletionState, Scope},
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
        App,
        log::access,
        rights::deletion::{self, DeletionRequest, Requested},
    },
    http::{
        problem::Refusal,
        repeatable::Repeatable,
        request::{
            caller::SignedIn,
            cursor,
            filter::FilterInput,
            header_field::IdempotencyKey,
            input::{Body, Input},
            number::Whole,
            text::{OwnWords, Text},
        },
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// Asks for a deletion.
#[derive(Object)]
#[oai(rename = "DeletionRequest")]
pub struct DeletionInput {
    /// How much: `full`, the account with everything; `partial`, the records that `filters` name; `sessions_only`, the
    /// kinds that are sessions.
    deletion_type: OneOf<Scope>,
    /// Which records; required for `partial`, absent for `full`.
    #[oai(skip_serializing_if_is_none)]
    filters: Option<FilterInput>,
    /// The reason in the person's own words, at most 1000 characters; kept sealed. Absent if the person gives none.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<Text<OwnWords>>,
}

/// Confirms a deletion.
#[derive(Object)]
pub struct DeletionConfirmation {
    /// The phrase that the answer to the request named.
    phrase: String,
}

/// How many records of a kind would be deleted.
#[derive(Object)]
pub struct KindCount {
    /// The name of the kind.
    kind: String,
    /// How many records.
    count: u32,
}

/// Something that stays, and why.
#[derive(Object)]
pub struct Remainder {
    /// The thing that stays.
    what: String,
    /// The reason why it stays.
    why: String,
}

/// What a confirmed deletion would do.
#[derive(Object)]
pub struct DeletionAsked {
    /// The id of the request.
    deletion_id: Uuid,
    /// Always `pending`: nothing is deleted yet.
    status: OneOf<DeletionState>,
    /// A warning to show to the person, that the deletion cannot be undone.
    warning: String,
    /// How many records of each kind would be deleted.
    would_go: Vec<KindCount>,
    /// What would stay, and why.
    stays: Vec<Remainder>,
    /// The phrase that the person must type to confirm.
    confirmation_phrase: String,
    /// Until when the mailed token can confirm the request.
    #[oai(serialize_with = "in_utc")]
    token_expires_at: DateTime<Utc>,
    /// How long the deletion can be cancelled after it was confirmed, in seconds.
    grace_period_s: i64,
}

/// A request in its present state.
#[derive(Object)]
pub struct DeletionAnswer {
    /// The id of the request.
    deletion_id: Uuid,
    /// How much is to be deleted.
    deletion_type: OneOf<Scope>,
    /// The state of the request.
    status: OneOf<DeletionState>,
    /// When the request was made.
    #[oai(serialize_with = "in_utc")]
    requested_at: DateTime<Utc>,
    /// Until when the mailed token can confirm the request.
    #[oai(serialize_with = "in_utc")]
    token_expires_at: DateTime<Utc>,
    /// Until when the confirmed deletion can be cancelled; absent if it was never confirmed.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    grace_period_ends: Option<DateTime<Utc>>,
    /// How many seconds of the grace period are left; 0 once it is over. Absent if the deletion is not confirmed.
    #[oai(skip_serializing_if_is_none)]
    seconds_left: Option<i64>,
    /// When it was carried out, cancelled or replaced; absent before that.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    ended_at: Option<DateTime<Utc>>,
    /// How many records were removed; absent before the deletion is carried out.
    #[oai(skip_serializing_if_is_none)]
    removed: Option<i64>,
    /// Which records were asked for; absent if the request has no filter.
    #[oai(skip_serializing_if_is_none)]
    filters: Option<FilterInput>,
    /// The reason in the person's own words; absent if the person gave none.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
}

/// A page of a person's requests.
#[derive(Object)]
pub struct DeletionsAnswer {
    /// The requests, newest first.
    deletions: Vec<DeletionAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

impl Input for DeletionInput {}
impl Input for DeletionConfirmation {}

const WARNING: &str =
    "What is deleted is gone for good: nobody, we included, can bring it back once the grace period is over.";

fn stays(scope: Scope, held_until: Option<DateTime<Utc>>) -> Vec<Remainder> {
    let remainder = |what: &str, why: &str| Remainder { what: what.to_owned(), why: why.to_owned() };
    let mut stays = vec![
        remainder(
            "the log's entries: kind, type, time and size beside a random id",
            "they show that everything was done as it should; what they said is sealed with keys that are destroyed",
        ),
        remainder("statistics published before", "they are about no one, and are never computed again"),
    ];
    if scope == Scope::Full {
        stays.push(remainder(
            "that a consent was given or withdrawn, beside the same random id",
            "we must be able to show it (GDPR Art. 7(1)); no address and no name is with it",
        ));
    } else {
        stays.push(remainder("your account and your other records", "you did not ask for them to be deleted"));
    }
    if let Some(until) = held_until {
        stays.push(remainder(
            &format!("everything, until {}", until.format("%FT%TZ")),
            "a legal hold defers the deletion (GDPR Art. 17(3)); GET /v1/privacy/restriction says why",
        ));
    }
    stays
}

impl DeletionAsked {
    fn new(scope: Scope, asked: Requested) -> Self {
        let count = |(kind, count)| KindCount { kind, count: u32::try_from(count).unwrap_or(u32::MAX) };
        Self {
            deletion_id: asked.deletion.0,
            status: OneOf(DeletionState::Pending),
            warning: WARNING.to_owned(),
            would_go: asked.goes.into_iter().map(count).collect(),
            stays: stays(scope, asked.held_until),
            confirmation_phrase: scope.phrase().to_owned(),
            token_expires_at: asked.expires_at,
            grace_period_s: asked.grace_s,
        }
    }
}

impl DeletionAnswer {
    fn new(request: DeletionRequest, now: DateTime<Utc>) -> Self {
        let DeletionRequest { row, wish } = request;
        let waiting = row.grace_ends_at.filter(|_| row.state == DeletionState::Confirmed);
        Self {
            deletion_id: row.deletion.0,
            deletion_type: OneOf(row.scope),
            status: OneOf(row.state),
            requested_at: row.requested_at,
            token_expires_at: row.expires_at,
            grace_period_ends: row.grace_ends_at,
            seconds_left: waiting.map(|end| (end - now).num_seconds().max(0)),
            ended_at: row.ended_at,
            removed: row.removed,
            filters: (wish.filter != Filter::default()).then(|| wish.filter.into()),
            reason: wish.reason,
        }
    }
}

/// The answer to a request that was accepted.
#[derive(ApiResponse)]
pub enum DeletionTaken {
    /// A token is on its way to the address of the account.
    #[oai(status = 202)]
    Requested(
        Json<DeletionAsked>,
        /// Where the request's state is found.
        #[oai(header = "Location")]
        String,
    ),
}

pub struct DeletionApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Privacy")]
impl DeletionApi {
    /// Ask for a deletion
    ///
    /// Deletes nothing yet: the answer says what would go and what would stay, and a token is mailed. A second request
    /// replaces one that was not confirmed. After two cancelled requests the next one must wait a day.
    #[oai(path = "/delete-data", method = "post", operation_id = "deletion_request")]
    async fn request(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<DeletionInput>,
    ) -> Result<Repeatable<DeletionTaken>, Refusal> {
        let request = key.request(&json!([body.0.to_json()]));
        let DeletionInput { deletion_type: OneOf(scope), filters, reason } = body.0;
        let reason = reason.map(|reason| reason.text).filter(|reason| !reason.is_empty());
        let filter = filters.map(|filters| filters.filter(caller.zone())).unwrap_or_default();
        let asked = deletion::request(&app, caller.ctx(), scope, filter, reason, request.as_ref()).await?;
        Ok(Repeatable::of(asked, |asked, _| {
            let address = format!("/v1/privacy/deletions/{}", asked.deletion);
            DeletionTaken::Requested(Json(DeletionAsked::new(scope, asked)), address)
        }))
    }

    /// Confirm a deletion
    ///
    /// Takes the mailed token and the phrase. Then the grace period runs: the person can still read their data, nothing
    /// new is accepted, and the same token cancels the deletion.
    #[oai(path = "/confirm-deletion/:token", method = "post", operation_id = "deletion_confirm")]
    async fn confirm(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The token from the letter.
        token: Path<String>,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<DeletionConfirmation>,
    ) -> Result<Repeatable<Json<DeletionAnswer>>, Refusal> {
        let request = key.request(&json!([token.0, body.0.to_json()]));
        let confirmed = deletion::confirm(&app, caller.ctx(), &token.0, &body.0.phrase, request.as_ref()).await?;
        Ok(Repeatable::of(confirmed, |request, at| Json(DeletionAnswer::new(request, at))))
    }

    /// Cancel a deletion
    ///
    /// Takes the mailed token. Possible until the grace period ends.
    #[oai(path = "/cancel-deletion/:token", method = "post", operation_id = "deletion_cancel")]
    async fn cancel(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The token from the letter.
        token: Path<String>,
    ) -> Result<Json<DeletionAnswer>, Refusal> {
        let request = deletion::cancel(&app, caller.ctx(), &token.0).await?;
        Ok(Json(DeletionAnswer::new(request, caller.ctx().now())))
    }

    /// See all requests to delete
    ///
    /// Newest first, each in its present state.
    #[oai(path = "/deletions", method = "get", operation_id = "deletion_list")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many requests at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<DeletionsAnswer>, Refusal> {
        let (ctx, page) = (caller.ctx(), cursor::page(&cursor, &limit, 100)?);
        let (requests, next, keys) = deletion::list(&app, ctx, &page).await?;
        access::note_read(&app, ctx, keys, "deletion", requests.len(), String::new()).await?;
        let deletions = requests.into_iter().map(|request| DeletionAnswer::new(request, ctx.now())).collect();
        Ok(Json(DeletionsAnswer { deletions, next_cursor: next.map(cursor::make) }))
    }

    /// See a request to delete
    ///
    /// Its status and, while its grace period runs, for how long it can still be cancelled.
    #[oai(path = "/deletions/:deletion_id", method = "get", operation_id = "deletion_get")]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The id of the request.
        deletion_id: Path<Uuid>,
    ) -> Result<Json<DeletionAnswer>, Refusal> {
        let ctx = caller.ctx();
        let (request, keys) = deletion::get(&app, ctx, DeletionId(deletion_id.0)).await?;
        access::note_read(&app, ctx, keys, "deletion", 1, String::new()).await?;
        Ok(Json(DeletionAnswer::new(request, ctx.now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_said_for_every_scope() {
        for scope in [Scope::Full, Scope::Partial, Scope::SessionsOnly] {
            assert_eq!(stays(scope, None).len(), 3);
            let held = stays(scope, Some(DateTime::UNIX_EPOCH));
            assert!(held.last().is_some_and(|last| last.what.contains("1970-01-01T00:00:00Z")));
        }
    }
}
