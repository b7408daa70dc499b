//! Records: the sealed newest event of each living record, for all kinds. Rebuildable from the log and the register by
//! one statement. Holds sealed bytes only. A row is removed with its entry in the register, so that an erasure leaves
//! nothing.

use chrono::{DateTime, Utc};
use context::{EventId, RecordId, SubjectId};
use db::{FromRow, Query, Row, Tx, rows, sql};
use domain::{Kind, kinds::kind, records::record::Record};
use event_log::{Event, Inline, cqrs_es::Aggregate};
use uuid::Uuid;
use vault::RecordEntry;

use crate::rebuild::{Rebuild, Turn, ids};

/// Writes `read.records`.
pub struct Records;

impl Inline for Records {
    fn project(&self, events: &[Event], tx: &Tx) {
        let queue = |event_type: &str, write: fn(&[&Event]) -> Query| {
            let mine = |event: &&Event| event.aggregate_type == Record::TYPE && event.event_type == event_type;
            let events: Vec<&Event> = events.iter().filter(mine).collect();
            if !events.is_empty() {
                tx.queue(write(&events));
            }
        };
        queue("record.submitted", record_submitted);
        queue("record.amended", record_amended);
        queue("record.removed", record_unproject);
    }
}

fn id(event: &Event) -> Uuid {
    event.aggregate_id.parse().expect("a record's stream is named by its id")
}

/// Writes the first event of a record. If the event is written a second time, the row exists already and stays.
fn record_submitted(events: &[&Event]) -> Query {
    Query::rows(rows!(
        "-- record_submitted
        INSERT INTO read.records (subject_id, record_id, kind, sequence, event_type, event_version, payload, submitted_at,
                                  recorded_at, listed_at)
        SELECT subject_id, record_id, kind, sequence, event_type, event_version, payload::json, recorded_at, recorded_at,
               listed_at
        FROM ",
        [
            "$1::uuid",
            "$2::uuid",
            "$3::text",
            "$4::bigint",
            "$5::text",
            "$6::text",
            "$7::text",
            "$8::timestamptz",
            "$9::timestamptz",
        ],
        " AS e (subject_id, record_id, kind, sequence, event_type, event_version, payload, recorded_at, listed_at)
        ON CONFLICT DO NOTHING",
    ))
    .list(events.iter().map(|event| event.subject_id.0).collect::<Vec<_>>())
    .list(events.iter().map(|event| id(event)).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.kind.clone()).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.sequence).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.event_type.clone()).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.event_version.clone()).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.payload.clone()).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.recorded_at).collect::<Vec<_>>())
    .list(events.iter().map(|event| listed_at(event)).collect::<Vec<_>>())
}

/// The time by which a record is listed, if its kind has no days.
pub(super) fn listed_at(event: &Event) -> Option<DateTime<Utc>> {
    Some(event.recorded_at).filter(|_| !kind(&event.kind).is_some_and(Kind::is_dated))
}

/// Writes later events of records. A row takes the newest event.
pub fn record_amended(events: &[&Event]) -> Query {
    Query::new(
        "-- record_amended
        UPDATE read.records r
        SET sequence = e.sequence, event_type = e.event_type, event_version = e.event_version, payload = e.payload::json,
            recorded_at = e.recorded_at
        FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
             AS e (subject_id, record_id, sequence, event_type, event_version, payload, recorded_at)
        WHERE r.subject_id = e.subject_id AND r.record_id = e.record_id AND r.sequence < e.sequence",
    )
    .list(events.iter().map(|event| event.subject_id.0).collect::<Vec<_>>())
    .list(events.iter().map(|event| id(event)).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.sequence).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.event_type.clone()).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.event_version.clone()).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.payload.clone()).collect::<Vec<_>>())
    .list(events.iter().map(|event| event.recorded_at).collect::<Vec<_>>())
}

fn record_unproject(events: &[&Event]) -> Query {
    Query::new(
        "-- record_unproject
        DELETE FROM read.records WHERE subject_id = $1 AND record_id = ANY ($2)",
    )
    .bind(events[0].subject_id.0)
    .bind(events.iter().map(|event| id(event)).collect::<Vec<_>>())
}

/// A living record: its newest event, sealed, and its wrapped key.
pub struct RecordRow {
    /// The newest event. Its metadata and event id are not read.
    pub event: Event,
    pub entry: RecordEntry,
    /// When the record was submitted first.
    pub submitted_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Columns {
    #[row(with = SubjectId)]
    subject_id: SubjectId,
    #[row(flatten)]
    entry: RecordEntry,
    sequence: i64,
    event_type: String,
    event_version: String,
    #[row(sql = "payload::text")]
    payload: String,
    submitted_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
}

impl FromRow for RecordRow {
    const COLUMNS: &'static str = Columns::COLUMNS;

