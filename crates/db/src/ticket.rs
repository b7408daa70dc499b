//! Tickets: what row-level security trusts instead of a variable that any SQL could set.
//!
//! `v3|subjects|lookup|role|expiry|number|mac`: the subject's id (nil for none; several with commas between them, if they
//! share a transaction), a keyed hash by which rows may be found before a subject is known (hex, or empty), the role, the
//! expiry in seconds since 1970 by the database's clock, the number of the session that it is made for, and an HMAC-SHA256
//! in hex. `sql/V20` checks it with core `sha256()` and the two pads of [`TicketKey::pads`].

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use context::{Role, SubjectId};
use tokio_postgres::Client;
use zeroize::Zeroizing;

use crate::DbError;

const BLOCK_BYTES: usize = 64;
/// How long a ticket is valid.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// A session of the database, as tickets name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The random number that the database gave it. No login can choose it.
    pub number: String,
}

impl Session {
    /// Begins the session of a connection, and asks for the time that its database's clock shows. A session that has
    /// begun keeps its number.
    pub async fn begin(client: &Client) -> Result<(Self, DateTime<Utc>), DbError> {
        let row = client.query_one("-- session_begin\nSELECT number, now FROM lethe.begin_session()", &[]).await?;
        Ok((Self { number: row.get("number") }, row.get("now")))
    }
}

/// A keyed hash of an address or of a refresh token, by which rows are found before a subject is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup(pub [u8; 32]);

/// The key that makes tickets. It comes from the ring; the database holds only its pads.
pub struct TicketKey {
    key: hmac::Key,
    secret: Zeroizing<[u8; 32]>,
}

impl TicketKey {
    /// Takes the 32 secret bytes of the ring.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), secret: Zeroizing::new(secret) }
    }

    /// The inner and outer pads of RFC 2104, from which the database checks tickets.
    pub fn pads(&self) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
        let pad = |with: u8| {
            let mut block = Zeroizing::new(vec![with; BLOCK_BYTES]);
            block.iter_mut().zip(self.secret.iter()).for_each(|(byte, key)| *byte ^= key);
            block
        };
        (pad(0x36), pad(0x5c))
    }

    /// Makes a ticket for one session, valid for a minute from `now`, which is the database's time.
    pub fn mint(
        &self,
        subject: SubjectId,
        lookup: Option<Lookup>,
        role: Role,
        now: DateTime<Utc>,
        session: &Session,
    ) -> String {
        self.mint_until(&[subject], lookup, role, now + LIFETIME, session)
    }

    /// Makes a ticket that names several subjects and is valid until `until`, which is the database's time.
    pub fn mint_until(
        &self,
        subjects: &[SubjectId],
        lookup: Option<Lookup>,
        role: Role,
        until: DateTime<Utc>,
        session: &Session,
    ) -> String {
        let lookup = lookup.map(|lookup| hex::encode(lookup.0)).unwrap_or_default();
        let (role, until, number) = (role.as_str(), until.timestamp(), &session.number);
        let subjects = subjects.iter().map(SubjectId::to_string).collect::<Vec<_>>().join(",");
        let claim = format!("v3|{subjects}|{lookup}|{role}|{until}|{number}");
        let mac = hmac::sign(&self.key, claim.as_bytes());
        format!("{claim}|{}", hex::encode(mac))
    }
}
