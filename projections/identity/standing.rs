//! What decides whether a person may act now: keys, switches, suspension, session, and the consent to one purpose.

use chrono::{DateTime, Utc};
use context::{Ctx, SubjectId};
use db::{FromRow, Query, rows, sql};
use domain::{Choice, rights::consent::Purpose};
use vault::WrappedSubject;

/// The answer; no row where the person is erased.
#[derive(Clone, FromRow)]
pub struct StandingRow {
    #[row(sql = "s.subject_id", with = SubjectId)]
    pub subject_id: SubjectId,
    /// Another number whenever something of it has changed, but for the session. `None` where it is not known.
    #[row(sql = "v.version")]
    pub version: Option<i64>,
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
    Query::rows(rows!(
        sql!(
            "-- standing
        SELECT ",
            StandingRow::COLUMNS,
            "
        FROM "
        ),
        ["$1::uuid", "$2::uuid", "$3::text"],
        " AS asked (subject_id, session_id, purpose)
        CROSS JOIN LATERAL (SELECT * FROM vault.subjects WHERE subject_id = asked.subject_id OFFSET 0) s
        LEFT JOIN LATERAL (SELECT version FROM auth.standings WHERE subject_id = asked.subject_id OFFSET 0) v ON true
        LEFT JOIN LATERAL (SELECT * FROM read.accounts WHERE subject_id = asked.subject_id OFFSET 0) a ON true
        LEFT JOIN LATERAL (SELECT * FROM read.consents
                           WHERE subject_id = asked.subject_id AND purpose = asked.purpose OFFSET 0) c ON true
        LEFT JOIN LATERAL (SELECT * FROM auth.suspensions WHERE subject_id = asked.subject_id OFFSET 0) p ON true
        LEFT JOIN LATERAL (SELECT * FROM auth.sessions WHERE subject_id = asked.subject_id
                             AND session_id = asked.session_id AND ended_at IS NULL OFFSET 0) e ON true"
    ))
    .list(vec![ctx.subject.0])
    .list(vec![ctx.session.map(|session| session.0)])
    .list(vec![purpose.map(Choice::as_str)])
}
