//! Pages of a person's records of one kind, oldest first.
//!
//! The database knows of the day of a record only in which bucket it is filed: a keyed hash of its quarter. So the server
//! names the buckets in the order of their quarters, and the database reads as many of them as fill a page. Records of
//! kinds without days are listed by the time of their first submission, which is in clear.

use chrono::{DateTime, Utc};
use context::SubjectId;
use db::{FromRow, Query, sql};
use uuid::Uuid;

use crate::{
    page::{Page, TimedPlace},
    records::record::RecordRow,
};

/// A bucket in which records of a person are filed.
#[derive(FromRow)]
pub struct BucketRow {
    pub bucket: Vec<u8>,
}

/// A bucket that a page may need.
pub struct Bucket {
    pub hash: Vec<u8>,
    /// Whether each record in it belongs on the page or behind it. If not, its records do not count when the page is
    /// filled.
    pub is_inside: bool,
}

/// The buckets in which a person's records of a kind are filed. Each is found by one step through the index, so that
/// the cost grows with the number of buckets and not of records.
pub fn record_buckets(subject: SubjectId, kind: &'static str) -> Query {
    Query::new(sql!(
        "-- record_buckets
        WITH RECURSIVE filed (bucket) AS (
            (SELECT bucket FROM vault.records WHERE subject_id = $1 AND kind = $2 AND bucket IS NOT NULL
             ORDER BY bucket LIMIT 1)
            UNION ALL
            SELECT (SELECT v.bucket FROM vault.records v WHERE v.subject_id = $1 AND v.kind = $2 AND v.bucket > f.bucket
                    ORDER BY v.bucket LIMIT 1)
            FROM filed f WHERE f.bucket IS NOT NULL)
        SELECT ",
        BucketRow::COLUMNS,
        " FROM filed WHERE bucket IS NOT NULL"
    ))
    .bind(subject.0)
    .bind(kind)
}

/// The records of a kind in the first of these buckets, as many buckets as hold `rows` records of which each belongs on
/// the page or behind it; all buckets if `rows` is `None`.
pub fn record_page(subject: SubjectId, kind: &'static str, buckets: Vec<Bucket>, rows: Option<usize>) -> Query {
    let (hashes, inside): (Vec<Vec<u8>>, Vec<bool>) =
        buckets.into_iter().map(|bucket| (bucket.hash, bucket.is_inside)).unzip();
    Query::new(sql!(
        "-- record_page
        WITH RECURSIVE filled (buckets, records) AS (
            SELECT 0, 0::bigint
            UNION ALL
            SELECT f.buckets + 1, f.records + CASE WHEN ($4::boolean[])[f.buckets + 1] THEN (
                SELECT count(*) FROM vault.records v
                WHERE v.subject_id = $1 AND v.kind = $2 AND v.bucket = ($3::bytea[])[f.buckets + 1]) ELSE 0 END
            FROM filled f WHERE f.buckets < cardinality($3) AND f.records < $5)
        SELECT ",
        RecordRow::COLUMNS,
        " FROM unnest(($3::bytea[])[1:(SELECT max(buckets) FROM filled)]) AS filed (hash)
        CROSS JOIN LATERAL (SELECT * FROM vault.records v WHERE v.subject_id = $1 AND v.kind = $2 AND v.bucket = hash OFFSET 0) v",
        NEWEST
    ))
    .bind(subject.0)
    .bind(kind)
    .bind(hashes)
    .bind(inside)
    .bind(rows.map_or(i64::MAX, |rows| i64::try_from(rows).unwrap_or(i64::MAX)))
}

/// A page of the records of a kind without days, by the time of their first submission.
pub fn record_page_undated(subject: SubjectId, kind: &'static str, page: &Page<TimedPlace>) -> Query {
    let (at, id) = page.after.map_or((DateTime::<Utc>::UNIX_EPOCH, Uuid::nil()), |(moment, id)| (moment.0, id));
    Query::new(sql!(
        "-- record_page_undated
        SELECT ",
        RecordRow::COLUMNS,
        "
        FROM (SELECT subject_id, record_id, sequence, event_type, event_version, payload, submitted_at, recorded_at
              FROM read.records
              WHERE subject_id = $1 AND kind = $2 AND listed_at IS NOT NULL AND (listed_at, record_id) > ($3, $4)
              ORDER BY listed_at, record_id LIMIT $5) r
        JOIN vault.records v USING (subject_id, record_id)
        WHERE v.subject_id = $1
        ORDER BY submitted_at, record_id"
    ))
    .bind(subject.0)
    .bind(kind)
    .bind(at)
    .bind(id)
    .bind(page.rows())
}

