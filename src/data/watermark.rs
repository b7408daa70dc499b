//! The newest checkpoint that was signed, in a file outside the database. The server is thereby its own witness: a
//! database that was rolled back contradicts this file.
//!
//! Promises: a checkpoint is signed only if it continues the one in this file, and the file is replaced whole. Auditors
//! receive a copy. Refuses: a file that the log's own key did not sign. Reading and locking happen on threads that may
//! block, apart from the threads that serve.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use transparency::{Checkpoint, LogKey, NoteError};

use crate::data::home::sync_folder;

#[derive(Debug, thiserror::Error)]
pub enum WatermarkError {
    #[error("the newest checkpoint {0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// The checkpoint is of an older tree than the one signed last, or of another log.
    #[error("{0}: a checkpoint of {1}, while {2} was signed since")]
    Older(PathBuf, String, String),
    /// The checkpoint in the file contradicts the one that is to replace it: it has the same size and another root, or
    /// is of a later tree.
    #[error("{0}: what was signed last contradicts this database: it was rolled back, or replaced by a restore")]
    Contradicted(PathBuf),
    /// The text is not a note that the log's key signed.
    #[error("the newest checkpoint {0}: {1}; bring back a sound copy")]
    Note(PathBuf, #[source] NoteError),
}

/// How long a write waits for another server that writes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The files `checkpoint` and `log.vkey` of a data folder.
#[derive(Clone, Debug)]
pub struct Watermark {
    path: PathBuf,
    key: PathBuf,
}

impl Watermark {
    /// Makes no file: the first checkpoint makes both.
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join("checkpoint"), key: folder.join("log.vkey") }
    }

    /// The newest checkpoint of any origin; `None` when none was signed yet.
    pub async fn read(&self, public: [u8; 32]) -> Result<Option<Checkpoint>, WatermarkError> {
        let this = self.clone();
        self.beside(move || this.read_now(public)).await
    }

    /// Does `work` on a thread that may block.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, WatermarkError> + Send + 'static,
    ) -> Result<T, WatermarkError> {
        let lost = |error| WatermarkError::Io(self.path.clone(), std::io::Error::other(error));
        tokio::task::spawn_blocking(work).await.map_err(lost)?
    }

    fn read_now(&self, public: [u8; 32]) -> Result<Option<Checkpoint>, WatermarkError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(WatermarkError::Io(self.path.clone(), error)),
        };
        let note = |error| WatermarkError::Note(self.path.clone(), error);
        let origin = Checkpoint::unverified(&text).map_err(note)?.origin;
        let key = LogKey::new(&origin, public).map_err(note)?;
        Checkpoint::verify(&text, &key).map(Some).map_err(note)
    }

    /// Takes over a checkpoint that somebody else kept, for instance an auditor. Fails if it is of an older tree than
    /// the one here.
    pub fn adopt(&self, path: &Path, public: [u8; 32]) -> Result<(), WatermarkError> {
        let text = fs::read_to_string(path).map_err(|error| WatermarkError::Io(path.into(), error))?;
        let note = |error| WatermarkError::Note(path.into(), error);
        let key = LogKey::new(&Checkpoint::unverified(&text).map_err(note)?.origin, public).map_err(note)?;
        let checkpoint = Checkpoint::verify(&text, &key).map_err(note)?;
        match self.read_now(public)? {
            Some(known) if tree_number(&checkpoint.origin, &known.origin).is_none_or(|(one, other)| one < other) => {
                Err(WatermarkError::Older(path.into(), checkpoint.origin, known.origin))
            }
            _ => self.write_now(&checkpoint, &key),
        }
    }

    /// Replaces the newest checkpoint durably, and writes beside it the public key that verifies it. Keeps the file
    /// when it holds a larger size of the same tree, because another server may have been faster.
    pub async fn write(&self, checkpoint: &Checkpoint, key: &LogKey) -> Result<(), WatermarkError> {
        let (this, checkpoint, key) = (self.clone(), checkpoint.clone(), key.clone());
        self.beside(move || this.write_now(&checkpoint, &key)).await
    }

    fn write_now(&self, checkpoint: &Checkpoint, key: &LogKey) -> Result<(), WatermarkError> {
        let _lock = self.lock()?;
        let known = self.read_now(*key.public())?;
        if let Some(known) = &known {
            let trees = tree_number(&known.origin, &checkpoint.origin);
            let later = trees.is_some_and(|(one, other)| one > other);
            let same = known.origin == checkpoint.origin;
            if later || (same && known.size == checkpoint.size && known.root != checkpoint.root) {
                return Err(WatermarkError::Contradicted(self.path.clone()));
            }
            if same && known.size > checkpoint.size {
                return Ok(());
            }
        }
        let vkey = format!("{}\n", key.vkey());
        if fs::read_to_string(&self.key).ok().as_ref() != Some(&vkey) {
            replace(&self.key, vkey.as_bytes())?;
        }
        replace(&self.path, checkpoint.note.as_bytes())
    }

    /// Holds the lock file until dropped. A process that can open a file can lock it, so the file has mode 0600; a file
    /// that an older version made with a wider mode is given 0600.
    fn lock(&self) -> Result<fs::File, WatermarkError> {
        let path = self.path.with_extension("lock");
        let io = |error| WatermarkError::Io(path.clone(), error);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        if file.metadata().map_err(io)?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io)?;
        }
        vault::lock_within(&file, LOCK_TIMEOUT).map_err(io)?;
        Ok(file)
    }
}

