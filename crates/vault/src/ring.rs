//! The ring: keys that belong to the server and live outside the database.
//!
//! Key-encryption keys (versions), peppers of address hashes (versions), the ticket key, the key of row MACs, the key
//! of token claims, signing keys, the evidence key, and transit keys for what has no subject yet.
//!
//! Promises: changes that other servers made in the file are taken over, all keys at once ([`Ring::reload`]); a change
//! begins with what the file holds, under its lock, and is durable before it is used. Refuses another ring than the one
//! that was opened. A file that cannot be read is left alone, and the keys in memory are used.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use aws_lc_rs::{constant_time, hmac};
use context::Clock;
use db::{Lookup, TicketKey};
use zeroize::Zeroizing;

use crate::{
    Place, RingError, Sealed,
    ring_file::{self, Lock, Note, RingFile, Secret, SigningSecret, Stamp, Versions},
    seal::{SealKey, Unreadable, keyed_hash, random_secret},
    signing_key::Signing,
};

/// A file that could not be read is read again for an unknown key only after this time.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Seals and opens under one key of the ring.
pub struct Sealer(SealKey);

impl Sealer {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(SealKey::new(&secret.0))
    }

    /// Seals a value for a place.
    pub fn seal(&self, place: &Place, plaintext: &[u8]) -> Sealed {
        self.0.seal(place, plaintext)
    }

    /// Opens a value that was sealed for the same place.
    pub fn open(&self, place: &Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.0.open(place, sealed)
    }
}

/// One state of the ring, with its keys ready for use.
pub(crate) struct Opened {
    pub file: RingFile,
    keks: BTreeMap<i32, Arc<SealKey>>,
    pepper: hmac::Key,
    mac: hmac::Key,
    token: Arc<Sealer>,
    pub signing: Arc<Signing>,
}

impl Opened {
    /// Keeps the same signing object if the signing keys did not change, so that what is cached by it stays valid.
    fn new(path: &Path, file: RingFile, before: Option<&Self>) -> Result<Self, RingError> {
        let malformed = || RingError::Malformed(path.into());
        let pepper = file.peppers.keys.get(&file.peppers.current).ok_or_else(malformed)?;
        let keks =
            file.keks.keys.iter().map(|(version, secret)| (*version, Arc::new(SealKey::new(&secret.0)))).collect();
        if !file.keks.keys.contains_key(&file.keks.current) {
            return Err(malformed());
        }
        let signing = match before {
            Some(before) if before.file.signing == file.signing => before.signing.clone(),
            _ => Arc::new(Signing::new(&file.signing).ok_or_else(malformed)?),
        };
        Ok(Self {
            keks,
            pepper: hmac::Key::new(hmac::HMAC_SHA256, pepper.0.as_slice()),
            mac: hmac::Key::new(hmac::HMAC_SHA256, file.mac.0.as_slice()),
            token: Arc::new(Sealer::new(&file.token)),
            signing,
            file,
        })
    }
}

/// The state of the file that was read last, and when reading failed.
struct Seen {
    stamp: Stamp,
    failed: Option<Instant>,
}

/// The open ring. Servers that share its file see each other's changes.
pub struct Ring {
    path: PathBuf,
    lock: Option<Lock>,
    opened: RwLock<Arc<Opened>>,
    seen: Mutex<Seen>,
}

impl Ring {
    /// Opens the ring, or makes one if there is none.
    pub fn open_or_create(path: &Path, passphrase: Option<&[u8]>) -> Result<Self, RingError> {
        match path.try_exists() {
            Ok(true) => Self::open(path, passphrase),
            Ok(false) => Self::create(path, passphrase),
            Err(error) => Err(RingError::Io(path.into(), error)),
        }
    }

    pub fn open(path: &Path, passphrase: Option<&[u8]>) -> Result<Self, RingError> {
        let (file, lock, stamp) = ring_file::read(path, passphrase)?;
        let opened = RwLock::new(Arc::new(Opened::new(path, file, None)?));
        Ok(Self { path: path.into(), lock, opened, seen: Mutex::new(Seen { stamp, failed: None }) })
    }

