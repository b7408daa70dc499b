//! Tickets: what row-level security trusts instead of a variable that any SQL could set.
//!
//! `v2|subject|lookup|role|expiry|pid|slot|started|mac`: the subject's id (nil for none), a keyed hash by which rows may be
//! found before a subject is known (hex, or empty), the role, the expiry in seconds since 1970 by the database's clock, the
//! backend that it is made for, and an HMAC-SHA256 in hex. `sql/V13` checks it with core `sha256()` and the two pads of
//! [`TicketKey::pads`].

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use context::{Role, SubjectId};
use tokio_postgres::Client;
use zeroize::Zeroizing;

use crate::DbError;

const BLOCK_BYTES: usize = 64;
/// How long a ticket is good.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// The backend behind a connection, as tickets name it. The number of its process may soon be another backend's; together with
/// its start it is nobody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The process.
    pub pid: i32,
    /// Where the database keeps the backend's state, which spares the check a search; it may have moved since.
    pub slot: i32,
    /// Since when it runs, in seconds since 1970, as the database writes it.
    pub started: String,
}

impl Backend {
    /// The backend of a connection, and what its clock says.
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

/// A keyed hash by which rows are found before a subject is known: of an address, or of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup(pub [u8; 32]);

/// The key that makes tickets. It comes from the ring; the database holds its pads only.
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

    /// Makes a ticket for one backend, good for a minute from `now` on, which is the database's time.
    pub fn mint(
        &self,
        subject: SubjectId,
        lookup: Option<Lookup>,
        role: Role,
        now: DateTime<Utc>,
        backend: &Backend,
    ) -> String {
        self.mint_until(subject, lookup, role, now + LIFETIME, backend)
    }

    /// The same, good until a time of the database.
    pub(crate) fn mint_until(
        &self,
        subject: SubjectId,
        lookup: Option<Lookup>,
        role: Role,
        until: DateTime<Utc>,
        backend: &Backend,
    ) -> String {
        let lookup = lookup.map(|lookup| hex::encode(lookup.0)).unwrap_or_default();
        let (role, until, Backend { pid, slot, started }) = (role.as_str(), until.timestamp(), backend);
        let claim = format!("v2|{subject}|{lookup}|{role}|{until}|{pid}|{slot}|{started}");
        let mac = hmac::sign(&self.key, claim.as_bytes());
        format!("{claim}|{}", hex::encode(mac))
    }
}
