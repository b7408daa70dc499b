//! Signing in and out, and exchanging refresh tokens.
//!
//! Who signs in has shown a code mailed to the address (`auth/codes.rs`); the code is used up in the transaction that lets
//! the person in, so that one code opens one session at most. Rows that lead to a person carry a MAC of the ring.

use context::{Ctx, Role, SessionId, SubjectId, UserId};
use db::{Gate, Lookup, Query, Row, Tx};
use domain::{
    account::{Account, AccountCommand},
    kinds::{CONTACT, Contact, WORK_PROFILE, WorkProfile},
};
use event_log::Unit;
use projections::{INLINE, account::account_newest, record::record_list};
use uuid::Uuid;

use super::{
    App, AppError, Standing,
    account::account_commands,
    profile::{single, time_zone},
    stream::{self, newest_of},
};
use crate::auth::{
    Claims, Grant,
    codes::{Proof, use_up},
    sessions,
};

/// Where an address leads.
pub struct Known {
    /// The person.
    pub subject: SubjectId,
}

impl App {
    /// The person whom an address belongs to. The row's MAC is checked: a moved row leads nowhere.
    pub async fn account_of(&self, ctx: &Ctx, address: Lookup) -> Result<Option<Known>, AppError> {
        let rows = self
            .db
            .api
            .run_tx("account_of", ctx, Gate::lookup(address), move |tx| async move {
                let [rows] = tx.finish([address_get(address)]).await?;
                Ok::<_, AppError>(rows)
            })
            .await?;
        rows.first().map(|row| self.known(address, row)).transpose()
    }

    fn known(&self, address: Lookup, row: &Row) -> Result<Known, AppError> {
        let (subject, mac): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
        if !self.vault.ring().check_row("addresses", &[subject.as_bytes(), &address.0], &mac) {
            return Err(AppError::Corrupt("an address was moved to another person".to_owned()));
        }
        Ok(Known { subject: SubjectId(subject) })
    }

