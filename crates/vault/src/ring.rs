//! The ring: keys that belong to the server and live outside the database.
//!
//! Key-encryption keys (versions), peppers of address hashes (versions), the ticket key, the key of row MACs, the key of
//! token claims, signing keys, and transit keys for what has no subject yet, none of which outlives 72 hours.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

use aws_lc_rs::{
    constant_time, hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use chrono::{DateTime, Utc};
use db::{Lookup, TicketKey};
use zeroize::Zeroizing;

use crate::{
    Aad, RingError, Sealed, Unreadable,
    keys::keyed_hash,
    ring_file::{self, Lock, RingFile, Secret, SigningSecret, Versions},
    seal::{SealKey, random_secret},
};

const DAY_S: i64 = 86_400;
const TRANSIT_DAYS: i64 = 3;

/// Which transit key sealed something: the day since 1970 on which it was made.
pub type TransitId = i64;

/// A signing key of access tokens.
pub struct SigningKey {
    /// The `kid` of token headers and of the published key set.
    pub kid: String,
    /// The private key, as PKCS #8.
    pub pkcs8: Zeroizing<Vec<u8>>,
    /// The public key, 32 bytes.
    pub public: Vec<u8>,
}

/// Seals and opens under one key of the ring.
pub struct Sealer(SealKey);

impl Sealer {
    /// Seals for a place.
    pub fn seal(&self, aad: &Aad, plaintext: &[u8]) -> Sealed {
        self.0.seal(aad, plaintext)
    }

    /// Opens what was sealed for the same place.
    pub fn open(&self, aad: &Aad, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.0.open(aad, sealed)
    }
}

/// The open ring.
pub struct Ring {
    path: PathBuf,
    lock: Option<Lock>,
    file: Mutex<RingFile>,
    kek_version: i32,
    keks: BTreeMap<i32, SealKey>,
    pepper_version: i32,
    pepper: hmac::Key,
    mac: hmac::Key,
    token: Sealer,
    signing: Vec<SigningKey>,
}

impl Ring {
    /// Opens the ring, or makes one where there is none.
    pub fn open_or_create(path: &Path, passphrase: Option<&[u8]>) -> Result<Self, RingError> {
        match path.try_exists() {
            Ok(true) => Self::open(path, passphrase),
            Ok(false) => Self::create(path, passphrase),
            Err(error) => Err(RingError::Io(path.into(), error)),
        }
    }

    /// Opens the ring.
    pub fn open(path: &Path, passphrase: Option<&[u8]>) -> Result<Self, RingError> {
        let (file, lock) = ring_file::read(path, passphrase)?;
        Self::from_file(path, file, lock)
    }

    fn create(path: &Path, passphrase: Option<&[u8]>) -> Result<Self, RingError> {
        let lock = passphrase.map(Lock::new);
        let secret = || Secret(random_secret());
        let versions = || Versions { current: 1, keys: BTreeMap::from([(1, secret())]) };
        let file = RingFile {
            format: 1,
            keks: versions(),
            peppers: versions(),
            ticket: secret(),
            mac: secret(),
            token: secret(),
            transit: BTreeMap::new(),
            signing: vec![SigningSecret { kid: hex::encode(&random_secret()[..8]), seed: secret() }],
        };
        ring_file::create(path, &file, lock.as_ref())?;
        Self::from_file(path, file, lock)
    }

    fn from_file(path: &Path, file: RingFile, lock: Option<Lock>) -> Result<Self, RingError> {
        let malformed = || RingError::Malformed(path.into());
        let pepper = file.peppers.keys.get(&file.peppers.current).ok_or_else(malformed)?;
        let keks = file.keks.keys.iter().map(|(version, secret)| (*version, SealKey::new(&secret.0))).collect();
        if !file.keks.keys.contains_key(&file.keks.current) || file.signing.is_empty() {
            return Err(malformed());
        }
        Ok(Self {
            path: path.into(),
            lock,
            kek_version: file.keks.current,
            keks,
            pepper_version: file.peppers.current,
            pepper: hmac::Key::new(hmac::HMAC_SHA256, pepper.0.as_slice()),
            mac: hmac::Key::new(hmac::HMAC_SHA256, file.mac.0.as_slice()),
            token: Sealer(SealKey::new(&file.token.0)),
            signing: file.signing.iter().map(signing_key).collect::<Option<_>>().ok_or_else(malformed)?,
            file: Mutex::new(file),
        })
    }

    /// The key that makes tickets.
    pub fn ticket_key(&self) -> TicketKey {
        TicketKey::new(*self.file.lock().expect("no one panics while holding the ring").ticket.0)
    }

    pub(crate) fn current_kek(&self) -> (i32, &SealKey) {
        (self.kek_version, &self.keks[&self.kek_version])
    }

    pub(crate) fn kek(&self, version: i32) -> Option<&SealKey> {
        self.keks.get(&version)
    }

    /// By which an e-mail address is looked up, and the version of the pepper in it.
    pub fn address_hash(&self, address: &str) -> (Lookup, i32) {
        (Lookup(keyed_hash(&self.pepper, &[b"address", address.as_bytes()])), self.pepper_version)
    }

    /// By which a refresh token, or a counter of requests, is looked up.
    pub fn lookup(&self, what: &str, value: &[u8]) -> Lookup {
        Lookup(keyed_hash(&self.mac, &[b"lookup", what.as_bytes(), value]))
    }

    /// The MAC of a row's immutable columns.
    pub fn row_mac(&self, table: &str, columns: &[&[u8]]) -> [u8; 32] {
        let parts: Vec<&[u8]> =
            [b"row".as_slice(), table.as_bytes()].into_iter().chain(columns.iter().copied()).collect();
        keyed_hash(&self.mac, &parts)
    }

    /// Whether a row is as we wrote it; in constant time.
    pub fn check_row(&self, table: &str, columns: &[&[u8]], mac: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.row_mac(table, columns), mac).is_ok()
    }

    /// Seals what an access token says only to us.
    pub fn token_sealer(&self) -> &Sealer {
        &self.token
    }

    /// The keys that sign access tokens: the first signs, all are accepted.
    pub fn signing_keys(&self) -> &[SigningKey] {
        &self.signing
    }

    /// Today's transit key, made durable before its first use. Servers that share the file share the key.
    pub fn transit(&self, now: DateTime<Utc>) -> Result<(TransitId, Sealer), RingError> {
        let id = now.timestamp().div_euclid(DAY_S);
        if let Some(secret) = self.known_transit(id) {
            return Ok((id, sealer(&secret)));
        }
        let file = self.change(|file| {
            file.transit.entry(id).or_insert_with(|| Secret(random_secret()));
        })?;
        Ok((id, sealer(&file.transit[&id])))
    }

    /// An earlier transit key, as long as it lives.
    pub fn transit_of(&self, id: TransitId) -> Option<Sealer> {
        self.transit_secret(id).map(|secret| sealer(&secret))
    }

    fn known_transit(&self, id: TransitId) -> Option<Secret> {
        self.file.lock().expect("no one panics while holding the ring").transit.get(&id).cloned()
    }

    /// A transit key; one that another server made is read from the file.
    fn transit_secret(&self, id: TransitId) -> Option<Secret> {
        self.known_transit(id).or_else(|| {
            let file = ring_file::read_unlocked(&self.path, self.lock.as_ref()).ok()?;
            let found = file.transit.get(&id).cloned();
            self.file.lock().expect("no one panics while holding the ring").transit = file.transit;
            found
        })
    }

    /// Changes the transit keys in the file, under its lock, beginning with what is there now.
    fn change(&self, change: impl FnOnce(&mut RingFile)) -> Result<RingFile, RingError> {
        let _held = ring_file::hold(&self.path)?;
        let mut file = ring_file::read_unlocked(&self.path, self.lock.as_ref())?;
        change(&mut file);
        ring_file::write(&self.path, &file, self.lock.as_ref())?;
        self.file.lock().expect("no one panics while holding the ring").transit = file.transit.clone();
        Ok(file)
    }

    /// A keyed hash under the transit key `id`, as long as it lives.
    pub fn transit_hash(&self, id: TransitId, parts: &[&[u8]]) -> Option<[u8; 32]> {
        let secret = self.transit_secret(id)?;
        Some(keyed_hash(&hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_slice()), parts))
    }

    /// Destroys transit keys that are 72 hours old; says how many.
    pub fn destroy_old_transit(&self, now: DateTime<Utc>) -> Result<usize, RingError> {
        let oldest = now.timestamp().div_euclid(DAY_S) - TRANSIT_DAYS + 1;
        let old = |file: &RingFile| file.transit.range(..oldest).count();
        let destroyed = old(&self.file.lock().expect("no one panics while holding the ring"));
        if destroyed > 0 {
            self.change(|file| file.transit.retain(|id, _| *id >= oldest))?;
        }
        Ok(destroyed)
    }
}

