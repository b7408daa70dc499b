//! The compliance desk: everything at a glance, requests and their deadlines.
//! Called by the compliance desk. About random ids, never about what data says.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::text::Reason;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json, types::Example};
use projections::desk::compliance::OpenRequest;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::{
        App,
        desk::compliance::{self, Overview},
        log::access,
    },
    http::{
        problem::Refusal,
        request::{
            caller::Compliance,
            input::{Body, Fields, Input},
        },
        tag::Tag,
    },
};

/// A request of a person that is not answered yet.
#[derive(Object)]
#[oai(example)]
pub struct RequestAnswer {
    /// The request.
    request_id: Uuid,
    /// The person, by the log's own id.
    subject_id: Uuid,
    /// `erasure` or `export`.
    kind: String,
    /// How far it has come.
    state: String,
    /// When it came.
    received_at: DateTime<Utc>,
    /// Until when it must be answered: one month from receipt, three where the person was told in time (GDPR Art. 12(3)).
    due_at: DateTime<Utc>,
    /// Whether the person was told that it takes longer.
    extended: bool,
    /// Whether that time is over.
    overdue: bool,
}

/// Requests that are not answered yet.
#[derive(Object)]
pub struct RequestsAnswer {
    /// The oldest first.
    requests: Vec<RequestAnswer>,
    /// How many are overdue.
    overdue: usize,
}

/// Why something takes longer.
#[derive(Object)]
#[oai(example)]
pub struct ExtensionDecision {
    /// Why, in 10 to 500 characters; the person is told.
    reason: String,
}

/// The new end.
#[derive(Object)]
pub struct ExtensionAnswer {
    /// Until when the request must be answered.
    due_at: DateTime<Utc>,
}

/// Consents of a purpose on one notice.
#[derive(Object)]
pub struct ConsentCounts {
    /// The purpose.
    purpose: String,
    /// The version of the notice that was decided on.
    notice_version: String,
    /// Given, and not overruled.
    granted: i64,
    /// Withdrawn or refused.
    withdrawn: i64,
    /// Overruled by an objection.
    objected: i64,
}

/// An erasure that waits, or was done in the last thirty days.
#[derive(Object)]
pub struct ErasureAnswer {
    /// Who, by the log's own id.
    subject_id: Uuid,
    /// The request, while it waits.
    #[oai(skip_serializing_if_is_none)]
    request_id: Option<Uuid>,
    /// `confirmed`: it waits for the end of its grace; `erased`: it is done.
    state: String,
    /// When the grace ends, or when it was done.
    #[oai(skip_serializing_if_is_none)]
    at: Option<DateTime<Utc>>,
}

/// A legal hold that stands.
#[derive(Object)]
pub struct HoldRow {
    /// Whose data is kept, by the log's own id.
    subject_id: Uuid,
    /// Until when.
    until: DateTime<Utc>,
}

/// A privileged account.
#[derive(Object)]
pub struct PrivilegedAccount {
    /// Who, by the log's own id.
    subject_id: Uuid,
    /// `compliance` or `auditor`.
    role: String,
    /// When it signed in last.
    #[oai(skip_serializing_if_is_none)]
    signed_in_at: Option<DateTime<Utc>>,
}

/// A version of the key-encryption key.
#[derive(Object)]
pub struct KeyVersion {
    /// The version.
    version: i32,
    /// Whether new work is done under it.
    current: bool,
    /// When it was made.
    #[oai(skip_serializing_if_is_none)]
    created_at: Option<DateTime<Utc>>,
    /// Its age in days.
    #[oai(skip_serializing_if_is_none)]
    age_days: Option<i64>,
}

/// A drill: a restore that showed whether what was erased stays away.
#[derive(Object)]
pub struct DrillAnswer {
    /// When.
    at: DateTime<Utc>,
    /// How many promises were found to hold.
    holds: u32,
    /// How many were not.
    fails: u32,
    /// How many could not be looked at.
    not_examined: u32,
}

/// The published checkpoint of the log.
#[derive(Object)]
pub struct CheckpointAnswer {
    /// How many events it covers.
    size: u64,
    /// When it was signed.
    signed_at: DateTime<Utc>,
    /// Its age in seconds.
    age_s: i64,
}

/// A witness of the log.
#[derive(Object)]
pub struct WitnessAnswer {
    /// Its name in the policy.
    name: String,
    /// When it cosigned the published checkpoint.
    #[oai(skip_serializing_if_is_none)]
    cosigned_at: Option<DateTime<Utc>>,
}

/// Everything at a glance.
#[derive(Object)]
pub struct ComplianceOverview {
    /// Accounts.
    accounts: i64,
    /// Of them restricted (GDPR Art. 18).
    restricted: i64,
    /// Of them suspended for a suspicious pattern.
    suspended: i64,
    /// Requests that are not answered yet.
    requests_open: usize,
    /// Of them overdue.
    requests_overdue: usize,
    /// People erased since the beginning.
    erased: i64,
    /// When somebody was erased last.
    #[oai(skip_serializing_if_is_none)]
    last_erased_at: Option<DateTime<Utc>>,
    /// Confirmed deletions that wait for the end of their grace.
    erasures_waiting: i64,
    /// Erasures that wait, and those of the last thirty days.
    erasures: Vec<ErasureAnswer>,
    /// By when no backup brings back what is erased now, provided the rotation keeps to its calendar.
    unrecoverable_by: DateTime<Utc>,
    /// The last drill, if one was held.
    #[oai(skip_serializing_if_is_none)]
    last_drill: Option<DrillAnswer>,
    /// Consents by purpose and notice.
    consents: Vec<ConsentCounts>,
    /// Legal holds that stand.
    holds: Vec<HoldRow>,
    /// Accounts with a staff role.
    privileged_accounts: Vec<PrivilegedAccount>,
    /// Versions of the key-encryption key.
    keys: Vec<KeyVersion>,
    /// When the next rotation is due.
    #[oai(skip_serializing_if_is_none)]
    rotation_due_at: Option<DateTime<Utc>>,
    /// The published checkpoint.
    #[oai(skip_serializing_if_is_none)]
    checkpoint: Option<CheckpointAnswer>,
    /// For how many seconds an event has been waiting for a checkpoint; 0 where none waits.
    uncovered_s: i64,
    /// Witnesses of the log.
    witnesses: Vec<WitnessAnswer>,
    /// PostgreSQL's version.
    postgres_version: String,
    /// Whether that minor release closes the known ways around row-level security.
    postgres_is_current: bool,
    /// Alerts that nobody looks after.
    alerts_open: usize,
}

