//! What the compliance desk counts and lists: states, times and random ids, straight from the log and read models. No
//! personal data in clear. An erasure removes a person's rows from all of it except the log.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use context::SubjectId;
use db::{Query, Row};
use uuid::Uuid;

pub struct OpenRequest {
    pub subject: SubjectId,
    pub request: Uuid,
    /// `erasure` or `export`.
    pub kind: String,
    pub state: String,
    /// When the request was received.
    pub received_at: DateTime<Utc>,
    /// Whether the deadline was extended, and the person told.
    pub extended: bool,
}

/// All requests that are not answered yet, the oldest first; or only the request with this id. A deletion that was not
/// confirmed does not count once its token has expired.
pub fn request_list(request: Option<Uuid>, now: DateTime<Utc>, limit: i64) -> Query {
    Query::new(
        "-- request_list
        SELECT r.subject_id, r.request_id, r.kind, r.state, r.requested_at,
               EXISTS (SELECT FROM log.events e WHERE e.subject_id = r.subject_id AND e.aggregate_type = 'extension'
                       AND e.aggregate_id = r.stream)
        FROM (SELECT *, request_id::text AS stream
              FROM (SELECT subject_id, deletion_id AS request_id, 'erasure' AS kind, state, requested_at FROM read.deletions
                    WHERE state = 'confirmed' OR state = 'pending' AND expires_at > $3
                    UNION ALL
                    SELECT subject_id, export_id, 'export', state, requested_at FROM read.exports
                    WHERE state IN ('pending', 'processing')) request OFFSET 0) r
        WHERE $1::uuid IS NULL OR r.request_id = $1
        ORDER BY r.requested_at, r.request_id LIMIT $2",
    )
    .bind(request)
    .bind(limit)
    .bind(now)
}

impl OpenRequest {
    /// Reads a row of [`request_list`].
    pub fn from_row(row: &Row) -> Self {
        Self {
            subject: SubjectId(row.get(0)),
            request: row.get(1),
            kind: row.get(2),
            state: row.get(3),
            received_at: row.get(4),
            extended: row.get(5),
        }
    }
}

/// How many consents are given, not given and objected to, by purpose and version of the notice.
pub fn consents_count() -> Query {
    Query::new(
        "-- consents_count
        SELECT purpose, notice_version, count(*) FILTER (WHERE granted AND NOT objected), count(*) FILTER (WHERE NOT granted),
               count(*) FILTER (WHERE objected)
        FROM read.consents GROUP BY 1, 2 ORDER BY 1, 2",
    )
}

/// How many accounts there are, are restricted, held, suspended, erased and wait for their deletion; and when the last
/// erasure was.
pub fn accounts_count(now: DateTime<Utc>) -> Query {
    Query::new(
        "-- accounts_count
        SELECT count(*), count(*) FILTER (WHERE restricted_at IS NOT NULL), count(*) FILTER (WHERE held_until > $1),
               (SELECT count(*) FROM auth.suspensions WHERE until > $1), (SELECT count(*) FROM vault.erased),
               (SELECT max(erased_at) FROM vault.erased), count(*) FILTER (WHERE deletion_at IS NOT NULL)
        FROM read.accounts",
    )
    .bind(now)
}

/// Legal holds that have not ended, by their end.
pub fn holds_list(now: DateTime<Utc>) -> Query {
    Query::new(
        "-- holds_list\nSELECT subject_id, held_until FROM read.accounts WHERE held_until > $1 ORDER BY held_until",
    )
    .bind(now)
}

/// Confirmed erasures that wait for the end of their grace, and the erasures of the last thirty days.
pub fn erasures_list(now: DateTime<Utc>) -> Query {
    Query::new(
        "-- erasures_list
        SELECT subject_id, deletion_id, state, grace_ends_at FROM read.deletions WHERE state = 'confirmed' AND scope = 'full'
        UNION ALL
        SELECT subject_id, NULL, 'erased', erased_at FROM vault.erased WHERE erased_at > $1::timestamptz - interval '30 days'
        ORDER BY 4, 1",
    )
    .bind(now)
}

/// Accounts with a staff role, and when each of them signed in last.
pub fn staff_list() -> Query {
    Query::new(
        "-- staff_list
        SELECT r.subject_id, r.role, (SELECT max(e.recorded_at) FROM log.events e WHERE e.subject_id = r.subject_id
                                      AND e.aggregate_type = 'account' AND e.event_type = 'account.signed_in')
        FROM auth.staff_roles r ORDER BY 2, 1",
    )
}

/// PostgreSQL's version, as text and as a number.
pub fn server_version() -> Query {
    Query::new(
        "-- server_version\nSELECT current_setting('server_version'), current_setting('server_version_num')::int",
    )
}

