//! Requests to export, each with its state, its progress and its file; and the queries that read a person's data for an
//! export. States follow from the log. Progress, tag and key of a file are written by the running job and are not
//! rebuildable on purpose, because a file whose key is gone must stay unreadable. Filters and keys are sealed. An
//! erasure removes the rows.

use chrono::{DateTime, Utc};
use context::{ExportId, RecordId, SubjectId};
use db::{FromRow, Query, Row, Tx, sql};
use domain::{
    Choice,
    rights::{
        deletion::Scope,
        export::{Export, ExportEvent, ExportFailure, ExportFormat, ExportSpec, ExportState},
    },
};
use event_log::{Event, Inline, cqrs_es::Aggregate};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vault::RecordEntry;

use crate::{
    choice::{choice, choice_if_any},
    page::{Moment, Page, TimedPlace},
    records::record::RecordRow,
};

/// Writes `read.exports`.
pub struct Exports;

impl Inline for Exports {
    fn project(&self, events: &[Event], tx: &Tx) {
        for event in events.iter().filter(|event| event.aggregate_type == Export::TYPE) {
            let Ok(export) = event.aggregate_id.parse().map(ExportId) else { continue };
            match serde_json::from_str::<ExportEvent>(&event.payload) {
                Ok(ExportEvent::Requested(wanted)) => tx.queue(export_requested(event, export, wanted)),
                Ok(ExportEvent::Completed { size, expires_at, .. }) => {
                    tx.queue(export_completed(event, export, size, expires_at));
                }
                Ok(ExportEvent::Failed { reason, .. }) => {
                    tx.queue(export_ended(event, export, "failed", Some(reason.as_str())));
                }
                Ok(ExportEvent::Cancelled {}) => tx.queue(export_ended(event, export, "cancelled", None)),
                Ok(ExportEvent::Expired {}) => tx.queue(export_ended(event, export, "expired", None)),
                Ok(ExportEvent::Downloaded {} | ExportEvent::TokenMade { .. }) => {
                    tx.queue(export_downloaded(event, export))
                }
                Err(_) => {}
            }
        }
    }
}

/// Writes a request. The second time it is a retry, which begins anew.
fn export_requested(event: &Event, export: ExportId, wanted: ExportSpec) -> Query {
    Query::new(
        "-- export_requested
        INSERT INTO read.exports AS e (subject_id, export_id, sequence, scope, format, state, sealed, requested_at)
        VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7)
        ON CONFLICT (subject_id, export_id) DO UPDATE
        SET sequence = excluded.sequence, state = 'pending', failure = NULL, ended_at = NULL, done = 0, total = 0
        WHERE e.sequence < excluded.sequence",
    )
    .bind(event.subject_id.0)
    .bind(export.0)
    .bind(event.sequence)
    .bind(wanted.scope.as_str())
    .bind(wanted.format.as_str())
    .bind(wanted.sealed)
    .bind(event.recorded_at)
}

fn export_completed(event: &Event, export: ExportId, size: u64, expires_at: DateTime<Utc>) -> Query {
    Query::new(
        "-- export_completed
        UPDATE read.exports
        SET state = 'completed', sequence = $3, ended_at = $4, expires_at = $5, size = $6, done = total
        WHERE subject_id = $1 AND export_id = $2 AND sequence < $3",
    )
    .bind(event.subject_id.0)
    .bind(export.0)
    .bind(event.sequence)
    .bind(event.recorded_at)
    .bind(expires_at)
    .bind(i64::try_from(size).unwrap_or(i64::MAX))
}

/// Ends a request that has no file, or no file any more. The key of the file is removed.
fn export_ended(event: &Event, export: ExportId, state: &'static str, failure: Option<&'static str>) -> Query {
    Query::new(
        "-- export_ended
        UPDATE read.exports
        SET state = $4, sequence = $3, ended_at = $5, failure = $6, file_key = NULL, etag = NULL
        WHERE subject_id = $1 AND export_id = $2 AND sequence < $3",
    )
    .bind(event.subject_id.0)
    .bind(export.0)
    .bind(event.sequence)
    .bind(state)
    .bind(event.recorded_at)
    .bind(failure)
}

fn export_downloaded(event: &Event, export: ExportId) -> Query {
    Query::new(
        "-- export_downloaded
        UPDATE read.exports SET sequence = $3 WHERE subject_id = $1 AND export_id = $2 AND sequence < $3",
    )
    .bind(event.subject_id.0)
    .bind(export.0)
    .bind(event.sequence)
}

