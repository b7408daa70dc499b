//! What a decision works with: the open transaction, and the events that come of it.

use std::sync::Arc;

use context::{Ctx, EventId};
use db::{FromRow, Query, Row, Tx};
use domain::event::Described;
use event_log::{Event, Sealing, Store, Stream, Unit, execute};
use projections::INLINE;

use crate::{
    app::{App, AppError, letter},
    mail::Letter,
};

#[derive(Clone)]
pub(crate) struct Work<'a> {
    pub app: &'a App,
    /// The actor, and the person whom the work concerns.
    pub ctx: &'a Ctx,
    pub tx: Tx,
    /// The events that this transaction has added so far.
    pub unit: Arc<Unit>,
}

impl Work<'_> {
    /// Runs a command on a stream whose payloads are stored in clear, because they hold states and times and no
    /// personal value. `newest` is the row of the stream's newest event. Returns the event that the command added, if
    /// any.
    pub(crate) async fn command<A>(
        &self,
        id: &str,
        newest: &[Row],
        command: A::Command,
    ) -> Result<Option<Event>, AppError>
    where
        A: Described<Services = ()>,
    {
        self.command_after::<A>(id, newest_of(newest).as_ref(), command).await
    }

    /// The same, for a stream whose newest event is loaded already.
    pub(crate) async fn command_after<A>(
        &self,
        id: &str,
        newest: Option<&Event>,
        command: A::Command,
    ) -> Result<Option<Event>, AppError>
    where
        A: Described<Services = ()>,
    {
        const { assert!(!A::IS_SEALED, "a sealed stream needs the record's key") }
        let before = self.unit.len();
        let stream = Stream { subject: self.ctx.subject, kind: A::TYPE, sealing: Sealing::Clear, newest };
        execute::<A>(Store::new(&self.unit, stream, &[], self.ctx.now()), id, command, ()).await?;
        Ok(self.unit.newest().filter(|_| self.unit.len() > before))
    }

    /// Queues a statement for the last flight.
    pub(crate) fn queue(&self, query: Query) {
        self.tx.queue(query);
    }

    /// Queues a letter, which is sent only if the transaction is committed.
    pub(crate) fn post(&self, letter: &Letter) -> Result<(), AppError> {
        letter::post(self.app, self.ctx, &self.tx, letter)
    }

    /// Drops the events, statements and letters so far, so that the transaction ends without a change.
    pub(crate) fn undo(&self) {
        drop(self.unit.take());
        drop(self.tx.take_queue());
    }

    /// Queues the statements that store the events so far and update the read models. Statements that are queued later
    /// run later.
    pub(crate) fn flush(&self) {
        self.unit.flush(&self.tx, INLINE);
    }
}

/// A fresh id, for an event that is a stream of its own.
pub(crate) fn own_id() -> String {
    EventId::random().to_string()
}

/// The newest event of a stream, from the rows of `projections::log::audit::stream_newest`.
pub(crate) fn newest_of(rows: &[Row]) -> Option<Event> {
    rows.first().map(Event::from_row)
}