fn sealer(secret: &Secret) -> Sealer {
    Sealer(SealKey::new(&secret.0))
}

fn signing_key(secret: &SigningSecret) -> Option<SigningKey> {
    let pair = Ed25519KeyPair::from_seed_unchecked(secret.seed.0.as_slice()).ok()?;
    Some(SigningKey {
        kid: secret.kid.clone(),
        pkcs8: Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()),
        public: pair.public_key().as_ref().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use context::SubjectId;

    use super::*;
    use crate::Vault;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("lethe-ring-{}", SubjectId::random()));
        std::fs::create_dir(&folder).expect("a folder for the test");
        folder
    }

    #[test]
    fn a_locked_ring_opens_with_its_passphrase_only() {
        let folder = folder();
        let path = folder.join("ring.json");
        let subject = SubjectId::random();
        let (keys, wrapped) =
            Vault::new(Ring::open_or_create(&path, Some(b"moth")).expect("created")).create_subject(subject);
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(!text.contains("keks"));
        assert!(matches!(Ring::open(&path, None), Err(RingError::Locked(_))));
        assert!(matches!(Ring::open(&path, Some(b"mouth")), Err(RingError::Locked(_))));
        let vault = Vault::new(Ring::open(&path, Some(b"moth")).expect("opens"));
        let again = vault.open_subject(subject, &wrapped).expect("opens");
        assert_eq!(again.index().key_hash("k", "1"), keys.index().key_hash("k", "1"));
        assert!(vault.open_subject(SubjectId::random(), &wrapped).is_err(), "keys of another person");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn no_transit_key_outlives_72_hours() {
        let folder = folder();
        let path = folder.join("ring.json");
        let ring = Ring::open_or_create(&path, None).expect("created");
        let now = DateTime::from_timestamp(20_000 * DAY_S, 0).expect("a time");
        let (id, sealer) = ring.transit(now).expect("made");
        let sealed = sealer.seal(&Aad::of("x"), b"letter");
        assert_eq!(ring.destroy_old_transit(now + TimeDelta::hours(71)).expect("written"), 0);
        assert!(
            Ring::open(&path, None).expect("opens").transit_of(id).expect("alive").open(&Aad::of("x"), &sealed).is_ok()
        );
        assert_eq!(ring.destroy_old_transit(now + TimeDelta::hours(72)).expect("written"), 1);
        assert!(ring.transit_of(id).is_none());
        assert!(Ring::open(&path, None).expect("opens").transit_of(id).is_none());
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_ring_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let path = folder.join("ring.json");
        drop(Ring::open_or_create(&path, None).expect("created"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(Ring::open(&path, None), Err(RingError::TooOpen(_, 0o640))));
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn renewing_the_wrapping_key_shuts_out_what_was_not_wrapped_anew() {
        let folder = folder();
        let vault = Vault::new(Ring::open_or_create(&folder.join("ring.json"), None).expect("created"));
        let subject = SubjectId::random();
        let (keys, wrapped) = vault.create_subject(subject);
        let (kept, gone) = (context::RecordId::random(), context::RecordId::random());
        let (kept_key, gone_key) = (crate::RecordKey::generate(), crate::RecordKey::generate());
        let enter = |keys: &crate::SubjectKeys, record, key| keys.enter(record, "kind", vec![1], None, key);
        let old_gone = enter(&keys, gone, &gone_key);
        let (renewed, rewrapped) = keys.renew_wrapping(vault.ring(), &wrapped).expect("renewed");
        let new_kept = enter(&renewed, kept, &kept_key);
        let opened = vault.open_subject(subject, &rewrapped).expect("opens");
        assert!(opened.open_record(&new_kept).is_ok());
        assert!(opened.open_record(&old_gone).is_err());
        assert!(
            opened.open_record(&crate::RecordEntry { key_hash: vec![2], ..new_kept }).is_err(),
            "an exchanged hash"
        );
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