    fn create(path: &Path, passphrase: Option<&[u8]>) -> Result<Self, RingError> {
        let lock = passphrase.map(Lock::new);
        let secret = || Secret(random_secret());
        let versions = |notes| Versions { current: 1, keys: BTreeMap::from([(1, secret())]), notes };
        let created_at = Some(Clock::system().now());
        let file = RingFile {
            format: 1,
            generation: 1,
            keks: versions(BTreeMap::from([(1, Note { created_at, ..Note::default() })])),
            peppers: versions(BTreeMap::new()),
            ticket: secret(),
            mac: secret(),
            token: secret(),
            transit: BTreeMap::new(),
            signing: vec![SigningSecret::generate("")],
            evidence: None,
            log: None,
        };
        ring_file::create(path, &file, lock.as_ref())?;
        Self::open(path, passphrase)
    }

    /// Reads the file again if it changed, and exchanges all keys at once. Returns whether it did.
    pub fn reload(&self) -> Result<bool, RingError> {
        let mut seen = self.seen.lock().expect("no one panics while reading the ring");
        self.reload_seen(&mut seen)
    }

    fn reload_seen(&self, seen: &mut Seen) -> Result<bool, RingError> {
        if Stamp::of(&self.path)? == seen.stamp {
            return Ok(false);
        }
        seen.failed = Some(Instant::now());
        // The file may have been replaced and overwritten after it was opened and before it was read, so reading is
        // tried twice.
        let (file, stamp) = ring_file::read_again(&self.path, self.lock.as_ref())
            .or_else(|_| ring_file::read_again(&self.path, self.lock.as_ref()))?;
        let before = self.opened();
        if !file.is_same_ring(&before.file) {
            return Err(RingError::Foreign(self.path.clone()));
        }
        let opened = Arc::new(Opened::new(&self.path, file, Some(&before))?);
        *self.opened.write().expect("no one panics while swapping keys") = opened;
        *seen = Seen { stamp, failed: None };
        Ok(true)
    }

    /// Looks whether the file has a key that is not known here. For an unchanged file this costs a look at its
    /// metadata. A file that cannot be read is tried once a second.
    pub fn look_again(&self) {
        let mut seen = self.seen.lock().expect("no one panics while reading the ring");
        if seen.failed.is_none_or(|failed| failed.elapsed() >= TRY_AGAIN) {
            // The caller finds the key missing and says so; the task that watches the file reports the reason.
            let _ = self.reload_seen(&mut seen);
        }
    }

    /// The result of `find` in the ring as it is known here, or else as the file has it now.
    pub(crate) fn find<T>(&self, find: impl Fn(&Opened) -> Option<T>) -> Option<T> {
        find(&self.opened()).or_else(|| {
            self.look_again();
            find(&self.opened())
        })
    }

    /// Changes the file under its lock, beginning with what it holds now. For `destroys`, see [`ring_file::write`]. If
    /// `change` fails, everything stays as it was.
    pub(crate) fn change<T>(
        &self,
        destroys: bool,
        change: impl FnOnce(&mut RingFile) -> Result<T, RingError>,
    ) -> Result<T, RingError> {
        let held = ring_file::hold(&self.path)?;
        let (mut file, _) = ring_file::read_again(&self.path, self.lock.as_ref())?;
        if !file.is_same_ring(&self.opened().file) {
            return Err(RingError::Foreign(self.path.clone()));
        }
        let outcome = change(&mut file)?;
        file.generation += 1;
        ring_file::write(&self.path, &file, self.lock.as_ref(), destroys)?;
        drop(held);
        self.reload()?;
        Ok(outcome)
    }

    pub(crate) fn malformed(&self) -> RingError {
        RingError::Malformed(self.path.clone())
    }

    pub(crate) fn opened(&self) -> Arc<Opened> {
        self.opened.read().expect("no one panics while swapping keys").clone()
    }

    /// A counter that grows with every change of the file: its value in the state that was read last.
    pub fn generation(&self) -> u64 {
        self.opened().file.generation
    }

    /// The key that makes tickets. It never changes.
    pub fn ticket_key(&self) -> TicketKey {
        TicketKey::new(*self.opened().file.ticket.0)
    }