    /// Signs a known person in.
    pub async fn account_sign_in(
        &self,
        ctx: &Ctx,
        email: &str,
        known: &Known,
        proof: &Proof,
    ) -> Result<Grant, AppError> {
        let (address, _) = self.vault.ring().address_hash(email);
        let session = SessionId::random();
        let ctx = &ctx.for_subject(known.subject, None);
        self.db
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
                let keys = Standing::take(self, ctx, &standing)?.keys;
                // The lookup found a row; the sealed contact must name the same address, or the row was tampered with.
                if single::<Contact>(&keys, &contact)?.is_none_or(|(contact, _)| contact.email != email) {
                    return Err(AppError::Corrupt("an address leads to somebody else".to_owned()));
                }
                let work = single::<WorkProfile>(&keys, &work)?.map(|(work, _)| work);
                let role = self.staff_role(ctx.subject, &roles)?.unwrap_or(Role::Subject);
                let user = self.user(ctx.subject, user.first().ok_or(AppError::SignedOut)?)?;
                let unit = Unit::new(ctx, Some(&keys));
                account_commands(ctx, &unit, newest_of(&newest).as_ref(), [AccountCommand::SignIn(session)]).await?;
                unit.flush(&tx, INLINE);
                self.grant(ctx, &tx, session, user, role, time_zone(work.as_ref()))
            })
            .await
    }

    /// Records that somebody showed a wrong code: in the person's own log where the address is known, else in the system's.
    pub async fn account_fail_sign_in(&self, ctx: &Ctx, known: Option<&Known>) -> Result<(), AppError> {
        let subject = known.map_or(SubjectId::NIL, |known| known.subject);
        let ctx = &ctx.for_subject(subject, None).acting_as(Role::Anonymous);
        self.db
            .api
            .run_tx("account_fail_sign_in", ctx, Gate::shared(ctx), move |tx| async move {
                let [standing] = tx.flight([Standing::query(ctx, None)]).await?;
                let keys = match known {
                    Some(_) => Some(Standing::take(self, ctx, &standing)?.keys),
                    None => None,
                };
                let unit = Unit::new(ctx, keys.as_ref());
                // Each failure is a stream of its own, so that many at once wait for nothing: a queue before one address
                // would tell that it is known.
                let id = SessionId::random().to_string();
                stream::command::<Account>(ctx, &unit, &id, None, AccountCommand::FailSignIn).await?;
                unit.flush(&tx, INLINE);
                Ok(())
            })
            .await
    }

    /// Exchanges a refresh token for a new pair. A token shown a second time ends its session.
    pub async fn account_refresh(&self, ctx: &Ctx, token: &str) -> Result<Grant, AppError> {
        let lookup = sessions::refresh_lookup(self.vault.ring(), token);
        let rows = self
            .db
            .api
            .run_tx("refresh_of", ctx, Gate::lookup(lookup), move |tx| async move {
                let [rows] = tx.finish([sessions::refresh_get(lookup)]).await?;
                Ok::<_, AppError>(rows)
            })
            .await?;
        let row = rows.first().ok_or(AppError::RefreshRefused)?;
        let (subject, session, role) = sessions::refresh_row(self.vault.ring(), ctx, lookup, row)?;
        let ctx = &ctx.for_subject(subject, Some(session));
        let grant = self
            .db
            .api
            .run_tx("auth_refresh", ctx, Gate::alone(ctx).and_lookup(lookup), move |tx| async move {
                let [standing, newest, work, user, roles, ended, used] = tx
                    .flight([
                        Standing::query(ctx, None),
                        account_newest(ctx),
                        record_list(ctx.subject, WORK_PROFILE.name(), None),
                        user_get(ctx.subject),
                        roles_get(ctx.subject),
                        sessions::session_ended(ctx, session),
                        sessions::refresh_use(ctx, lookup),
                    ])
                    .await?;
                // Who is suspended stays signed in, or could use no right.
                let keys = match Standing::take_right(self, ctx, &standing) {
                    Err(AppError::SignedOut) => return Ok(None),
                    other => other?.keys,
                };
                // A role that was taken back, or a session whose end the log knows, is worth nothing, whatever the rows say.
                let held = self.staff_role(ctx.subject, &roles)?.unwrap_or(Role::Subject);
                if !ended.is_empty() || held != role {
                    return Ok(None);
                }
                if used.is_empty() {
                    let unit = Unit::new(ctx, Some(&keys));
                    let newest = newest_of(&newest);
                    account_commands(ctx, &unit, newest.as_ref(), [AccountCommand::ReuseRefresh(session)]).await?;
                    unit.flush(&tx, INLINE);
                    tx.queue(sessions::session_end(ctx, session));
                    return Ok(None);
                }
                let work = single::<WorkProfile>(&keys, &work)?.map(|(work, _)| work);
                let user = self.user(ctx.subject, user.first().ok_or(AppError::SignedOut)?)?;
                let refresh = sessions::RefreshToken::generate(self.vault.ring());
                tx.queue(sessions::refresh_insert(self.vault.ring(), ctx, session, role, &refresh));
                self.claims(ctx, session, user, role, time_zone(work.as_ref()), refresh.text).map(Some)
            })
            .await?;
        grant.ok_or(AppError::RefreshRefused)
    }

    /// Ends the caller's session, at once.
    pub async fn account_sign_out(&self, ctx: &Ctx) -> Result<(), AppError> {
        let session = ctx.session.ok_or(AppError::SignedOut)?;
        self.db
            .api
            .run_tx("auth_logout", ctx, Gate::alone(ctx), move |tx| async move {
                let [standing, newest] = tx.flight([Standing::query(ctx, None), account_newest(ctx)]).await?;
                let keys = Standing::take_right(self, ctx, &standing)?.keys;
                let unit = Unit::new(ctx, Some(&keys));
                let newest = newest_of(&newest);
                account_commands(ctx, &unit, newest.as_ref(), [AccountCommand::SignOut(session)]).await?;
                unit.flush(&tx, INLINE);
                tx.queue(sessions::session_end(ctx, session));
                Ok(())
            })
            .await
    }

    fn staff_role(&self, subject: SubjectId, rows: &[Row]) -> Result<Option<Role>, AppError> {
        let Some(row) = rows.first() else { return Ok(None) };
        let (role, mac): (&str, Vec<u8>) = (row.get(0), row.get(1));
        if !self.vault.ring().check_row("staff_roles", &[subject.0.as_bytes(), role.as_bytes()], &mac) {
            return Err(AppError::Corrupt("a staff role was not given by us".to_owned()));
        }
        Ok(Role::parse(role))
    }

    pub(super) fn user(&self, subject: SubjectId, row: &Row) -> Result<UserId, AppError> {
        let (user, mac): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
        if !self.vault.ring().check_row("users", &[subject.0.as_bytes(), user.as_bytes()], &mac) {
            return Err(AppError::Corrupt("a public id was moved to another person".to_owned()));
        }
        Ok(UserId(user))
    }

    /// Queues a session with its first refresh token, and makes the access token.
    pub(super) fn grant(
        &self,
        ctx: &Ctx,
        tx: &Tx,
        session: SessionId,
        user: UserId,
        role: Role,
        time_zone: &str,
    ) -> Result<Grant, AppError> {
        let refresh = sessions::RefreshToken::generate(self.vault.ring());
        tx.queue(sessions::session_insert(self.vault.ring(), ctx, session, role));
        tx.queue(sessions::refresh_insert(self.vault.ring(), ctx, session, role, &refresh));
        self.claims(ctx, session, user, role, time_zone, refresh.text)
    }

    fn claims(
        &self,
        ctx: &Ctx,
        session: SessionId,
        user: UserId,
        role: Role,
        time_zone: &str,
        refresh_token: String,
    ) -> Result<Grant, AppError> {
        let claims = Claims { subject: ctx.subject, session, user, role, time_zone: time_zone.to_owned() };
        let (token, expires_at) = self.tokens.issue(&claims, ctx.now());
        Ok(Grant { claims, token, refresh_token, expires_at })
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
