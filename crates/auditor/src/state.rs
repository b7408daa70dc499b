//! The folder of a witness: its key, and for each log the checkpoint that it cosigned last.
//!
//! Promises: one process at a time has the folder. A checkpoint replaces only the checkpoint that it was compared with.
//! The checkpoint and its name in the folder are on disk before anybody learns of it. Refuses a folder that another
//! witness has, and refuses to write once the lock file in the folder is not the one that this process holds.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{connection::read_secret, error::AuditError};

/// The file that the one process keeps locked.
const LOCK: &str = "witness.lock";
const KEY: &str = "witness.key";
/// The mode of files that anybody may read: the checkpoints that a witness cosigned, and the key that verifies its
/// cosignatures.
const PUBLIC: u32 = 0o644;

/// A witness's folder, held by this process until it is dropped.
pub struct State {
    folder: PathBuf,
    lock: File,
}

impl State {
    /// Takes a folder. The folder is made if there is none.
    pub fn open(folder: &Path) -> Result<Self, AuditError> {
        fs::create_dir_all(folder)?;
        // Nobody else may open the lock file, because anybody who can open it can also lock it and keep the witness
        // from starting.
        let path = folder.join(LOCK);
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::FolderInUse(folder.into())),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let state = Self { folder: folder.into(), lock };
        // The lock file may have been removed between opening and locking it.
        state.require_lock().map_err(|_| AuditError::FolderInUse(folder.into()))?;
        Ok(state)
    }

    /// The seed of the witness's private key. A seed is made if there is none.
    pub fn seed(&self) -> Result<Vec<u8>, AuditError> {
        let path = self.folder.join(KEY);
        if !path.try_exists()? {
            let mut seed = [0; 32];
            SystemRandom::new().fill(&mut seed).map_err(|_| io::Error::other("no random bytes"))?;
            self.put(KEY, 0o600, format!("{}\n", STANDARD.encode(seed)).as_bytes())?;
        }
        let seed = STANDARD.decode(read_secret(&path)?).ok().filter(|seed| seed.len() == 32);
        Ok(seed.ok_or_else(|| io::Error::other(format!("{}: not the key of a witness", path.display())))?)
    }

    /// Writes the verifier key into the folder, for people who set up a policy.
    pub fn show_vkey(&self, vkey: &str) -> io::Result<()> {
        self.put("witness.vkey", PUBLIC, format!("{vkey}\n").as_bytes())
    }

    /// The newest checkpoint of the log whose origin has this hash, if one was cosigned.
    pub fn newest(&self, origin_hash: &str) -> io::Result<Option<String>> {
        if origin_hash.len() != 64 || !origin_hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        match fs::read_to_string(self.folder.join(name_of(origin_hash))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Replaces the note that the new note was compared with, durably. Fails if another note stands there by now.
    pub fn replace(&self, origin_hash: &str, seen: Option<&str>, note: &str) -> io::Result<()> {
        self.require_lock()?;
        if self.newest(origin_hash)?.as_deref() != seen {
            return Err(io::Error::other("somebody else has changed what was cosigned last"));
        }
        self.put(&name_of(origin_hash), PUBLIC, note.as_bytes())
    }

    /// Fails if the lock file in the folder is not the one that this process holds: it was removed, and another process
    /// may hold a new one.
    fn require_lock(&self) -> io::Result<()> {
        let id = |found: fs::Metadata| (found.dev(), found.ino());
        let there = fs::metadata(self.folder.join(LOCK)).map(id).ok();
        if there == Some(id(self.lock.metadata()?)) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{LOCK} was taken out of the folder: another witness may have it, start this one anew"
        )))
    }

    /// Writes a file whole or not at all, and waits until it is on disk.
    fn put(&self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(self.folder.join(name)).map_err(|error| error.error)?;
        File::open(&self.folder)?.sync_all()
    }
}

fn name_of(origin_hash: &str) -> String {
    format!("{origin_hash}.checkpoint")
}

/// The name under which a log's newest checkpoint is found: the SHA-256 of its origin, in hex.
pub fn hash_of(origin: &str) -> String {
    let hash = digest::digest(&digest::SHA256, origin.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_witness_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = State::open(folder.path()).expect("taken");
        assert!(matches!(State::open(folder.path()), Err(AuditError::FolderInUse(path)) if path == folder.path()));
        let mode = fs::metadata(folder.path().join(LOCK)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else may lock it");
        drop(one);
        assert!(State::open(folder.path()).is_ok(), "it is free again");
    }

    #[test]
    fn who_lost_the_lock_writes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let hash = hash_of("lethe.example/log");
        let one = State::open(folder.path()).expect("taken");
        one.replace(&hash, None, "first").expect("written");
        fs::remove_file(folder.path().join(LOCK)).expect("somebody takes it away");
        let other = State::open(folder.path()).expect("a new lock");
        other.replace(&hash, Some("first"), "theirs").expect("written");
        one.replace(&hash, Some("theirs"), "mine").expect_err("it has no lock");
        assert_eq!(one.newest(&hash).expect("read").as_deref(), Some("theirs"));
    }

    #[test]
    fn a_note_takes_the_place_of_the_one_it_was_compared_with_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (state, hash) = (State::open(folder.path()).expect("taken"), hash_of("lethe.example/log"));
        state.replace(&hash, Some("never there"), "x").expect_err("nothing stands there");
        state.replace(&hash, None, "first").expect("written");
        state.replace(&hash, None, "x").expect_err("something stands there");
        state.replace(&hash, Some("first"), "second").expect("written");
        assert_eq!(state.newest(&hash).expect("read").as_deref(), Some("second"));
        assert_eq!(state.newest("../witness.key").expect("no name of a log"), None);
    }

    #[test]
    fn a_key_is_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let seed = State::open(folder.path()).expect("taken").seed().expect("made");
        let state = State::open(folder.path()).expect("taken");
        assert_eq!((seed.len(), state.seed().expect("read")), (32, seed));
        let mode = fs::metadata(folder.path().join(KEY)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join(KEY), "").expect("written");
        assert!(state.seed().is_err(), "a damaged key is not replaced: its cosignatures are out in the world");
    }
}
