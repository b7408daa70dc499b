//! Deletion: asking for it, confirming it with a mailed token and a typed phrase, cancelling it, and watching its grace run.
//! Called by whoever is signed in, on their own data.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::DeletionId;
use domain::{
    filter::Filter,
    rights::deletion::{DeletionState, Scope},
};
use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, param::Path, payload::Json, types::Example};
use uuid::Uuid;

use crate::{
    app::{
        App,
        log::access,
        rights::deletion::{self, Asked, DeletionRequest},
    },
    http::{
        problem::Refusal,
        request::{
            caller::SignedIn,
            filter::{self, FilterInput},
            input::{Body, Fields, Input},
        },
        tag::Tag,
        types::OneOf,
    },
};

/// The longest reason, in characters.
const REASON: usize = 1000;

/// Asks for a deletion.
#[derive(Object)]
#[oai(rename = "DeletionRequest", example)]
pub struct DeletionInput {
    /// How much: `full`, the person with everything; `partial`, the records that `filters` name; `sessions_only`, the kinds
    /// that are sessions.
    deletion_type: OneOf<Scope>,
    /// Which records; required for `partial`, absent for `full`.
    #[oai(skip_serializing_if_is_none)]
    filters: Option<FilterInput>,
    /// Why, in the person's own words; kept sealed.
    #[oai(skip_serializing_if_is_none, validator(max_length = 1000))]
    reason: Option<String>,
}

/// Confirms a deletion.
#[derive(Object)]
#[oai(example)]
pub struct DeletionConfirmation {
    /// The phrase that the request was answered with.
    phrase: String,
}

/// How many records of a kind are meant.
#[derive(Object)]
pub struct KindCount {
    /// The kind.
    kind: String,
    /// How many.
    count: u32,
}

/// Something that stays, and why.
#[derive(Object)]
pub struct Remainder {
    /// What.
    what: String,
    /// Why.
    why: String,
}

/// What a confirmed deletion would do.
#[derive(Object)]
#[oai(example)]
pub struct DeletionAsked {
    /// The request.
    deletion_id: Uuid,
    /// Always `pending`: nothing is deleted yet.
    status: OneOf<DeletionState>,
    /// That it cannot be undone, in words to show.
    warning: String,
    /// What would go.
    would_go: Vec<KindCount>,
    /// What would stay.
    stays: Vec<Remainder>,
    /// What to type to confirm.
    confirmation_phrase: String,
    /// Until when the mailed token confirms.
    token_expires_at: DateTime<Utc>,
    /// How long it can be cancelled after it is confirmed, in seconds.
    grace_period_s: i64,
}

/// A request as it stands.
#[derive(Object)]
#[oai(example)]
pub struct DeletionAnswer {
    /// The request.
    deletion_id: Uuid,
    /// How much.
    deletion_type: OneOf<Scope>,
    /// Where it stands.
    status: OneOf<DeletionState>,
    /// When it was made.
    requested_at: DateTime<Utc>,
    /// Until when the mailed token confirms.
    token_expires_at: DateTime<Utc>,
    /// Until when it can be cancelled, once it is confirmed.
    #[oai(skip_serializing_if_is_none)]
    grace_period_ends: Option<DateTime<Utc>>,
    /// The same in seconds from now; 0 once it is over.
    #[oai(skip_serializing_if_is_none)]
    seconds_left: Option<i64>,
    /// When it was carried out, cancelled or replaced.
    #[oai(skip_serializing_if_is_none)]
    ended_at: Option<DateTime<Utc>>,
    /// How many records were removed.
    #[oai(skip_serializing_if_is_none)]
    removed: Option<i64>,
    /// Which records were asked for.
    #[oai(skip_serializing_if_is_none)]
    filters: Option<FilterInput>,
    /// Why, in the person's own words.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
}

/// A person's requests.
#[derive(Object)]
pub struct DeletionsAnswer {
    /// Newest first.
    deletions: Vec<DeletionAnswer>,
}

impl Example for DeletionInput {
    fn example() -> Self {
        let filters = FilterInput { kinds: Some(vec!["work_day".to_owned()]), ..FilterInput::default() };
        Self { deletion_type: OneOf(Scope::Partial), filters: Some(filters), reason: None }
    }
}

impl Example for DeletionConfirmation {
    fn example() -> Self {
        Self { phrase: Scope::Partial.phrase().to_owned() }
    }
}

impl Example for DeletionAsked {
    fn example() -> Self {
        Self {
            deletion_id: Uuid::nil(),
            status: OneOf(DeletionState::Pending),
            warning: WARNING.to_owned(),
            would_go: vec![KindCount { kind: "work_day".to_owned(), count: 60 }],
            stays: stays(Scope::Partial, None),
            confirmation_phrase: Scope::Partial.phrase().to_owned(),
            token_expires_at: DateTime::UNIX_EPOCH,
            grace_period_s: 172_800,
        }
    }
}