    fn from_row(row: &Row) -> Self {
        let columns = Columns::from_row(row);
        let event = Event {
            aggregate_type: Record::TYPE.to_owned(),
            aggregate_id: columns.entry.record.to_string(),
            sequence: columns.sequence,
            event_type: columns.event_type,
            event_version: columns.event_version,
            payload: columns.payload,
            metadata: "{}".to_owned(),
            event_id: EventId(Uuid::nil()),
            subject_id: columns.subject_id,
            kind: columns.entry.kind.clone(),
            recorded_at: columns.recorded_at,
        };
        Self { event, entry: columns.entry, submitted_at: columns.submitted_at }
    }
}

impl RecordRow {
    /// Register and read model, each of whose columns has one name.
    pub(super) const FROM: &'static str = "
        FROM vault.records v
        JOIN (SELECT subject_id, record_id, sequence, event_type, event_version, payload, submitted_at, recorded_at
              FROM read.records) r USING (subject_id, record_id)";
}

/// One living record of a kind.
pub fn record_get(subject: SubjectId, kind: &'static str, record: RecordId) -> Query {
    Query::new(sql!(
        "-- record_get
        SELECT ",
        RecordRow::COLUMNS,
        RecordRow::FROM,
        "
        WHERE v.subject_id = $1 AND v.kind = $2 AND v.record_id = $3"
    ))
    .bind(subject.0)
    .bind(kind)
    .bind(record.0)
}

/// Living records by their ids.
pub fn records_get(subject: SubjectId, records: &[RecordId]) -> Query {
    Query::new(sql!(
        "-- records_get
        SELECT ",
        RecordRow::COLUMNS,
        RecordRow::FROM,
        "
        WHERE v.subject_id = $1 AND v.record_id = ANY ($2)"
    ))
    .bind(subject.0)
    .bind(records.iter().map(|record| record.0).collect::<Vec<_>>())
}

/// A record that is looked for by its natural key.
pub struct Named {
    pub subject: SubjectId,
    pub kind: &'static str,
    pub key_hash: [u8; 32],
}

/// The newest event and the wrapped key of each of these records that is there, straight from the log and the register.
///
/// A record's id is cast in a separate step to the text that names its stream. A cast inside the comparison would keep
/// PostgreSQL from using the index under row-level security, and for each record it would read all of the person's
/// events. `OFFSET 0` keeps the planner from reading the person's whole register instead of the keys that were asked
/// for.
pub fn record_newest(named: &[Named]) -> Query {
    Query::rows(rows!(
        sql!(
            "-- record_newest
        WITH named AS MATERIALIZED (
            SELECT v.subject_id, v.record_id, v.kind, v.key_hash, v.bucket, v.wrapped_key, v.record_id::text AS stream
            FROM "
        ),
        ["$1::uuid", "$2::text", "$3::bytea"],
        sql!(
            " AS asked (subject_id, kind, key_hash)
            CROSS JOIN LATERAL (SELECT * FROM vault.records v
                                WHERE v.subject_id = asked.subject_id AND v.kind = asked.kind
                                  AND v.key_hash = asked.key_hash OFFSET 0) v)
        SELECT ",
            RecordRow::COLUMNS,
            "
        FROM named n
        CROSS JOIN LATERAL (SELECT submitted_at FROM read.records
                            WHERE subject_id = n.subject_id AND record_id = n.record_id OFFSET 0) r
        CROSS JOIN LATERAL (
            SELECT sequence, event_type, event_version, payload, recorded_at FROM log.events
            WHERE subject_id = n.subject_id AND aggregate_type = 'record' AND aggregate_id = n.stream
            ORDER BY sequence DESC LIMIT 1) e"
        )
    ))
    .list(named.iter().map(|named| named.subject.0).collect())
    .list(named.iter().map(|named| named.kind).collect())
    .list(named.iter().map(|named| named.key_hash.to_vec()).collect())
}

/// When a record of this kind was changed last.
pub fn record_latest(subject: SubjectId, kind: &'static str) -> Query {
    Query::new(
        "-- record_latest
        SELECT max(recorded_at) AS recorded_at FROM read.records WHERE subject_id = $1 AND kind = $2",
    )
    .bind(subject.0)
    .bind(kind)
}

/// Makes people's rows equal to the log and the register.
pub const REBUILD: Rebuild = Rebuild {
    name: "records",
    events: rebuild_records,
    projections: &[&Records],
    rows: "-- records_rows\nSELECT record_id::text AS key, to_json(r)::text AS row FROM read.records r WHERE subject_id = ANY ($1)",
    clear: "-- records_clear\nDELETE FROM read.records WHERE subject_id = ANY ($1)",
};

/// The first and the newest event of each record that the register holds: the newest event is the whole state.
fn rebuild_records(subjects: &[SubjectId]) -> Query {
    Query::new(sql!(
        "-- rebuild_records
        WITH named AS MATERIALIZED (
            SELECT subject_id, record_id::text AS stream FROM vault.records WHERE subject_id = ANY ($1))
        SELECT ",
        Turn::COLUMNS,
        " FROM (
            SELECT 1::bigint AS turn, e.* FROM named n
            CROSS JOIN LATERAL (SELECT * FROM log.events WHERE subject_id = n.subject_id AND aggregate_type = 'record'
                                AND aggregate_id = n.stream ORDER BY sequence LIMIT 1) e
            UNION ALL
            SELECT 2, e.* FROM named n
            CROSS JOIN LATERAL (SELECT * FROM log.events WHERE subject_id = n.subject_id AND aggregate_type = 'record'
                                AND aggregate_id = n.stream AND sequence > 1 ORDER BY sequence DESC LIMIT 1) e) turns
        ORDER BY turn"
    ))
    .bind(ids(subjects))
}

/// The records of one kind that a person has.
#[derive(FromRow)]
pub struct AgesRow {
    pub kind: String,
    #[row(sql = "count(*)")]
    pub count: i64,
    #[row(sql = "min(submitted_at)")]
    pub first_submitted_at: DateTime<Utc>,
    #[row(sql = "max(recorded_at)")]
    pub last_changed_at: DateTime<Utc>,
    /// Since when the record that was left alone longest has not been changed.
    #[row(sql = "min(recorded_at)")]
    pub unchanged_since: DateTime<Utc>,
}

/// For each kind: how many records a person has, when the first was submitted, when one was changed last, and the last
/// change of the record that has not been changed for the longest time.
pub fn record_ages(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- record_ages
        SELECT ",
        AgesRow::COLUMNS,
        " FROM read.records
        WHERE subject_id = $1 GROUP BY kind"
    ))
    .bind(subject.0)
}