/// A request as its owner sees it.
#[derive(FromRow, Serialize, Deserialize)]
pub struct ExportRow {
    /// The request.
    #[row(sql = "export_id", with = ExportId)]
    pub export: ExportId,
    /// How much of the person's data the request is about.
    #[row(with = choice)]
    pub scope: Scope,
    /// The form of the file.
    #[row(with = choice)]
    pub format: ExportFormat,
    #[row(with = choice)]
    pub state: ExportState,
    /// The filters, sealed under the trail key.
    pub sealed: String,
    /// When the person asked.
    pub requested_at: DateTime<Utc>,
    /// When the request was completed, failed, was cancelled or expired.
    pub ended_at: Option<DateTime<Utc>>,
    /// Until when the file can be downloaded; `None` until it is completed.
    pub expires_at: Option<DateTime<Utc>>,
    /// Why the export failed.
    #[row(with = choice_if_any)]
    pub failure: Option<ExportFailure>,
    /// How many records and events the file holds so far.
    pub done: i64,
    /// How many records and events there were when the file was begun.
    pub total: i64,
    /// The size of the file in bytes.
    pub size: Option<i64>,
    /// The key of the file, sealed under the trail key.
    pub file_key: Option<String>,
    /// The entity tag of the file, or of the attempt that is writing it.
    pub etag: Option<String>,
}

impl ExportRow {
    /// Where the request stands in [`export_list`].
    pub fn place(&self) -> TimedPlace {
        (Moment(self.requested_at), self.export.0)
    }
}

/// A page of a person's requests, newest first.
pub fn export_list(subject: SubjectId, page: &Page<TimedPlace>) -> Query {
    let (at, id) = page.before();
    Query::new(sql!(
        "-- export_list
        SELECT ",
        ExportRow::COLUMNS,
        "
        FROM read.exports WHERE subject_id = $1 AND (requested_at, export_id) < ($2, $3)
        ORDER BY requested_at DESC, export_id DESC LIMIT $4"
    ))
    .bind(subject.0)
    .bind(at)
    .bind(id)
    .bind(page.rows())
}

pub fn export_get(subject: SubjectId, export: ExportId) -> Query {
    Query::new(sql!(
        "-- export_get
        SELECT ",
        ExportRow::COLUMNS,
        "
        FROM read.exports WHERE subject_id = $1 AND export_id = $2"
    ))
    .bind(subject.0)
    .bind(export.0)
}

/// A request of a person that waits or is being worked on, if there is one.
pub fn export_open(subject: SubjectId) -> Query {
    Query::new(
        "-- export_open
        SELECT export_id FROM read.exports WHERE subject_id = $1 AND state IN ('pending', 'processing') LIMIT 1",
    )
    .bind(subject.0)
}

/// Begins an attempt. From now on the row only knows the file of this attempt. Returns no row if the request does not
/// wait any more.
pub fn export_begin(subject: SubjectId, export: ExportId, etag: String, file_key: String, total: i64) -> Query {
    Query::new(
        "-- export_begin
        UPDATE read.exports SET state = 'processing', etag = $3, file_key = $4, done = 0, total = $5
        WHERE subject_id = $1 AND export_id = $2 AND state IN ('pending', 'processing') RETURNING true",
    )
    .bind(subject.0)
    .bind(export.0)
    .bind(etag)
    .bind(file_key)
    .bind(total)
}

/// Notes the progress of an attempt. Returns no row if the request does not wait any more, or if another attempt has
/// taken over.
pub fn export_progress(subject: SubjectId, export: ExportId, etag: String, done: i64) -> Query {
    Query::new(
        "-- export_progress
        UPDATE read.exports SET done = $4
        WHERE subject_id = $1 AND export_id = $2 AND state = 'processing' AND etag = $3 RETURNING true",
    )
    .bind(subject.0)
    .bind(export.0)
    .bind(etag)
    .bind(done)
}

/// A file of a request, or of an attempt to write it.
#[derive(FromRow)]
pub struct FileRow {
    #[row(sql = "subject_id", with = SubjectId)]
    pub subject: SubjectId,
    #[row(sql = "export_id", with = ExportId)]
    pub export: ExportId,
    /// `None` before the first attempt.
    pub etag: Option<String>,
}

/// The expired files of all people.
pub fn exports_expired(now: DateTime<Utc>) -> Query {
    Query::new(sql!(
        "-- exports_expired
        SELECT ",
        FileRow::COLUMNS,
        " FROM read.exports WHERE state = 'completed' AND expires_at <= $1"
    ))
    .bind(now)
}

/// Which of these exports still need their file: those that are completed or being written.
pub fn exports_kept(exports: Vec<Uuid>) -> Query {
    Query::new(sql!(
        "-- exports_kept
        SELECT ",
        FileRow::COLUMNS,
        " FROM read.exports
        WHERE export_id = ANY ($1) AND state IN ('processing', 'completed')"
    ))
    .bind(exports)
}

/// The living records of a kind.
#[derive(FromRow)]
pub struct IdsRow {
    pub kind: String,
    /// Oldest first.
    #[row(sql = "array_agg(r.record_id ORDER BY r.submitted_at, r.record_id)")]
    pub records: Vec<Uuid>,
}