impl Example for RequestAnswer {
    fn example() -> Self {
        let received_at = DateTime::UNIX_EPOCH;
        Self {
            request_id: Uuid::nil(),
            subject_id: Uuid::nil(),
            kind: "erasure".to_owned(),
            state: "confirmed".to_owned(),
            received_at,
            due_at: domain::desk::extension::due_at(received_at, false),
            extended: false,
            overdue: false,
        }
    }
}

impl Example for ExtensionDecision {
    fn example() -> Self {
        Self { reason: "Records of three systems have to be put together.".to_owned() }
    }
}

/// A reason, as the person is to read it.
pub(crate) fn reason(fields: &mut Fields) -> Option<String> {
    let value = fields.require("reason")?;
    let reason = fields.check("reason", value, |value| match value {
        Value::String(text) => Reason::parse(&text).map_err(Into::into),
        _ => Err("must be a text".into()),
    })?;
    Some(reason.as_str().to_owned())
}

impl Input for ExtensionDecision {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { reason: reason(fields)? })
    }
}

impl RequestAnswer {
    fn new(open: OpenRequest, now: DateTime<Utc>) -> Self {
        let due_at = domain::desk::extension::due_at(open.received_at, open.extended);
        Self {
            request_id: open.request,
            subject_id: open.subject.0,
            kind: open.kind,
            state: open.state,
            received_at: open.received_at,
            due_at,
            extended: open.extended,
            overdue: due_at < now,
        }
    }
}

impl ComplianceOverview {
    fn new(found: Overview, now: DateTime<Utc>) -> Self {
        let requests: Vec<RequestAnswer> = found.requests.into_iter().map(|it| RequestAnswer::new(it, now)).collect();
        let age = |at: DateTime<Utc>| (now - at).num_days();
        Self {
            accounts: found.accounts.accounts,
            restricted: found.accounts.restricted,
            suspended: found.accounts.suspended,
            requests_open: requests.len(),
            requests_overdue: requests.iter().filter(|request| request.overdue).count(),
            erased: found.accounts.erased,
            last_erased_at: found.accounts.last_erased_at,
            erasures_waiting: found.accounts.waiting,
            erasures: found
                .erasures
                .into_iter()
                .map(|it| ErasureAnswer { subject_id: it.subject, request_id: it.request, state: it.state, at: it.at })
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
                .map(|it| PrivilegedAccount { subject_id: it.subject, role: it.role, signed_in_at: it.signed_in_at })
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

/// The compliance desk.
pub struct ComplianceApi;

#[OpenApi(prefix_path = "/v1/compliance", tag = "Tag::Compliance")]
impl ComplianceApi {
    /// Everything at a glance
    ///
    /// What is due, what waits, what stands; how old drill, keys and checkpoint are; whether PostgreSQL is new enough.
    #[oai(path = "/overview", method = "get", operation_id = "compliance_overview")]
    async fn overview(&self, app: Data<&Arc<App>>, caller: Compliance) -> Result<Json<ComplianceOverview>, Refusal> {
        access::note_session_read(&app, caller.ctx(), "compliance", 1, "overview".to_owned()).await?;
        Ok(Json(ComplianceOverview::new(compliance::overview(&app).await?, caller.ctx().now())))
    }

    /// Requests that are not answered yet
    ///
    /// Due one month from receipt, three where the person was told in time (GDPR Art. 12(3)).
    #[oai(path = "/requests", method = "get", operation_id = "request_list")]
    async fn requests(&self, app: Data<&Arc<App>>, caller: Compliance) -> Result<Json<RequestsAnswer>, Refusal> {
        let now = caller.ctx().now();
        let requests: Vec<_> =
            compliance::requests(&app).await?.into_iter().map(|it| RequestAnswer::new(it, now)).collect();
        access::note_session_read(&app, caller.ctx(), "compliance", requests.len(), "requests".to_owned()).await?;
        Ok(Json(RequestsAnswer { overdue: requests.iter().filter(|request| request.overdue).count(), requests }))
    }

    /// Take longer for a request
    ///
    /// Two months more, once, within the first month; the person is told why, by mail and in the audit log.
    #[oai(path = "/requests/:id/extension", method = "post", operation_id = "request_extend")]
    async fn extend(
        &self,
        app: Data<&Arc<App>>,
        caller: Compliance,
        /// The request.
        id: Path<Uuid>,
        decision: Body<ExtensionDecision>,
    ) -> Result<Json<ExtensionAnswer>, Refusal> {
        access::note_session_read(&app, caller.ctx(), "compliance", 1, format!("extension of {}", id.0)).await?;
        Ok(Json(ExtensionAnswer {
            due_at: compliance::request_extend(&app, caller.ctx(), id.0, &decision.0.reason).await?,
        }))
    }
}
