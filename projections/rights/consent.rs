//! Consents: the newest decision on each purpose. Rebuildable from the log. No personal value beside the random id. An
//! erasure removes the row; the events stay as evidence.

use chrono::{DateTime, Utc};
use context::{EventId, SubjectId};
use db::{FromRow, Query, Tx, sql};
use domain::{
    Choice,
    rights::consent::{Consent, ConsentEvent, Notice, Purpose},
};
use event_log::{Event, Inline, cqrs_es::Aggregate};
use uuid::Uuid;

use crate::{
    page::Page,
    rebuild::{Rebuild, rebuild_events},
};

/// Writes `read.consents`.
pub struct Consents;

impl Inline for Consents {
    fn project(&self, events: &[Event], tx: &Tx) {
        let mine = events.iter().filter(|event| event.aggregate_type == Consent::TYPE);
        let decided: Vec<(&Event, ConsentEvent)> =
            mine.filter_map(|event| Some((event, serde_json::from_str(&event.payload).ok()?))).collect();
        if !decided.is_empty() {
            tx.queue(consent_decided(&decided));
        }
    }
}

/// Takes over decisions, of which no two are about one purpose of one person.
fn consent_decided(decided: &[(&Event, ConsentEvent)]) -> Query {
    let decisions = || decided.iter().map(|(_, decided)| decided.decision());
    Query::new(
        "-- consent_decided
        INSERT INTO read.consents AS c
               (subject_id, purpose, granted, objected, notice_version, notice_hash, sequence, changed_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::boolean[], $5::text[], $6::text[], $7::bigint[],
                             $8::timestamptz[])
        ON CONFLICT (subject_id, purpose) DO UPDATE
        SET granted = excluded.granted, objected = excluded.objected, notice_version = excluded.notice_version,
            notice_hash = excluded.notice_hash, sequence = excluded.sequence, changed_at = excluded.changed_at
        WHERE c.sequence < excluded.sequence",
    )
    .list(decided.iter().map(|(event, _)| event.subject_id.0).collect())
    .list(decisions().map(|decision| Choice::as_str(decision.purpose)).collect())
    .list(decided.iter().map(|(_, decided)| matches!(decided, ConsentEvent::Granted(_))).collect())
    .list(decided.iter().map(|(_, decided)| matches!(decided, ConsentEvent::Objected(_))).collect())
    .list(decisions().map(|decision| decision.notice_version.clone()).collect())
    .list(decisions().map(|decision| decision.notice_hash.clone()).collect())
    .list(decided.iter().map(|(event, _)| event.sequence).collect())
    .list(decided.iter().map(|(event, _)| event.recorded_at).collect())
}

/// The id of the stream of a person's decisions on a purpose.
pub fn stream_id(subject: SubjectId, purpose: Purpose) -> String {
    format!("{subject}/{}", Choice::as_str(purpose))
}

/// The newest decision of a person on each purpose.
pub fn consent_list(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- consent_list
        SELECT ",
        ConsentRow::COLUMNS,
        " FROM read.consents WHERE subject_id = $1"
    ))
    .bind(subject.0)
}

/// Adds a job for each person whose consent was given on a notice that no longer counts.
pub fn job_plan_lapses(kind: &'static str, now: DateTime<Utc>) -> Query {
    let current = Purpose::ALL.map(Notice::current);
    Query::new(
        "-- job_plan_lapses
        INSERT INTO jobs.jobs (subject_id, job_id, kind, request_id, state, due_at, created_at)
        SELECT subject_id, gen_random_uuid(), $1, $3, 'waiting', $2, $2 FROM (
            SELECT DISTINCT c.subject_id FROM unnest($4::text[], $5::text[]) AS n (purpose, version)
            JOIN read.consents c ON c.purpose = n.purpose AND c.granted AND c.notice_version <> n.version) due
        WHERE NOT EXISTS (SELECT FROM jobs.jobs j WHERE j.subject_id = due.subject_id AND j.kind = $1
                          AND j.state IN ('waiting', 'running'))",
    )
    .bind(kind)
    .bind(now)
    .bind(Uuid::nil())
    .bind(current.map(|notice| notice.purpose.as_str().to_owned()).to_vec())
    .bind(current.map(|notice| notice.version.to_owned()).to_vec())
}

/// The newest decision on a purpose.
#[derive(FromRow)]
pub struct ConsentRow {
    pub purpose: String,
    pub granted: bool,
    /// The version of the notice on which the person decided.
    pub notice_version: String,
    /// When the person decided.
    pub changed_at: DateTime<Utc>,
    /// Whether an objection to the purpose stands.
    pub objected: bool,
}

impl ConsentRow {
    /// Whether consent is given on the notice that counts today.
    pub fn counts_today(&self) -> bool {
        let current = Purpose::parse(&self.purpose).map(Notice::current);
        self.granted && !self.objected && current.is_some_and(|notice| notice.version == self.notice_version)
    }
}

/// A page of a person's decisions on a purpose, newest first, by their sequences.
pub fn consent_history(subject: SubjectId, purpose: Purpose, page: &Page<i64>) -> Query {
    const SQL: &str = sql!(
        "-- consent_history
        SELECT ",
        Event::COLUMNS,
        "
        FROM log.events WHERE subject_id = $1 AND aggregate_type = 'consent' AND aggregate_id = $2 AND sequence < $3
        ORDER BY sequence DESC LIMIT $4"
    );
    let before = page.after.unwrap_or(i64::MAX);
    Query::new(SQL).bind(subject.0).bind(stream_id(subject, purpose)).bind(before).bind(page.rows())
}

/// Makes people's rows equal to the log.
pub const REBUILD: Rebuild = Rebuild {
    name: "consents",
    events: |subjects| rebuild_events(subjects, &[Consent::TYPE]),
    projections: &[&Consents],
    rows: "-- consents_rows\nSELECT concat(subject_id, ' ', purpose) AS key, to_json(r)::text AS row FROM read.consents r WHERE subject_id = ANY ($1)",
    clear: "-- consents_clear\nDELETE FROM read.consents WHERE subject_id = ANY ($1)",
};

/// A person's decision with this event id.
pub fn consent_event(subject: SubjectId, event: EventId) -> Query {
    const SQL: &str = sql!(
        "-- consent_event
        SELECT ",
        Event::COLUMNS,
        "
        FROM log.events WHERE subject_id = $1 AND aggregate_type = 'consent' AND event_id = $2"
    );
    Query::new(SQL).bind(subject.0).bind(event.0)
}
