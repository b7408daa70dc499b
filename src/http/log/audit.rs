//! The caller's own audit log: who did what with their data, when, and from where. Called by whoever is signed in.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use context::{EventId, UserId};
use domain::{EVENT_TYPES, log::access::STATS_CONSIDERED};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::{Json, PlainText},
    types::Example,
};
use projections::log::audit::AuditFilter;
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        frame::{self},
        log::{
            access,
            audit::{self, AuditEntry},
            published,
        },
    },
    http::{
        problem::Refusal,
        request::{
            caller::SignedIn,
            cursor::{self, Page},
            input::check_time,
            number::Whole,
        },
        tag::Tag,
    },
};

/// One entry.
#[derive(Object)]
#[oai(example)]
pub struct AuditAnswer {
    /// The event's id.
    id: Uuid,
    /// What happened, such as `record.submitted` or `data.accessed`.
    action: String,
    /// What it happened to: a kind of record, `account` or `consent`.
    table_name: String,
    /// Which one.
    record_id: String,
    /// When.
    timestamp: DateTime<Utc>,
    /// In which capacity somebody acted: `subject`, `compliance`, `auditor`, `anonymous` or `system`.
    actor: String,
    /// The request.
    request_id: String,
    /// The client's address.
    #[oai(skip_serializing_if_is_none)]
    ip_address: Option<String>,
    /// The client's user agent.
    #[oai(skip_serializing_if_is_none)]
    user_agent: Option<String>,
    /// What the event says in clear: a purpose and its notice, how many values were read, what was asked for. Of
    /// `stats.considered`, which every account gets, also what only the caller sees: whether the statistics count them
    /// (`counted`), and how many of their work days and versions of their profile were read for it.
    details: BTreeMap<String, String>,
}

/// A page of entries.
#[derive(Object)]
pub struct AuditLogAnswer {
    /// Newest first.
    entries: Vec<AuditAnswer>,
    /// What to ask for the next page with; absent on the last.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

impl Example for AuditAnswer {
    fn example() -> Self {
        Self {
            id: Uuid::nil(),
            action: "data.accessed".to_owned(),
            table_name: "work_day".to_owned(),
            record_id: Uuid::nil().to_string(),
            timestamp: DateTime::UNIX_EPOCH,
            actor: "subject".to_owned(),
            request_id: Uuid::nil().to_string(),
            ip_address: Some("192.0.2.7".to_owned()),
            user_agent: Some("hours/2.0".to_owned()),
            details: BTreeMap::from([("count".to_owned(), "31".to_owned())]),
        }
    }
}

/// The leaves of a payload in clear, by name; a sealed payload shows nothing.
fn leaves(value: &serde_json::Value, into: &mut BTreeMap<String, String>) {
    for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| *name != "sealed") {
        match value {
            serde_json::Value::Object(_) => leaves(value, into),
            serde_json::Value::String(text) => drop(into.insert(name.clone(), text.clone())),
            other => drop(into.insert(name.clone(), other.to_string())),
        }
    }
}

impl AuditAnswer {
    /// An entry as its owner sees it. Streams that are named by the log's own id of the person are shown by the public one:
    /// the two must not meet outside.
    fn new(entry: AuditEntry, user: UserId) -> Self {
        let shown = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut details = BTreeMap::new();
        leaves(&serde_json::from_str(&entry.event.payload).unwrap_or_default(), &mut details);
        let told = entry.trail.details.and_then(|told| shown(told.into_inner()));
        if entry.event.event_type == STATS_CONSIDERED {
            leaves(&serde_json::from_str(&told.unwrap_or_default()).unwrap_or_default(), &mut details);
        } else if let Some(asked) = told {
            details.insert("asked_for".to_owned(), asked);
        }
        Self {
            id: entry.event.event_id.0,
            action: entry.event.event_type,
            table_name: entry.event.kind,
            record_id: entry.event.aggregate_id.replace(&entry.event.subject_id.to_string(), &user.to_string()),
            timestamp: entry.event.recorded_at,
            actor: entry.role,
            request_id: entry.request,
            ip_address: shown(entry.trail.address.into_inner()),
            user_agent: shown(entry.trail.agent.into_inner()),
            details,
        }
    }
}

/// Whether a text is a type of event, or a family of them.
pub(crate) fn is_action(text: &str) -> bool {
    EVENT_TYPES.iter().any(|known| *known == text || known.split_once('.').is_some_and(|(family, _)| family == text))
}

/// The audit log.
pub struct AuditApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Audit")]
impl AuditApi {
    /// Prove an entry of the audit log
    ///
    /// The proof that an entry is in the log (C2SP tlog-proof): whoever has the log's key can check it offline, whatever becomes
    /// of this service. It covers sealed bytes, and holds after an erasure. Its extra line is the hash of the leaf; with `leaf`
    /// it is the leaf itself, which names the caller by the log's own id: keep that to yourself. 409 where no checkpoint covers
    /// the entry yet: ask again in a few seconds.
    #[oai(path = "/audit-log/:id/proof", method = "get", operation_id = "audit_proof")]
    async fn proof(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The entry's id.
        id: Path<Uuid>,
        /// Whether the leaf itself is sent along; not where absent.
        leaf: Query<Option<bool>>,
    ) -> Result<PlainText<String>, Refusal> {
        let keys = frame::right_keys(&app, caller.ctx()).await?;
        let proof = published::entry_proof(&app, caller.ctx(), EventId(id.0), leaf.0.unwrap_or(false)).await?;
        // Once it is known to be the caller's: an id of somebody else's is repeated nowhere.
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
        /// Only this action, such as `record.submitted`, or a family of them, such as `record`.
        #[oai(validator(max_length = 64))]
        action: Query<Option<String>>,
        /// Not before.
        from: Query<Option<DateTime<Utc>>>,
        /// Not after.
        to: Query<Option<DateTime<Utc>>>,
        /// What the page before gave as `next_cursor`.
        cursor: Query<Option<String>>,
        /// How many entries at most, 1 to 200; 50 where absent.
        limit: Query<Option<Whole<u32>>>,
    ) -> Result<Json<AuditLogAnswer>, Refusal> {
        let page = Page::read(cursor.0.as_deref(), limit.0.map(|limit| limit.0), 50, 200)?;
        if action.0.as_deref().is_some_and(|action| !is_action(action)) {
            return Err(AppError::parameter(
                "action",
                &format!("must be one of {}, or a family", EVENT_TYPES.join(", ")),
            )
            .into());
        }
        for (name, time) in [("from", from.0), ("to", to.0)] {
            check_time(name, time)?;
        }
        let asked = action.0.clone().unwrap_or_default();
        let filter = AuditFilter {
            action: action.0,
            from: from.0,
            to: to.0,
            before: page.after.as_deref().map(cursor::part).transpose()?,
            limit: i64::try_from(page.limit).unwrap_or(i64::MAX) + 1,
        };
        let (mut entries, keys) = audit::list(&app, caller.ctx(), &filter).await?;
        let more = entries.len() > page.limit;
        entries.truncate(page.limit);
        let next_cursor = entries.last().filter(|_| more).map(|entry| cursor::make(&entry.position.to_string()));
        access::note_read(&app, caller.ctx(), keys, "audit_log", entries.len(), asked).await?;
        Ok(Json(AuditLogAnswer {
            entries: entries.into_iter().map(|entry| AuditAnswer::new(entry, caller.user())).collect(),
            next_cursor,
        }))
    }
}
