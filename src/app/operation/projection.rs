//! Projections: how far they have come, the activity they count, rebuilding one, and trying again what one could not
//! apply.
//!
//! What staff see here is about nobody. The system reads it, once the caller's session is known to be alive, because
//! requests themselves have no right to these tables. Nothing here stops work that goes on.

use std::time::Duration;

use chrono::NaiveDate;
use context::{Ctx, Role, SubjectId};
use db::FromRow;
use event_log::{Position, Reader};
use projections::{
    CATCH_UP, REBUILDS,
    catch_up::CatchUp,
    operation::{
        activity::{ActivityPlace, ActivityRow, activity_list},
        dead_letter::{DeadLetter, dead_letter_drop, dead_letter_keep, dead_letter_list, dead_letter_lock},
        lag::{self, log_stalled, projection_list},
    },
    rebuild::{COUNTED, PersonRow, Rebuild, Repaired, subject_page},
};

use crate::app::{
    App, AppError, frame,
    operation::{
        catch_up::{self, REFUSED, Step},
        generation,
    },
};

/// The most dead letters that are shown.
const SHOWN: i64 = 100;
/// How many people make a page while their read models are made equal to the log.
const PEOPLE: i64 = 1000;
/// How many groups of them are worked on at the same time.
const LANES: usize = 4;
/// How many people make a group, whose rows one transaction makes. PostgreSQL compares each row with each person of the
/// ticket, so that a larger group is slower.
const TOGETHER: usize = 16;
const PAUSE: Duration = Duration::from_millis(25);

/// How far all catch-up projections have come.
pub struct Overview {
    /// One entry for each projection.
    pub projections: Vec<lag::LagRow>,
    /// The first 100 dead letters of the generations that are shown.
    pub dead_letters: Vec<DeadLetter>,
    /// The process ids of PostgreSQL's backends whose open transactions hold readers back while committed events wait.
    pub held_by: Vec<i32>,
}

/// What a rebuild did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// A new generation is shown.
    Swapped {
        /// The number of the generation.
        generation: i64,
    },
    /// The rows of all people were compared with the log.
    Compared {
        /// How many people the log knows.
        people: usize,
        /// How many rows differed and were corrected.
        repaired: Repaired,
    },
}

/// One page of people, whose read models were made equal to the log.
pub struct Page {
    /// The last person of the page, in the order of ids.
    pub last: SubjectId,
    /// How many people the page has.
    pub people: usize,
    /// How many rows differed and were corrected.
    pub repaired: Repaired,
}

/// Reads how far the catch-up projections have come.
pub async fn list(app: &App) -> Result<Overview, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let [projections, dead_letters, held_by] = frame::system_query(app, "projection_list", || {
        [projection_list(), dead_letter_list(None, SHOWN), log_stalled(ctx.now())]
    })
    .await?;
    Ok(Overview {
        projections: projections.iter().map(lag::LagRow::from_row).collect(),
        dead_letters: DeadLetter::from_rows(&dead_letters),
        held_by: held_by.iter().map(|row| row.get("pid")).collect(),
    })
}

/// A page of the activity of a range of days, both ends included, oldest first.
pub async fn activity(
    app: &App,
    from: NaiveDate,
    to: NaiveDate,
    page: &projections::page::Page<ActivityPlace>,
) -> Result<(Vec<ActivityRow>, Option<ActivityPlace>), AppError> {
    let [rows] = frame::system_query(app, "activity_list", || [activity_list(from, to)]).await?;
    Ok(page.choose(ActivityRow::from_rows(&rows), ActivityRow::place))
}

/// Refuses a member of staff whose session has ended, or whose account is suspended.
pub async fn staff_standing(app: &App, ctx: &Ctx) -> Result<(), AppError> {
    frame::acting_keys(app, ctx).await.map(drop)
}

/// Builds a read model anew, while others still read and write it. The rebuild can be killed and run again at any
/// point.
pub async fn rebuild(app: &App, name: &str) -> Result<Rebuilt, AppError> {
    if let Some(projection) = CATCH_UP.iter().find(|projection| projection.name == name) {
        return rebuild_beside(app, projection).await;
    }
    let rebuild = REBUILDS.iter().find(|rebuild| rebuild.name == name);
    rebuild_in_place(app, rebuild.ok_or(AppError::NotFound("projection"))?).await
}