/// The numbers of the two origins' trees, from 1. `None` when the origins belong to different logs.
pub fn tree_number(one: &str, other: &str) -> Option<(u64, u64)> {
    let parts = |origin: &str| match origin.rsplit_once('/') {
        Some((first, number)) if number.parse::<u64>().is_ok_and(|number| number > 1) => {
            (first.to_owned(), number.parse().unwrap_or(1))
        }
        _ => (origin.to_owned(), 1),
    };
    let ((first, one), (second, other)) = (parts(one), parts(other));
    (first == second).then_some((one, other))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), WatermarkError> {
    let io = |error| WatermarkError::Io(path.into(), error);
    let folder = path.parent().unwrap_or(Path::new("."));
    // A new name each time, because several servers may write at the same moment.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(io)?;
    let public = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(public).map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    sync_folder(path).map_err(io)
}

#[cfg(test)]
mod tests {
    use transparency::{Hash, sign_checkpoint};
    use vault::Ring;

    use super::*;

    #[test]
    fn trees_of_one_log_are_numbered() {
        assert_eq!(tree_number("lethe/a", "lethe/a/2"), Some((1, 2)));
        assert_eq!(tree_number("lethe/a/12", "lethe/a/2"), Some((12, 2)));
        assert_eq!(tree_number("lethe/a", "lethe/b/2"), None);
    }

    #[tokio::test]
    async fn what_was_signed_is_read_again_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = Ring::open_or_create(&folder.path().join("ring.json"), None).expect("a ring");
        let public = ring.log_public().expect("a key");
        let watermark = Watermark::new(folder.path());
        assert_eq!(watermark.read(public).await.expect("no file"), None);
        let key = LogKey::new("lethe/x", public).expect("a name");
        let checkpoint = sign_checkpoint(&key, 3, Hash([1; 32]), |body| ring.sign_log(body)).expect("signed");
        watermark.write(&checkpoint, &key).await.expect("written");
        assert_eq!(watermark.read(public).await.expect("read"), Some(checkpoint.clone()));
        assert_eq!(fs::read_to_string(folder.path().join("log.vkey")).expect("read").trim(), key.vkey());
        fs::write(folder.path().join("checkpoint"), checkpoint.note.replace("\n3\n", "\n4\n")).expect("written");
        assert!(matches!(watermark.read(public).await, Err(WatermarkError::Note(..))));
    }
    /// Runs on the test's single thread, which must stay free for others while somebody else holds the lock.
    #[tokio::test]
    async fn a_lock_that_a_stranger_holds_stops_nobody_else_and_strangers_get_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = Ring::open_or_create(&folder.path().join("ring.json"), None).expect("a ring");
        let key = LogKey::new("lethe/x", ring.log_public().expect("a key")).expect("a name");
        let checkpoint = sign_checkpoint(&key, 3, Hash([1; 32]), |body| ring.sign_log(body)).expect("signed");
        let watermark = Watermark::new(folder.path());
        let path = folder.path().join("checkpoint.lock");
        let stranger = fs::File::create(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("as it was once made");
        stranger.lock().expect("locked");
        let write = watermark.write(&checkpoint, &key);
        tokio::pin!(write);
        let other = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = &mut write => panic!("it waits for the lock"),
            () = other => {}
        }
        let refused = write.await.expect_err("it does not wait for good");
        assert!(refused.to_string().contains("checkpoint.lock: another process has held its lock"), "{refused}");
        let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "a stranger who comes now can't open it");
        drop(stranger);
        watermark.write(&checkpoint, &key).await.expect("written");
    }
}
