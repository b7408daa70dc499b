//! Retention: how long each kind of record is kept, the caller's own rules, and what will be removed next. Called by
//! anybody who is signed in, on their own data.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{kinds::kind, rights::retention::MOST_DAYS};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};

use crate::{
    app::{
        App, AppError,
        log::access,
        rights::retention::{self, Rule},
    },
    http::{
        problem::Refusal,
        request::{
            caller::SignedIn,
            input::{Body, Input},
            number::Whole,
        },
        tag::Tag,
        types::in_utc,
    },
};

/// The rule of one kind.
#[derive(Object)]
pub struct RetentionRule {
    /// The name of the kind.
    kind: String,
    /// How many days a record is kept after its last change, as it counts now; absent: as long as the account.
    #[oai(skip_serializing_if_is_none)]
    data_retention_days: Option<u32>,
    /// Whether the caller set the rule.
    own: bool,
    /// A shorter rule that the caller set and that does not count yet; absent if there is none.
    #[oai(skip_serializing_if_is_none)]
    waiting: Option<WaitingRule>,
    /// How many records the next daily run will remove.
    due_count: u32,
    /// When the next record after those expires; absent if there is none.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    next_due_at: Option<DateTime<Utc>>,
}

/// A shorter rule that waits. Until it counts, it can be taken back by setting the rule that was there before.
#[derive(Object)]
pub struct WaitingRule {
    /// How many days a record will be kept after its last change; absent: as long as the account.
    #[oai(skip_serializing_if_is_none)]
    data_retention_days: Option<u32>,
    /// When the rule begins to count.
    #[oai(serialize_with = "in_utc")]
    counts_from: DateTime<Utc>,
}

/// The rules of all kinds.
#[derive(Object)]
pub struct RetentionAnswer {
    /// One entry for each kind.
    rules: Vec<RetentionRule>,
}

/// Sets a rule.
#[derive(Object)]
pub struct RetentionDecision {
    /// How many days a record is kept after its last change, 1 to 36500; absent or null: the kind's own rule.
    #[oai(skip_serializing_if_is_none)]
    data_retention_days: Option<Whole<1, { MOST_DAYS as u64 }>>,
}

impl Input for RetentionDecision {}

impl RetentionRule {
    fn of(rule: &Rule) -> Self {
        Self {
            kind: rule.kind.name().to_owned(),
            data_retention_days: rule.days,
            own: rule.own,
            waiting: rule.waiting.map(|(days, counts_from)| WaitingRule { data_retention_days: days, counts_from }),
            due_count: u32::try_from(rule.due).unwrap_or(u32::MAX),
            next_due_at: rule.next_at,
        }
    }
}

pub struct RetentionApi;

#[OpenApi(prefix_path = "/v1/privacy/retention", tag = "Tag::Privacy")]
impl RetentionApi {
    /// See for how long data is kept
    ///
    /// The rule of each kind, and a preview: how much the next daily run will remove, and when more will be due.
    #[oai(path = "/", method = "get", operation_id = "retention_get")]
    async fn get(&self, app: Data<&Arc<App>>, caller: SignedIn) -> Result<Json<RetentionAnswer>, Refusal> {
        show(&app, &caller).await
    }

    /// Set for how long a kind is kept
    ///
    /// The caller's own rule replaces the kind's. A rule that keeps longer counts at once. A shorter rule counts after
    /// the grace of a deletion, and a letter tells the person. Until then the rule before it counts, and setting that
    /// rule again takes the new one back, even while the account is suspended. Expired records are removed once a day.
    #[oai(path = "/:kind", method = "put", operation_id = "retention_set")]
    async fn set(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The name of the kind of record.
        #[oai(name = "kind")]
        name: Path<String>,
        body: Body<RetentionDecision>,
    ) -> Result<Json<RetentionAnswer>, Refusal> {
        let kind = kind(&name.0).ok_or(AppError::NotFound("kind"))?;
        retention::set(&app, caller.ctx(), kind, body.0.data_retention_days.map(Whole::fit)).await?;
        show(&app, &caller).await
    }
}

async fn show(app: &App, caller: &SignedIn) -> Result<Json<RetentionAnswer>, Refusal> {
    let (rules, keys) = retention::get(app, caller.ctx()).await?;
    access::note_read(app, caller.ctx(), keys, "retention", rules.len(), String::new()).await?;
    Ok(Json(RetentionAnswer { rules: rules.iter().map(RetentionRule::of).collect() }))
}
