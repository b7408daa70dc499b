//! Lists of a person's records of one kind, oldest first, page by page. A page costs what it shows: the database finds
//! its records by the quarters in which they are filed, or by the time of their first submission if their kind has no
//! days.

use std::{collections::HashSet, sync::Arc};

use chrono::NaiveDate;
use context::{Ctx, RecordId};
use db::{FromRow, Query, Row};
use domain::{Kind, filter::Days, quarter::Quarter};
use projections::{
    page::{Moment, Page},
    records::{
        list::{Bucket, BucketRow, record_buckets, record_page, record_page_undated},
        record::RecordRow,
    },
};
use serde::{Deserialize, Serialize};
use vault::{IndexKey, SubjectKeys};

use crate::app::{
    App, AppError,
    frame::{self, Frame, Standing},
    records::opened::{self, OpenRecord},
};

/// For so many quarters before and after today, the server looks for the quarter of a bucket: a thousand years.
const REACH: usize = 4000;

/// Where a record stands in a list: by its date, if its kind has dates, and by its first submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordPlace(Option<NaiveDate>, Moment, RecordId);

impl RecordPlace {
    fn of(kind: &Kind, record: &OpenRecord) -> Self {
        Self(kind.date(&record.body), Moment(record.submitted_at), record.record)
    }
}

/// A page of records.
pub struct Records {
    pub records: Vec<OpenRecord>,
    /// The place of the last record, if another page follows.
    pub next: Option<RecordPlace>,
    /// The person's keys.
    pub keys: Arc<SubjectKeys>,
}

/// What is asked for.
struct Asked<'a> {
    ctx: &'a Ctx,
    kind: &'static Kind,
    range: Option<Days>,
    page: &'a Page<RecordPlace>,
    index: IndexKey,
}

/// A page of the living records of a kind; if a range is given, only of those whose day lies in it.
pub async fn of_kind(
    app: &App,
    ctx: &Ctx,
    operation: &'static str,
    kind: &'static Kind,
    range: Option<Days>,
    page: &Page<RecordPlace>,
) -> Result<Records, AppError> {
    let asked = &Asked { ctx, kind, range, page, index: frame::index_key(app, ctx).await? };
    let frame = Frame::right(operation, ctx).shared();
    let quarters = range.and_then(|days| days.few_quarters());
    let (standing, rows) = match &quarters {
        _ if !kind.is_dated() => at_once(app, frame, &|| asked.undated()).await?,
        Some(quarters) => at_once(app, frame, &|| asked.dated(quarters)).await?,
        None => buckets_first(app, frame, asked).await?,
    };
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        let record = opened::open(&standing.keys, &RecordRow::from_row(row))?;
        if range.is_none_or(|days| days.contain(kind, &record.body)) {
            records.push(record);
        }
    }
    let (records, next) = page.choose(records, |record| RecordPlace::of(kind, record));
    Ok(Records { records, next, keys: standing.keys })
}

/// Reads the records with one statement.
async fn at_once(
    app: &App,
    frame: Frame<'_>,
    read: &(dyn Fn() -> Query + Sync),
) -> Result<(Standing, Vec<Row>), AppError> {
    let (standing, [rows]) = frame::query(app, frame, || [read()]).await?;
    Ok((standing, rows))
}

/// Reads in which buckets there are records before it reads the records.
async fn buckets_first(app: &App, frame: Frame<'_>, asked: &Asked<'_>) -> Result<(Standing, Vec<Row>), AppError> {
    let reads = || [record_buckets(asked.ctx.subject, asked.kind.name())];
    frame::command(app, frame, reads, move |work, standing, [buckets]| async move {
        let buckets = BucketRow::from_rows(&buckets).into_iter().map(|row| row.bucket).collect();
        let [rows] = work.tx.flight([asked.dated(&asked.quarters_of(buckets)?)]).await?;
        Ok((standing, rows))
    })
    .await
}

impl Asked<'_> {
    /// The statement that reads the page of a kind without days.
    fn undated(&self) -> Query {
        let after = self.page.after.map(|RecordPlace(_, at, record)| (at, record.0));
        record_page_undated(self.ctx.subject, self.kind.name(), &Page { after, limit: self.page.limit })
    }

    /// The statement that reads the page from these quarters, or from those of them that it may lie in.
    fn dated(&self, quarters: &[Quarter]) -> Query {
        let after = self.page.after.and_then(|RecordPlace(date, ..)| date);
        let bucket = |quarter: &Quarter| Bucket {
            hash: self.bucket(*quarter),
            is_inside: after.is_none_or(|date| date < quarter.first_day())
                && self.range.is_none_or(|days| days.first < quarter.first_day() && quarter.last_day() < days.last),
        };
        let reached = |quarter: &&Quarter| after.is_none_or(|date| date <= quarter.last_day());
        let buckets = quarters.iter().filter(reached).map(bucket).collect();
        record_page(self.ctx.subject, self.kind.name(), buckets, self.page.limit.map(|limit| limit + 1))
    }

    /// The quarters that these buckets stand for and in which the range may lie, in their order.
    fn quarters_of(&self, mut buckets: HashSet<Vec<u8>>) -> Result<Vec<Quarter>, AppError> {
        let today = Quarter::of(self.ctx.now().date_naive());
        let (mut quarters, mut before, mut after) = (Vec::with_capacity(buckets.len()), today, today.next());
        for _ in 0..REACH {
            if buckets.is_empty() {
                break;
            }
            quarters.extend([before, after].into_iter().filter(|quarter| buckets.remove(&self.bucket(*quarter))));
            (before, after) = (before.previous(), after.next());
        }
        if !buckets.is_empty() {
            return Err(AppError::Corrupt("a record is filed under no quarter".to_owned()));
        }
        quarters.retain(|quarter| self.range.is_none_or(|days| days.may_touch(*quarter)));
        quarters.sort();
        Ok(quarters)
    }

    fn bucket(&self, quarter: Quarter) -> Vec<u8> {
        self.index.bucket(self.kind.name(), &quarter.to_string()).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

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
