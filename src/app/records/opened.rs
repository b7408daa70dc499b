//! Opens records, and reads what their sealed bodies say.

use chrono::{DateTime, NaiveDate, Utc};
use context::{Personal, RecordId};
use db::{FromRow, Row};
use domain::{
    Body, Kind,
    kinds::{Shape, WorkProfile},
    records::record::RecordEvent,
};
use projections::{page::Moment, records::record::RecordRow};
use serde::{Deserialize, Serialize};
use vault::SubjectKeys;

use crate::app::AppError;

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

/// Where a record stands in a list: by its date, if its kind has dates, and by its first submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordPlace(Option<NaiveDate>, Moment, RecordId);

impl OpenRecord {
    /// Where the record stands in a list of records of its kind.
    pub fn place(&self, kind: &Kind) -> RecordPlace {
        RecordPlace(kind.date(&self.body), Moment(self.submitted_at), self.record)
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

/// The only record of a shape, and its version; `None` if there is none.
pub(crate) fn single<S: Shape>(keys: &SubjectKeys, rows: &[Row]) -> Result<Option<(S, i64)>, AppError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let record = open(keys, &RecordRow::from_row(row))?;
    let shape = S::from_body(&record.body).ok_or_else(|| AppError::Corrupt("a record has another shape".to_owned()))?;
    Ok(Some((shape, record.version)))
}

/// The time zone of the work profile, or the default one if there is no profile.
pub(crate) fn time_zone(work: Option<&WorkProfile>) -> &str {
    work.map_or(WorkProfile::DEFAULT_TIME_ZONE, |work| &work.time_zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stand_in_the_order_of_their_dates_and_then_of_their_submissions() {
        let place = |date: &str, micros: i64| {
            let moment = Moment(DateTime::from_timestamp_micros(micros).expect("a time"));
            RecordPlace(date.parse().ok(), moment, RecordId(uuid::Uuid::nil()))
        };
        assert!(place("", 2) < place("2026-03-02", 1) && place("2026-03-02", 2) < place("2026-03-03", 1));
        assert!(place("", 1) < place("", 2));
        for known in [place("", 12), place("2026-03-02", 12)] {
            let text = serde_json::to_string(&known).expect("JSON");
            assert_eq!(serde_json::from_str::<RecordPlace>(&text).expect("a place"), known);
        }
    }
}
