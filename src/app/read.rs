//! Reads of one statement: of a person by themselves, and of the system.

use context::Ctx;
use db::{Gate, Query, Tx};
use vault::SubjectKeys;

use crate::app::{App, AppError, Standing};

/// One statement that reads a person's own rows, with the standing, in one flight: a right.
pub(crate) async fn own(
    app: &App,
    ctx: &Ctx,
    name: &'static str,
    query: &(dyn Fn() -> Query + Sync),
) -> Result<(Vec<db::Row>, SubjectKeys), AppError> {
    app.db
        .api
        .run_tx(name, ctx, Gate::read(ctx), move |tx| async move {
            let [standing, rows] = tx.finish([Standing::query(ctx, None), query()]).await?;
            Ok((rows, Standing::take_right(app, ctx, &standing)?.keys))
        })
        .await
}

/// One statement under the system's ticket.
pub(crate) async fn as_system(
    app: &App,
    name: &'static str,
    query: &(dyn Fn() -> db::Query + Sync),
) -> Result<Vec<db::Row>, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let work = move |tx: Tx| async move {
        let [rows] = tx.finish([query()]).await?;
        Ok(rows)
    };
    app.db.system.run_tx(name, ctx, Gate::read(ctx), work).await
}
