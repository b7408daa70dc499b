//! What the compliance desk counts and lists: states, times and random ids, straight from the log and read models. No
//! personal data in clear. An erasure removes a person's rows from all of it except the log.

use chrono::{DateTime, Utc};
use context::{Role, SubjectId};
use db::{FromRow, Query, sql};
use uuid::Uuid;

use crate::{
    choice::choice,
    page::{Moment, Page, TimedPlace},
};

domain::choice! {
    /// What a person asked for.
    RequestKind { Erasure = "erasure", Export = "export" }
}

domain::choice! {
    /// The state of a request that is not answered yet.
    RequestState {
        /// An erasure that is not confirmed yet, or an export that waits.
        Pending = "pending",
        /// An erasure in its grace period.
        Confirmed = "confirmed",
        /// An export whose file is being written.
        Processing = "processing",
    }
}

/// A request of a person that is not answered yet.
#[derive(FromRow)]
pub struct OpenRequest {
    /// The person inside the log.
    #[row(sql = "subject_id", with = SubjectId)]
    pub subject: SubjectId,
    /// The request.
    #[row(sql = "request_id")]
    pub request: Uuid,
    #[row(with = choice)]
    pub kind: RequestKind,
    #[row(with = choice)]
    pub state: RequestState,
    /// When the request was received.
    #[row(sql = "requested_at")]
    pub received_at: DateTime<Utc>,
    /// Whether the deadline was extended, and the person told.
    #[row(
        sql = "EXISTS (SELECT FROM log.events e WHERE e.subject_id = r.subject_id AND e.aggregate_type = 'extension'
                   AND e.aggregate_id = r.stream)"
    )]
    pub extended: bool,
}

impl OpenRequest {
    /// Where the request stands in the list of requests, the oldest first.
    pub fn place(&self) -> TimedPlace {
        (Moment(self.received_at), self.request)
    }
}

