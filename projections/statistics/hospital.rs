//! The public list of hospitals. Not rebuildable, because the log holds only the hashes of lists. About nobody; an
//! erasure does not touch it.

use chrono::{DateTime, NaiveDate, Utc};
use db::{FromRow, Query, sql};
use domain::quarter::Quarter;

use crate::statistics::release::ReleaseRow;

/// A hospital on the list.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Hospital {
    /// The hospital's id, as work profiles name it.
    pub hospital_id: String,
    pub added_at: DateTime<Utc>,
    /// The first day of the first quarter that has cells for the hospital.
    #[row(
        sql = "coalesce(counts_from, (date_trunc('quarter', added_at AT TIME ZONE 'UTC') + interval '3 months')::date)"
    )]
    pub counts_from: NaiveDate,
}

impl Hospital {
    /// Whether a quarter has cells for the hospital.
    pub fn counts_in(&self, period: Quarter) -> bool {
        self.counts_from <= period.first_day()
    }

    /// Whether a release had cells for the hospital. Before lists were fixed, a release took the list as it was at that
    /// moment.
    pub fn was_in(&self, release: &ReleaseRow) -> bool {
        match release.hospitals_sha256 {
            Some(_) => self.counts_in(Quarter::of(release.period_start)),
            None => self.added_at <= release.computed_at,
        }
    }
}

/// The whole list, in the order of the ids.
pub fn hospital_list() -> Query {
    Query::new(sql!(
        "-- hospital_list
        SELECT ",
        Hospital::COLUMNS,
        "
        FROM stats.hospitals ORDER BY hospital_id COLLATE \"C\""
    ))
}

pub fn hospital_add(hospitals: Vec<String>, now: DateTime<Utc>, counts_from: NaiveDate) -> Query {
    Query::new(
        "-- hospital_add
        INSERT INTO stats.hospitals (hospital_id, added_at, counts_from) SELECT id, $2, $3 FROM unnest($1::text[]) AS h (id)",
    )
    .bind(hospitals)
    .bind(now)
    .bind(counts_from)
}
