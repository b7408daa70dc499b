//! Members of staff. Only the command line makes them, never the API; they sign in with a mailed code like everybody
//! else.

use context::{Ctx, Role, SubjectId};
use domain::identity::account::AccountCommand;
use projections::identity::account::account_newest;

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        identity::{
            account::{self, Registration, account_commands},
            known,
        },
    },
    auth::accounts::role_add,
};

/// Gives a person a staff role; makes the account if there is none.
pub async fn add(app: &App, email: &str, role: Role) -> Result<(), AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    if known::account_of(app, ctx, email).await?.is_none() {
        let person = Registration { email: email.to_owned(), work: None, consents: Vec::new() };
        account::create(app, ctx, &person).await?;
    }
    let known = known::account_of(app, ctx, email).await?.ok_or(AppError::NotFound("account"))?;
    if insert(app, known.subject, role).await? {
        record_role(app, ctx, known.subject, role).await?;
    }
    Ok(())
}

/// Stores the role; returns whether the person did not have it before.
async fn insert(app: &App, subject: SubjectId, role: Role) -> Result<bool, AppError> {
    let [added] = frame::system_query(app, "staff_add", || [role_add(app.vault.ring(), subject, role)]).await?;
    Ok(!added.is_empty())
}

async fn record_role(app: &App, ctx: &Ctx, subject: SubjectId, role: Role) -> Result<(), AppError> {
    let ctx = &ctx.for_subject(subject, None).acting_as(Role::System);
    let frame = Frame::act("staff_record", ctx).alone();
    let reads = || [account_newest(ctx)];
    frame::command(app, frame, reads, move |work, _, [newest]| async move {
        account_commands(&work, &newest, [AccountCommand::GiveRole(role.as_str())]).await
    })
    .await
}
