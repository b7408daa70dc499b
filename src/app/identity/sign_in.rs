//! Signing in and out, and exchanging refresh tokens.
//!
//! A person who signs in has shown a code that was mailed to the address (`auth/codes.rs`). The code is used up in the
//! transaction that opens the session, so that one code opens one session at most. Rows that lead to a person carry a
//! MAC made with the ring.

use context::{Ctx, Role, SessionId, SubjectId};
use db::{FromRow, Gate, Row};
use domain::{
    Kind,
    identity::account::{Account, AccountCommand},
    kinds::{CONTACT, Contact, WORK_PROFILE, WorkProfile, normalise_address},
};
use projections::{identity::account::account_newest, records::list::record_list};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        identity::{
            account::account_commands,
            known::{self, Known},
            session::{self, use_up},
        },
        records::opened::{single, time_zone},
    },
    auth::{
        Grant,
        accounts::{RoleRow, roles_get, user_get},
        codes::Proof,
        devices::devices_forget,
        sessions,
    },
};

/// Signs in a person who has an account.
pub async fn begin(app: &App, ctx: &Ctx, email: &str, known: &Known, proof: &Proof) -> Result<Grant, AppError> {
    let (address, _) = app.vault.ring().address_hash(email);
    let session = SessionId::random();
    let ctx = &ctx.for_subject(known.subject, None);
    let single_of = |kind: &Kind| record_list(ctx.subject, kind.name());
    let (roles, user) = (|| roles_get(ctx.subject), || user_get(ctx.subject));
    let reads = || [account_newest(ctx), single_of(CONTACT), single_of(WORK_PROFILE), roles(), user()];
    let frame = Frame::act("auth_login", ctx).alone().looking_up(address);
    frame::command(app, frame, reads, move |work, standing, [newest, contact, profile, roles, user]| async move {
        let keys = standing.keys;
        use_up(&work.tx, ctx, address, proof).await?;
        // The address hash led to this person. The sealed contact must name the same address, or somebody changed the
        // row.
        let names_it = |contact: Contact| normalise_address(&contact.email).is_ok_and(|named| named == email);
        if !single::<Contact>(&keys, &contact)?.is_some_and(|(contact, _)| names_it(contact)) {
            return Err(AppError::Corrupt("an address leads to somebody else".to_owned()));
        }
        let profile = single::<WorkProfile>(&keys, &profile)?.map(|(profile, _)| profile);
        let role = staff_role(app, ctx.subject, &roles)?.unwrap_or(Role::Subject);
        let user = known::user_id(app, ctx.subject, &user)?;
        let command = AccountCommand::SignIn(session, session::signs_in_on(proof));
        account_commands(&work, &newest, [command]).await?;
        session::grant(&work, (session, proof), user, role, time_zone(profile.as_ref()))
    })
    .await
}

/// Exchanges a refresh token for a new pair of tokens. A token that is shown a second time ends its session. The
/// exception is the same client that repeats its request a moment later: it gets the same refresh token again.
pub async fn refresh(app: &App, ctx: &Ctx, token: &str, device_secret: Option<&str>) -> Result<Grant, AppError> {
    let ring = app.vault.ring();
    let lookup = sessions::refresh_lookup(ring, token);
    let user_of_token = &sessions::TokenUser::of(ctx, ring.transit(ctx.now())?.0, device_secret);
    let successor = &sessions::RefreshToken::after(ring, token);
    let queries = || [sessions::refresh_get(lookup)];
    let [rows] = frame::ticket_query(app, "refresh_of", ctx, Gate::lookup(lookup), queries).await?;
    let row = rows.first().map(sessions::RefreshRow::from_row).ok_or(AppError::RefreshRefused)?;
    let (subject, session, role) = row.verified(ring, ctx, lookup)?;
    let ctx = &ctx.for_subject(subject, Some(session));
    let reads = || {
        [
            account_newest(ctx),
            record_list(ctx.subject, WORK_PROFILE.name()),
            user_get(ctx.subject),
            roles_get(ctx.subject),
            sessions::session_ended(ctx, session),
            sessions::refresh_used(ctx, lookup, successor),
            sessions::refresh_use(ring, ctx, lookup, user_of_token),
        ]
    };
    // A right, because a suspended person must stay signed in to use their rights.
    let frame = Frame::right("auth_refresh", ctx).alone().looking_up(lookup);
    let grant = frame::command(app, frame, reads, move |work, standing, rows| async move {
        let [newest, profile, user, roles, ended, before, used] = rows;
        let keys = standing.keys;
        // Gives no token if the person no longer has the role, or if the log knows that the session has ended, whatever
        // the rows of sessions say.
        let held = staff_role(app, ctx.subject, &roles)?.unwrap_or(Role::Subject);
        if !ended.is_empty() || held != role {
            return Ok(None);
        }
        let again = used.is_empty();
        if again && !sessions::is_answered_again(ring, ctx, user_of_token, &before) {
            account_commands(&work, &newest, [AccountCommand::ReuseRefresh(session)]).await?;
            work.queue(sessions::session_end(ctx, session));
            // A thief of the token may have taken a device's secret as well, so all devices of the person are
            // forgotten.
            work.queue(devices_forget(ctx));
            return Ok(None);
        }
        let profile = single::<WorkProfile>(&keys, &profile)?.map(|(profile, _)| profile);
        let user = known::user_id(app, ctx.subject, &user)?;
        work.command::<Account>(&frame::own_id(), &[], AccountCommand::Refresh(session)).await?;
        if !again {
            work.queue(sessions::refresh_insert(ring, ctx, session, role, successor));
        }
        session::claims(app, ctx, session, user, role, time_zone(profile.as_ref()), successor.text.clone()).map(Some)
    });
    match grant.await {
        Err(AppError::SignedOut) => Err(AppError::RefreshRefused),
        grant => grant?.ok_or(AppError::RefreshRefused),
    }
}

/// Ends the caller's session at once.
pub async fn end(app: &App, ctx: &Ctx) -> Result<(), AppError> {
    let session = ctx.session.ok_or(AppError::SignedOut)?;
    let frame = Frame::right("auth_logout", ctx).alone();
    let reads = || [account_newest(ctx)];
    frame::command(app, frame, reads, move |work, _, [newest]| async move {
        account_commands(&work, &newest, [AccountCommand::SignOut(session)]).await?;
        work.queue(sessions::session_end(ctx, session));
        Ok(())
    })
    .await
}

fn staff_role(app: &App, subject: SubjectId, rows: &[Row]) -> Result<Option<Role>, AppError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let role = RoleRow::from_row(row).verified(app.vault.ring(), subject);
    role.map(Some).ok_or_else(|| AppError::Corrupt("a staff role was not given by us".to_owned()))
}