impl Example for DeletionAnswer {
    fn example() -> Self {
        Self {
            deletion_id: Uuid::nil(),
            deletion_type: OneOf(Scope::Partial),
            status: OneOf(DeletionState::Confirmed),
            requested_at: DateTime::UNIX_EPOCH,
            token_expires_at: DateTime::UNIX_EPOCH,
            grace_period_ends: Some(DateTime::UNIX_EPOCH),
            seconds_left: Some(86_400),
            ended_at: None,
            removed: None,
            filters: DeletionInput::example().filters,
            reason: None,
        }
    }
}

impl Input for DeletionInput {
    fn read(fields: &mut Fields) -> Option<Self> {
        let deletion_type = fields.choice("deletion_type").map(OneOf);
        let filters = fields.object_or_none("filters", filter::read);
        let reason = fields.prose_or_none("reason", REASON);
        Some(Self { deletion_type: deletion_type?, filters, reason })
    }
}

impl Input for DeletionConfirmation {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { phrase: fields.text("phrase")? })
    }
}

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
    fn new(scope: Scope, asked: Asked) -> Self {
        let count = |(kind, count): (&'static str, usize)| KindCount {
            kind: kind.to_owned(),
            count: u32::try_from(count).unwrap_or(u32::MAX),
        };
        Self {
            deletion_id: asked.deletion.0,
            status: OneOf(DeletionState::Pending),
            warning: WARNING.to_owned(),
            would_go: asked.goes.into_iter().map(count).collect(),
            stays: stays(scope, asked.held_until),
            confirmation_phrase: asked.phrase.to_owned(),
            token_expires_at: asked.expires_at,
            grace_period_s: asked.grace.num_seconds(),
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

/// A request that was taken.
#[derive(ApiResponse)]
pub enum DeletionTaken {
    /// A token is on its way to the address of the account.
    #[oai(status = 202)]
    Asked(Json<DeletionAsked>),
}

/// Deletion.
pub struct DeletionApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Privacy")]
impl DeletionApi {
    /// Ask for a deletion
    ///
    /// Deletes nothing yet: the answer says what would go and what stays, and a token is mailed. A second request takes the
    /// place of one that was not confirmed. After two cancelled requests the next waits a day.
    #[oai(path = "/delete-data", method = "post", operation_id = "deletion_request")]
    async fn request(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        body: Body<DeletionInput>,
    ) -> Result<DeletionTaken, Refusal> {
        let DeletionInput { deletion_type: OneOf(scope), filters, reason } = body.0;
        let filter = filters.map(|filters| filters.filter(caller.zone())).unwrap_or_default();
        caller.count_letter(&app).await?;
        let asked = deletion::request(&app, caller.ctx(), scope, filter, reason).await?;
        Ok(DeletionTaken::Asked(Json(DeletionAsked::new(scope, asked))))
    }

    /// Confirm a deletion
    ///
    /// Takes the mailed token and the phrase. From now on the grace period runs: reading goes on, nothing new is taken, and
    /// the same token cancels.
    #[oai(path = "/confirm-deletion/:token", method = "post", operation_id = "deletion_confirm")]
    async fn confirm(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The mailed token.
        token: Path<String>,
        body: Body<DeletionConfirmation>,
    ) -> Result<Json<DeletionAnswer>, Refusal> {
        let request = deletion::confirm(&app, caller.ctx(), &token.0, &body.0.phrase).await?;
        Ok(Json(DeletionAnswer::new(request, caller.ctx().now())))
    }

    /// Cancel a deletion
    ///
    /// Takes the mailed token, until the grace period ends.
    #[oai(path = "/cancel-deletion/:token", method = "post", operation_id = "deletion_cancel")]
    async fn cancel(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The mailed token.
        token: Path<String>,
    ) -> Result<Json<DeletionAnswer>, Refusal> {
        let request = deletion::cancel(&app, caller.ctx(), &token.0).await?;
        Ok(Json(DeletionAnswer::new(request, caller.ctx().now())))
    }

    /// See all requests to delete
    ///
    /// The newest hundred, newest first.
    #[oai(path = "/deletions", method = "get", operation_id = "deletion_list")]
    async fn list(&self, app: Data<&Arc<App>>, caller: SignedIn) -> Result<Json<DeletionsAnswer>, Refusal> {
        let ctx = caller.ctx();
        let (requests, keys) = deletion::list(&app, ctx).await?;
        access::note_read(&app, ctx, keys, "deletion", requests.len(), String::new()).await?;
        let deletions = requests.into_iter().map(|request| DeletionAnswer::new(request, ctx.now())).collect();
        Ok(Json(DeletionsAnswer { deletions }))
    }

    /// See a request to delete
    ///
    /// Its status, and while its grace period runs how long it can still be cancelled.
    #[oai(path = "/deletions/:deletion_id", method = "get", operation_id = "deletion_get")]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The request.
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
