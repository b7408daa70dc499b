//! The overview of everything that is held about the caller (GDPR Art. 15). Called by anybody who is signed in, on
//! their own data.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::rights::consent::Purpose;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json};
use projections::rights::consent::ConsentRow;
use uuid::Uuid;

use crate::{
    app::{
        App,
        log::access,
        rights::{
            decision::recipients,
            overview::{self, Held, Overview, decision_on},
        },
    },
    http::{
        problem::Refusal,
        request::caller::SignedIn,
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// What is held of one kind of record.
#[derive(Object)]
pub struct KindHeld {
    /// The name of the kind.
    kind: String,
    /// What a record of this kind is, in plain words.
    title: String,
    /// How many records there are.
    count: i64,
    /// When the first of them was submitted; absent if there is none.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    first_submitted_at: Option<DateTime<Utc>>,
    /// When one of them was last changed; absent if there is none.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    last_changed_at: Option<DateTime<Utc>>,
    /// The purpose whose consent this kind needs; absent if it is kept because the account needs it.
    #[oai(skip_serializing_if_is_none)]
    purpose: Option<OneOf<Purpose>>,
    /// How many days a record is kept after its last change; absent: as long as the account.
    #[oai(skip_serializing_if_is_none)]
    retention_days: Option<u32>,
    /// When the first of them will be removed because of its age, unless something prevents that; absent if none will.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    next_due_at: Option<DateTime<Utc>>,
}

/// The decision on one purpose, and who receives the data.
#[derive(Object)]
pub struct PurposeHeld {
    /// The name of the purpose.
    purpose: OneOf<Purpose>,
    /// Whether consent is given on the current notice.
    granted: bool,
    /// Whether the person has objected to the purpose.
    objected: bool,
    /// The version of the notice that the last decision was made on; absent if there was no decision.
    #[oai(skip_serializing_if_is_none)]
    decided_notice_version: Option<String>,
    /// When the last decision was made; absent if there was none.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    decided_at: Option<DateTime<Utc>>,
    /// Who receives the data, or what is made of it; empty: nobody.
    recipients: Vec<String>,
}

/// The requests that have not ended.
#[derive(Object)]
pub struct OpenRequests {
    /// The ids of requests to delete that wait for their confirmation, or for the end of their grace.
    deletions: Vec<Uuid>,
    /// How many requests to export wait, are being written, or have a file that can be downloaded.
    exports: i64,
}

/// The state of the keys that the caller's data is sealed with.
#[derive(Object)]
pub struct KeysHeld {
    /// Always `living`: a person who is erased has no keys, and no overview.
    state: String,
    /// The version of the server's key that wraps the person's keys.
    server_key_version: i32,
    /// How often the person's own wrapping key was renewed, counted from 1; each removal renews it.
    wrapping_key_version: i64,
}

/// Everything that is held about the caller.
#[derive(Object)]
pub struct OverviewAnswer {
    /// The account's public id.
    user_id: Uuid,
    /// When the account was made.
    #[oai(serialize_with = "in_utc")]
    registered_at: DateTime<Utc>,
    /// One entry for each kind of record; kinds without a record too.
    kinds: Vec<KindHeld>,
    /// One entry for each purpose.
    purposes: Vec<PurposeHeld>,
    /// The requests that have not ended.
    open_requests: OpenRequests,
    /// Since when processing is restricted; absent if it is not.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    restricted_at: Option<DateTime<Utc>>,
    /// Until when a legal hold defers a deletion; absent if there is none.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    held_until: Option<DateTime<Utc>>,
    /// How many sessions are alive.
    sessions: i64,
    /// How many devices are known by a secret that they keep. On such a device a right code counts, no matter what
    /// strangers tried.
    devices: i64,
    /// How many entries the audit log has about the caller.
    audit_entries: i64,
    /// The state of the keys that the caller's data is sealed with.
    keys: KeysHeld,
}

impl KindHeld {
    fn of(held: &Held) -> Self {
        let (first, last) = held.times.unzip();
        Self {
            kind: held.kind.name().to_owned(),
            title: held.kind.title().to_owned(),
            count: held.count,
            first_submitted_at: first,
            last_changed_at: last,
            purpose: held.kind.purpose().map(OneOf),
            retention_days: held.retention_days,
            next_due_at: held.next_due_at,
        }
    }
}

impl PurposeHeld {
    fn of(overview: &Overview, purpose: Purpose) -> Self {
        let row = decision_on(&overview.consents, purpose);
        Self {
            purpose: OneOf(purpose),
            granted: row.is_some_and(ConsentRow::counts_today),
            objected: row.is_some_and(|row| row.objected),
            decided_notice_version: row.map(|row| row.notice_version.clone()),
            decided_at: row.map(|row| row.changed_at),
            recipients: recipients(Some(purpose)).iter().map(|&who| who.to_owned()).collect(),
        }
    }
}

impl OverviewAnswer {
    fn new(overview: &Overview, user_id: Uuid, now: DateTime<Utc>) -> Self {
        Self {
            user_id,
            registered_at: overview.registered_at,
            kinds: overview.kinds.iter().map(KindHeld::of).collect(),
            purposes: Purpose::ALL.into_iter().map(|purpose| PurposeHeld::of(overview, purpose)).collect(),
            open_requests: OpenRequests {
                deletions: overview.deletions.iter().map(|row| row.deletion.0).collect(),
                exports: overview.exports,
            },
            restricted_at: overview.switches.restricted_at,
            held_until: overview.switches.held_until.filter(|until| *until > now),
            sessions: overview.sessions,
            devices: overview.devices,
            audit_entries: overview.entries,
            keys: KeysHeld {
                state: "living".to_owned(),
                server_key_version: overview.ring_version,
                wrapping_key_version: overview.wrapping_version,
            },
        }
    }
}

pub struct OverviewApi;

#[OpenApi(prefix_path = "/v1/privacy", tag = "Tag::Privacy")]
impl OverviewApi {
    /// See everything that is held
    ///
    /// Every kind of record with its count, times, purpose and retention; decisions and recipients by purpose; open
    /// requests; the state of the keys. `POST /v1/privacy/export-data` gives the data itself.
    #[oai(path = "/data-overview", method = "get", operation_id = "overview_get")]
    async fn get(&self, app: Data<&Arc<App>>, caller: SignedIn) -> Result<Json<OverviewAnswer>, Refusal> {
        let ctx = caller.ctx();
        let (overview, keys) = overview::get(&app, ctx).await?;
        access::note_read(&app, ctx, keys, "overview", 1, String::new()).await?;
        Ok(Json(OverviewAnswer::new(&overview, caller.user().0, ctx.now())))
    }
}
