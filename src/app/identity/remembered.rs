//! Standings that this server has read lately, so that a new record need not wait for one. Whoever takes a standing from here
//! has to have its version checked by the transaction that stores something.
//!
//! What is kept of a person's keys is what the database holds: wrapped. It is used for ten minutes, and gone with the next
//! housekeeping after that.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use context::{Ctx, SessionId, SubjectId};
use domain::rights::consent::Purpose;
use projections::identity::standing::StandingRow;
use quick_cache::sync::Cache;

/// How many people are remembered; each takes about a kilobyte.
const PEOPLE: usize = 20_000;
/// How many standings of a person, who may have several sessions and purposes, are remembered.
const EACH: usize = 4;
/// For how long a person is remembered.
const KEPT: Duration = Duration::from_secs(600);

/// The standings that this server has read lately.
pub struct RememberedStandings(Cache<SubjectId, Arc<Person>>);

/// What is remembered of a person, all of it of one version.
struct Person {
    since: Instant,
    version: i64,
    standings: Vec<Remembered>,
}

#[derive(Clone)]
struct Remembered {
    session: Option<SessionId>,
    purpose: Option<Purpose>,
    row: Arc<StandingRow>,
}

impl Person {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < KEPT
    }
}

impl Default for RememberedStandings {
    fn default() -> Self {
        Self(Cache::new(PEOPLE))
    }
}

impl RememberedStandings {
    /// The standing of the context's subject and session, for this purpose.
    pub(crate) fn get(&self, ctx: &Ctx, purpose: Option<Purpose>) -> Option<Arc<StandingRow>> {
        let person = self.0.get(&ctx.subject).filter(|person| person.is_fresh())?;
        let found = person.standings.iter().find(|known| (known.session, known.purpose) == (ctx.session, purpose))?;
        Some(found.row.clone())
    }

    /// Remembers a standing that was read, beside others of the same version.
    pub(crate) fn put(&self, ctx: &Ctx, purpose: Option<Purpose>, row: StandingRow) {
        let Some(version) = row.version else { return };
        let person = self.0.get(&ctx.subject).filter(|person| person.is_fresh() && person.version == version);
        let (since, others) = person.map_or((Instant::now(), Vec::new()), |person| {
            let is_other = |known: &&Remembered| (known.session, known.purpose) != (ctx.session, purpose);
            (person.since, person.standings.iter().filter(is_other).take(EACH - 1).cloned().collect())
        });
        let newest = Remembered { session: ctx.session, purpose, row: Arc::new(row) };
        let standings = std::iter::once(newest).chain(others).collect();
        self.0.insert(ctx.subject, Arc::new(Person { since, version, standings }));
    }

    /// Forgets a person.
    pub(crate) fn forget(&self, subject: SubjectId) {
        self.0.remove(&subject);
    }

    /// Forgets who has been remembered for ten minutes.
    pub fn sweep(&self) {
        self.0.retain(|_, person| person.is_fresh());
    }
}
