//! Standings that this server has read lately, so that a command need not wait for one. Whoever takes a standing from here
//! has to have its version checked by the transaction that stores something.
//!
//! What is kept of a person's keys is what the database holds: wrapped. It is forgotten after ten minutes.

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
/// For how long a standing is remembered.
const KEPT: Duration = Duration::from_secs(600);

/// The standings that this server has read lately.
pub struct RememberedStandings(Cache<SubjectId, Arc<[Remembered]>>);

#[derive(Clone)]
struct Remembered {
    session: Option<SessionId>,
    purpose: Option<Purpose>,
    row: Arc<StandingRow>,
    read_at: Instant,
}

impl Remembered {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < KEPT
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
        let remembered = self.0.get(&ctx.subject)?;
        let fitting = |remembered: &&Remembered| {
            remembered.session == ctx.session && remembered.purpose == purpose && remembered.is_fresh()
        };
        remembered.iter().find(fitting).map(|remembered| remembered.row.clone())
    }

    /// Remembers a standing that was read.
    pub(crate) fn put(&self, ctx: &Ctx, purpose: Option<Purpose>, row: StandingRow) {
        let is_known = self.get(ctx, purpose).is_some_and(|known| known.version == row.version);
        if row.version.is_none() || is_known {
            return;
        }
        let others = self.0.get(&ctx.subject);
        let others = others.iter().flat_map(|remembered| remembered.iter());
        let others = others.filter(|remembered| (remembered.session, remembered.purpose) != (ctx.session, purpose));
        // Those of an older version are of no use any more.
        let others =
            others.filter(|remembered| remembered.is_fresh() && remembered.row.version == row.version).cloned();
        let others: Vec<Remembered> = others.take(EACH - 1).collect();
        let newest = Remembered { session: ctx.session, purpose, row: Arc::new(row), read_at: Instant::now() };
        self.0.insert(ctx.subject, std::iter::once(newest).chain(others).collect());
    }

    /// Forgets a person.
    pub(crate) fn forget(&self, subject: SubjectId) {
        self.0.remove(&subject);
    }

    /// Forgets what is older than ten minutes.
    pub fn sweep(&self) {
        self.0.retain(|_, remembered| remembered.iter().any(Remembered::is_fresh));
    }
}
