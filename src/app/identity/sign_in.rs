//! Signing in and out, and exchanging refresh tokens.
//!
//! Who signs in has shown a code mailed to the address (`auth/codes.rs`); the code is used up in the transaction that lets
//! the person in, so that one code opens one session at most. Rows that lead to a person carry a MAC of the ring.

use context::{Ctx, Role, SessionId, SubjectId};
use db::{Gate, Query, Row};
use domain::{
    identity::account::{Account, AccountCommand},
    kinds::{CONTACT, Contact, WORK_PROFILE, WorkProfile, normalise_address},
};
use event_log::Unit;
use projections::{INLINE, identity::account::account_newest, records::record::record_list};

use crate::{
    app::{
        App, AppError, Standing,
        identity::{
            account::account_commands,
            known::{self, Known},
            session::{self, use_up},
        },
        records::opened::{single, time_zone},
        stream::{self, newest_of},
    },
    auth::{Grant, codes::Proof, devices::devices_forget, sessions},
};

/// Signs a known person in.
pub async fn begin(app: &App, ctx: &Ctx, email: &str, known: &Known, proof: &Proof) -> Result<Grant, AppError> {
    let (address, _) = app.vault.ring().address_hash(email);
    let session = SessionId::random();
    let ctx = &ctx.for_subject(known.subject, None);
    app.db
        .api
        .run_tx("auth_login", ctx, Gate::alone(ctx).and_lookup(address), move |tx| async move {
            let [standing, newest, contact, work, roles, user] = tx
                .flight([
                    Standing::query(ctx, None),
                    account_newest(ctx),
                    record_list(ctx.subject, CONTACT.name(), None),
                    record_list(ctx.subject, WORK_PROFILE.name(), None),
                    roles_get(ctx.subject),
                    known::user_get(ctx.subject),
                ])
                .await?;
            use_up(&tx, ctx, address, proof).await?;
            let keys = Standing::take(app, ctx, &standing)?.keys;
            // The lookup found a row; the sealed contact must name the same address, or the row was tampered with.
            let names_it = |contact: Contact| normalise_address(&contact.email).is_ok_and(|named| named == email);
            if !single::<Contact>(&keys, &contact)?.is_some_and(|(contact, _)| names_it(contact)) {
                return Err(AppError::Corrupt("an address leads to somebody else".to_owned()));
            }
            let work = single::<WorkProfile>(&keys, &work)?.map(|(work, _)| work);
            let role = staff_role(app, ctx.subject, &roles)?.unwrap_or(Role::Subject);
            let user = known::user_id(app, ctx.subject, user.first().ok_or(AppError::SignedOut)?)?;
            let unit = Unit::new(ctx, Some(&keys));
            let command = AccountCommand::SignIn(session, session::signs_in_on(proof));
            account_commands(ctx, &unit, newest_of(&newest).as_ref(), [command]).await?;
            unit.flush(&tx, INLINE);
            session::grant(app, ctx, &tx, (session, proof), user, role, time_zone(work.as_ref()))
        })
        .await
}

