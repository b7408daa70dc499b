//! What decides whether a person may act now: keys, switches, suspension, session, and the consent to one purpose.

use chrono::{DateTime, Utc};
use context::Ctx;
use db::{FromRow, Query, sql};
use domain::{Choice, rights::consent::Purpose};
use vault::WrappedSubject;

/// The answer; no row where the person is erased.
#[derive(FromRow)]
pub struct StandingRow {
    #[row(flatten)]
    pub keys: WrappedSubject,
    /// `None` where nothing was decided on the purpose; so are the three below.
    #[row(sql = "c.granted")]
    pub granted: Option<bool>,
    #[row(sql = "c.objected")]
    pub objected: Option<bool>,
    #[row(sql = "c.notice_version")]
    pub notice_version: Option<String>,
    /// `None` where the context's session is not alive, or there is none; so is its MAC.
    #[row(sql = "e.expires_at")]
    pub session_expires_at: Option<DateTime<Utc>>,
    #[row(sql = "e.mac")]
    pub session_mac: Option<Vec<u8>>,
    pub restricted_at: Option<DateTime<Utc>>,
    pub deletion_at: Option<DateTime<Utc>>,
    /// The end of a legal hold, which may be past.
    pub held_until: Option<DateTime<Utc>>,
    /// The end of a suspension, which may be past.
    #[row(sql = "p.until")]
    pub suspended_until: Option<DateTime<Utc>>,
}

/// The standing of the context's subject, and of its session.
pub fn standing(ctx: &Ctx, purpose: Option<Purpose>) -> Query {
    Query::new(sql!(
        "-- standing
        SELECT ",
        StandingRow::COLUMNS,
        "
        FROM vault.subjects s
        LEFT JOIN read.accounts a ON a.subject_id = s.subject_id
        LEFT JOIN read.consents c ON c.subject_id = s.subject_id AND c.purpose = $3
        LEFT JOIN auth.suspensions p ON p.subject_id = s.subject_id
        LEFT JOIN auth.sessions e ON e.subject_id = s.subject_id AND e.session_id = $2 AND e.ended_at IS NULL
        WHERE s.subject_id = $1"
    ))
    .bind(ctx.subject.0)
    .bind(ctx.session.map(|session| session.0))
    .bind(purpose.map(Choice::as_str))
}
