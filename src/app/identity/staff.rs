//! Members of staff: made by the command line, never by the API; they sign in with a mailed code like everybody.

use context::{Ctx, Role, SubjectId};
use db::{Gate, Query};
use domain::identity::account::AccountCommand;
use event_log::Unit;
use projections::{INLINE, identity::account::account_newest};

use crate::app::{
    App, AppError, Standing,
    identity::{
        account::{self, Registration, account_commands},
        known,
    },
    stream::newest_of,
};

/// Gives somebody a staff role, making the account where there is none.
pub async fn add(app: &App, email: &str, role: Role) -> Result<(), AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    if known::account_of(app, ctx, email).await?.is_none() {
        let person = Registration { email: email.to_owned(), work: None, consents: Vec::new() };
        account::create(app, ctx, &person).await?;
    }
    let known = known::account_of(app, ctx, email).await?.ok_or(AppError::Missing("account"))?;
    if insert(app, ctx, known.subject, role).await? {
        record_role(app, ctx, known.subject, role).await?;
    }
    Ok(())
}

/// Says whether the role is new.
async fn insert(app: &App, ctx: &Ctx, subject: SubjectId, role: Role) -> Result<bool, AppError> {
    let mac = app.vault.ring().row_mac("staff_roles", &[subject.0.as_bytes(), role.as_str().as_bytes()]);
    app.db
        .system
        .run_tx("staff_add", ctx, Gate::read(ctx), move |tx| async move {
            let insert = Query::new(
                "-- staff_add
                INSERT INTO auth.staff_roles (subject_id, role, mac) VALUES ($1, $2, $3)
                ON CONFLICT DO NOTHING RETURNING true",
            )
            .bind(subject.0)
            .bind(role.as_str())
            .bind(mac.to_vec());
            let [added] = tx.flight([insert]).await?;
            Ok(!added.is_empty())
        })
        .await
}

async fn record_role(app: &App, ctx: &Ctx, subject: SubjectId, role: Role) -> Result<(), AppError> {
    let ctx = &ctx.for_subject(subject, None).acting_as(Role::System);
    app.db
        .api
        .run_tx("staff_record", ctx, Gate::alone(ctx), move |tx| async move {
            let [standing, newest] = tx.flight([Standing::query(ctx, None), account_newest(ctx)]).await?;
            let keys = Standing::take(app, ctx, &standing)?.keys;
            let unit = Unit::new(ctx, Some(&keys));
            let command = AccountCommand::GiveRole(role.as_str());
            account_commands(ctx, &unit, newest_of(&newest).as_ref(), [command]).await?;
            unit.flush(&tx, INLINE);
            Ok(())
        })
        .await
}
