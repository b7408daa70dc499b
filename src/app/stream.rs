//! Commands on streams whose payloads stand in clear: accounts, consents, requests, switches. States and times, no value.

use context::Ctx;
use db::Row;
use event_log::{Event, Sealing, Store, Stream, Unit, cqrs_es::Aggregate, execute};

use super::AppError;

/// Runs a command on a stream and adds what happened to the unit.
pub(super) async fn command<A>(
    ctx: &Ctx,
    unit: &Unit<'_>,
    id: &str,
    newest: Option<&Event>,
    command: A::Command,
) -> Result<(), AppError>
where
    A: Aggregate<Services = ()>,
    A::Error: Into<AppError>,
{
    let stream = Stream { subject: ctx.subject, kind: A::TYPE, sealing: Sealing::Clear, newest };
    Ok(execute::<A>(Store::new(unit, stream, &[], ctx.now()), id, command, ()).await?)
}

/// The newest event of a stream, of the rows that `projections::audit::newest` gives.
pub(super) fn newest_of(rows: &[Row]) -> Option<Event> {
    rows.first().map(|row| Event::from_row(row, 0))
}
