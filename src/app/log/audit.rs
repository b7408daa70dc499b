//! The audit log, as it is shown to the person whom it is about.

use std::sync::Arc;

use context::Ctx;
use db::FromRow;
use domain::log::access::STATS_CONSIDERED;
use event_log::{Event, Trail};
use projections::log::audit::{AuditFilter, AuditRow, audit_list};
use vault::SubjectKeys;

use crate::app::{
    App, AppError,
    frame::{self, Frame, Standing},
    statistics::considered::owners_trail,
};

/// One entry of the log, opened.
pub struct AuditEntry {
    /// The event's position in the log.
    pub position: i64,
    /// The event; its payload is as stored.
    pub event: Event,
    /// The role in which the actor acted.
    pub role: String,
    pub request: String,
    /// Address, agent and details, opened.
    pub trail: Trail,
}

/// A page of the person's own entries, newest first, and the keys.
pub async fn list(app: &App, ctx: &Ctx, filter: &AuditFilter) -> Result<(Vec<AuditEntry>, Arc<SubjectKeys>), AppError> {
    let reads = || [audit_list(ctx.subject, filter.clone())];
    let (Standing { keys, .. }, [rows]) = frame::query(app, Frame::right("audit_list", ctx), reads).await?;
    let entries = rows.iter().map(|row| open(&keys, row)).collect::<Result<_, _>>()?;
    Ok((entries, keys))
}

fn open(keys: &SubjectKeys, row: &db::Row) -> Result<AuditEntry, AppError> {
    let AuditRow { position, event } = AuditRow::from_row(row);
    let actor = event.actor().ok_or_else(|| AppError::Corrupt("an event does not say who acted".to_owned()))?;
    let trail = if event.event_type == STATS_CONSIDERED {
        owners_trail(&event, keys)
    } else {
        event.open_trail(keys)?.unwrap_or_default()
    };
    Ok(AuditEntry { position, role: actor.role, request: actor.request, trail, event })
}