/// All requests that are not answered yet; or only the request with this id. A deletion that was not confirmed does not
/// count once its token has expired.
pub fn request_list(request: Option<Uuid>, now: DateTime<Utc>) -> Query {
    Query::new(
        sql!("-- request_list
        SELECT ", OpenRequest::COLUMNS, "
        FROM (SELECT *, request_id::text AS stream
              FROM (SELECT subject_id, deletion_id AS request_id, 'erasure' AS kind, state, requested_at FROM read.deletions
                    WHERE state = 'confirmed' OR state = 'pending' AND expires_at > $2
                    UNION ALL
                    SELECT subject_id, export_id, 'export', state, requested_at FROM read.exports
                    WHERE state IN ('pending', 'processing')) request OFFSET 0) r
        WHERE $1::uuid IS NULL OR r.request_id = $1"),
    )
    .bind(request)
    .bind(now)
}

/// Consents of one purpose on one notice.
#[derive(FromRow)]
pub struct ConsentCount {
    pub purpose: String,
    pub notice_version: String,
    #[row(sql = "coalesce(sum(delta) FILTER (WHERE what = 'granted'), 0)::bigint")]
    pub granted: i64,
    /// Withdrawn, or never given.
    #[row(sql = "coalesce(sum(delta) FILTER (WHERE what = 'withdrawn'), 0)::bigint")]
    pub withdrawn: i64,
    /// Overruled by an objection.
    #[row(sql = "coalesce(sum(delta) FILTER (WHERE what = 'objected'), 0)::bigint")]
    pub objected: i64,
}

/// How many consents are given, not given and objected to, by purpose and version of the notice.
pub fn consents_count() -> Query {
    Query::new(sql!(
        "-- consents_count
        SELECT ",
        ConsentCount::COLUMNS,
        "
        FROM (SELECT what, purpose, notice_version, sum(delta) AS delta FROM read.tally
              WHERE what IN ('granted', 'withdrawn', 'objected') GROUP BY 1, 2, 3 HAVING sum(delta) <> 0) tally
        GROUP BY purpose, notice_version ORDER BY purpose, notice_version"
    ))
}

/// How many accounts there are.
#[derive(FromRow)]
pub struct AccountCount {
    #[row(sql = "coalesce(sum(delta) FILTER (WHERE what = 'account'), 0)::bigint")]
    pub accounts: i64,
    /// Restricted (GDPR Art. 18).
    #[row(sql = "coalesce(sum(delta) FILTER (WHERE what = 'restricted'), 0)::bigint")]
    pub restricted: i64,
    /// Under a legal hold.
    #[row(sql = "(SELECT count(*) FROM read.accounts WHERE held_until > $1)")]
    pub held: i64,
    /// Suspended for a suspicious pattern.
    #[row(sql = "(SELECT count(*) FROM auth.suspensions WHERE until > $1)")]
    pub suspended: i64,
    /// Erased since the beginning.
    #[row(sql = "coalesce(sum(delta) FILTER (WHERE what = 'erased'), 0)::bigint")]
    pub erased: i64,
    #[row(sql = "(SELECT max(erased_at) FROM vault.erased)")]
    pub last_erased_at: Option<DateTime<Utc>>,
    /// Waiting for the end of a deletion's grace.
    #[row(sql = "coalesce(sum(delta) FILTER (WHERE what = 'waiting'), 0)::bigint")]
    pub waiting: i64,
}

/// How many accounts there are, are restricted, held, suspended, erased and wait for their deletion; and when the last
/// erasure was.
pub fn accounts_count(now: DateTime<Utc>) -> Query {
    Query::new(sql!(
        "-- accounts_count
        SELECT ",
        AccountCount::COLUMNS,
        "
        FROM read.tally"
    ))
    .bind(now)
}

/// Merges the rows of the tally. Two that do this at once merge different rows.
pub fn tally_merge() -> Query {
    Query::new(
        "-- tally_merge
        WITH gone AS (DELETE FROM read.tally RETURNING what, purpose, notice_version, delta)
        INSERT INTO read.tally (what, purpose, notice_version, delta)
        SELECT what, purpose, notice_version, sum(delta) FROM gone GROUP BY 1, 2, 3 HAVING sum(delta) <> 0",
    )
}

/// A legal hold that stands.
#[derive(FromRow)]
pub struct HoldRow {
    /// The person inside the log.
    #[row(sql = "subject_id")]
    pub subject: Uuid,
    #[row(sql = "held_until")]
    pub until: DateTime<Utc>,
}

/// Legal holds that have not ended, by their end.
pub fn holds_list(now: DateTime<Utc>) -> Query {
    Query::new(sql!(
        "-- holds_list\nSELECT ",
        HoldRow::COLUMNS,
        " FROM read.accounts WHERE held_until > $1 ORDER BY held_until"
    ))
    .bind(now)
}

domain::choice! {
    /// The state of an erasure.
    ErasureState {
        /// It waits for the end of its grace.
        Confirmed = "confirmed",
        /// It is done.
        Erased = "erased",
    }
}

/// An erasure that waits, or is done.
#[derive(FromRow)]
pub struct ErasureRow {
    /// The person inside the log.
    #[row(sql = "subject_id")]
    pub subject: Uuid,
    /// The request, while it waits.
    #[row(sql = "deletion_id")]
    pub request: Option<Uuid>,
    #[row(with = choice)]
    pub state: ErasureState,
    /// When its grace ends, or when it was done.
    pub at: Option<DateTime<Utc>>,
}

/// Confirmed erasures that wait for the end of their grace, and the erasures of the last thirty days.
pub fn erasures_list(now: DateTime<Utc>) -> Query {
    Query::new(sql!(
        "-- erasures_list
        SELECT ",
        ErasureRow::COLUMNS,
        " FROM (
            SELECT subject_id, deletion_id, state, grace_ends_at AS at FROM read.deletions
            WHERE state = 'confirmed' AND scope = 'full'
            UNION ALL
            SELECT subject_id, NULL, 'erased', erased_at FROM vault.erased
            WHERE erased_at > $1::timestamptz - interval '30 days') erasures
        ORDER BY at, subject_id"
    ))
    .bind(now)
}

