//! Generations of a catch-up projection: the first one, a new one that is built beside the one that is shown, and the
//! swap of the two.
//!
//! Any server may begin a generation. Every server whose code has the same version may catch it up, and show it once it
//! has come as far as the shown one. Each step is one transaction, and the next step goes on from there, so that a
//! running server or the next rebuild finishes a rebuild that was killed. Refuses to build with older code what newer
//! code keeps.

use context::Ctx;
use db::{FromRow, Row};
use projections::catch_up::{
    CatchUp, GenerationsRow, Progress, SwapRow, generation_begin, generation_enter, generation_swap, generations_lock,
    projection_progress, swap_lock,
};

use crate::app::{App, AppError, frame};

/// Makes the first generation if there is none; begins a new one if the one that is shown is of older code.
pub async fn enter(app: &App, projection: &'static CatchUp) -> Result<(), AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let versions = frame::system_work(app, &app.db.system, "projection_enter", ctx, move |work| async move {
        let [_, rows] = work.tx.flight([generation_enter(projection, ctx.now()), generations_lock(projection)]).await?;
        (projection.sweep)().into_iter().for_each(|query| work.queue(query));
        Versions::of(&rows)
    })
    .await?;
    if versions.is_outdated(projection) {
        begin(app, projection).await?;
    }
    Ok(())
}

/// The generation that is shown and the one that is being built, each with the version of the code that keeps it.
struct Versions {
    active: (i64, i32),
    building: Option<(i64, i32)>,
}

impl Versions {
    fn of(rows: &[Row]) -> Result<Self, AppError> {
        let row = rows.first().map(GenerationsRow::from_row).ok_or(AppError::NotFound("projection"))?;
        let version =
            row.active_version.ok_or_else(|| AppError::Corrupt("a projection has no checkpoint".to_owned()))?;
        Ok(Self { active: (row.active, version), building: row.building.zip(row.building_version) })
    }

    /// Whether no generation of this version of the code, or of a newer one, has been begun.
    fn is_outdated(&self, projection: &CatchUp) -> bool {
        self.active.1.max(self.building.map_or(0, |(_, version)| version)) < projection.version
    }
}

/// Begins a generation beside the one that is shown, from the beginning of the log. If the same version of the code has
/// begun one and not finished it, returns that one. Refuses if newer code keeps the projection.
pub async fn begin(app: &App, projection: &'static CatchUp) -> Result<i64, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "generation_begin", ctx, move |work| async move {
        let [rows] = work.tx.flight([generations_lock(projection)]).await?;
        let found = Versions::of(&rows)?;
        if found.active.1.max(found.building.map_or(0, |(_, version)| version)) > projection.version {
            return Err(AppError::OutdatedCode);
        }
        match found.building {
            Some((generation, version)) if version == projection.version => Ok(generation),
            given_up => {
                let given_up = given_up.map(|(generation, _)| generation);
                let next = given_up.unwrap_or(found.active.0) + 1;
                for query in generation_begin(projection, given_up, next, ctx.now()) {
                    work.queue(query);
                }
                Ok(next)
            }
        }
    })
    .await
}

/// How far the generations have come that this version of the code keeps.
pub async fn all(app: &App, projection: &'static CatchUp) -> Result<Vec<Progress>, AppError> {
    let [rows] = frame::system_query(app, "projection_progress", || [projection_progress(projection)]).await?;
    Ok(Progress::from_rows(&rows))
}

/// Shows the generation that was being built, once it has come as far as the one that is shown; returns whether it did.
pub async fn swap(app: &App, projection: &'static CatchUp) -> Result<bool, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let swapped = frame::system_work(app, &app.db.system, "generation_swap", ctx, move |work| async move {
        let [_, rows] = work.tx.flight([generations_lock(projection), swap_lock(projection)]).await?;
        let rows = SwapRow::from_rows(&rows);
        let Some(new) = rows.iter().find(|row| row.is_new) else { return Ok(None) };
        if rows.iter().any(|old| !old.is_new && old.position > new.position) {
            return Ok(None);
        }
        let generation = new.generation;
        generation_swap(projection, generation).into_iter().for_each(|query| work.queue(query));
        Ok::<_, AppError>(Some(generation))
    })
    .await?;
    let Some(generation) = swapped else { return Ok(false) };
    tracing::info!(projection = projection.name, generation, "a rebuilt projection is shown");
    frame::system_work(app, &app.db.system, "projection_sweep", ctx, move |work| async move {
        (projection.sweep)().into_iter().for_each(|query| work.queue(query));
        Ok::<_, AppError>(())
    })
    .await?;
    Ok(true)
}