/// All living records of a kind.
pub fn record_list(subject: SubjectId, kind: &'static str) -> Query {
    Query::new(sql!(
        "-- record_list
        SELECT ",
        RecordRow::COLUMNS,
        RecordRow::FROM,
        "
        WHERE v.subject_id = $1 AND v.kind = $2"
    ))
    .bind(subject.0)
    .bind(kind)
}

/// All living records of these kinds.
pub fn record_kinds(subject: SubjectId, kinds: Vec<&'static str>) -> Query {
    Query::new(sql!(
        "-- record_kinds
        SELECT ",
        RecordRow::COLUMNS,
        RecordRow::FROM,
        "
        WHERE v.subject_id = $1 AND v.kind = ANY ($2)"
    ))
    .bind(subject.0)
    .bind(kinds)
}

/// The living records that are filed in these buckets, each of which is one of a kind.
pub fn record_filed(subject: SubjectId, buckets: Vec<(&'static str, Vec<u8>)>) -> Query {
    let (kinds, hashes): (Vec<&'static str>, Vec<Vec<u8>>) = buckets.into_iter().unzip();
    Query::new(sql!(
        "-- record_filed
        SELECT ",
        RecordRow::COLUMNS,
        " FROM unnest($2::text[], $3::bytea[]) AS filed (of_kind, hash)
        CROSS JOIN LATERAL (SELECT * FROM vault.records v WHERE v.subject_id = $1 AND v.kind = of_kind AND v.bucket = hash OFFSET 0) v",
        NEWEST
    ))
    .bind(subject.0)
    .bind(kinds)
    .bind(hashes)
}

/// The newest event of each row `v` of the register. `OFFSET 0` keeps the planner, which does not know how few rows a
/// bucket holds, from reading all of the person's records.
const NEWEST: &str = "
        CROSS JOIN LATERAL (SELECT sequence, event_type, event_version, payload, submitted_at, recorded_at FROM read.records r
                            WHERE r.subject_id = $1 AND r.record_id = v.record_id OFFSET 0) r";

/// How long records of a kind are kept: those that were changed last before `before` have outlived their time.
pub struct Expiry {
    pub kind: &'static str,
    pub before: DateTime<Utc>,
}

/// The living records that have outlived their time.
pub fn record_expired(subject: SubjectId, expiries: &[Expiry]) -> Query {
    Query::new(sql!(
        "-- record_expired
        SELECT ",
        RecordRow::COLUMNS,
        RecordRow::FROM,
        "
        JOIN unnest($2::text[], $3::timestamptz[]) AS expiry (of_kind, before) ON expiry.of_kind = v.kind
        WHERE v.subject_id = $1 AND recorded_at < before"
    ))
    .bind(subject.0)
    .bind(expiries.iter().map(|expiry| expiry.kind).collect::<Vec<_>>())
    .bind(expiries.iter().map(|expiry| expiry.before).collect::<Vec<_>>())
}

/// The records of one kind, and how many of them have outlived their time.
#[derive(FromRow)]
pub struct ExpiryRow {
    pub kind: String,
    #[row(sql = "count(*) FILTER (WHERE recorded_at < before)")]
    pub due: i64,
    /// The last change of the record that has not been changed for the longest time, among those whose time is not over.
    #[row(sql = "min(recorded_at) FILTER (WHERE recorded_at >= before OR before IS NULL)")]
    pub unchanged_since: Option<DateTime<Utc>>,
}

/// For each kind of which a person has records: how many have outlived their time, and which is next.
pub fn record_expiry(subject: SubjectId, expiries: &[Expiry]) -> Query {
    Query::new(sql!(
        "-- record_expiry
        SELECT ",
        ExpiryRow::COLUMNS,
        " FROM read.records
        LEFT JOIN unnest($2::text[], $3::timestamptz[]) AS expiry (of_kind, before) ON of_kind = kind
        WHERE subject_id = $1 GROUP BY kind"
    ))
    .bind(subject.0)
    .bind(expiries.iter().map(|expiry| expiry.kind).collect::<Vec<_>>())
    .bind(expiries.iter().map(|expiry| expiry.before).collect::<Vec<_>>())
}
