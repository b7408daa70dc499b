//! Standing: what decides whether a person may act now. Read in the first flight of every transaction.
//!
//! A suspended account may not act, and keeps its rights: a suspension stops what a thief of the session would do, and never
//! keeps a person from their data. [`Standing::take`] is for acts, and refuses; what is a right of the person must say so by
//! [`Standing::take_right`], so that an operation that says nothing is barred.

use aws_lc_rs::constant_time;
use chrono::{DateTime, Utc};
use context::Ctx;
use db::{Gate, Query, Row};
use domain::{
    Choice,
    rights::consent::{Notice, Purpose},
};
use vault::{IndexKey, SubjectKeys, WrappedSubject};

use crate::{
    app::{App, AppError},
    auth::sessions::session_mac,
};

/// A person's keys and switches and, for one purpose, the consent.
pub struct Standing {
    /// The person's keys, open.
    pub keys: SubjectKeys,
    /// The same as the database holds them.
    pub wrapped: WrappedSubject,
    consent: Option<Decided>,
    restricted: bool,
    deletion_at: Option<DateTime<Utc>>,
    held_until: Option<DateTime<Utc>>,
    /// The end of a suspension that lasts.
    suspended_until: Option<DateTime<Utc>>,
    /// Whether a session asks, and not a job of the server.
    in_session: bool,
}

/// What the person decided on the purpose.
struct Decided {
    granted: bool,
    objected: bool,
    notice_version: String,
}

impl Standing {
    /// The statement: keys, switches, whether the session is alive, the consent to a purpose.
    pub fn query(ctx: &Ctx, purpose: Option<Purpose>) -> Query {
        Query::new(
            "-- standing
            SELECT s.ring_version, s.wrapping_version, s.index_key, s.trail_key, s.wrapping_key,
                   c.granted, c.notice_version, e.expires_at, e.mac, c.objected, a.restricted_at, a.deletion_at, a.held_until,
                   p.until
            FROM vault.subjects s
            LEFT JOIN read.accounts a ON a.subject_id = s.subject_id
            LEFT JOIN read.consents c ON c.subject_id = s.subject_id AND c.purpose = $3
            LEFT JOIN auth.suspensions p ON p.subject_id = s.subject_id
            LEFT JOIN auth.sessions e ON e.subject_id = s.subject_id AND e.session_id = $2 AND e.ended_at IS NULL
            WHERE s.subject_id = $1",
        )
        .bind(ctx.subject.0)
        .bind(ctx.session.map(|session| session.0))
        .bind(purpose.map(Choice::as_str))
    }

    /// Takes the answer for an act, such as submitting, granting, or asking for a deletion. Refuses where the person is gone, the
    /// session has ended, or the account is suspended. Jobs on a suspended person go on.
    pub fn take(app: &App, ctx: &Ctx, rows: &[Row]) -> Result<Self, AppError> {
        let standing = Self::take_right(app, ctx, rows)?;
        standing.require_acting()?;
        Ok(standing)
    }

    /// Takes the answer for a right over one's own data, which a suspension leaves open: to read it, to take it along, to withdraw
    /// a consent or object, to restrict, to cancel a deletion, to sign out. Refuses where the person is gone or the session has
    /// ended.
    pub fn take_right(app: &App, ctx: &Ctx, rows: &[Row]) -> Result<Self, AppError> {
        let Some(row) = rows.first() else {
            app.vault.forget(ctx.subject);
            return Err(AppError::SignedOut);
        };
        if let Some(session) = ctx.session {
            let expires_at: DateTime<Utc> = row.get::<_, Option<_>>(7).ok_or(AppError::SignedOut)?;
            let mac = session_mac(app.vault.ring(), ctx.subject, session, expires_at);
            let ours = constant_time::verify_slices_are_equal(&mac, &row.get::<_, Vec<u8>>(8)).is_ok();
            if !ours || expires_at <= ctx.now() {
                return Err(AppError::SignedOut);
            }
        }
        let wrapped = WrappedSubject::from_row(row);
        let keys = app.vault.open_subject(ctx.subject, &wrapped)?;
        let consent = row.get::<_, Option<bool>>(5).map(|granted| Decided {
            granted,
            objected: row.get(9),
            notice_version: row.get(6),
        });
        let restricted = row.get::<_, Option<DateTime<Utc>>>(10).is_some();
        let held_until = row.get::<_, Option<DateTime<Utc>>>(12).filter(|until| *until > ctx.now());
        let suspended_until = row.get::<_, Option<DateTime<Utc>>>(13).filter(|until| *until > ctx.now());
        let (deletion_at, in_session) = (row.get(11), ctx.session.is_some());
        Ok(Self { keys, wrapped, consent, restricted, deletion_at, held_until, suspended_until, in_session })
    }

    /// Refuses an act of a session while the account is suspended.
    pub fn require_acting(&self) -> Result<(), AppError> {
        match self.suspended_until {
            Some(until) if self.in_session => Err(AppError::Suspended { until }),
            _ => Ok(()),
        }
    }

    /// The end of a suspension that lasts, whoever asks.
    pub fn suspended_until(&self) -> Option<DateTime<Utc>> {
        self.suspended_until
    }

    /// Refuses where the purpose that was asked for has no consent on the notice that counts today.
    pub fn require_consent(&self, purpose: Option<Purpose>) -> Result<(), AppError> {
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

    /// Refuses while processing is restricted (GDPR Art. 18): what is there is stored, and nothing else happens to it.
    pub fn require_unrestricted(&self) -> Result<(), AppError> {
        if self.restricted { Err(AppError::Restricted) } else { Ok(()) }
    }

    /// Refuses to delete while a legal hold stands (GDPR Art. 17(3)).
    pub fn require_unheld(&self) -> Result<(), AppError> {
        self.held_until.map_or(Ok(()), |until| Err(AppError::Held { until }))
    }

    /// Refuses what adds to data that is restricted, or about to be deleted.
    pub fn require_open(&self) -> Result<(), AppError> {
        self.require_unrestricted()?;
        if self.deletion_at.is_some() { Err(AppError::DeletionWaiting) } else { Ok(()) }
    }
}

/// The keys of the context's subject; refuses where the session, if one is named, has ended or is suspended.
pub(super) async fn acting_keys(app: &App, ctx: &Ctx) -> Result<SubjectKeys, AppError> {
    let standing = of(app, ctx).await?;
    standing.require_acting()?;
    Ok(standing.keys)
}

/// The keys of the context's subject for a right over their own data; refuses where the session has ended.
pub async fn right_keys(app: &App, ctx: &Ctx) -> Result<SubjectKeys, AppError> {
    Ok(of(app, ctx).await?.keys)
}

async fn of(app: &App, ctx: &Ctx) -> Result<Standing, AppError> {
    let work = move |tx: db::Tx| async move {
        let [standing] = tx.finish([Standing::query(ctx, None)]).await?;
        Standing::take_right(app, ctx, &standing)
    };
    app.db.api.run_tx("standing_keys", ctx, Gate::read(ctx), work).await
}

/// The person's index key, from memory or, once, from the database. What is found with it is read by a transaction of its own,
/// which looks at the standing for what it does.
pub async fn index_key(app: &App, ctx: &Ctx) -> Result<IndexKey, AppError> {
    if let Some(key) = app.vault.index_key(ctx.subject) {
        return Ok(key);
    }
    app.db
        .api
        .run_tx("index_key", ctx, Gate::read(ctx), move |tx| async move {
            let [standing] = tx.finish([Standing::query(ctx, None)]).await?;
            Ok(Standing::take_right(app, ctx, &standing)?.keys.index().clone())
        })
        .await
}
