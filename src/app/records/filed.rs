//! Where the records that a filter may match are filed: by kind, and by quarter if the days are few enough.

use chrono::{DateTime, Days, Utc};
use domain::{
    Kind,
    filter::{self, Filter},
    kinds::KINDS,
    quarter::Quarter,
};
use vault::IndexKey;

/// Where records are looked for. Each found record must still be compared with the filter.
#[derive(Clone)]
pub(crate) enum Filed {
    /// In all buckets of these kinds.
    Kinds(Vec<&'static str>),
    /// In these buckets, each of a kind.
    Buckets(Vec<(&'static str, Vec<u8>)>),
}

impl Filed {
    /// Where the records of a person with this index key are filed that a filter may match.
    pub(crate) fn of(index: &IndexKey, filter: &Filter, now: DateTime<Utc>) -> Self {
        let kinds: Vec<&'static str> =
            KINDS.iter().filter(|kind| filter.may_match(kind)).copied().map(Kind::name).collect();
        let Some(quarters) = quarters(filter, now) else { return Self::Kinds(kinds) };
        let bucket = |kind: &'static str, quarter: &Quarter| (kind, index.bucket(kind, &quarter.to_string()).to_vec());
        let of = |kind: &'static str| quarters.iter().map(move |quarter| bucket(kind, quarter));
        Self::Buckets(kinds.into_iter().flat_map(of).collect())
    }
}

fn quarters(filter: &Filter, now: DateTime<Utc>) -> Option<Vec<Quarter>> {
    // A submitted day lies at most one day in the future.
    let last = filter.to.or_else(|| now.date_naive().checked_add_days(Days::new(2)))?;
    filter::Days { first: filter.from?, last, zone: filter.zone() }.few_quarters()
}
