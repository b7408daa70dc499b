//! What the log says of a release: one entry for every account, in the order of the accounts' ids, no matter if
//! anything of the account was read. All entries look alike except for the sealed part, which only the account's owner
//! can open: it says whether the statistics count the owner, and what was opened. If no key of the owner may be opened,
//! random bytes are written instead, which nobody can open: nothing was read then.
//!
//! The entries are written after the pass over all people and before anything is drawn, so that their number, order and
//! pace depend on the accounts alone.

use std::sync::Arc;

use context::{Ctx, EventId, Personal, SubjectId};
use db::FromRow;
use domain::{
    log::access::STATS_CONSIDERED,
    quarter::Quarter,
    rights::consent::{Notice, Purpose},
};
use event_log::{Actor, Event, Trail, event_append};
use projections::statistics::release::{AccountRow, release_accounts};
use serde::{Deserialize, Serialize};
use vault::{SubjectKeys, WrappedSubject};

use crate::app::{App, AppError, frame, log::access::access_event};

/// How many people are read together.
pub(crate) const PAGE: i64 = 500;

/// What was opened of one person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    subject: SubjectId,
    /// Whether a table counts the person.
    pub counted: bool,
    /// How many of the person's work days were opened.
    pub work_days: usize,
    /// How many versions of the person's work profile were opened.
    pub profiles: usize,
}

/// What was opened, as the person reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered {
    /// Whether a table counts the person.
    pub counted: bool,
    /// How many of the person's work days were opened.
    pub work_days: usize,
    /// How many versions of the person's work profile were opened.
    pub profiles: usize,
}

impl Look {
    /// A look at a person of whom nothing was opened except the keys.
    pub fn of(subject: SubjectId) -> Self {
        Self { subject, counted: false, work_days: 0, profiles: 0 }
    }

    fn trail(self) -> Trail {
        let Self { counted, work_days, profiles, .. } = self;
        Considered { counted, work_days, profiles }.trail()
    }
}

impl Considered {
    /// The length of every look's text, in bytes, so that the length of the sealed part tells nothing.
    const WIDTH: usize = 64;
    /// The highest count that is told; a higher count is told as this one.
    const MOST: usize = 99_999;

    /// The sealed part of an entry.
    pub(crate) fn trail(self) -> Trail {
        let told = Self { work_days: self.work_days.min(Self::MOST), profiles: self.profiles.min(Self::MOST), ..self };
        let text = serde_json::to_string(&told).expect("counts can be written as JSON");
        Trail { details: Some(Personal::new(format!("{text:<width$}", width = Self::WIDTH))), ..Trail::default() }
    }
}

/// Records that a release considered every account.
pub(crate) async fn consider(
    app: &App,
    ctx: &Ctx,
    period: Quarter,
    revision: u32,
    looks: &[Look],
) -> Result<(), AppError> {
    let mut after = Some(SubjectId::NIL);
    while let Some(from) = after {
        after = consider_page(app, ctx, (period, revision), from, looks).await?;
    }
    Ok(())
}

/// Writes the entries of the next page of accounts; returns the last account of the page, or `None` if there are no
/// more.
async fn consider_page(
    app: &App,
    ctx: &Ctx,
    release: (Quarter, u32),
    after: SubjectId,
    looks: &[Look],
) -> Result<Option<SubjectId>, AppError> {
    let version = Notice::current(Purpose::Statistics).version;
    frame::system_work(app, &app.db.stats, "release_considered", ctx, move |work| async move {
        let [accounts] = work.tx.flight([release_accounts(after, version, PAGE)]).await?;
        let mut events = Vec::with_capacity(accounts.len());
        // One stream and one time for all, so that nothing tells how long each entry took to seal.
        let (stream, now) = (EventId::random().to_string(), ctx.now());
        for (row, sequence) in accounts.iter().zip(1..) {
            let AccountRow { subject, keys } = AccountRow::from_row(row);
            let look = looks.binary_search_by_key(&subject.0, |look| look.subject.0).ok().map(|at| looks[at]);
            let keys = keys_of(app, subject, keys, look.is_some()).await?;
            let event = entry(ctx, release, look.unwrap_or(Look::of(subject)), keys, (&stream, sequence));
            events.push(Event { recorded_at: now, ..event });
        }
        let last = events.last().map(|event| event.subject_id);
        if !events.is_empty() {
            work.queue(event_append(events));
        }
        Ok(last)
    })
    .await
}

/// The keys that seal an account's entry. A person who withdrew consent after their days were read still gets a true
/// entry. Statistics may not open that person's keys any more, so they are read under a ticket for that person.
async fn keys_of(
    app: &App,
    subject: SubjectId,
    wrapped: Option<WrappedSubject>,
    was_read: bool,
) -> Result<Option<Arc<SubjectKeys>>, AppError> {
    if let Some(wrapped) = wrapped {
        return Ok(Some(Arc::new(app.vault.open_once(subject, &wrapped)?)));
    }
    if !was_read {
        return Ok(None);
    }
    let own = &Ctx::system(app.clock.clone()).for_subject(subject, None);
    match frame::acting_keys(app, own).await {
        Ok(keys) => Ok(Some(keys)),
        // The person was erased meanwhile, so nobody could open the entry.
        Err(AppError::SignedOut) => Ok(None),
        Err(error) => Err(error),
    }
}

fn entry(
    ctx: &Ctx,
    (period, revision): (Quarter, u32),
    look: Look,
    keys: Option<Arc<SubjectKeys>>,
    (stream, sequence): (&str, i64),
) -> Event {
    let payload = serde_json::json!({ "what": "statistics", "period": period.to_string(), "revision": revision });
    let event = access_event(ctx, look.subject, "statistics", 0);
    let mut event = Event {
        aggregate_id: stream.to_owned(),
        sequence,
        event_type: STATS_CONSIDERED.to_owned(),
        payload: payload.to_string(),
        ..event
    };
    let (actor, trail) = (Actor::of(ctx), look.trail());
    match keys {
        Some(keys) => event.set_metadata(&actor, Some((&keys, &trail))),
        None => event.set_metadata_without_trail(&actor, &trail),
    }
    event
}

/// What an entry says to its owner. If it does not open, nothing of the owner was read.
pub(crate) fn owners_trail(event: &Event, keys: &SubjectKeys) -> Trail {
    let trail = event.open_trail(keys).ok().flatten().unwrap_or_else(|| Considered::default().trail());
    Trail { details: trail.details.map(|details| Personal::new(details.reveal().trim_end().to_owned())), ..trail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_is_as_long_as_every_other() {
        let all = [
            Considered::default(),
            Considered { counted: true, work_days: 92, profiles: 1 },
            Considered { counted: false, work_days: usize::MAX, profiles: usize::MAX },
        ];
        let length = |look: Considered| serde_json::to_string(&look.trail()).expect("JSON").len();
        assert!(all.iter().all(|look| length(*look) == length(all[0])));
        let details = all[1].trail().details.expect("it has some");
        assert_eq!(serde_json::from_str::<Considered>(details.reveal()).expect("it reads back"), all[1]);
    }
}
