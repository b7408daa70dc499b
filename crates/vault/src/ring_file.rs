//! The ring at rest: one JSON file, mode 0600, optionally locked with a passphrase (argon2id, AES-256-GCM).
//!
//! Every write goes to a sibling file, is flushed, and replaces the old one whole, so that a crash leaves one of the two.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::{
    Aad, Sealed,
    seal::{SealKey, fill_random},
};

/// Why the ring can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The file can't be read or written.
    #[error("key ring {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// Others may read the file.
    #[error("key ring {0}: mode {1:o} lets others read it; it must be 0600")]
    TooOpen(PathBuf, u32),
    /// The file is not a ring of this version.
    #[error("key ring {0}: not a key ring of this version")]
    Malformed(PathBuf),
    /// A passphrase was given for a ring that is not locked with one.
    #[error("key ring {0}: not locked, though a passphrase was given")]
    NotLocked(PathBuf),
    /// The passphrase is missing or wrong.
    #[error("key ring {0}: locked, and the passphrase is missing or wrong")]
    Locked(PathBuf),
}

/// 32 secret bytes, in base64 at rest, wiped when dropped.
#[derive(Clone)]
pub(crate) struct Secret(pub Zeroizing<[u8; 32]>);

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

/// Keys that are replaced from time to time: one is used for new work, the others open old work.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub current: i32,
    pub keys: BTreeMap<i32, Secret>,
}

/// An Ed25519 key that signs access tokens.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SigningSecret {
    pub kid: String,
    pub seed: Secret,
}

/// Everything the ring holds.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RingFile {
    pub format: u32,
    pub keks: Versions,
    pub peppers: Versions,
    pub ticket: Secret,
    pub mac: Secret,
    pub token: Secret,
    /// By day since 1970; none lives longer than 72 hours.
    pub transit: BTreeMap<i64, Secret>,
    /// The first signs; all are accepted.
    pub signing: Vec<SigningSecret>,
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

/// The key a passphrase stands for, and how it was found.
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

fn place() -> Aad {
    Aad::of("key ring")
}

/// Reads a ring, unlocking it where it is locked.
pub(crate) fn read(path: &Path, passphrase: Option<&[u8]>) -> Result<(RingFile, Option<Lock>), RingError> {
    let io = |error| RingError::Io(path.into(), error);
    let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(RingError::TooOpen(path.into(), mode));
    }
    let text = Zeroizing::new(fs::read(path).map_err(io)?);
    let malformed = || RingError::Malformed(path.into());
    let Ok(locked) = serde_json::from_slice::<Locked>(&text) else {
        let file: RingFile = serde_json::from_slice(&text).map_err(|_| malformed())?;
        if passphrase.is_some() {
            return Err(RingError::NotLocked(path.into()));
        }
        return if file.format == 1 { Ok((file, None)) } else { Err(malformed()) };
    };
    let wrong = || RingError::Locked(path.into());
    let salt = STANDARD.decode(&locked.salt).ok().and_then(|salt| salt.try_into().ok()).ok_or_else(malformed)?;
    let lock = Lock::derive(passphrase.ok_or_else(wrong)?, salt, locked.argon2id);
    let sealed = Sealed::from_base64(&locked.sealed).map_err(|_| malformed())?;
    let text = lock.key.open(&place(), &sealed).map_err(|_| wrong())?;
    Ok((serde_json::from_slice(&text).map_err(|_| malformed())?, Some(lock)))
}

/// Reads a ring again with the lock that it was opened with.
pub(crate) fn read_unlocked(path: &Path, lock: Option<&Lock>) -> Result<RingFile, RingError> {
    let Some(lock) = lock else { return read(path, None).map(|(file, _)| file) };
    let malformed = || RingError::Malformed(path.into());
    let text = fs::read(path).map_err(|error| RingError::Io(path.into(), error))?;
    let locked: Locked = serde_json::from_slice(&text).map_err(|_| malformed())?;
    let sealed = Sealed::from_base64(&locked.sealed).map_err(|_| malformed())?;
    let text = lock.key.open(&place(), &sealed).map_err(|_| RingError::Locked(path.into()))?;
    serde_json::from_slice(&text).map_err(|_| malformed())
}

/// Holds the ring's lock file until dropped, so that servers which share a ring change it one after the other.
pub(crate) fn hold(path: &Path) -> Result<File, RingError> {
    let io = |error| RingError::Io(path.into(), error);
    let options =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.with_extension("lock"));
    let file = options.map_err(io)?;
    file.lock().map_err(io)?;
    Ok(file)
}

/// Writes a ring durably, locked where a lock is given.
pub(crate) fn write(path: &Path, file: &RingFile, lock: Option<&Lock>) -> Result<(), RingError> {
    let io = |error| RingError::Io(path.into(), error);
    let sibling = write_sibling(path, &to_text(file, lock)).map_err(io)?;
    fs::rename(&sibling, path).and_then(|()| sync_folder(path)).map_err(io)
}

/// Writes a ring where there is none; refuses to replace one.
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
