//! Members of staff. Only the command line makes them, lists them and removes them, never the API; they sign in with a
//! mailed code like everybody else.
//!
//! A removal takes the role and ends the person's sessions. The account stays, so that one can still look up who acted.
//! Once nobody needs to know, [`erase`] erases it.

use context::{Ctx, Role, SubjectId};
use db::FromRow;
use domain::{Fault, identity::account::AccountCommand, kinds::CONTACT};
use projections::{
    desk::compliance::{StaffRow, staff_list},
    identity::account::{account_newest, role_taken},
    records::record::{AgesRow, record_ages},
    rights::consent::consent_list,
};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        identity::{
            account::{self, Registration, account_commands},
            known,
        },
        letter::{address_of, contact},
        log::access,
        rights::erasure,
    },
    auth::{
        accounts::{RoleRow, role_add, role_remove, roles_get},
        sessions::{AliveRow, session_end, sessions_alive},
    },
    data::ledger::Entry,
};

/// What [`add`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    pub subject: SubjectId,
    /// Whether the account was made; false if the person had one.
    pub is_new: bool,
    /// Whether the role was given; false if the person had it.
    pub given: bool,
}

/// What [`remove`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    pub subject: SubjectId,
    /// The roles that the person had; empty if the person was no member of staff.
    pub roles: Vec<Role>,
    /// How many sessions ended.
    pub sessions: usize,
}

/// A role of a member of staff.
pub struct Member {
    pub email: String,
    pub row: StaffRow,
}

/// The system, acting on the account of one person.
fn system_for(app: &App, subject: SubjectId) -> Ctx {
    Ctx::system(app.clock.clone()).for_subject(subject, None).acting_as(Role::System)
}

async fn subject_of(app: &App, email: &str) -> Result<Option<SubjectId>, AppError> {
    let known = known::account_of(app, &Ctx::system(app.clock.clone()), email).await?;
    Ok(known.map(|known| known.subject))
}

/// Gives a person a staff role; makes the account if there is none.
pub async fn add(app: &App, email: &str, role: Role) -> Result<Added, AppError> {
    let is_new = subject_of(app, email).await?.is_none();
    if is_new {
        let person = Registration { email: email.to_owned(), work: None, consents: Vec::new() };
        account::create(app, &Ctx::system(app.clock.clone()), &person).await?;
    }
    let subject = subject_of(app, email).await?.ok_or(AppError::NotFound("account"))?;
    let given = insert(app, subject, role).await?;
    if given {
        record_role(app, subject, role).await?;
    }
    // Also where the person had the role, because the command that gave it may have died before this line. A crash here
    // makes a restore take a role that was given again, and never keep one that was taken.
    app.ledger.append(entry(&system_for(app, subject), role, true)).await?;
    Ok(Added { subject, is_new, given })
}

/// Stores the role; returns whether the person did not have it before.
async fn insert(app: &App, subject: SubjectId, role: Role) -> Result<bool, AppError> {
    let [added] = frame::system_query(app, "staff_add", || [role_add(app.vault.ring(), subject, role)]).await?;
    Ok(!added.is_empty())
}

async fn record_role(app: &App, subject: SubjectId, role: Role) -> Result<(), AppError> {
    let ctx = &system_for(app, subject);
    let frame = Frame::act("staff_record", ctx).alone();
    let reads = || [account_newest(ctx)];
    frame::command(app, frame, reads, move |work, _, [newest]| async move {
        account_commands(&work, &newest, [AccountCommand::GiveRole(role.as_str())]).await
    })
    .await
}

fn entry(ctx: &Ctx, role: Role, given: bool) -> Entry {
    Entry::StaffRole { subject: ctx.subject, role: role.as_str().to_owned(), given, at: ctx.now() }
}

/// All roles of members of staff. Each address that is opened for this is a read in its owner's log.
pub async fn list(app: &App) -> Result<Vec<Member>, AppError> {
    let [rows] = frame::system_query(app, "staff_list", || [staff_list()]).await?;
    let mut members = Vec::new();
    for row in StaffRow::from_rows(&rows) {
        let ctx = &system_for(app, SubjectId(row.subject));
        let reads = || [contact(ctx.subject)];
        let (standing, [contact]) = frame::query(app, Frame::act("staff_contact", ctx), reads).await?;
        let email = address_of(&standing.keys, &contact)?;
        access::note_read(app, ctx, standing.keys, CONTACT.name(), 1, "a list of staff".to_owned()).await?;
        members.push(Member { email, row });
    }
    Ok(members)
}

/// Takes a staff role from a person, or all roles if `role` is `None`, and ends the person's sessions.
pub async fn remove(app: &App, email: &str, role: Option<Role>) -> Result<Removed, AppError> {
    let subject = subject_of(app, email).await?.ok_or(AppError::NotFound("account"))?;
    take(app, subject, role).await
}

/// The same for a person whose id is known. Roles, sessions and their events go in one transaction.
pub(crate) async fn take(app: &App, subject: SubjectId, role: Option<Role>) -> Result<Removed, AppError> {
    let ctx = &system_for(app, subject);
    let frame = Frame::act("staff_remove", ctx).alone();
    let reads = || [account_newest(ctx), roles_get(subject), sessions_alive(ctx)];
    frame::command(app, frame, reads, move |work, _, [newest, roles, sessions]| async move {
        // Also a role that we did not give is taken: its row lacks our MAC, and only bars the person from signing in.
        let held = roles.iter().filter_map(|row| Role::parse(&RoleRow::from_row(row).role));
        let roles: Vec<Role> = held.filter(|held| role.is_none_or(|role| role == *held)).collect();
        if roles.is_empty() {
            return Ok(Removed { subject, roles, sessions: 0 });
        }
        let sessions = AliveRow::from_rows(&sessions);
        let taken = roles.iter().map(|role| AccountCommand::TakeRole(role.as_str()));
        let ended = sessions.iter().map(|row| AccountCommand::SignOut(row.session));
        account_commands(&work, &newest, taken.chain(ended)).await?;
        for role in &roles {
            app.ledger.append(entry(ctx, *role, false)).await?;
            work.queue(role_remove(subject, *role).exactly(1));
        }
        sessions.iter().for_each(|row| work.queue(session_end(ctx, row.session)));
        Ok(Removed { subject, roles, sessions: sessions.len() })
    })
    .await
}

/// Erases the account of a former member of staff, at once. Returns false if a legal hold keeps it. Refuses an account
/// that was never staff's, still is, or holds more than its address: of such an account only its owner disposes.
pub async fn erase(app: &App, email: &str) -> Result<bool, AppError> {
    let subject = subject_of(app, email).await?.ok_or(AppError::NotFound("account"))?;
    let ctx = &system_for(app, subject);
    let reads = || [role_taken(ctx), roles_get(subject), record_ages(subject), consent_list(subject)];
    let (_, [taken, roles, ages, consents]) = frame::query(app, Frame::act("staff_erasable", ctx), reads).await?;
    let only_address = AgesRow::from_rows(&ages).iter().all(|row| row.kind == CONTACT.name()) && consents.is_empty();
    let fault = match () {
        () if taken.is_empty() || !roles.is_empty() => "the account is not that of a former member of staff",
        () if !only_address => "the account holds more than its address: its owner may ask for its deletion",
        () => return erasure::at_once(app, subject).await,
    };
    Err(AppError::Invalid(vec![Fault::new("email", fault)]))
}
