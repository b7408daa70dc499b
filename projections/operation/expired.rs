//! Rows that have expired, of every table that has such.

use chrono::{DateTime, Utc};
use db::Query;

/// Removes them all.
pub fn expired_clear(now: DateTime<Utc>) -> [Query; 10] {
    [
        "-- codes_clear\nDELETE FROM auth.codes WHERE expires_at <= $1",
        "-- limits_clear\nDELETE FROM auth.limits WHERE window_end <= $1",
        "-- letters_clear\nDELETE FROM auth.letters WHERE expires_at <= $1",
        "-- sessions_clear\nDELETE FROM auth.sessions WHERE expires_at <= $1",
        "-- devices_clear\nDELETE FROM auth.devices WHERE expires_at <= $1",
        "-- answers_clear\nDELETE FROM read.answers WHERE expires_at <= $1",
        "-- openings_clear\nDELETE FROM auth.openings WHERE expires_at <= $1",
        "-- suspensions_clear\nDELETE FROM auth.suspensions WHERE until <= $1",
        "-- deliveries_clear\nDELETE FROM jobs.deliveries WHERE ended_at <= $1::timestamptz - interval '90 days'",
        "-- jobs_clear\nDELETE FROM jobs.jobs WHERE ended_at <= $1::timestamptz - interval '30 days'",
    ]
    .map(|sql| Query::new(sql).bind(now))
}
