//! Tickets: what row-level security trusts instead of a variable that any SQL could set.
//!
//! `v2|subjects|lookup|role|expiry|pid|slot|started|mac`: the subject's id (nil for none; several with commas between
//! them, if they share a transaction), a keyed hash by which rows may be found before a subject is known (hex, or
//! empty), the role, the expiry in seconds since 1970 by the database's clock, the backend that it is made for, and an
//! HMAC-SHA256 in hex. `sql/V18` checks it with core `sha256()` and the two pads of [`TicketKey::pads`].

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use context::{Role, SubjectId};
use tokio_postgres::Client;
use zeroize::Zeroizing;

use crate::DbError;

const BLOCK_BYTES: usize = 64;
/// How long a ticket is valid.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// The backend behind a connection, as tickets name it. Another backend may soon have the same process id; process id
/// and start together belong to one backend only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The process id.
    pub pid: i32,
    /// The slot in which the database keeps the backend's state. It spares the check of a ticket a search. The backend
    /// may have moved to another slot since.
    pub slot: i32,
    /// When the backend started, in seconds since 1970, as the database writes it.
    pub started: String,
}

impl Backend {
    /// The backend of a connection, and the time that its database's clock shows.
    pub async fn of(client: &Client) -> Result<(Self, DateTime<Utc>), DbError> {
        let row = client
            .query_one(
                "-- backend_get
                SELECT pid, slot, extract(epoch FROM pg_catalog.pg_stat_get_backend_start(slot))::pg_catalog.text AS started,
                       pg_catalog.clock_timestamp() AS now
                FROM (SELECT slot, pg_catalog.pg_stat_get_backend_pid(slot) AS pid
                      FROM pg_catalog.pg_stat_get_backend_idset() AS slot) backends
                WHERE pid = pg_catalog.pg_backend_pid()",
                &[],
            )
            .await?;
        Ok((Self { pid: row.get("pid"), slot: row.get("slot"), started: row.get("started") }, row.get("now")))
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

    /// Makes a ticket for one backend, valid for a minute from `now`, which is the database's time.
    pub fn mint(
        &self,
        subject: SubjectId,
        lookup: Option<Lookup>,
        role: Role,
        now: DateTime<Utc>,
        backend: &Backend,
    ) -> String {
        self.mint_until(&[subject], lookup, role, now + LIFETIME, backend)
    }

    /// Makes a ticket that names several subjects and is valid until `until`, which is the database's time.
    pub fn mint_until(
        &self,
        subjects: &[SubjectId],
        lookup: Option<Lookup>,
        role: Role,
        until: DateTime<Utc>,
        backend: &Backend,
    ) -> String {
        let lookup = lookup.map(|lookup| hex::encode(lookup.0)).unwrap_or_default();
        let (role, until, Backend { pid, slot, started }) = (role.as_str(), until.timestamp(), backend);
        let subjects = subjects.iter().map(SubjectId::to_string).collect::<Vec<_>>().join(",");
        let claim = format!("v2|{subjects}|{lookup}|{role}|{until}|{pid}|{slot}|{started}");
        let mac = hmac::sign(&self.key, claim.as_bytes());
        format!("{claim}|{}", hex::encode(mac))
    }
}
