//! The ring at rest: one JSON file, mode 0600, optionally locked with a passphrase (argon2id, AES-256-GCM).
//!
//! Every write goes to a file beside it, is flushed, and replaces the old file whole, so that a crash leaves one of the
//! two. If a key is destroyed, the bytes of the old file are overwritten once the new file has replaced it ([`write`]).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::{
    Place, Sealed,
    file_lock::lock_within,
    seal::{SealKey, fill_random, random_secret},
};

/// Why the ring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    #[error("key ring {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    #[error("key ring {0}: mode {1:o} lets others read it; it must be 0600")]
    TooOpen(PathBuf, u32),
    #[error("key ring {0}: not a key ring of this version")]
    Malformed(PathBuf),
    #[error("key ring {0}: not locked, though a passphrase was given")]
    NotLocked(PathBuf),
    #[error("key ring {0}: locked, and the passphrase is missing or wrong")]
    Locked(PathBuf),
    /// The file now holds another ring than the one that was opened: tickets, rows and tokens of ours would not fit it.
    #[error("key ring {0}: another ring than the one that was opened")]
    Foreign(PathBuf),
    /// The version of the key-encryption key is the current one, or newer.
    #[error("version {0} of the key-encryption key is in use")]
    InUse(i32),
}

/// 32 secret bytes, in base64 at rest, wiped when dropped.
#[derive(Clone)]
pub(crate) struct Secret(pub Zeroizing<[u8; 32]>);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_slice(), other.0.as_slice()).is_ok()
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.0.as_slice())))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = Zeroizing::new(STANDARD.decode(text.as_bytes()).map_err(|_| de::Error::custom("not base64"))?);
        let secret = bytes.as_slice().try_into().map_err(|_| de::Error::custom("not 32 bytes"))?;
        Ok(Self(Zeroizing::new(secret)))
    }
}

/// Keys that are replaced from time to time: the current one is used for new work, and the others open old work.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub current: i32,
    pub keys: BTreeMap<i32, Secret>,
    /// Notes by version. A ring that was written before there were notes has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<i32, Note>,
}

impl Versions {
    /// The newest version that is known, in use or not.
    pub fn newest(&self) -> i32 {
        self.keys.last_key_value().map_or(self.current, |(version, _)| *version)
    }
}

/// What is known of one version of a key.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// Since when no key is under an older version any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrapped_at: Option<DateTime<Utc>>,
    /// When the newest archive of keys was taken while this version was the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<DateTime<Utc>>,
}

/// An Ed25519 key: of access tokens, of evidence, or of the log.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SigningSecret {
    pub kid: String,
    pub seed: Secret,
    /// The longest life of a token that is signed with the key, in seconds; absent if it is not longer than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_token_s: Option<i64>,
    /// Until when tokens that the key signed may live. A key with this field does not sign any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_until: Option<DateTime<Utc>>,
}

impl SigningSecret {
    /// A fresh key, whose id begins with `prefix`.
    pub fn generate(prefix: &str) -> Self {
        let kid = format!("{prefix}{}", hex::encode(&random_secret()[..8]));
        Self { kid, seed: Secret(random_secret()), longest_token_s: None, accepted_until: None }
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RingFile {
    pub format: u32,
    /// Grows by one with every change.
    #[serde(default)]
    pub generation: u64,
    pub keks: Versions,
    pub peppers: Versions,
    pub ticket: Secret,
    pub mac: Secret,
    pub token: Secret,
    /// Transit keys, by day since 1970. None is kept longer than 72 hours.
    pub transit: BTreeMap<i64, Secret>,
    /// The first key signs; tokens of all keys are accepted.
    pub signing: Vec<SigningSecret>,
    /// Signs consent receipts and certificates of erasure. It is made when it is first needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<SigningSecret>,
    /// Signs the checkpoints of the log. It is made when it is first needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<SigningSecret>,
}

impl RingFile {
    /// Whether this is a state of the same ring: the keys that never change must be equal.
    pub fn is_same_ring(&self, other: &Self) -> bool {
        let pairs = [(&self.ticket, &other.ticket), (&self.mac, &other.mac), (&self.token, &other.token)];
        pairs.into_iter().all(|(ours, theirs)| ours == theirs)
    }
}

#[derive(Serialize, Deserialize)]
struct Locked {
    argon2id: Cost,
    salt: String,
    sealed: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

/// The key that a passphrase stands for, and how it was derived.
pub(crate) struct Lock {
    key: SealKey,
    salt: [u8; 16],
    cost: Cost,
}

impl Lock {
    pub fn new(passphrase: &[u8]) -> Self {
        let mut salt = [0; 16];
        fill_random(&mut salt);
        Self::derive(passphrase, salt, COST)
    }

    fn derive(passphrase: &[u8], salt: [u8; 16], cost: Cost) -> Self {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).unwrap_or_default();
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, &salt, key.as_mut())
            .expect("salt and output have lengths that argon2 takes");
        Self { key: SealKey::new(&key), salt, cost }
    }
}

fn place() -> Place {
    Place::of("key ring")
}

/// Tells one state of the file from another without reading it, because every change makes a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// The stamp of the file that has this path now.
    pub fn of(path: &Path) -> Result<Self, RingError> {
        fs::metadata(path).map(|found| Self::from(&found)).map_err(|error| RingError::Io(path.into(), error))
    }

    fn from(found: &fs::Metadata) -> Self {
        Self { inode: found.ino(), length: found.len(), modified: (found.mtime(), found.mtime_nsec()) }
    }
}

/// The bytes and the stamp of one and the same file. Refuses a file that others may read.
fn bytes(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Stamp), RingError> {
    let io = |error| RingError::Io(path.into(), error);
    let mut file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(RingError::TooOpen(path.into(), mode));
    }
    // The buffer has the right size from the start, because a buffer that grew would leave copies of secrets behind.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default() + 1));
    file.read_to_end(&mut text).map_err(io)?;
    Ok((text, Stamp::from(&found)))
}