/// The ids of a person's living records by kind, oldest first; with kinds, only of those.
pub fn export_ids(subject: SubjectId, kinds: Option<Vec<&'static str>>) -> Query {
    Query::new(sql!(
        "-- export_ids
        SELECT ",
        IdsRow::COLUMNS,
        " FROM read.records r
        WHERE r.subject_id = $1 AND ($2::text[] IS NULL OR r.kind = ANY ($2))
        GROUP BY kind ORDER BY kind"
    ))
    .bind(subject.0)
    .bind(kinds)
}

/// The same of the records that are filed in these buckets, each of which is one of a kind.
pub fn export_ids_filed(subject: SubjectId, buckets: Vec<(&'static str, Vec<u8>)>) -> Query {
    let (kinds, hashes): (Vec<&'static str>, Vec<Vec<u8>>) = buckets.into_iter().unzip();
    Query::new(sql!(
        "-- export_ids_filed
        SELECT ",
        IdsRow::COLUMNS,
        " FROM unnest($2::text[], $3::bytea[]) AS filed (of_kind, hash)
        CROSS JOIN LATERAL (SELECT record_id FROM vault.records v
                            WHERE v.subject_id = $1 AND v.kind = of_kind AND v.bucket = hash OFFSET 0) v
        CROSS JOIN LATERAL (SELECT record_id, kind, submitted_at FROM read.records r
                            WHERE r.subject_id = $1 AND r.record_id = v.record_id OFFSET 0) r
        GROUP BY kind ORDER BY kind"
    ))
    .bind(subject.0)
    .bind(kinds)
    .bind(hashes)
}

/// The records with these ids that still live, in the order of the ids. `OFFSET 0` keeps the planner from reading all
/// of the person's records for each page.
pub fn export_records(subject: SubjectId, records: &[RecordId]) -> Query {
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    Query::new(
        sql!("-- export_records
        SELECT ", RecordRow::COLUMNS, "
        FROM unnest($2::uuid[]) WITH ORDINALITY AS page (id, place)
        CROSS JOIN LATERAL (SELECT * FROM vault.records v WHERE v.subject_id = $1 AND v.record_id = page.id OFFSET 0) v
        CROSS JOIN LATERAL (SELECT sequence, event_type, event_version, payload, submitted_at, recorded_at FROM read.records r
                            WHERE r.subject_id = $1 AND r.record_id = page.id OFFSET 0) r
        ORDER BY page.place"),
    )
    .bind(subject.0)
    .bind(ids)
}

/// The end of the page before: a stream and a sequence in it. The next page begins after it.
#[derive(Clone, Debug, Default)]
pub struct After {
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: i64,
}

/// An event and, where its record lives, the record's entry in the register.
pub struct ExportedEvent {
    pub event: Event,
    pub entry: Option<RecordEntry>,
}

impl FromRow for ExportedEvent {
    const COLUMNS: &'static str = sql!(Event::COLUMNS, ", record_id, key_hash, bucket, wrapped_key");

    fn from_row(row: &Row) -> Self {
        let event = Event::from_row(row);
        let entry = row.get::<_, Option<Uuid>>("record_id").map(|record| RecordEntry {
            record: RecordId(record),
            kind: event.kind.clone(),
            key_hash: row.get("key_hash"),
            bucket: row.get("bucket"),
            wrapped_key: row.get("wrapped_key"),
        });
        Self { event, entry }
    }
}

/// A page of a person's events, stream by stream. An event of a living record comes with the record's entry in the
/// register. The name of a stream is cast to the record's id in the inner query, behind `OFFSET 0`: a cast inside the
/// comparison would keep PostgreSQL from using the index under row-level security, and for each event it would read the
/// person's whole register.
pub fn export_events(subject: SubjectId, after: After, limit: i64) -> Query {
    Query::new(sql!(
        "-- export_events
        SELECT ",
        ExportedEvent::COLUMNS,
        "
        FROM (SELECT *, CASE WHEN aggregate_type = 'record' THEN aggregate_id::uuid END AS record
              FROM (SELECT * FROM log.events
                    WHERE subject_id = $1 AND (aggregate_type, aggregate_id, sequence) > ($2, $3, $4)
                    ORDER BY aggregate_type, aggregate_id, sequence LIMIT $5) page OFFSET 0) e
        LEFT JOIN LATERAL (SELECT record_id, key_hash, bucket, wrapped_key FROM vault.records
                           WHERE subject_id = $1 AND record_id = e.record OFFSET 0) v ON true
        ORDER BY e.aggregate_type, e.aggregate_id, e.sequence"
    ))
    .bind(subject.0)
    .bind(after.aggregate_type)
    .bind(after.aggregate_id)
    .bind(after.sequence)
    .bind(limit)
}

pub fn export_event_count(subject: SubjectId) -> Query {
    Query::new("-- export_event_count\nSELECT count(*) AS events FROM log.events WHERE subject_id = $1").bind(subject.0)
}

/// All decisions of a person on purposes, oldest first.
pub fn export_consents(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- export_consents
        SELECT ",
        Event::COLUMNS,
        "
        FROM log.events WHERE subject_id = $1 AND aggregate_type = 'consent' ORDER BY aggregate_id, sequence"
    ))
    .bind(subject.0)
}