/// Builds a new generation from the beginning of the log, page by page. One statement over the whole log would be a
/// transaction that holds back every reader of the log until it ends.
async fn rebuild_beside(app: &App, projection: &'static CatchUp) -> Result<Rebuilt, AppError> {
    generation::enter(app, projection).await?;
    let generation = generation::begin(app, projection).await?;
    loop {
        let all = generation::all(app, projection).await?;
        // A server may have finished the generation that was begun here, or a later rebuild may have replaced it.
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

/// Makes each person's rows equal to what the log and the register say of that person.
async fn rebuild_in_place(app: &App, rebuild: &'static Rebuild) -> Result<Rebuilt, AppError> {
    let (mut after, mut people, mut repaired) = (SubjectId::NIL, 0, Repaired::default());
    while let Some(page) = rebuild_page(app, rebuild, after).await? {
        (after, people) = (page.last, people + page.people);
        repaired += page.repaired;
    }
    Ok(Rebuilt::Compared { people, repaired })
}

/// Does the same for the next page of people behind `after`; `None` if there are no more.
pub async fn rebuild_page(app: &App, rebuild: &'static Rebuild, after: SubjectId) -> Result<Option<Page>, AppError> {
    let [rows] = frame::system_query(app, "subject_page", || [subject_page(after, PEOPLE)]).await?;
    let people = PersonRow::from_rows(&rows);
    let Some(last) = people.last().map(|person| person.subject) else { return Ok(None) };
    let groups = groups(&people);
    let lane = |first: usize| rebuild_groups(app, rebuild, groups.iter().skip(first).step_by(LANES));
    let (a, b, c, d) = tokio::try_join!(lane(0), lane(1), lane(2), lane(3))?;
    let mut repaired = Repaired::default();
    [a, b, c, d].into_iter().for_each(|part| repaired += part);
    Ok(Some(Page { last, people: people.len(), repaired }))
}

/// Parts people into groups whose events fit into memory and whose rows are found fast.
fn groups(people: &[PersonRow]) -> Vec<Vec<SubjectId>> {
    let (mut groups, mut events): (Vec<Vec<SubjectId>>, i64) = (Vec::new(), 0);
    for person in people {
        events += person.events;
        match groups.last_mut() {
            Some(group) if group.len() < TOGETHER && events <= COUNTED => group.push(person.subject),
            _ => {
                groups.push(vec![person.subject]);
                events = person.events;
            }
        }
    }
    groups
}

async fn rebuild_groups(
    app: &App,
    rebuild: &'static Rebuild,
    groups: impl Iterator<Item = &Vec<SubjectId>>,
) -> Result<Repaired, AppError> {
    let mut repaired = Repaired::default();
    for subjects in groups {
        let work = move |tx: db::Tx| async move {
            let [before, events] = tx.flight(rebuild.reads(subjects)).await?;
            let answers = tx.flights(rebuild.statements(subjects, &events, &tx)).await?;
            let after = answers.last().map(Vec::as_slice).unwrap_or_default();
            Ok::<_, AppError>(Repaired::between(&before, after))
        };
        repaired += app.db.api.run_for_all("projection_rebuild", Role::Job, subjects, work).await?;
    }
    Ok(repaired)
}

/// Tries again the events that a projection could not apply. Returns how many it applied now, and how many it still
/// could not.
pub async fn retry(app: &App, name: &str) -> Result<(usize, usize), AppError> {
    let projection = CATCH_UP.iter().find(|projection| projection.name == name);
    retry_all(app, projection.ok_or(AppError::NotFound("catch-up projection"))?).await
}

/// The same, for a projection that is given by reference.
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

/// Applies a dead letter and drops it in one transaction, or keeps it; returns whether it was applied. `apply` is false
/// if the database is known to refuse it.
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
        if locked.is_empty() || events.first().is_none_or(|event| event.position != letter.position) {
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
