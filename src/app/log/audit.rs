//! The audit log, as it is shown to the person whom it is about.

use std::sync::Arc;

use context::{Ctx, Role};
use db::FromRow;
use domain::log::access::STATS_CONSIDERED;
use event_log::{Event, Trail};
use projections::{
    log::audit::{AuditFilter, AuditRow, audit_list},
    page::Page,
};
use vault::SubjectKeys;

use crate::app::{
    App, AppError,
    frame::{self, Frame, Standing},
    statistics::considered::owners_trail,
};

/// One entry of the log, opened.
pub struct AuditEntry {
    /// The event; its payload is as stored.
    pub event: Event,
    /// The role in which the actor acted.
    pub role: Role,
    pub request: String,
    /// Address, agent and details, opened.
    pub trail: Trail,
}

/// A page of the person's own entries, newest first; the position behind which the next page begins; and the keys.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    filter: &AuditFilter,
    page: &Page<i64>,
) -> Result<(Vec<AuditEntry>, Option<i64>, Arc<SubjectKeys>), AppError> {
    let reads = || [audit_list(ctx.subject, filter.clone(), page)];
    let (Standing { keys, .. }, [rows]) = frame::query(app, Frame::right("audit_list", ctx), reads).await?;
    let (rows, next) = page.cut(AuditRow::from_rows(&rows), |row| row.position);
    let entries = rows.into_iter().map(|row| open(&keys, row.event)).collect::<Result<_, _>>()?;
    Ok((entries, next, keys))
}

fn open(keys: &SubjectKeys, event: Event) -> Result<AuditEntry, AppError> {
    let actor = event.actor().and_then(|actor| Some((Role::parse(&actor.role)?, actor.request)));
    let (role, request) = actor.ok_or_else(|| AppError::Corrupt("an event does not say who acted".to_owned()))?;
    let trail = if event.event_type == STATS_CONSIDERED {
        owners_trail(&event, keys)
    } else {
        event.open_trail(keys)?.unwrap_or_default()
    };
    Ok(AuditEntry { role, request, trail, event })
}
