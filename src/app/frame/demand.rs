//! What a capability says before its transaction begins: its operation, its locks, and what must be true of the person.

use std::sync::Arc;

use context::Ctx;
use db::{FromRow, Gate, Lookup, Query, Row, Tx};
use domain::rights::consent::Purpose;
use event_log::Unit;
use projections::identity::standing::{StandingRow, standing};
use vault::SubjectKeys;

use crate::app::{App, AppError, frame::standing::Standing};

/// A person's transaction before it begins: its operation, its locks, and what must be true of the person.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(super) operation: &'static str,
    pub(super) ctx: &'a Ctx,
    pub(super) gate: Gate,
    pub(super) is_act: bool,
    pub(super) demands: Demands,
    pub(super) author: Option<Author<'a>>,
    pub(super) keeps_trail: bool,
    /// Whether the transaction may be a part of a group's.
    pub(super) in_group: bool,
    /// Whether the command probably adds one new record and nothing else.
    pub(super) expects_new: bool,
}

/// What must be true of the person, besides that the person exists and the session is alive.
#[derive(Clone, Copy, Default)]
pub(super) struct Demands {
    open: bool,
    consent: Option<Purpose>,
    unrestricted: bool,
    unheld: bool,
}

/// The context whose actor the events name, if that is not the holder of the ticket, and the details of the events'
/// trail.
#[derive(Clone, Copy)]
pub(super) struct Author<'a> {
    ctx: &'a Ctx,
    details: &'a str,
}

impl<'a> Frame<'a> {
    /// An act, such as submitting, granting, or asking for a deletion: a suspension bars it. Takes no lock.
    pub(crate) fn act(operation: &'static str, ctx: &'a Ctx) -> Self {
        let (gate, demands) = (Gate::read(ctx), Demands::default());
        Self {
            operation,
            ctx,
            gate,
            is_act: true,
            demands,
            author: None,
            keeps_trail: true,
            in_group: false,
            expects_new: false,
        }
    }

    /// A right over one's own data, which a suspension leaves open: to read or export it, to withdraw a consent or
    /// object, to restrict, to cancel a deletion, to sign out. Takes no lock.
    pub(crate) fn right(operation: &'static str, ctx: &'a Ctx) -> Self {
        Self { is_act: false, ..Self::act(operation, ctx) }
    }

    /// An act if `is_act` is true, otherwise a right.
    pub(crate) fn act_if(is_act: bool, operation: &'static str, ctx: &'a Ctx) -> Self {
        Self { is_act, ..Self::act(operation, ctx) }
    }

    /// Shares the person's lock with other transactions that write, or that open sealed values, so that no transaction
    /// wraps the person's keys anew meanwhile.
    pub(crate) fn shared(self) -> Self {
        Self { gate: self.gate.and_shared(), ..self }
    }

    /// Takes the person's lock alone, which is necessary to replace or destroy keys.
    pub(crate) fn alone(self) -> Self {
        Self { gate: self.gate.and_alone(), ..self }
    }

    /// Lets the transaction share one of the database with those of other persons that wait at the same moment
    /// (`db::Db::run_shared` says what it may do then).
    pub(crate) fn in_group(self) -> Self {
        Self { in_group: true, ..self }
    }

    /// For a command that probably adds one new record and nothing else. At first it decides without reading, as if there
    /// were no such record and no stored answer, and as if the standing were what this server remembers. The statement that
    /// stores finds out whether it is so, and if not, the command reads and decides anew, and may be a part of a group's.
    /// `decide` must do nothing but add events and statements, because it may run twice.
    pub(crate) fn expecting_new(self) -> Self {
        Self { expects_new: true, ..self.in_group() }
    }

    /// Also lets the transaction read and write rows that are found by a keyed hash.
    pub(crate) fn looking_up(self, lookup: Lookup) -> Self {
        Self { gate: self.gate.and_lookup(lookup), ..self }
    }

    /// Lets each statement take a quarter of an hour, because it may change very many rows.
    pub(crate) fn with_long_statements(self) -> Self {
        Self { gate: self.gate.with_long_statements(), ..self }
    }

    /// For a transaction that adds data. Refuses if processing is restricted, if a confirmed deletion waits, or if
    /// `consent` names a purpose without a consent on its current notice.
    pub(crate) fn open_for(self, consent: Option<Purpose>) -> Self {
        Self { demands: Demands { open: true, consent, ..self.demands }, ..self }
    }

    /// Refuses while processing is restricted (GDPR Art. 18).
    pub(crate) fn unrestricted(self) -> Self {
        Self { demands: Demands { unrestricted: true, ..self.demands }, ..self }
    }

    /// Refuses while a legal hold is in force (GDPR Art. 17(3)).
    pub(crate) fn unheld(self) -> Self {
        Self { demands: Demands { unheld: true, ..self.demands }, ..self }
    }

    /// Lets the events name the actor of `ctx` instead of the holder of the ticket, and adds `details` to their trail.
    pub(crate) fn recorded_for(self, ctx: &'a Ctx, details: &'a str) -> Self {
        Self { author: Some(Author { ctx, details }), ..self }
    }

    /// Adds no trail to the events, because the transaction destroys the key that would open the trail.
    pub(crate) fn without_trail(self) -> Self {
        Self { keeps_trail: false, ..self }
    }

    /// The context of the transaction.
    pub(crate) fn ctx(&self) -> &'a Ctx {
        self.ctx
    }

    /// Runs the transaction of this frame.
    pub(super) async fn run<T, F, Fut>(&self, app: &App, work: F) -> Result<T, AppError>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, AppError>>,
    {
        let db = &app.db.api;
        if self.in_group {
            db.run_shared(self.operation, self.ctx, self.gate, work).await
        } else {
            db.run_tx(self.operation, self.ctx, self.gate, work).await
        }
    }

    pub(super) fn standing_query(&self) -> Query {
        standing(self.ctx, self.demands.consent)
    }

    pub(super) fn take(&self, app: &App, rows: &[Row]) -> Result<Standing, AppError> {
        let Some(row) = rows.first().map(StandingRow::from_row) else {
            app.forget(self.ctx.subject);
            return Err(AppError::SignedOut);
        };
        let standing = Standing::of(app, self.ctx, &row)?;
        self.require(&standing)?;
        if self.in_group {
            app.standings.put(self.ctx, self.demands.consent, row);
        }
        Ok(standing)
    }

    /// The standing that this server remembers, and its version.
    pub(super) fn remembered(&self, app: &App) -> Option<(Standing, i64)> {
        let row = app.standings.get(self.ctx, self.demands.consent)?;
        let standing = Standing::of(app, self.ctx, &row).ok()?;
        self.require(&standing).ok()?;
        Some((standing, row.version?))
    }

    fn require(&self, standing: &Standing) -> Result<(), AppError> {
        if self.is_act { standing.require_acting() } else { Ok(()) }
    }

    pub(super) fn unit(&self, keys: Option<&Arc<SubjectKeys>>) -> Unit {
        let keys = keys.filter(|_| self.keeps_trail).cloned();
        match self.author {
            Some(Author { ctx, details }) => Unit::new(ctx, keys).with_details(details.to_owned()),
            None => Unit::new(self.ctx, keys),
        }
    }
}

impl Demands {
    pub(super) fn check(&self, standing: &Standing) -> Result<(), AppError> {
        if self.unrestricted {
            standing.require_unrestricted()?;
        }
        if self.unheld {
            standing.require_unheld()?;
        }
        if self.open {
            standing.require_open()?;
            standing.require_consent(self.consent)?;
        }
        Ok(())
    }
}