/// Exchanges a refresh token for a new pair. A token shown a second time ends its session, unless it is the same client's, a moment
/// later: then it gets the same refresh token again.
pub async fn refresh(app: &App, ctx: &Ctx, token: &str, device_secret: Option<&str>) -> Result<Grant, AppError> {
    let ring = app.vault.ring();
    let lookup = sessions::refresh_lookup(ring, token);
    let user_of_token = &sessions::User::of(ctx, ring.transit(ctx.now())?.0, device_secret);
    let successor = &sessions::RefreshToken::after(ring, token);
    let rows = app
        .db
        .api
        .run_tx("refresh_of", ctx, Gate::lookup(lookup), move |tx| async move {
            let [rows] = tx.finish([sessions::refresh_get(lookup)]).await?;
            Ok::<_, AppError>(rows)
        })
        .await?;
    let row = rows.first().ok_or(AppError::RefreshRefused)?;
    let (subject, session, role) = sessions::refresh_row(app.vault.ring(), ctx, lookup, row)?;
    let ctx = &ctx.for_subject(subject, Some(session));
    let grant = app
        .db
        .api
        .run_tx("auth_refresh", ctx, Gate::alone(ctx).and_lookup(lookup), move |tx| async move {
            let [standing, newest, work, user, roles, ended, before, used] = tx
                .flight([
                    Standing::query(ctx, None),
                    account_newest(ctx),
                    record_list(ctx.subject, WORK_PROFILE.name(), None),
                    known::user_get(ctx.subject),
                    roles_get(ctx.subject),
                    sessions::session_ended(ctx, session),
                    sessions::refresh_used(ctx, lookup, successor),
                    sessions::refresh_use(ring, ctx, lookup, user_of_token),
                ])
                .await?;
            // Who is suspended stays signed in, or could use no right.
            let keys = match Standing::take_right(app, ctx, &standing) {
                Err(AppError::SignedOut) => return Ok(None),
                other => other?.keys,
            };
            // A role that was taken back, or a session whose end the log knows, is worth nothing, whatever the rows say.
            let held = staff_role(app, ctx.subject, &roles)?.unwrap_or(Role::Subject);
            if !ended.is_empty() || held != role {
                return Ok(None);
            }
            let again = used.is_empty();
            if again && !sessions::is_answered_again(ring, ctx, user_of_token, &before) {
                let unit = Unit::new(ctx, Some(&keys));
                let newest = newest_of(&newest);
                account_commands(ctx, &unit, newest.as_ref(), [AccountCommand::ReuseRefresh(session)]).await?;
                unit.flush(&tx, INLINE);
                tx.queue(sessions::session_end(ctx, session));
                // Whoever took the token may have taken a device's secret as well: none is known any more.
                tx.queue(devices_forget(ctx));
                return Ok(None);
            }
            let work = single::<WorkProfile>(&keys, &work)?.map(|(work, _)| work);
            let user = known::user_id(app, ctx.subject, user.first().ok_or(AppError::SignedOut)?)?;
            let unit = Unit::new(ctx, Some(&keys));
            let refreshed = AccountCommand::Refresh(session);
            stream::command::<Account>(ctx, &unit, &stream::own_id(), None, refreshed).await?;
            unit.flush(&tx, INLINE);
            if !again {
                tx.queue(sessions::refresh_insert(ring, ctx, session, role, successor));
            }
            session::claims(app, ctx, session, user, role, time_zone(work.as_ref()), successor.text.clone()).map(Some)
        })
        .await?;
    grant.ok_or(AppError::RefreshRefused)
}

/// Ends the caller's session, at once.
pub async fn end(app: &App, ctx: &Ctx) -> Result<(), AppError> {
    let session = ctx.session.ok_or(AppError::SignedOut)?;
    app.db
        .api
        .run_tx("auth_logout", ctx, Gate::alone(ctx), move |tx| async move {
            let [standing, newest] = tx.flight([Standing::query(ctx, None), account_newest(ctx)]).await?;
            let keys = Standing::take_right(app, ctx, &standing)?.keys;
            let unit = Unit::new(ctx, Some(&keys));
            let newest = newest_of(&newest);
            account_commands(ctx, &unit, newest.as_ref(), [AccountCommand::SignOut(session)]).await?;
            unit.flush(&tx, INLINE);
            tx.queue(sessions::session_end(ctx, session));
            Ok(())
        })
        .await
}

fn staff_role(app: &App, subject: SubjectId, rows: &[Row]) -> Result<Option<Role>, AppError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let (role, mac): (&str, Vec<u8>) = (row.get(0), row.get(1));
    if !app.vault.ring().check_row("staff_roles", &[subject.0.as_bytes(), role.as_bytes()], &mac) {
        return Err(AppError::Corrupt("a staff role was not given by us".to_owned()));
    }
    Ok(Role::parse(role))
}

fn roles_get(subject: SubjectId) -> Query {
    Query::new("-- roles_get\nSELECT role, mac FROM auth.staff_roles WHERE subject_id = $1 ORDER BY role")
        .bind(subject.0)
}
