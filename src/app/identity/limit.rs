//! Counts requests against limits. Each count is a transaction of its own, so that a refused request counts as well.

use context::Ctx;
use db::{Gate, Query};

use crate::{
    app::{App, AppError, frame},
    auth::limits::{Allowance, Limit, limit_count},
};

/// Counts a command of the context's subject that sends a letter; refuses if there were too many.
pub async fn count_letter(app: &App, ctx: &Ctx) -> Result<(), AppError> {
    let who = ctx.subject.to_string();
    let limits = [(Limit::LettersPerPerson, who.as_str()), (Limit::LettersPerPersonAndDay, who.as_str())];
    count(app, ctx, &limits).await.map(drop)
}

/// Counts one request against each limit and returns what is left of the tightest; refuses if a limit is exceeded.
pub async fn count(app: &App, ctx: &Ctx, limits: &[(Limit, &str)]) -> Result<Allowance, AppError> {
    // Counted under a transit key, so that old copies of the database tell nothing of a client's address after 72
    // hours.
    let (key, _) = app.vault.ring().transit(ctx.now())?;
    let queries = || -> Vec<Query> {
        limits.iter().map(|(limit, who)| limit_count(app.vault.ring(), ctx, key, *limit, who)).collect()
    };
    let rows = app
        .db
        .api
        .run_tx("limit_count", ctx, Gate::read(ctx), move |tx| async move {
            Ok::<_, AppError>(tx.flight_all(queries()).await?)
        })
        .await?;
    let allowances = limits.iter().zip(&rows).map(|((limit, _), rows)| Allowance::of(ctx, *limit, rows));
    let tightest = allowances.min_by_key(Allowance::remaining).expect("at least one limit is counted");
    if tightest.is_over() { Err(AppError::from(tightest)) } else { Ok(tightest) }
}

/// Counts one request against a limit and returns what is left; does not refuse, even if the limit is exceeded.
pub async fn used(app: &App, ctx: &Ctx, limit: Limit, who: &str) -> Result<Allowance, AppError> {
    let (key, _) = app.vault.ring().transit(ctx.now())?;
    let queries = || [limit_count(app.vault.ring(), ctx, key, limit, who)];
    let [rows] = frame::ticket_query(app, "limit_count", ctx, Gate::read(ctx), queries).await?;
    Ok(Allowance::of(ctx, limit, &rows))
}
