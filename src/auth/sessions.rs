//! Sessions and refresh tokens. A refresh token is used once; all of a session's tokens are one family.

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use context::{Ctx, Role, SessionId, SubjectId};
use db::{Lookup, Query, Row};
use uuid::Uuid;
use vault::Ring;

use crate::app::{AppError, account::SESSION_LIFETIME};

/// A fresh refresh token: what the client gets, and by what it is found.
pub struct RefreshToken {
    /// 32 random bytes in base64url.
    pub text: String,
    lookup: Lookup,
}

impl RefreshToken {
    /// A fresh one.
    pub fn generate(ring: &Ring) -> Self {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).expect("the operating system gives random bytes");
        let text = URL_SAFE_NO_PAD.encode(bytes);
        Self { lookup: refresh_lookup(ring, &text), text }
    }
}

/// By what a refresh token is found.
pub fn refresh_lookup(ring: &Ring, text: &str) -> Lookup {
    ring.lookup("refresh token", text.as_bytes())
}

fn mac_columns<'a>(subject: &'a Uuid, lookup: &'a Lookup, session: &'a Uuid, role: &'a str) -> [&'a [u8]; 4] {
    [subject.as_bytes(), &lookup.0, session.as_bytes(), role.as_bytes()]
}

/// Begins a session.
pub fn session_insert(ctx: &Ctx, session: SessionId, role: Role) -> Query {
    Query::new(
        "-- session_insert
        INSERT INTO auth.sessions (subject_id, session_id, role, started_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(ctx.subject.0)
    .bind(session.0)
    .bind(role.as_str())
    .bind(ctx.now())
    .bind(ctx.now() + SESSION_LIFETIME)
}

/// Ends a session.
pub fn session_end(ctx: &Ctx, session: SessionId) -> Query {
    Query::new(
        "-- session_end
        UPDATE auth.sessions SET ended_at = $3 WHERE subject_id = $1 AND session_id = $2 AND ended_at IS NULL",
    )
    .bind(ctx.subject.0)
    .bind(session.0)
    .bind(ctx.now())
}

/// Stores a refresh token.
pub fn refresh_insert(ring: &Ring, ctx: &Ctx, session: SessionId, role: Role, token: &RefreshToken) -> Query {
    let mac = ring.row_mac("refresh_tokens", &mac_columns(&ctx.subject.0, &token.lookup, &session.0, role.as_str()));
    Query::new(
        "-- refresh_insert
        INSERT INTO auth.refresh_tokens (subject_id, token_hash, session_id, role, expires_at, mac)
        VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(ctx.subject.0)
    .bind(token.lookup.0.to_vec())
    .bind(session.0)
    .bind(role.as_str())
    .bind(ctx.now() + SESSION_LIFETIME)
    .bind(mac.to_vec())
}

/// Whom a refresh token belongs to.
pub fn refresh_get(lookup: Lookup) -> Query {
    Query::new(
        "-- refresh_get
        SELECT subject_id, session_id, role, mac FROM auth.refresh_tokens WHERE token_hash = $1",
    )
    .bind(lookup.0.to_vec())
}

/// Reads a row of [`refresh_get`]; refuses one that we did not write.
pub fn refresh_row(ring: &Ring, lookup: Lookup, row: &Row) -> Result<(SubjectId, SessionId, Role), AppError> {
    let (subject, session, role): (Uuid, Uuid, &str) = (row.get(0), row.get(1), row.get(2));
    let columns = mac_columns(&subject, &lookup, &session, role);
    match Role::parse(role) {
        Some(role) if ring.check_row("refresh_tokens", &columns, &row.get::<_, Vec<u8>>(3)) => {
            Ok((SubjectId(subject), SessionId(session), role))
        }
        _ => Err(AppError::Corrupt("a refresh token was moved to another person".to_owned())),
    }
}

/// Uses a refresh token; no row where it was used before.
pub fn refresh_use(ctx: &Ctx, lookup: Lookup) -> Query {
    let now: DateTime<Utc> = ctx.now();
    Query::new(
        "-- refresh_use
        UPDATE auth.refresh_tokens SET used_at = $3 WHERE subject_id = $1 AND token_hash = $2 AND used_at IS NULL
        RETURNING true",
    )
    .bind(ctx.subject.0)
    .bind(lookup.0.to_vec())
    .bind(now)
}
