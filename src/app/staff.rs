//! Members of staff: made by the command line, never by the API; they sign in with a mailed code like everybody.

use context::{Ctx, Role, SubjectId};
use db::{Gate, Query};
use domain::account::AccountCommand;
use event_log::Unit;
use projections::{INLINE, account::account_newest};

use super::{
    App, AppError, Standing,
    account::{Registration, account_commands},
    stream::newest_of,
};

impl App {
    /// Gives somebody a staff role, making the account where there is none.
    pub async fn staff_add(&self, email: &str, role: Role) -> Result<(), AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        if self.account_of(ctx, email).await?.is_none() {
            let person = Registration { email: email.to_owned(), work: None, consents: Vec::new() };
            self.account_create(ctx, &person).await?;
        }
        let known = self.account_of(ctx, email).await?.ok_or(AppError::Missing("account"))?;
        if self.staff_insert(ctx, known.subject, role).await? {
            self.staff_record(ctx, known.subject, role).await?;
        }
        Ok(())
    }

    /// Says whether the role is new.
    async fn staff_insert(&self, ctx: &Ctx, subject: SubjectId, role: Role) -> Result<bool, AppError> {
        let mac = self.vault.ring().row_mac("staff_roles", &[subject.0.as_bytes(), role.as_str().as_bytes()]);
        self.db
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

    async fn staff_record(&self, ctx: &Ctx, subject: SubjectId, role: Role) -> Result<(), AppError> {
        let ctx = &ctx.for_subject(subject, None).acting_as(Role::System);
        self.db
            .api
            .run_tx("staff_record", ctx, Gate::alone(ctx), move |tx| async move {
                let [standing, newest] = tx.flight([Standing::query(ctx, None), account_newest(ctx)]).await?;
                let keys = Standing::take(self, ctx, &standing)?.keys;
                let unit = Unit::new(ctx, Some(&keys));
                let command = AccountCommand::GiveRole(role.as_str());
                account_commands(ctx, &unit, newest_of(&newest).as_ref(), [command]).await?;
                unit.flush(&tx, INLINE);
                Ok(())
            })
            .await
    }
}