    /// The current key-encryption key, as the file has it now.
    pub(crate) fn current_kek(&self) -> (i32, Arc<SealKey>) {
        self.look_again();
        let opened = self.opened();
        let version = opened.file.keks.current;
        (version, opened.keks[&version].clone())
    }

    /// A key-encryption key; `None` if it is destroyed or unknown.
    pub(crate) fn kek(&self, version: i32) -> Option<Arc<SealKey>> {
        self.find(|opened| opened.keks.get(&version).cloned())
    }

    /// The hash by which an e-mail address is looked up, and the version of the pepper in it.
    pub fn address_hash(&self, address: &str) -> (Lookup, i32) {
        let opened = self.opened();
        (Lookup(keyed_hash(&opened.pepper, &[b"address", address.as_bytes()])), opened.file.peppers.current)
    }

    /// The hash by which a refresh token, or a counter of requests, is looked up.
    pub fn lookup(&self, what: &str, value: &[u8]) -> Lookup {
        Lookup(keyed_hash(&self.opened().mac, &[b"lookup", what.as_bytes(), value]))
    }

    /// The MAC of a row's immutable columns.
    pub fn row_mac(&self, table: &str, columns: &[&[u8]]) -> [u8; 32] {
        let parts: Vec<&[u8]> =
            [b"row".as_slice(), table.as_bytes()].into_iter().chain(columns.iter().copied()).collect();
        keyed_hash(&self.opened().mac, &parts)
    }

