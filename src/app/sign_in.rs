//! Signing in and out, and exchanging refresh tokens.
//!
//! Who signs in has shown a code mailed to the address (`auth/codes.rs`); the code is used up in the transaction that lets
//! the person in, so that one code opens one session at most. Rows that lead to a person carry a MAC of the ring.

use context::{Ctx, Role, SessionId, SubjectId, UserId};
use db::{Gate, Lookup, Query, Row, Tx};
use domain::{
    account::{Account, AccountCommand, SignInDevice},
    kinds::{CONTACT, Contact, WORK_PROFILE, WorkProfile, former_spelling, normalise_address},
};
use event_log::Unit;
use projections::{INLINE, account::account_newest, record::record_list};
use uuid::Uuid;

use crate::{
    app::{
        App, AppError, Standing,
        account::account_commands,
        profile::{single, time_zone},
        stream::{self, newest_of},
    },
    auth::{
        Claims, Grant,
        codes::{Proof, Shown, use_up},
        devices::{self, devices_forget},
        sessions,
    },
};

/// Where an address leads.
pub struct Known {
    /// The person.
    pub subject: SubjectId,
}

/// The person whom a normal address belongs to, also where an earlier version filed it under another spelling.
pub async fn account_of(app: &App, ctx: &Ctx, email: &str) -> Result<Option<Known>, AppError> {
    let ring = app.vault.ring();
    let found = account_at(app, ctx, ring.address_hash(email).0).await?;
    let Some(former) = former_spelling(email) else { return Ok(found) };
    // Looked for in any case, so that the time of the answer does not tell what the first look found.
    let by_former = account_at(app, ctx, ring.address_hash(&former).0).await?;
    Ok(found.or(by_former))
}

/// The person whom an address is filed under. The row's MAC is checked: a moved row leads nowhere.
async fn account_at(app: &App, ctx: &Ctx, address: Lookup) -> Result<Option<Known>, AppError> {
    let rows = app
        .db
        .api
        .run_tx("account_of", ctx, Gate::lookup(address), move |tx| async move {
            let [rows] = tx.finish([address_get(address)]).await?;
            Ok::<_, AppError>(rows)
        })
        .await?;
    rows.first().map(|row| known(app, address, row)).transpose()
}

fn known(app: &App, address: Lookup, row: &Row) -> Result<Known, AppError> {
    let (subject, mac): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
    if !app.vault.ring().check_row("addresses", &[subject.as_bytes(), &address.0], &mac) {
        return Err(AppError::Corrupt("an address was moved to another person".to_owned()));
    }
    Ok(Known { subject: SubjectId(subject) })
}

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
                    user_get(ctx.subject),
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
            let user = user_id(app, ctx.subject, user.first().ok_or(AppError::SignedOut)?)?;
            let unit = Unit::new(ctx, Some(&keys));
            let command = AccountCommand::SignIn(session, signs_in_on(proof));
            account_commands(ctx, &unit, newest_of(&newest).as_ref(), [command]).await?;
            unit.flush(&tx, INLINE);
            grant(app, ctx, &tx, (session, proof), user, role, time_zone(work.as_ref()))
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
                    user_get(ctx.subject),
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
            let user = user_id(app, ctx.subject, user.first().ok_or(AppError::SignedOut)?)?;
            let unit = Unit::new(ctx, Some(&keys));
            let refreshed = AccountCommand::Refresh(session);
            stream::command::<Account>(ctx, &unit, &stream::own_id(), None, refreshed).await?;
            unit.flush(&tx, INLINE);
            if !again {
                tx.queue(sessions::refresh_insert(ring, ctx, session, role, successor));
            }
            claims(app, ctx, session, user, role, time_zone(work.as_ref()), successor.text.clone()).map(Some)
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

pub(super) fn user_id(app: &App, subject: SubjectId, row: &Row) -> Result<UserId, AppError> {
    let (user, mac): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
    if !app.vault.ring().check_row("users", &[subject.0.as_bytes(), user.as_bytes()], &mac) {
        return Err(AppError::Corrupt("a public id was moved to another person".to_owned()));
    }
    Ok(UserId(user))
}

/// Queues a session with its first refresh token, and makes the access token. Who showed a code is on a device that is known from
/// then on.
pub(super) fn grant(
    app: &App,
    ctx: &Ctx,
    tx: &Tx,
    (session, proof): (SessionId, &Proof),
    user: UserId,
    role: Role,
    time_zone: &str,
) -> Result<Grant, AppError> {
    let refresh = sessions::RefreshToken::generate(app.vault.ring());
    tx.queue(sessions::session_insert(app.vault.ring(), ctx, session, role));
    tx.queue(sessions::refresh_insert(app.vault.ring(), ctx, session, role, &refresh));
    let device_secret = match proof {
        Proof::Code(Shown { device: Some(device), .. }) => Some(device.secret.clone()),
        Proof::Code(_) => Some(devices::add(app, ctx, tx)),
        Proof::Operator => None,
    };
    Ok(Grant { device_secret, ..claims(app, ctx, session, user, role, time_zone, refresh.text)? })
}

fn claims(
    app: &App,
    ctx: &Ctx,
    session: SessionId,
    user: UserId,
    role: Role,
    time_zone: &str,
    refresh_token: String,
) -> Result<Grant, AppError> {
    let claims = Claims { subject: ctx.subject, session, user, role, time_zone: time_zone.to_owned() };
    let (token, expires_at) = app.tokens.issue(&claims, ctx.now());
    Ok(Grant { claims, token, refresh_token, expires_at, device_secret: None })
}

/// On what a person signs in, as the log says it; nothing where the command line does it.
pub(super) fn signs_in_on(proof: &Proof) -> Option<SignInDevice> {
    match proof {
        Proof::Code(shown) if shown.device.is_some() => Some(SignInDevice::Known),
        Proof::Code(_) => Some(SignInDevice::New),
        Proof::Operator => None,
    }
}

fn roles_get(subject: SubjectId) -> Query {
    Query::new("-- roles_get\nSELECT role, mac FROM auth.staff_roles WHERE subject_id = $1 ORDER BY role")
        .bind(subject.0)
}

/// The public id of a person.
pub(super) fn user_get(subject: SubjectId) -> Query {
    Query::new("-- user_get\nSELECT user_id, mac FROM auth.users WHERE subject_id = $1").bind(subject.0)
}

fn address_get(address: Lookup) -> Query {
    Query::new("-- address_get\nSELECT subject_id, mac FROM auth.addresses WHERE address_hash = $1")
        .bind(address.0.to_vec())
}
