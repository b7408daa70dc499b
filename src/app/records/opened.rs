//! Opens records, and reads what their sealed bodies say.

use chrono::{DateTime, Utc};
use context::{Personal, RecordId};
use db::{FromRow, Row};
use domain::{
    Body,
    kinds::{Shape, WorkProfile},
    records::record::RecordEvent,
};
use projections::records::record::RecordRow;
use vault::SubjectKeys;

use crate::app::{AppError, records::version::version_of};

/// A living record, opened.
pub struct OpenRecord {
    pub record: RecordId,
    pub body: Body,
    /// When the record was submitted first.
    pub submitted_at: DateTime<Utc>,
    /// When the record was changed last.
    pub recorded_at: DateTime<Utc>,
    /// The sequence of the record's newest event.
    pub version: i64,
}

impl OpenRecord {
    /// The record's version, as conditions name it.
    pub fn version_name(&self) -> String {
        version_of(self.record, self.version)
    }
}

/// Opens a living record.
pub fn open(keys: &SubjectKeys, row: &RecordRow) -> Result<OpenRecord, AppError> {
    let key = keys.open_record(&row.entry)?;
    let text = row.event.open(&key)?;
    let event: RecordEvent = serde_json::from_slice(text.reveal())
        .map_err(|_| AppError::Corrupt("a record has another shape".to_owned()))?;
    Ok(OpenRecord {
        record: row.entry.record,
        body: event.body().unwrap_or_else(|| Personal::new(serde_json::Value::Null)),
        submitted_at: row.submitted_at,
        recorded_at: row.event.recorded_at,
        version: row.event.sequence,
    })
}

/// The only record of a shape, and its version, as conditions name it; `None` if there is none.
pub(crate) fn single<S: Shape>(keys: &SubjectKeys, rows: &[Row]) -> Result<Option<(S, String)>, AppError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let record = open(keys, &RecordRow::from_row(row))?;
    let shape = S::from_body(&record.body).ok_or_else(|| AppError::Corrupt("a record has another shape".to_owned()))?;
    Ok(Some((shape, record.version_name())))
}

/// The time zone of the work profile, or the default one if there is no profile.
pub(crate) fn time_zone(work: Option<&WorkProfile>) -> &str {
    work.map_or(WorkProfile::DEFAULT_TIME_ZONE, |work| &work.time_zone)
}
