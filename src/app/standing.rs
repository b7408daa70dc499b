//! Standing: what decides whether a person may act now. Read in the first flight of every transaction.

use context::Ctx;
use db::{Gate, Query, Row};
use domain::{
    Choice,
    consent::{Notice, Purpose},
};
use vault::{IndexKey, SubjectKeys, WrappedSubject};

use super::{App, AppError};

/// A person's keys and, for one purpose, the consent.
pub struct Standing {
    /// The person's keys, open.
    pub keys: SubjectKeys,
    /// The same as the database holds them.
    pub wrapped: WrappedSubject,
    consent: Option<(bool, String)>,
}

impl Standing {
    /// The statement: keys, whether the session is alive, the consent to a purpose.
    pub fn query(ctx: &Ctx, purpose: Option<Purpose>) -> Query {
        Query::new(
            "-- standing
            SELECT s.ring_version, s.wrapping_version, s.index_key, s.trail_key, s.wrapping_key,
                   (SELECT e.ended_at IS NULL AND e.expires_at > $3 FROM auth.sessions e
                    WHERE e.subject_id = $1 AND e.session_id = $2),
                   c.granted, c.notice_version
            FROM vault.subjects s LEFT JOIN read.consents c ON c.subject_id = s.subject_id AND c.purpose = $4
            WHERE s.subject_id = $1",
        )
        .bind(ctx.subject.0)
        .bind(ctx.session.map(|session| session.0))
        .bind(ctx.now())
        .bind(purpose.map(Choice::as_str))
    }

    /// Takes the answer. Refuses where the person is gone or the session has ended.
    pub fn take(app: &App, ctx: &Ctx, rows: &[Row]) -> Result<Self, AppError> {
        let row = rows.first().ok_or(AppError::SignedOut)?;
        let alive: Option<bool> = row.get(5);
        if ctx.session.is_some() && alive != Some(true) {
            return Err(AppError::SignedOut);
        }
        let wrapped = WrappedSubject::from_row(row);
        let keys = app.vault.open_subject(ctx.subject, &wrapped)?;
        let consent = row.get::<_, Option<bool>>(6).map(|granted| (granted, row.get(7)));
        Ok(Self { keys, wrapped, consent })
    }

    /// Refuses where the purpose that was asked for has no consent on the notice that counts today.
    pub fn require_consent(&self, purpose: Option<Purpose>) -> Result<(), AppError> {
        let Some(purpose) = purpose else { return Ok(()) };
        let reason = match &self.consent {
            Some((true, version)) if version == Notice::current(purpose).version => return Ok(()),
            Some((true, _)) => "the notice has changed since you consented",
            Some((false, _)) => "you withdrew it",
            None => "you have not given it",
        };
        Err(AppError::ConsentNeeded { purpose, reason })
    }
}

impl App {
    /// The person's index key, from memory or, once, from the database.
    pub async fn index_key(&self, ctx: &Ctx) -> Result<IndexKey, AppError> {
        if let Some(key) = self.vault.index_key(ctx.subject) {
            return Ok(key);
        }
        self.db
            .api
            .run_tx("index_key", ctx, Gate::read(ctx), move |tx| async move {
                let [standing] = tx.finish([Standing::query(ctx, None)]).await?;
                Ok(Standing::take(self, ctx, &standing)?.keys.index().clone())
            })
            .await
    }
}
