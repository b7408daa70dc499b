//! Projections: how they stand, what the activity is, building one anew, trying again what could not be applied.
//!
//! What staff may see here is about nobody. It is read by the system, once the caller's session is known to be alive: requests
//! themselves have no right to these tables. Nothing that is asked here stops anything that goes on.

use std::time::Duration;

use chrono::NaiveDate;
use context::{Ctx, SubjectId};
use db::{FromRow, Gate};
use event_log::{Position, Reader};
use projections::{
    CATCH_UP, REBUILDS,
    catch_up::CatchUp,
    operation::{
        activity::{ActivityRow, activity_list},
        dead_letter::{DeadLetter, dead_letter_drop, dead_letter_keep, dead_letter_list, dead_letter_lock},
        lag::{self, log_stalled, projection_list},
    },
    rebuild::{Rebuild, Repaired, subject_of, subject_page},
};

use crate::app::{
    App, AppError,
    frame::{self},
    operation::{
        catch_up::{self, REFUSED, Step},
        generation,
    },
};

/// Dead letters that are shown at most.
const SHOWN: i64 = 100;
/// People a page, while their read models are made equal to the log.
const PEOPLE: i64 = 1000;
/// So many of them at the same time.
const LANES: usize = 4;
const PAUSE: Duration = Duration::from_millis(25);

/// How all catch-up projections stand.
pub struct Overview {
    /// One entry a projection.
    pub projections: Vec<lag::LagRow>,
    /// The first dead letters of those generations that are shown.
    pub dead_letters: Vec<DeadLetter>,
    /// The backends whose open transactions hold readers back, while committed events wait for them.
    pub held_by: Vec<i32>,
}

/// What a rebuild did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// A new generation is shown.
    Swapped {
        /// Which one.
        generation: i64,
    },
    /// The rows of all people were compared with the log.
    Compared {
        /// How many people the log knows.
        people: usize,
        /// What differed.
        repaired: Repaired,
    },
}

/// The people of one page whose read model was made equal to the log.
pub struct Page {
    /// The last of them, in the order of their ids.
    pub last: SubjectId,
    /// How many they are.
    pub people: usize,
    /// What differed.
    pub repaired: Repaired,
}

/// How the catch-up projections stand.
pub async fn list(app: &App) -> Result<Overview, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let [projections, dead_letters, held_by] = frame::system_query(app, "projection_list", || {
        [projection_list(), dead_letter_list(None, SHOWN), log_stalled(ctx.now())]
    })
    .await?;
    Ok(Overview {
        projections: projections.iter().map(lag::LagRow::from_row).collect(),
        dead_letters: dead_letters.iter().map(DeadLetter::from_row).collect(),
        held_by: held_by.iter().map(|row| row.get(0)).collect(),
    })
}

/// The activity of a range of days, both ends included.
pub async fn activity(app: &App, from: NaiveDate, to: NaiveDate) -> Result<Vec<ActivityRow>, AppError> {
    let [rows] = frame::system_query(app, "activity_list", || [activity_list(from, to)]).await?;
    Ok(rows.iter().map(ActivityRow::from_row).collect())
}

/// Refuses a member of staff whose session has ended.
pub async fn staff_standing(app: &App, ctx: &Ctx) -> Result<(), AppError> {
    frame::acting_keys(app, ctx).await.map(drop)
}

/// Builds a read model anew, while it goes on being read and written. It can be killed and run again at any point.
pub async fn rebuild(app: &App, name: &str) -> Result<Rebuilt, AppError> {
    if let Some(projection) = CATCH_UP.iter().find(|projection| projection.name == name) {
        return rebuild_beside(app, projection).await;
    }
    let rebuild = REBUILDS.iter().find(|rebuild| rebuild.name == name);
    rebuild_in_place(app, rebuild.ok_or(AppError::Missing("projection"))?).await
}

