//! Standing: what decides whether a person may act now. A person's query or command reads it in the first flight, or takes what
//! was read lately and has it checked.
//!
//! A suspended account may not act but keeps its rights. A suspension stops the acts of a thief who has the session,
//! and never keeps a person from their own data. Each frame says whether it is an act or a right.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use chrono::{DateTime, Utc};
use context::Ctx;
use domain::rights::consent::{Notice, Purpose};
use projections::identity::standing::StandingRow;
use vault::{SubjectKeys, WrappedSubject};

use crate::{
    app::{App, AppError},
    auth::sessions::session_mac,
};

/// A person's keys and switches, and the consent to one purpose.
pub struct Standing {
    /// The person's keys, opened.
    pub keys: Arc<SubjectKeys>,
    /// The same keys, wrapped, as the database holds them.
    pub wrapped: WrappedSubject,
    consent: Option<Decided>,
    restricted: bool,
    deletion_at: Option<DateTime<Utc>>,
    held_until: Option<DateTime<Utc>>,
    /// The end of a suspension that is still in force.
    suspended_until: Option<DateTime<Utc>>,
    /// Whether a session asks; false if a job of the server does.
    in_session: bool,
    read_at: DateTime<Utc>,
}

/// What the person decided on the purpose.
struct Decided {
    granted: bool,
    objected: bool,
    notice_version: String,
}

impl Standing {
    /// The standing that a row tells of, which was read now or earlier. Refuses if the session has ended.
    pub(super) fn of(app: &App, ctx: &Ctx, row: &StandingRow) -> Result<Self, AppError> {
        if row.subject_id != ctx.subject {
            return Err(AppError::Corrupt("a standing is about another person".to_owned()));
        }
        if let Some(session) = ctx.session {
            let (expires_at, mac) = row.session_expires_at.zip(row.session_mac.as_ref()).ok_or(AppError::SignedOut)?;
            let expected = session_mac(app.vault.ring(), ctx.subject, session, expires_at);
            let ours = constant_time::verify_slices_are_equal(&expected, mac).is_ok();
            if !ours || expires_at <= ctx.now() {
                return Err(AppError::SignedOut);
            }
        }
        let wrapped = row.keys.clone();
        let keys = Arc::new(app.vault.open_subject(ctx.subject, &wrapped)?);
        let consent = row.granted.zip(row.objected).zip(row.notice_version.clone());
        let consent =
            consent.map(|((granted, objected), notice_version)| Decided { granted, objected, notice_version });
        let lasts = |until: &DateTime<Utc>| *until > ctx.now();
        let (held_until, suspended_until) = (row.held_until.filter(lasts), row.suspended_until.filter(lasts));
        let (restricted, deletion_at) = (row.restricted_at.is_some(), row.deletion_at);
        let in_session = ctx.session.is_some();
        let read_at = ctx.now();
        Ok(Self { keys, wrapped, consent, restricted, deletion_at, held_until, suspended_until, in_session, read_at })
    }

    /// Refuses an act of a session while the account is suspended. Jobs that concern a suspended person go on.
    pub(crate) fn require_acting(&self) -> Result<(), AppError> {
        match self.suspended_until {
            Some(until) if self.in_session => Err(AppError::suspended(until, self.read_at)),
            _ => Ok(()),
        }
    }

    /// The end of a suspension that is still in force, no matter who asks.
    pub fn suspended_until(&self) -> Option<DateTime<Utc>> {
        self.suspended_until
    }

    /// Refuses if `purpose` has no consent on its current notice.
    pub(super) fn require_consent(&self, purpose: Option<Purpose>) -> Result<(), AppError> {
        let Some(purpose) = purpose else { return Ok(()) };
        let reason = match &self.consent {
            None => "you have not given it",
            Some(decided) if decided.objected => "you objected to it",
            Some(decided) if !decided.granted => "you withdrew it",
            Some(decided) if decided.notice_version == Notice::current(purpose).version => return Ok(()),
            Some(_) => "the notice has changed since you consented",
        };
        Err(AppError::ConsentNeeded { purpose, reason })
    }

    /// Refuses while processing is restricted (GDPR Art. 18): restricted data is stored, and nothing else is done with
    /// it.
    pub(super) fn require_unrestricted(&self) -> Result<(), AppError> {
        if self.restricted { Err(AppError::Restricted) } else { Ok(()) }
    }

    /// Refuses to delete while a legal hold is in force (GDPR Art. 17(3)).
    pub(crate) fn require_unheld(&self) -> Result<(), AppError> {
        self.held_until.map_or(Ok(()), |until| Err(AppError::HoldStands { until }))
    }

    /// Refuses to add to data that is restricted or about to be deleted.
    pub(super) fn require_open(&self) -> Result<(), AppError> {
        self.require_unrestricted()?;
        if self.deletion_at.is_some() { Err(AppError::DeletionWaiting) } else { Ok(()) }
    }
}
