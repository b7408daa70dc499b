//! Consents: showing, giving and withdrawing them.

use std::sync::OnceLock;

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use context::Ctx;
use db::{Gate, Query};
use domain::consent::{Consent, ConsentCommand, ConsentEvent, Decision, NOTICES, Notice, Purpose};
use event_log::{Event, Sealing, Store, Stream, Unit, execute};
use projections::{
    INLINE,
    audit::newest,
    consent::{ConsentRow, consent_history, consent_list, stream_id},
};
use vault::SubjectKeys;

use super::{App, AppError, Standing};

/// One decision of the past.
pub struct PastDecision {
    /// Given or withdrawn.
    pub granted: bool,
    /// On which notice.
    pub notice_version: String,
    /// The notice's hash.
    pub notice_hash: String,
    /// When.
    pub decided_at: DateTime<Utc>,
}

/// SHA-256 of a notice's text, hexadecimal.
pub fn notice_hash(notice: &Notice) -> &'static str {
    static HASHES: OnceLock<Vec<String>> = OnceLock::new();
    let hashes = HASHES.get_or_init(|| {
        NOTICES.iter().map(|notice| hex::encode(digest::digest(&digest::SHA256, notice.text.as_bytes()))).collect()
    });
    let at = NOTICES.iter().position(|known| known.purpose == notice.purpose && known.version == notice.version);
    &hashes[at.expect("every notice is one of the list")]
}

/// The command that decides on a purpose, on the notice of `version` or the current one.
pub(super) fn command(purpose: Purpose, granted: bool, version: Option<&str>) -> ConsentCommand {
    let notice = Notice::current(purpose);
    let decision =
        Decision { purpose, notice_version: notice.version.to_owned(), notice_hash: notice_hash(notice).to_owned() };
    if granted {
        ConsentCommand::Grant { decision, shown: version.map(str::to_owned) }
    } else {
        ConsentCommand::Withdraw { decision }
    }
}

/// Runs a decision on its stream.
pub(super) async fn decide(
    ctx: &Ctx,
    unit: &Unit<'_>,
    purpose: Purpose,
    newest: Option<&Event>,
    command: ConsentCommand,
) -> Result<(), AppError> {
    let stream = Stream { subject: ctx.subject, kind: "consent", sealing: Sealing::Clear, newest };
    let store = Store::new(unit, stream, &[], ctx.now());
    Ok(execute::<Consent>(store, &stream_id(ctx.subject, purpose), command, ()).await?)
}

impl App {
    /// Gives or withdraws consent to a purpose. Deciding the same again changes nothing.
    pub async fn consent_decide(
        &self,
        ctx: &Ctx,
        purpose: Purpose,
        granted: bool,
        version: Option<&str>,
    ) -> Result<(), AppError> {
        self.db
            .api
            .run_tx("consent_decide", ctx, Gate::shared(ctx), move |tx| async move {
                let stream = newest(ctx.subject, "consent", &stream_id(ctx.subject, purpose));
                let [standing, rows] = tx.flight([Standing::query(ctx, None), stream]).await?;
                let standing = Standing::take(self, ctx, &standing)?;
                let unit = Unit::new(ctx, Some(&standing.keys));
                let newest = rows.first().map(|row| Event::from_row(row, 0));
                decide(ctx, &unit, purpose, newest.as_ref(), command(purpose, granted, version)).await?;
                unit.flush(&tx, INLINE);
                Ok(())
            })
            .await
    }

    /// The decisions that stand.
    pub async fn consent_list(&self, ctx: &Ctx) -> Result<(Vec<ConsentRow>, SubjectKeys), AppError> {
        let (rows, keys) = self.read_own(ctx, "consent_list", &|| consent_list(ctx.subject)).await?;
        Ok((rows.iter().map(ConsentRow::from_row).collect(), keys))
    }

    /// All decisions on a purpose, newest first.
    pub async fn consent_history(
        &self,
        ctx: &Ctx,
        purpose: Purpose,
    ) -> Result<(Vec<PastDecision>, SubjectKeys), AppError> {
        let (rows, keys) = self.read_own(ctx, "consent_history", &|| consent_history(ctx.subject, purpose)).await?;
        let past = rows.iter().map(|row| past(&Event::from_row(row, 0))).collect::<Result<_, _>>()?;
        Ok((past, keys))
    }

    /// One statement on a person's own rows, with the standing, in one flight.
    pub(super) async fn read_own(
        &self,
        ctx: &Ctx,
        name: &'static str,
        query: &(dyn Fn() -> Query + Sync),
    ) -> Result<(Vec<db::Row>, SubjectKeys), AppError> {
        self.db
            .api
            .run_tx(name, ctx, Gate::read(ctx), move |tx| async move {
                let [standing, rows] = tx.finish([Standing::query(ctx, None), query()]).await?;
                Ok((rows, Standing::take(self, ctx, &standing)?.keys))
            })
            .await
    }
}

fn past(event: &Event) -> Result<PastDecision, AppError> {
    let decided: ConsentEvent = serde_json::from_str(&event.payload)
        .map_err(|_| AppError::Corrupt("a consent has another shape".to_owned()))?;
    let granted = matches!(decided, ConsentEvent::Granted(_));
    let (ConsentEvent::Granted(decision) | ConsentEvent::Withdrawn(decision)) = decided;
    Ok(PastDecision {
        granted,
        notice_version: decision.notice_version,
        notice_hash: decision.notice_hash,
        decided_at: event.recorded_at,
    })
}
