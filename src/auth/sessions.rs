//! Sessions and refresh tokens. A refresh token is used once, and each one belongs to the session that it was made for.

use aws_lc_rs::constant_time;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, Role, SessionId, SubjectId};
use db::{FromRow, Lookup, Query, Row, sql};
use uuid::Uuid;
use vault::{Ring, TransitId};

use crate::{auth::limits::client_key, data::random::random_text};

/// How long a sign-in lasts at most; refreshing does not prolong it.
pub const SESSION_LIFETIME: TimeDelta = TimeDelta::days(30);

/// For how long the same client gets the same successor of a refresh token again, because it asked twice at once or an
/// answer got lost.
const ANSWERED_AGAIN: TimeDelta = TimeDelta::seconds(30);

/// A fresh refresh token and the hash by which its row is found.
pub struct RefreshToken {
    /// 32 bytes in base64url, as the client gets them.
    pub text: String,
    lookup: Lookup,
}

impl RefreshToken {
    /// Makes a random token, the first of a session.
    pub fn generate(ring: &Ring) -> Self {
        let text = random_text(32);
        Self { lookup: refresh_lookup(ring, &text), text }
    }

    /// The token that follows `text`. It is derived from `text` with the ring's key, so that the same one can be given
    /// again without being stored. Nobody without the ring can tell it from a random token.
    pub fn after(ring: &Ring, text: &str) -> Self {
        let text = URL_SAFE_NO_PAD.encode(ring.lookup("successor of a refresh token", text.as_bytes()).0);
        Self { lookup: refresh_lookup(ring, &text), text }
    }
}

/// The hash by which a refresh token's row is found.
pub fn refresh_lookup(ring: &Ring, text: &str) -> Lookup {
    ring.lookup("refresh token", text.as_bytes())
}

/// The MAC over all columns of a refresh token's row that decide.
fn token_mac(
    ring: &Ring,
    subject: Uuid,
    lookup: Lookup,
    session: Uuid,
    role: &str,
    expires_at: DateTime<Utc>,
) -> [u8; 32] {
    let expiry = expires_at.timestamp_micros().to_be_bytes();
    let columns = [subject.as_bytes().as_slice(), &lookup.0, session.as_bytes(), role.as_bytes(), &expiry];
    ring.row_mac("refresh_tokens", &columns)
}

/// The MAC over a session's row.
pub fn session_mac(ring: &Ring, subject: SubjectId, session: SessionId, expires_at: DateTime<Utc>) -> [u8; 32] {
    let expiry = expires_at.timestamp_micros().to_be_bytes();
    ring.row_mac("sessions", &[subject.0.as_bytes(), session.0.as_bytes(), &expiry])
}