/// An account with a staff role.
#[derive(FromRow)]
pub struct StaffRow {
    /// The member of staff inside the log.
    #[row(sql = "subject_id")]
    pub subject: Uuid,
    #[row(with = choice)]
    pub role: Role,
    /// When the account signed in last.
    #[row(sql = "(SELECT max(e.recorded_at) FROM log.events e
         WHERE e.subject_id = r.subject_id AND e.aggregate_type = 'account' AND e.event_type = 'account.signed_in')")]
    pub signed_in_at: Option<DateTime<Utc>>,
}

/// Accounts with a staff role, and when each of them signed in last.
pub fn staff_list() -> Query {
    Query::new(sql!(
        "-- staff_list
        SELECT ",
        StaffRow::COLUMNS,
        "
        FROM auth.staff_roles r ORDER BY 2, 1"
    ))
}

/// PostgreSQL's version.
#[derive(FromRow)]
pub struct VersionRow {
    #[row(sql = "current_setting('server_version')")]
    pub text: String,
    /// Such as 150020 for 15.20.
    #[row(sql = "current_setting('server_version_num')::int")]
    pub number: i32,
}

/// PostgreSQL's version, as text and as a number.
pub fn server_version() -> Query {
    Query::new(sql!("-- server_version\nSELECT ", VersionRow::COLUMNS, ""))
}

/// Somebody who is concerned by a breach.
#[derive(FromRow)]
pub struct AffectedRow {
    /// The person inside the log.
    #[row(sql = "subject_id")]
    pub subject: Uuid,
    pub events: i64,
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
    /// How many people are concerned in all, of whom the page shows some.
    pub people: i64,
}

/// A page of the people whom a breach may concern, in the order of their ids: everybody about whom data of these kinds
/// was written or read in a span of time, and how often. An empty list of kinds means all kinds.
pub fn affected_list(from: DateTime<Utc>, to: DateTime<Utc>, kinds: Vec<String>, page: &Page<Uuid>) -> Query {
    Query::new(sql!(
        "-- affected_list
        SELECT ",
        AffectedRow::COLUMNS,
        " FROM (
            SELECT subject_id, count(*) AS events, min(recorded_at) AS first, max(recorded_at) AS last,
                   count(*) OVER () AS people
            FROM log.events
            WHERE recorded_at >= $1 AND recorded_at <= $2 AND subject_id <> '00000000-0000-0000-0000-000000000000'
              AND (cardinality($3::text[]) = 0 OR kind = ANY ($3)) AND aggregate_type IN ('record', 'access')
            GROUP BY subject_id) affected
        WHERE subject_id > $4 ORDER BY subject_id LIMIT $5"
    ))
    .bind(from)
    .bind(to)
    .bind(kinds)
    .bind(page.after.unwrap_or(Uuid::nil()))
    .bind(page.rows())
}

/// An opening: a member of staff may read one person's data for a short time.
#[derive(FromRow)]
pub struct OpeningRow {
    /// The person whose data may be read.
    #[row(sql = "subject_id", with = SubjectId)]
    pub subject: SubjectId,
    /// The member of staff who may read it.
    #[row(sql = "staff_id", with = SubjectId)]
    pub staff: SubjectId,
    /// When the opening ends.
    pub expires_at: DateTime<Utc>,
    /// The key ring's MAC over the fields above.
    pub mac: Vec<u8>,
}

pub fn opening_get(opening: Uuid) -> Query {
    Query::new(sql!("-- opening_get\nSELECT ", OpeningRow::COLUMNS, " FROM auth.openings WHERE opening_id = $1"))
        .bind(opening)
}

/// Stores an opening.
pub fn opening_add(opening: Uuid, session: Uuid, row: &OpeningRow) -> Query {
    Query::new(
        "-- opening_add
        INSERT INTO auth.openings (subject_id, opening_id, staff_id, session_id, expires_at, mac) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(row.subject.0)
    .bind(opening)
    .bind(row.staff.0)
    .bind(session)
    .bind(row.expires_at)
    .bind(row.mac.clone())
}