/// A new generation, caught up from the beginning of the log by pages: one statement over the whole log would be a transaction
/// that holds every reader of the log back until it ends.
async fn rebuild_beside(app: &App, projection: &'static CatchUp) -> Result<Rebuilt, AppError> {
    generation::enter(app, projection).await?;
    let generation = generation::begin(app, projection).await?;
    loop {
        let all = generation::all(app, projection).await?;
        // A server may have ended what was begun here, or a later rebuild taken its place.
        let Some(mine) = all.iter().find(|it| it.generation >= generation) else {
            return Err(AppError::OutdatedCode);
        };
        if !mine.building {
            return Ok(Rebuilt::Swapped { generation: mine.generation });
        }
        let stands = if mine.due {
            catch_up::step(app, projection, mine).await? == Step::Elsewhere
        } else {
            !generation::swap(app, projection).await?
        };
        if stands {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Each person's rows, made equal to what log and register say of that person.
async fn rebuild_in_place(app: &App, rebuild: &'static Rebuild) -> Result<Rebuilt, AppError> {
    let (mut after, mut people, mut repaired) = (SubjectId::NIL, 0, Repaired::default());
    while let Some(page) = rebuild_page(app, rebuild, after).await? {
        (after, people) = (page.last, people + page.people);
        repaired += page.repaired;
    }
    Ok(Rebuilt::Compared { people, repaired })
}

/// The same for the next people behind one; none where there are no more.
pub async fn rebuild_page(app: &App, rebuild: &'static Rebuild, after: SubjectId) -> Result<Option<Page>, AppError> {
    let [rows] = frame::system_query(app, "subject_page", || [subject_page(after, PEOPLE)]).await?;
    let subjects: Vec<SubjectId> = rows.iter().map(subject_of).collect();
    let Some(&last) = subjects.last() else { return Ok(None) };
    let lane = |first: usize| rebuild_people(app, rebuild, subjects.iter().skip(first).step_by(LANES));
    let (a, b, c, d) = tokio::try_join!(lane(0), lane(1), lane(2), lane(3))?;
    let mut repaired = Repaired::default();
    [a, b, c, d].into_iter().for_each(|part| repaired += part);
    Ok(Some(Page { last, people: subjects.len(), repaired }))
}

async fn rebuild_people(
    app: &App,
    rebuild: &'static Rebuild,
    subjects: impl Iterator<Item = &SubjectId>,
) -> Result<Repaired, AppError> {
    let mut repaired = Repaired::default();
    for subject in subjects {
        repaired += rebuild_person(app, rebuild, *subject).await?;
    }
    Ok(repaired)
}

async fn rebuild_person(app: &App, rebuild: &'static Rebuild, subject: SubjectId) -> Result<Repaired, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    app.db
        .api
        .run_tx("projection_rebuild", ctx, Gate::alone(ctx).with_long_statements(), move |tx| async move {
            let [rows] = tx.finish([(rebuild.statement)(subject)]).await?;
            Ok(rows.first().map(Repaired::from_row).unwrap_or_default())
        })
        .await
}

/// Tries again what a projection could not apply; says how many events it could apply now, and how many still not.
pub async fn retry(app: &App, name: &str) -> Result<(usize, usize), AppError> {
    let projection = CATCH_UP.iter().find(|projection| projection.name == name);
    retry_all(app, projection.ok_or(AppError::Missing("catch-up projection"))?).await
}

/// The same for a projection at hand.
pub async fn retry_all(app: &App, projection: &'static CatchUp) -> Result<(usize, usize), AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let [rows] =
        frame::system_query(app, "dead_letter_list", || [dead_letter_list(Some(projection.name), i64::MAX)]).await?;
    let (mut applied, mut kept) = (0, 0);
    for letter in rows.iter().map(DeadLetter::from_row) {
        let outcome = match retry_one(app, ctx, projection, &letter, true).await {
            Err(error) if catch_up::is_refused_value(&error) => retry_one(app, ctx, projection, &letter, false).await,
            outcome => outcome,
        };
        if outcome? { applied += 1 } else { kept += 1 }
    }
    Ok((applied, kept))
}

/// Applies a dead letter and lets go of it in one transaction, or keeps it; says which. With `apply` unset it is known that the
/// database refuses it.
async fn retry_one(
    app: &App,
    ctx: &Ctx,
    projection: &'static CatchUp,
    letter: &DeadLetter,
    apply: bool,
) -> Result<bool, AppError> {
    let before = Position { position: letter.position.position - 1, ..letter.position };
    frame::system_work(app, &app.db.system, "dead_letter_retry", ctx, move |work| async move {
        let mut reader = Reader::new(before, 1);
        let [locked, rows] = work.tx.flight([dead_letter_lock(projection, letter), reader.page()]).await?;
        let events = reader.take(&rows);
        if locked.is_empty() || events.first().is_none_or(|(position, _)| *position != letter.position) {
            return Ok(false);
        }
        let result = (projection.apply)(letter.generation, &events);
        let reason = if apply { result.unapplied.first().map(|(_, reason)| *reason) } else { Some(REFUSED) };
        if let Some(reason) = reason {
            work.queue(dead_letter_keep(projection, letter, reason, ctx.now()));
            return Ok(false);
        }
        result.statements.into_iter().for_each(|query| work.queue(query));
        work.queue(dead_letter_drop(projection, letter));
        Ok(true)
    })
    .await
}
