//! Commands on streams whose payloads stand in clear: accounts, consents, requests, switches. States and times, no value.

use context::{Ctx, EventId, SubjectId};
use db::{Gate, Row, Tx};
use event_log::{Event, Sealing, Store, Stream, Unit, cqrs_es::Aggregate, execute};
use projections::{INLINE, log::audit::newest};

use crate::app::{App, AppError};

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

/// Runs a command on a stream that is about nobody, as whoever `ctx` says; gives the stream's newest event then, and whether the
/// command added it.
pub(super) async fn system_command<A>(
    app: &App,
    name: &'static str,
    ctx: &Ctx,
    id: &str,
    command: A::Command,
) -> Result<(Option<Event>, bool), AppError>
where
    A: Aggregate<Services = (), Command: Clone + Sync>,
    A::Error: Into<AppError>,
{
    let (ctx, command) = (&ctx.for_subject(SubjectId::NIL, ctx.session).acting_as(ctx.role), &command);
    let work = move |tx: Tx| async move {
        let [rows] = tx.flight([newest(SubjectId::NIL, A::TYPE, id)]).await?;
        let before = newest_of(&rows);
        let unit = Unit::new(ctx, None);
        self::command::<A>(ctx, &unit, id, before.as_ref(), command.clone()).await?;
        let added = unit.newest();
        let recorded = added.is_some();
        unit.flush(&tx, INLINE);
        Ok((added.or(before), recorded))
    };
    app.db.api.run_tx(name, ctx, Gate::alone(ctx), work).await
}

/// A fresh id, for an event that is a stream of its own.
pub(super) fn own_id() -> String {
    EventId::random().to_string()
}

/// The newest event of a stream, of the rows that `projections::audit::newest` gives.
pub(super) fn newest_of(rows: &[Row]) -> Option<Event> {
    rows.first().map(|row| Event::from_row(row, 0))
}
