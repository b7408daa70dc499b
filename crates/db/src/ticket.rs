//! Tickets: what row-level security trusts instead of a variable that any SQL could set.
//!
//! `v1|subject|lookup|role|expiry|pid|mac`: the subject's id (nil for none), a keyed hash by which rows may be found before
//! a subject is known (hex, or empty), the role, the expiry in seconds since 1970, the backend that it is made for, and an
//! HMAC-SHA256 in hex. `sql/V1` checks it with core `sha256()` and the two pads of [`TicketKey::pads`].

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use context::{Role, SubjectId};
use zeroize::Zeroizing;

const BLOCK_BYTES: usize = 64;
const LIFETIME: TimeDelta = TimeDelta::seconds(60);

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

    /// Makes a ticket for one backend, good for a minute.
    pub fn mint(&self, subject: SubjectId, lookup: Option<Lookup>, role: Role, now: DateTime<Utc>, pid: i32) -> String {
        let lookup = lookup.map(|lookup| hex::encode(lookup.0)).unwrap_or_default();
        let expiry = (now + LIFETIME).timestamp();
        let claim = format!("v1|{subject}|{lookup}|{}|{expiry}|{pid}", role.as_str());
        let mac = hmac::sign(&self.key, claim.as_bytes());
        format!("{claim}|{}", hex::encode(mac))
    }
}