    /// Whether a row is as the server wrote it. Compares in constant time.
    pub fn check_row(&self, table: &str, columns: &[&[u8]], mac: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.row_mac(table, columns), mac).is_ok()
    }

    /// Seals the part of an access token that only the server can read.
    pub fn token_sealer(&self) -> Arc<Sealer> {
        self.opened().token.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use context::SubjectId;
    use serde_json::Value;

    use super::*;
    use crate::Vault;

    /// A folder for a ring, and the ring's path in it; removed when dropped.
    pub(crate) struct Folder(PathBuf);

    impl Folder {
        pub fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("lethe-ring-{}", SubjectId::random()));
            std::fs::create_dir(&folder).expect("a folder for the test");
            Self(folder)
        }

        pub fn ring(&self) -> PathBuf {
            self.0.join("ring.json")
        }

        /// Opens the ring, or makes one.
        pub fn open(&self) -> Ring {
            Ring::open_or_create(&self.ring(), None).expect("opens")
        }

        pub fn text(&self) -> String {
            std::fs::read_to_string(self.ring()).expect("readable")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("removed");
        }
    }

    /// A ring as the first version of this program wrote it.
    const EARLY: &str = r#"{
      "format": 1,
      "keks": { "current": 1, "keys": { "1": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=" } },
      "peppers": { "current": 1, "keys": { "1": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=" } },
      "ticket": "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=",
      "mac": "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=",
      "token": "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=",
      "transit": { "20000": "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=" },
      "signing": [ { "kid": "0707070707070707", "seed": "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=" } ]
    }"#;

    fn put(path: &Path, text: &str) {
        let sibling = path.with_extension("put");
        std::fs::write(&sibling, text).expect("written");
        std::fs::set_permissions(&sibling, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
        std::fs::rename(&sibling, path).expect("replaced");
    }

    #[test]
    fn a_ring_of_the_first_version_opens_and_changes() {
        let folder = Folder::new();
        put(&folder.ring(), EARLY);
        let ring = folder.open();
        assert_eq!(ring.generation(), 0);
        assert!(ring.transit_of(20_000).is_some());
        assert_eq!(ring.signing().keys[0].kid, "0707070707070707");
        assert!(ring.keks()[0].created_at.is_none());
        let vault = Vault::new(ring);
        let subject = SubjectId::random();
        let (_, wrapped) = vault.create_subject(subject);
        let version = vault.ring().publish_kek(Clock::system().now()).expect("written");
        assert_eq!((version, vault.ring().generation()), (2, 1));
        assert!(Vault::new(folder.open()).open_subject(subject, &wrapped).is_ok());
    }

    #[test]
    fn a_locked_ring_opens_with_its_passphrase_only_and_changes_stay_locked() {
        let folder = Folder::new();
        let path = folder.ring();
        let subject = SubjectId::random();
        let created = Vault::new(Ring::open_or_create(&path, Some(b"moth")).expect("created"));
        let (keys, wrapped) = created.create_subject(subject);
        created.ring().publish_kek(Clock::system().now()).expect("written");
        assert!(!folder.text().contains("keks"));
        assert!(matches!(Ring::open(&path, None), Err(RingError::Locked(_))));
        assert!(matches!(Ring::open(&path, Some(b"mouth")), Err(RingError::Locked(_))));
        let vault = Vault::new(Ring::open(&path, Some(b"moth")).expect("opens"));
        let again = vault.open_subject(subject, &wrapped).expect("opens");
        assert_eq!(again.index().key_hash("k", "1"), keys.index().key_hash("k", "1"));
        assert!(vault.open_subject(SubjectId::random(), &wrapped).is_err(), "keys of another person");
        created.ring().use_newest_kek().expect("written");
        assert!(vault.ring().reload().expect("the lock it was opened with still fits"));
        assert_eq!(vault.create_subject(SubjectId::random()).1.ring_version, 2);
    }

    #[test]
    fn what_one_server_changed_the_other_takes_over() {
        let folder = Folder::new();
        let (one, other) = (Vault::new(folder.open()), Vault::new(folder.open()));
        assert!(!other.ring().reload().expect("read"), "nothing changed");
        one.ring().publish_kek(Clock::system().now()).expect("written");
        one.ring().use_newest_kek().expect("written");
        let subject = SubjectId::random();
        let (_, wrapped) = one.create_subject(subject);
        assert_eq!(wrapped.ring_version, 2);
        assert!(other.open_subject(subject, &wrapped).is_ok(), "an unknown version is looked for at once");
        assert_eq!(other.ring().generation(), one.ring().generation());
        assert!(!other.ring().reload().expect("read"), "it was read already");
    }

    #[test]
    fn another_ring_is_refused_and_the_keys_at_hand_stay() {
        let (folder, foreign) = (Folder::new(), Folder::new());
        let vault = Vault::new(folder.open());
        let subject = SubjectId::random();
        let (_, wrapped) = vault.create_subject(subject);
        drop(foreign.open());
        for secret in ["ticket", "mac", "token"] {
            let mut text: Value = serde_json::from_str(&folder.text()).expect("JSON");
            let other: Value = serde_json::from_str(&foreign.text()).expect("JSON");
            let ours = std::mem::replace(&mut text[secret], other[secret].clone());
            put(&folder.ring(), &text.to_string());
            assert!(matches!(vault.ring().reload(), Err(RingError::Foreign(_))), "{secret}");
            let change = vault.ring().publish_kek(Clock::system().now());
            assert!(matches!(change, Err(RingError::Foreign(_))), "{secret}");
            text[secret] = ours;
            put(&folder.ring(), &text.to_string());
        }
        put(&folder.ring(), "half a r");
        assert!(matches!(vault.ring().reload(), Err(RingError::Malformed(_))));
        assert!(vault.open_subject(subject, &wrapped).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_read_for_every_unknown_key() {
        let folder = Folder::new();
        let (one, other) = (folder.open(), folder.open());
        let good = folder.text();
        put(&folder.ring(), "half a r");
        assert!(other.kek(2).is_none());
        // As if reading had been tried just now, however long this test takes.
        let failed = other.seen.lock().expect("no one panics").failed.replace(Instant::now() + TRY_AGAIN * 3600);
        assert!(failed.is_some());
        put(&folder.ring(), &good);
        one.publish_kek(Clock::system().now()).expect("written");
        assert!(other.kek(2).is_none(), "it is not tried again yet");
        assert!(other.reload().expect("read"), "who watches the file tries always");
        assert!(other.kek(2).is_some());
    }

    #[test]
    fn a_ring_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let ring = folder.open();
        std::fs::set_permissions(folder.ring(), std::fs::Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(Ring::open(&folder.ring(), None), Err(RingError::TooOpen(_, 0o640))));
        assert!(matches!(ring.publish_kek(Clock::system().now()), Err(RingError::TooOpen(_, 0o640))));
    }
}