/// Which of everybody's events are searched for.
#[derive(Clone, Debug)]
pub struct TrailFilter {
    /// From this time on.
    pub from: DateTime<Utc>,
    /// Before this time.
    pub to: DateTime<Utc>,
    /// Only this type of event, or all types that begin with this text and a dot.
    pub action: Option<String>,
    /// Only events about this person inside the log.
    pub subject: Option<Uuid>,
    /// Only events by somebody in this role.
    pub role: Option<String>,
    /// Only events after this position of the log: transaction and position.
    pub after: (u64, i64),
    /// The most events that are returned.
    pub limit: i64,
}

/// The columns that are shown of an event. A sealed payload is left out, because nobody can read it here.
const ENTRY: &str = "e.txid::text, e.position, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
               CASE WHEN e.payload->'sealed' IS NULL THEN e.payload::text ELSE '' END, e.metadata::text, e.event_id, e.subject_id,
               e.kind, e.recorded_at";

/// Events in the order of the log, below the oldest open transaction: of everybody in a span of time, or of one person.
pub fn trail_list(filter: TrailFilter) -> Query {
    // One person's events are found by the primary key. For everybody's events the positions are sorted first, and only
    // the rows of the page are read whole.
    static OF_ONE: LazyLock<String> = LazyLock::new(|| {
        format!(
            "-- trail_of_subject
        SELECT {ENTRY} FROM log.events e
        WHERE e.subject_id = $4 AND e.recorded_at >= $1 AND e.recorded_at < $2
          AND ($3::text IS NULL OR e.event_type = $3 OR starts_with(e.event_type, $3 || '.'))
          AND ($5::text IS NULL OR e.metadata->>'role' = $5)
          AND (e.txid, e.position) > ($6::text::xid8, $7) AND e.txid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY e.txid, e.position LIMIT $8"
        )
    });
    static OF_ALL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "-- trail_list
        WITH span AS MATERIALIZED (
            SELECT txid, position FROM log.events
            WHERE recorded_at >= $1 AND recorded_at < $2
              AND ($3::text IS NULL OR event_type = $3 OR starts_with(event_type, $3 || '.'))
              AND $4::uuid IS NULL AND ($5::text IS NULL OR metadata->>'role' = $5)
              AND (txid, position) > ($6::text::xid8, $7) AND txid < pg_snapshot_xmin(pg_current_snapshot())),
        page AS MATERIALIZED (SELECT txid, position FROM span ORDER BY span.txid, span.position LIMIT $8)
        SELECT {ENTRY} FROM page p JOIN log.events e ON e.txid = p.txid AND e.position = p.position
        ORDER BY e.txid, e.position"
        )
    });
    Query::new(if filter.subject.is_some() { &OF_ONE } else { &OF_ALL })
        .bind(filter.from)
        .bind(filter.to)
        .bind(filter.action)
        .bind(filter.subject)
        .bind(filter.role)
        .bind(filter.after.0.to_string())
        .bind(filter.after.1)
        .bind(filter.limit)
}

/// The people whom a breach may concern: everybody about whom data of these kinds was written or read in a span of
/// time, and how often. An empty list of kinds means all kinds.
pub fn affected_list(from: DateTime<Utc>, to: DateTime<Utc>, kinds: Vec<String>, limit: i64) -> Query {
    Query::new(
        "-- affected_list
        SELECT subject_id, count(*), min(recorded_at), max(recorded_at), count(*) OVER ()
        FROM log.events
        WHERE recorded_at >= $1 AND recorded_at <= $2 AND subject_id <> '00000000-0000-0000-0000-000000000000'
          AND (cardinality($3::text[]) = 0 OR kind = ANY ($3)) AND aggregate_type IN ('record', 'access')
        GROUP BY subject_id ORDER BY subject_id LIMIT $4",
    )
    .bind(from)
    .bind(to)
    .bind(kinds)
    .bind(limit)
}

/// An opening: a member of staff may read one person's data for a short time.
pub struct OpeningRow {
    /// The person whose data may be read.
    pub subject: SubjectId,
    /// The member of staff who may read it.
    pub staff: SubjectId,
    /// When the opening ends.
    pub expires_at: DateTime<Utc>,
    /// The key ring's MAC over the fields above.
    pub mac: Vec<u8>,
}

pub fn opening_get(opening: Uuid) -> Query {
    Query::new("-- opening_get\nSELECT subject_id, staff_id, expires_at, mac FROM auth.openings WHERE opening_id = $1")
        .bind(opening)
}

impl OpeningRow {
    /// Reads a row of [`opening_get`].
    pub fn from_row(row: &Row) -> Self {
        Self { subject: SubjectId(row.get(0)), staff: SubjectId(row.get(1)), expires_at: row.get(2), mac: row.get(3) }
    }
}

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
