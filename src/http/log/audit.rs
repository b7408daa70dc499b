//! The caller's own audit log: who did what with their data, when, and from where. Called by anybody who is signed in.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use context::{EventId, Role, UserId};
use domain::log::access::STATS_CONSIDERED;
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::{Json, PlainText},
};
use projections::log::audit::AuditFilter;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::{
        App, frame,
        log::{
            access,
            audit::{self, AuditEntry},
            published,
        },
    },
    http::{
        log::action::Action,
        problem::Refusal,
        request::{caller::SignedIn, cursor, number::Whole},
        tag::Tag,
        types::{OneOf, Scalar, in_utc},
    },
};

/// One entry of the audit log.
#[derive(Object)]
pub struct AuditAnswer {
    /// The id of the event.
    id: Uuid,
    /// What happened, such as `record.submitted` or `data.accessed`.
    action: String,
    /// What it happened to, such as a kind of record, `account` or `consent`.
    table_name: String,
    /// The id of the record or other stream that it happened to.
    record_id: String,
    /// When it happened.
    #[oai(serialize_with = "in_utc")]
    timestamp: DateTime<Utc>,
    /// The role in which somebody acted.
    actor: OneOf<Role>,
    /// The id of the request that caused it.
    request_id: String,
    /// The client's address; absent if none was recorded.
    #[oai(skip_serializing_if_is_none)]
    ip_address: Option<String>,
    /// The client's user agent; absent if none was recorded.
    #[oai(skip_serializing_if_is_none)]
    user_agent: Option<String>,
    /// What the event says in clear, such as a purpose and its notice, how many values were read, or what was asked
    /// for. For `stats.considered`, which every account gets, it also holds what only the caller can see: whether the
    /// statistics count them (`counted`), and how many of their work days and versions of their profile were read for
    /// it.
    details: BTreeMap<String, Scalar>,
}

/// A page of entries.
#[derive(Object)]
pub struct AuditLogAnswer {
    /// The entries, newest first.
    entries: Vec<AuditAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// The values of a payload in clear, by name; a sealed payload gives none. A list is written as a text.
fn leaves(value: &Value, into: &mut BTreeMap<String, Scalar>) {
    for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| *name != "sealed") {
        let scalar = match value {
            Value::Null => continue,
            Value::Object(_) => {
                leaves(value, into);
                continue;
            }
            Value::Array(_) => Value::from(value.to_string()),
            other => other.clone(),
        };
        into.insert(name.clone(), Scalar(scalar));
    }
}

impl AuditAnswer {
    /// An entry as its owner sees it. The log's own id of the person is replaced by the public id, because the two must
    /// not meet outside.
    fn new(entry: AuditEntry, user: UserId) -> Self {
        let shown = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut details = BTreeMap::new();
        leaves(&serde_json::from_str(&entry.event.payload).unwrap_or_default(), &mut details);
        let told = entry.trail.details.and_then(|told| shown(told.into_inner()));
        if entry.event.event_type == STATS_CONSIDERED {
            leaves(&serde_json::from_str(&told.unwrap_or_default()).unwrap_or_default(), &mut details);
        } else if let Some(asked) = told {
            details.insert("asked_for".to_owned(), Scalar(Value::from(asked)));
        }
        Self {
            id: entry.event.event_id.0,
            action: entry.event.event_type,
            table_name: entry.event.kind,
            record_id: entry.event.aggregate_id.replace(&entry.event.subject_id.to_string(), &user.to_string()),
            timestamp: entry.event.recorded_at,
            actor: OneOf(entry.role),
            request_id: entry.request,
            ip_address: shown(entry.trail.address.into_inner()),
            user_agent: shown(entry.trail.agent.into_inner()),
            details,
        }
    }
}

pub struct AuditApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Audit")]
impl AuditApi {
    /// Prove an entry of the audit log
    ///
    /// The proof that an entry is in the log (C2SP tlog-proof). Anybody who has the log's key can check it offline,
    /// even if this service no longer exists. It covers sealed bytes, so it holds after an erasure. Its extra line is
    /// the hash of the leaf or, with `leaf`, the leaf itself. The leaf names the caller by the log's own id: keep it to
    /// yourself. 409 if no checkpoint covers the entry yet: ask again in a few seconds.
    #[oai(path = "/audit-log/:id/proof", method = "get", operation_id = "audit_proof")]
    async fn proof(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The entry's id.
        id: Path<Uuid>,
        /// Whether to send the leaf itself; if absent, only its hash is sent.
        leaf: Query<Option<bool>>,
    ) -> Result<PlainText<String>, Refusal> {
        let keys = frame::right_keys(&app, caller.ctx()).await?;
        let proof = published::entry_proof(&app, caller.ctx(), EventId(id.0), leaf.0.unwrap_or(false)).await?;
        // Recorded only once the entry is known to be the caller's, so that an id of somebody else is never repeated in
        // the log.
        access::note_read(&app, caller.ctx(), keys, "audit_log", 1, format!("proof of {}", id.0)).await?;
        Ok(PlainText(proof.to_text()))
    }

    /// See the audit log
    ///
    /// Every command, sign-in, failed sign-in and read of the caller's data, newest first. Looking is an entry too.
    #[oai(path = "/audit-log", method = "get", operation_id = "audit_list")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// Only this action, such as `record.submitted`, or a family of them, such as `record`; absent: all.
        action: Query<Option<Action>>,
        /// Only entries at this time or later.
        from: Query<Option<DateTime<Utc>>>,
        /// Only entries at this time or earlier.
        to: Query<Option<DateTime<Utc>>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many entries at most, 1 to 200; if absent, 50.
        limit: Query<Option<Whole<1, 200>>>,
    ) -> Result<Json<AuditLogAnswer>, Refusal> {
        let page = cursor::page(&cursor, &limit, 50)?;
        let action = action.0.map(|action| action.0);
        let asked = action.clone().unwrap_or_default();
        let filter = AuditFilter { action, from: from.0, to: to.0 };
        let (entries, next, keys) = audit::list(&app, caller.ctx(), &filter, &page).await?;
        access::note_read(&app, caller.ctx(), keys, "audit_log", entries.len(), asked).await?;
        Ok(Json(AuditLogAnswer {
            entries: entries.into_iter().map(|entry| AuditAnswer::new(entry, caller.user())).collect(),
            next_cursor: next.map(cursor::make),
        }))
    }
}
