//! The compliance desk: everything at a glance, and open requests with their deadlines. Called by the compliance desk.
//! Shows random ids, never personal values.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::Role;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Query, payload::Json};
use projections::desk::compliance::{ErasureState, OpenRequest, RequestKind, RequestState};
use uuid::Uuid;

use crate::{
    app::{
        App,
        desk::compliance::{self, Overview},
        log::access,
    },
    http::{
        problem::Refusal,
        request::{caller::Compliance, cursor, number::Whole},
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// A request of a person that is not answered yet.
#[derive(Object)]
pub struct RequestAnswer {
    /// The id of the request.
    request_id: Uuid,
    /// The log's own id of the person.
    subject_id: Uuid,
    /// What the person asked for.
    kind: OneOf<RequestKind>,
    /// The state of the request.
    state: OneOf<RequestState>,
    /// When the request came in.
    #[oai(serialize_with = "in_utc")]
    received_at: DateTime<Utc>,
    /// Until when it must be answered: one month from receipt, or three if the person was told in time (GDPR Art.
    /// 12(3)).
    #[oai(serialize_with = "in_utc")]
    due_at: DateTime<Utc>,
    /// Whether the person was told that it takes longer.
    extended: bool,
    /// Whether this time is over.
    overdue: bool,
}

/// A page of the requests that are not answered yet.
#[derive(Object)]
pub struct RequestsAnswer {
    /// The requests, oldest first.
    requests: Vec<RequestAnswer>,
    /// How many requests are overdue, those of other pages included.
    overdue: usize,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// How many people decided on one version of one purpose's notice.
#[derive(Object)]
pub struct ConsentCounts {
    /// The name of the purpose.
    purpose: String,
    /// The version of the notice that the decisions were made on.
    notice_version: String,
    /// Consents that are given, and that no objection overrules.
    granted: i64,
    /// Decisions under which no consent is given now: withdrawn, lapsed, or ended by an objection.
    withdrawn: i64,
    /// Decisions that an objection overrules.
    objected: i64,
}

/// An erasure that waits, or was done in the last thirty days.
#[derive(Object)]
pub struct ErasureAnswer {
    /// The log's own id of the person.
    subject_id: Uuid,
    /// The id of the request, as long as it waits; absent after that.
    #[oai(skip_serializing_if_is_none)]
    request_id: Option<Uuid>,
    /// The state: `confirmed` if it waits for the end of its grace, `erased` if it is done.
    state: OneOf<ErasureState>,
    /// When the grace ends, or when the erasure was done.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    at: Option<DateTime<Utc>>,
}

/// A legal hold that is in force.
#[derive(Object)]
pub struct HoldRow {
    /// The log's own id of the person whose data is kept.
    subject_id: Uuid,
    /// The end of the hold.
    #[oai(serialize_with = "in_utc")]
    until: DateTime<Utc>,
}

/// An account with a staff role.
#[derive(Object)]
pub struct PrivilegedAccount {
    /// The log's own id of the member of staff.
    subject_id: Uuid,
    /// The role: `compliance` or `auditor`.
    role: OneOf<Role>,
    /// When the member of staff last signed in; absent if never.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    signed_in_at: Option<DateTime<Utc>>,
}

/// A version of the key-encryption key.
#[derive(Object)]
pub struct KeyVersion {
    /// The number of the version.
    version: i32,
    /// Whether new keys are wrapped by it.
    current: bool,
    /// When it was made; absent if that is not known.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    created_at: Option<DateTime<Utc>>,
    /// Its age in days; absent if that is not known.
    #[oai(skip_serializing_if_is_none)]
    age_days: Option<i64>,
}

/// A drill: a test restore that shows whether what was erased stays away.
#[derive(Object)]
pub struct DrillAnswer {
    /// When the drill was held.
    #[oai(serialize_with = "in_utc")]
    at: DateTime<Utc>,
    /// How many promises were found to be kept.
    holds: u32,
    /// How many promises were found to be broken.
    fails: u32,
    /// How many promises could not be examined.
    not_examined: u32,
}

/// The published checkpoint of the log.
#[derive(Object)]
pub struct CheckpointAnswer {
    /// How many events it covers.
    size: u64,
    /// When it was signed.
    #[oai(serialize_with = "in_utc")]
    signed_at: DateTime<Utc>,
    /// Its age in seconds.
    age_s: i64,
}

/// A witness of the log.
#[derive(Object)]
pub struct WitnessAnswer {
    /// The name of the witness in the policy.
    name: String,
    /// When it cosigned the published checkpoint; absent if it has not.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    cosigned_at: Option<DateTime<Utc>>,
}

/// Everything at a glance.
#[derive(Object)]
pub struct ComplianceOverview {
    /// How many accounts there are.
    accounts: i64,
    /// How many accounts are restricted (GDPR Art. 18).
    restricted: i64,
    /// How many accounts are suspended because of a suspicious pattern.
    suspended: i64,
    /// How many requests are not answered yet.
    requests_open: usize,
    /// How many of these requests are overdue.
    requests_overdue: usize,
    /// How many people were erased since the beginning.
    erased: i64,
    /// When somebody was erased last; absent if never.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    last_erased_at: Option<DateTime<Utc>>,
    /// How many confirmed deletions wait for the end of their grace.
    erasures_waiting: i64,
    /// Erasures that wait, and those of the last thirty days that are done.
    erasures: Vec<ErasureAnswer>,
    /// The time after which no backup brings back what is erased now, if the rotation keeps to its calendar.
    #[oai(serialize_with = "in_utc")]
    unrecoverable_by: DateTime<Utc>,
    /// The last drill; absent if none was held.
    #[oai(skip_serializing_if_is_none)]
    last_drill: Option<DrillAnswer>,
    /// Consents by purpose and notice.
    consents: Vec<ConsentCounts>,
    /// Legal holds that are in force.
    holds: Vec<HoldRow>,
    /// Accounts with a staff role.
    privileged_accounts: Vec<PrivilegedAccount>,
    /// Versions of the key-encryption key.
    keys: Vec<KeyVersion>,
    /// When the next rotation is due; absent if the age of the current version is unknown.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    rotation_due_at: Option<DateTime<Utc>>,
    /// The published checkpoint; absent if there is none.
    #[oai(skip_serializing_if_is_none)]
    checkpoint: Option<CheckpointAnswer>,
    /// For how many seconds something has been waiting for a checkpoint; 0 if nothing waits.
    uncovered_s: i64,
    /// Witnesses of the log.
    witnesses: Vec<WitnessAnswer>,
    /// PostgreSQL's version.
    postgres_version: String,
    /// Whether that minor release closes the known ways around row-level security.
    postgres_is_current: bool,
    /// How many alerts nobody has acknowledged.
    alerts_open: i64,
}

impl RequestAnswer {
    fn new(open: OpenRequest, now: DateTime<Utc>) -> Self {
        let due_at = domain::desk::extension::due_at(open.received_at, open.extended);
        Self {
            request_id: open.request,
            subject_id: open.subject.0,
            kind: OneOf(open.kind),
            state: OneOf(open.state),
            received_at: open.received_at,
            due_at,
            extended: open.extended,
            overdue: due_at < now,
        }
    }
}

impl ComplianceOverview {
    fn new(found: Overview, now: DateTime<Utc>) -> Self {
        let (requests_open, requests_overdue) = found.requests;
        let age = |at: DateTime<Utc>| (now - at).num_days();
        Self {
            accounts: found.accounts.accounts,
            restricted: found.accounts.restricted,
            suspended: found.accounts.suspended,
            requests_open,
            requests_overdue,
            erased: found.accounts.erased,
            last_erased_at: found.accounts.last_erased_at,
            erasures_waiting: found.accounts.waiting,
            erasures: found
                .erasures
                .into_iter()
                .map(|it| ErasureAnswer {
                    subject_id: it.subject,
                    request_id: it.request,
                    state: OneOf(it.state),
                    at: it.at,
                })
                .collect(),
            unrecoverable_by: found.unrecoverable_by,
            last_drill: found.drill.map(|it| DrillAnswer {
                at: it.at,
                holds: it.holds,
                fails: it.fails,
                not_examined: it.not_examined,
            }),
            consents: found
                .consents
                .into_iter()
                .map(|it| ConsentCounts {
                    purpose: it.purpose,
                    notice_version: it.notice_version,
                    granted: it.granted,
                    withdrawn: it.withdrawn,
                    objected: it.objected,
                })
                .collect(),
            holds: found
                .holds
                .into_iter()
                .map(|hold| HoldRow { subject_id: hold.subject, until: hold.until })
                .collect(),
            privileged_accounts: found
                .staff
                .into_iter()
                .map(|it| PrivilegedAccount {
                    subject_id: it.subject,
                    role: OneOf(it.role),
                    signed_in_at: it.signed_in_at,
                })
                .collect(),
            keys: found
                .keys
                .into_iter()
                .map(|(version, current, created_at)| KeyVersion {
                    version,
                    current,
                    created_at,
                    age_days: created_at.map(age),
                })
                .collect(),
            rotation_due_at: found.rotation_due_at,
            checkpoint: found.checkpoint.map(|(size, signed_at)| CheckpointAnswer {
                size,
                signed_at,
                age_s: (now - signed_at).num_seconds().max(0),
            }),
            uncovered_s: found.uncovered_s,
            witnesses: found
                .witnesses
                .into_iter()
                .map(|(name, cosigned_at)| WitnessAnswer { name, cosigned_at })
                .collect(),
            postgres_version: found.postgres.0,
            postgres_is_current: found.postgres.1,
            alerts_open: found.open_alerts,
        }
    }
}

pub struct ComplianceApi;

#[OpenApi(prefix_path = "/v1/compliance", tag = "Tag::Compliance")]
impl ComplianceApi {
    /// Everything at a glance
    ///
    /// What is due, what waits and what is in force; how old drill, keys and checkpoint are; whether PostgreSQL is new
    /// enough.
    #[oai(path = "/overview", method = "get", operation_id = "compliance_overview")]
    async fn overview(&self, app: Data<&Arc<App>>, caller: Compliance) -> Result<Json<ComplianceOverview>, Refusal> {
        access::note_session_read(&app, caller.ctx(), "compliance", 1, "overview".to_owned()).await?;
        Ok(Json(ComplianceOverview::new(compliance::overview(&app).await?, caller.ctx().now())))
    }

    /// Requests that are not answered yet
    ///
    /// Due one month from receipt, or three if the person was told in time (GDPR Art. 12(3)).
    #[oai(path = "/requests", method = "get", operation_id = "request_list")]
    async fn requests(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many requests at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<RequestsAnswer>, Refusal> {
        let (now, page) = (caller.ctx().now(), cursor::page(&cursor, &limit, 100)?);
        let (requests, next, overdue) = compliance::requests(&app, &page).await?;
        access::note_session_read(&app, caller.ctx(), "compliance", requests.len(), "requests".to_owned()).await?;
        let requests = requests.into_iter().map(|it| RequestAnswer::new(it, now)).collect();
        Ok(Json(RequestsAnswer { requests, overdue, next_cursor: next.map(cursor::make) }))
    }
}