/// Reads a ring, and unlocks it if it is locked.
pub(crate) fn read(path: &Path, passphrase: Option<&[u8]>) -> Result<(RingFile, Option<Lock>, Stamp), RingError> {
    let malformed = || RingError::Malformed(path.into());
    let (text, stamp) = bytes(path)?;
    let Ok(locked) = serde_json::from_slice::<Locked>(&text) else {
        if passphrase.is_some() {
            return Err(RingError::NotLocked(path.into()));
        }
        return Ok((parse(path, &text)?, None, stamp));
    };
    let wrong = || RingError::Locked(path.into());
    let salt = STANDARD.decode(&locked.salt).ok().and_then(|salt| salt.try_into().ok()).ok_or_else(malformed)?;
    let lock = Lock::derive(passphrase.ok_or_else(wrong)?, salt, locked.argon2id);
    let sealed = Sealed::from_base64(&locked.sealed).map_err(|_| malformed())?;
    let text = lock.key.open(&place(), &sealed).map_err(|_| wrong())?;
    Ok((parse(path, &text)?, Some(lock), stamp))
}

/// Reads a ring again with the lock that it was opened with.
pub(crate) fn read_again(path: &Path, lock: Option<&Lock>) -> Result<(RingFile, Stamp), RingError> {
    let (text, stamp) = bytes(path)?;
    let Some(lock) = lock else { return Ok((parse(path, &text)?, stamp)) };
    let malformed = || RingError::Malformed(path.into());
    let locked: Locked = serde_json::from_slice(&text).map_err(|_| malformed())?;
    let sealed = Sealed::from_base64(&locked.sealed).map_err(|_| malformed())?;
    let text = lock.key.open(&place(), &sealed).map_err(|_| RingError::Locked(path.into()))?;
    Ok((parse(path, &text)?, stamp))
}

fn parse(path: &Path, text: &[u8]) -> Result<RingFile, RingError> {
    let file: Option<RingFile> = serde_json::from_slice(text).ok();
    file.filter(|file| file.format == 1).ok_or_else(|| RingError::Malformed(path.into()))
}

/// How long a server waits for another server's change of the ring.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Holds the ring's lock file until dropped, so that servers which share a ring change it one after the other.
pub(crate) fn hold(path: &Path) -> Result<File, RingError> {
    let io = |error| RingError::Io(path.into(), error);
    let options =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.with_extension("lock"));
    let file = options.map_err(io)?;
    lock_within(&file, LOCK_TIMEOUT).map_err(io)?;
    Ok(file)
}

/// Writes a ring durably, locked if a lock is given. The caller holds the lock file. With `destroys`, the bytes of the
/// old file are overwritten once the new file has replaced it. If a crash comes in between, the next write overwrites
/// them.
///
/// This works on file systems that write in place (ext4, XFS). It does not reach copies that a file system that copies
/// on write (btrfs, ZFS), a snapshot, a backup or the spare cells of a flash disk still hold. A destroyed key is gone
/// from there when these copies are gone, or at once if the ring or the disk is encrypted with a key that is destroyed
/// as well.
pub(crate) fn write(path: &Path, file: &RingFile, lock: Option<&Lock>, destroys: bool) -> Result<(), RingError> {
    let io = |error| RingError::Io(path.into(), error);
    overwrite_old(path).map_err(io)?;
    let sibling = write_sibling(path, &to_text(file, lock)).map_err(io)?;
    if destroys {
        fs::hard_link(path, path.with_extension("old")).map_err(io)?;
    }
    fs::rename(&sibling, path).and_then(|()| sync_folder(path)).map_err(io)?;
    overwrite_old(path).map_err(io)
}

/// Overwrites, in place, the bytes of the ring that was replaced, if it was kept, and removes the file. After a crash
/// the file may be a second name of the present ring; then only the name is removed.
fn overwrite_old(path: &Path) -> io::Result<()> {
    let old = path.with_extension("old");
    let mut file = match OpenOptions::new().write(true).open(&old) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (replaced, stands) = (file.metadata()?, fs::metadata(path)?);
    if (replaced.dev(), replaced.ino()) != (stands.dev(), stands.ino()) {
        let mut noise = vec![0; usize::try_from(replaced.len()).unwrap_or_default()];
        fill_random(&mut noise);
        file.write_all(&noise)?;
        file.sync_all()?;
    }
    fs::remove_file(&old)?;
    sync_folder(path)
}

/// Writes a ring if there is none. Refuses to replace one.
pub(crate) fn create(path: &Path, file: &RingFile, lock: Option<&Lock>) -> Result<(), RingError> {
    let io = |error| RingError::Io(path.into(), error);
    let sibling = write_sibling(path, &to_text(file, lock)).map_err(io)?;
    fs::hard_link(&sibling, path).map_err(io)?;
    fs::remove_file(&sibling).and_then(|()| sync_folder(path)).map_err(io)
}

fn to_text(file: &RingFile, lock: Option<&Lock>) -> Zeroizing<Vec<u8>> {
    let text = Zeroizing::new(serde_json::to_vec_pretty(file).expect("a ring can be written as JSON"));
    let Some(lock) = lock else { return text };
    let locked = Locked {
        argon2id: lock.cost,
        salt: STANDARD.encode(lock.salt),
        sealed: lock.key.seal(&place(), &text).to_base64(),
    };
    Zeroizing::new(serde_json::to_vec_pretty(&locked).expect("a locked ring can be written as JSON"))
}

fn write_sibling(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let sibling = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&sibling)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(sibling)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}