pub fn session_insert(ring: &Ring, ctx: &Ctx, session: SessionId, role: Role) -> Query {
    let expires_at = ctx.now() + SESSION_LIFETIME;
    Query::new(
        "-- session_insert
        INSERT INTO auth.sessions (subject_id, session_id, role, started_at, expires_at, mac)
        VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(ctx.subject.0)
    .bind(session.0)
    .bind(role.as_str())
    .bind(ctx.now())
    .bind(expires_at)
    .bind(session_mac(ring, ctx.subject, session, expires_at).to_vec())
}

/// Whether the log says that a session has ended, even if its row says otherwise.
pub fn session_ended(ctx: &Ctx, session: SessionId) -> Query {
    Query::new(
        "-- session_ended
        SELECT 1 FROM log.events
        WHERE subject_id = $1 AND aggregate_type = 'account'
          AND aggregate_id = $3 AND event_type IN ('account.signed_out', 'account.refresh_reused')
          AND $2 IN (payload #>> '{SignedOut,session}', payload #>> '{RefreshReused,session}')
        LIMIT 1",
    )
    .bind(ctx.subject.0)
    .bind(session.to_string())
    // The account's own stream only: tries on the address and exchanges of tokens are in other streams.
    .bind(ctx.subject.to_string())
}

/// A person's sessions that have not ended.
pub fn sessions_alive(ctx: &Ctx) -> Query {
    Query::new(sql!(
        "-- sessions_alive
        SELECT ",
        AliveRow::COLUMNS,
        "
        FROM auth.sessions WHERE subject_id = $1 AND ended_at IS NULL AND expires_at > $2 ORDER BY session_id"
    ))
    .bind(ctx.subject.0)
    .bind(ctx.now())
}

/// A session that has not ended.
#[derive(FromRow)]
pub struct AliveRow {
    #[row(sql = "session_id", with = SessionId)]
    pub session: SessionId,
}

pub fn session_end(ctx: &Ctx, session: SessionId) -> Query {
    Query::new(
        "-- session_end
        UPDATE auth.sessions SET ended_at = $3 WHERE subject_id = $1 AND session_id = $2 AND ended_at IS NULL",
    )
    .bind(ctx.subject.0)
    .bind(session.0)
    .bind(ctx.now())
}

pub fn refresh_insert(ring: &Ring, ctx: &Ctx, session: SessionId, role: Role, token: &RefreshToken) -> Query {
    let expires_at = ctx.now() + SESSION_LIFETIME;
    let mac = token_mac(ring, ctx.subject.0, token.lookup, session.0, role.as_str(), expires_at);
    Query::new(
        "-- refresh_insert
        INSERT INTO auth.refresh_tokens (subject_id, token_hash, session_id, role, expires_at, mac)
        VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(ctx.subject.0)
    .bind(token.lookup.0.to_vec())
    .bind(session.0)
    .bind(role.as_str())
    .bind(expires_at)
    .bind(mac.to_vec())
}

/// Finds the person and the session of a refresh token.
pub fn refresh_get(lookup: Lookup) -> Query {
    Query::new(sql!(
        "-- refresh_get
        SELECT ",
        RefreshRow::COLUMNS,
        " FROM auth.refresh_tokens WHERE token_hash = $1"
    ))
    .bind(lookup.0.to_vec())
}

/// Why a refresh token gives no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshFault {
    /// The row was moved to another person, or altered.
    NotOurs,
    RanOut,
}

/// Whom a refresh token belongs to.
#[derive(FromRow)]
pub struct RefreshRow {
    subject_id: Uuid,
    session_id: Uuid,
    role: String,
    expires_at: DateTime<Utc>,
    mac: Vec<u8>,
}

impl RefreshRow {
    /// Whose session the token is of, and in which role. Refuses a row without our MAC, and a token that has expired.
    pub fn verified(
        &self,
        ring: &Ring,
        ctx: &Ctx,
        lookup: Lookup,
    ) -> Result<(SubjectId, SessionId, Role), RefreshFault> {
        let mac = token_mac(ring, self.subject_id, lookup, self.session_id, &self.role, self.expires_at);
        let ours = constant_time::verify_slices_are_equal(&mac, &self.mac).is_ok();
        let role = Role::parse(&self.role).filter(|_| ours).ok_or(RefreshFault::NotOurs)?;
        if self.expires_at <= ctx.now() {
            return Err(RefreshFault::RanOut);
        }
        Ok((SubjectId(self.subject_id), SessionId(self.session_id), role))
    }
}

/// The client that uses a refresh token: the device whose secret it shows, known or not, or else its address and agent.
pub struct TokenUser {
    key: TransitId,
    parts: Vec<String>,
}

impl TokenUser {
    /// Reads the client from a request. `key` is today's transit key, so that a hash of an address in old copies tells
    /// nothing after 72 hours.
    pub fn of(ctx: &Ctx, key: TransitId, device_secret: Option<&str>) -> Self {
        let parts = match device_secret {
            Some(secret) => vec!["device".to_owned(), secret.to_owned()],
            None => vec!["client".to_owned(), client_key(ctx), ctx.client.agent.reveal().clone()],
        };
        Self { key, parts }
    }

    fn hash(&self, ring: &Ring, key: TransitId) -> Option<[u8; 32]> {
        let parts = std::iter::once("user of a refresh token").chain(self.parts.iter().map(String::as_str));
        ring.transit_hash(key, &parts.map(str::as_bytes).collect::<Vec<_>>())
    }
}

/// How a refresh token was used.
#[derive(FromRow)]
struct UsedRow {
    /// `None` while the token is unused; so are the two below.
    #[row(sql = "t.used_at")]
    used_at: Option<DateTime<Utc>>,
    #[row(sql = "t.used_key")]
    used_key: Option<TransitId>,
    #[row(sql = "t.used_by")]
    used_by: Option<Vec<u8>>,
    #[row(sql = "n.token_hash IS NOT NULL")]
    is_successor_unused: bool,
}

/// When and by whom a refresh token was used, and whether its successor exists and is unused.
pub fn refresh_used(ctx: &Ctx, lookup: Lookup, successor: &RefreshToken) -> Query {
    Query::new(sql!(
        "-- refresh_used
        SELECT ",
        UsedRow::COLUMNS,
        "
        FROM auth.refresh_tokens t
        LEFT JOIN auth.refresh_tokens n ON n.subject_id = t.subject_id AND n.token_hash = $3 AND n.used_at IS NULL
        WHERE t.subject_id = $1 AND t.token_hash = $2"
    ))
    .bind(ctx.subject.0)
    .bind(lookup.0.to_vec())
    .bind(successor.lookup.0.to_vec())
}

/// Whether a used token may be answered again with the same successor: the same client shows it, within 30 seconds, and
/// the successor is still unused. Reads the row of [`refresh_used`].
pub fn is_answered_again(ring: &Ring, ctx: &Ctx, user: &TokenUser, rows: &[Row]) -> bool {
    let Some(row) = rows.first() else { return false };
    let UsedRow { used_at: Some(at), used_key: Some(key), used_by: Some(by), is_successor_unused: true } =
        UsedRow::from_row(row)
    else {
        return false;
    };
    let since = ctx.now() - at;
    let same = user.hash(ring, key).is_some_and(|hash| constant_time::verify_slices_are_equal(&hash, &by).is_ok());
    same && TimeDelta::zero() <= since && since <= ANSWERED_AGAIN
}

/// Marks a refresh token as used. Returns no row when it was used before.
pub fn refresh_use(ring: &Ring, ctx: &Ctx, lookup: Lookup, user: &TokenUser) -> Query {
    let by = user.hash(ring, user.key).expect("today's transit key is there");
    Query::new(
        "-- refresh_use
        UPDATE auth.refresh_tokens SET used_at = $3, used_key = $4, used_by = $5
        WHERE subject_id = $1 AND token_hash = $2 AND used_at IS NULL
        RETURNING true",
    )
    .bind(ctx.subject.0)
    .bind(lookup.0.to_vec())
    .bind(ctx.now())
    .bind(user.key)
    .bind(by.to_vec())
}
