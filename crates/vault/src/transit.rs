//! Transit keys seal letters and codes, which have no subject yet. There is one key for each day, and none is kept
//! longer than 72 hours.

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};

use crate::{
    Ring, RingError, Sealer,
    ring_file::{RingFile, Secret},
    seal::{keyed_hash, random_secret},
};

const DAY_S: i64 = 86_400;
const TRANSIT_DAYS: i64 = 3;

/// The day since 1970 on which a transit key was made. It names the key.
pub type TransitId = i64;

impl Ring {
    /// Today's transit key, made durable before its first use. Servers that share the file share the key.
    pub fn transit(&self, now: DateTime<Utc>) -> Result<(TransitId, Sealer), RingError> {
        let id = now.timestamp().div_euclid(DAY_S);
        if let Some(secret) = self.transit_secret(id) {
            return Ok((id, Sealer::new(&secret)));
        }
        let make = |file: &mut RingFile| Ok(file.transit.entry(id).or_insert_with(|| Secret(random_secret())).clone());
        let secret = self.change(false, make)?;
        Ok((id, Sealer::new(&secret)))
    }

    /// An earlier transit key; `None` if it is destroyed.
    pub fn transit_of(&self, id: TransitId) -> Option<Sealer> {
        self.transit_secret(id).map(|secret| Sealer::new(&secret))
    }

    /// A transit key. A key that another server made is read from the file.
    fn transit_secret(&self, id: TransitId) -> Option<Secret> {
        self.find(|opened| opened.file.transit.get(&id).cloned())
    }

    /// A keyed hash under the transit key `id`; `None` if the key is destroyed.
    pub fn transit_hash(&self, id: TransitId, parts: &[&[u8]]) -> Option<[u8; 32]> {
        let secret = self.transit_secret(id)?;
        Some(keyed_hash(&hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_slice()), parts))
    }

    /// Destroys transit keys that are 72 hours old. Returns their number.
    pub fn destroy_old_transit(&self, now: DateTime<Utc>) -> Result<usize, RingError> {
        let oldest = now.timestamp().div_euclid(DAY_S) - TRANSIT_DAYS + 1;
        let destroyed = self.opened().file.transit.range(..oldest).count();
        if destroyed > 0 {
            self.change(true, |file| {
                file.transit.retain(|id, _| *id >= oldest);
                Ok(())
            })?;
        }
        Ok(destroyed)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{Place, ring::tests::Folder};

    #[test]
    fn no_transit_key_outlives_72_hours() {
        let folder = Folder::new();
        let ring = folder.open();
        let now = DateTime::from_timestamp(20_000 * DAY_S, 0).expect("a time");
        let (id, sealer) = ring.transit(now).expect("made");
        let sealed = sealer.seal(&Place::of("x"), b"letter");
        assert_eq!(ring.destroy_old_transit(now + TimeDelta::hours(71)).expect("written"), 0);
        assert!(folder.open().transit_of(id).expect("alive").open(&Place::of("x"), &sealed).is_ok());
        assert_eq!(ring.destroy_old_transit(now + TimeDelta::hours(72)).expect("written"), 1);
        assert!(ring.transit_of(id).is_none());
        assert!(folder.open().transit_of(id).is_none());
    }

    #[test]
    fn servers_share_a_transit_key() {
        let folder = Folder::new();
        let (one, other) = (folder.open(), folder.open());
        let now = DateTime::from_timestamp(20_000 * DAY_S, 0).expect("a time");
        let (id, sealer) = one.transit(now).expect("made");
        let sealed = sealer.seal(&Place::of("x"), b"letter");
        assert!(other.transit_of(id).expect("found in the file").open(&Place::of("x"), &sealed).is_ok());
        assert_eq!(other.transit(now).expect("found").0, id);
        assert_eq!(one.generation(), other.generation(), "it was made once");
    }
}
