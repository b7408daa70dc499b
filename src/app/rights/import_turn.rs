//! The turns of imports on one server: each person has at most one, only a few work at the same moment, and the disk holds
//! only so much of all documents.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use context::SubjectId;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    app::AppError,
    export::{SpoolWriter, StoreError},
};

/// How many imports work at the same moment on one server.
const AT_ONCE: usize = 2;
/// How many bytes of all documents lie on the disk of one server at once: as much as four of the largest.
const ALL_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// How many seconds a client should wait before the next try, if too much has arrived from others.
const RETRY_AFTER_S: i64 = 15;

/// The imports of one server: which people import, which imports work now, and where documents are kept meanwhile.
pub struct Imports {
    folder: PathBuf,
    people: Arc<Mutex<BTreeSet<SubjectId>>>,
    /// How many bytes of documents have arrived and are not done with.
    arrived: Arc<AtomicU64>,
    /// Taken for the proof of a document and for each page of records, in the order of asking, so that an import of many
    /// records lets a small one of another person through.
    working: Semaphore,
}

impl Imports {
    /// Documents are kept on the disk of this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, people: Arc::default(), arrived: Arc::default(), working: Semaphore::new(AT_ONCE) }
    }

    /// Waits until an import may work.
    pub(crate) async fn working(&self) -> SemaphorePermit<'_> {
        self.working.acquire().await.expect("nothing closes the semaphore")
    }

    /// Begins the file for a document.
    pub fn spool(&self, turn: &ImportTurn) -> Result<SpoolWriter, AppError> {
        Ok(SpoolWriter::create(&self.folder, turn.ended.clone()).map_err(StoreError::from)?)
    }

    /// Takes a person's turn; `None` if the person has one already.
    pub(crate) fn turn(&self, subject: SubjectId) -> Option<ImportTurn> {
        let is_free = self.people.lock().unwrap_or_else(PoisonError::into_inner).insert(subject);
        // Only a person without a turn gets one, because dropping a turn gives it back.
        let turn = || ImportTurn {
            people: self.people.clone(),
            arrived: self.arrived.clone(),
            subject,
            held: 0,
            ended: Arc::default(),
        };
        is_free.then(turn)
    }
}

/// A person's turn to import, and the room on the disk that the document has taken so far. A person has one turn at a time
/// on a server; it ends when it is dropped.
pub struct ImportTurn {
    people: Arc<Mutex<BTreeSet<SubjectId>>>,
    arrived: Arc<AtomicU64>,
    subject: SubjectId,
    held: u64,
    /// Set when the turn ends, so that whatever still reads the document ends too.
    ended: Arc<AtomicBool>,
}

impl ImportTurn {
    /// Takes room for bytes that have arrived, so that a slow upload holds no more than it has sent. Refuses if there is
    /// none.
    pub fn take(&mut self, bytes: u64) -> Result<(), AppError> {
        if self.arrived.fetch_add(bytes, Ordering::Relaxed) + bytes > ALL_BYTES {
            self.arrived.fetch_sub(bytes, Ordering::Relaxed);
            return Err(AppError::Limited { retry_after_s: RETRY_AFTER_S, left: None });
        }
        self.held += bytes;
        Ok(())
    }
}

impl Drop for ImportTurn {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.arrived.fetch_sub(self.held, Ordering::Relaxed);
        self.people.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_one_turn_and_all_documents_together_have_a_bound() {
        let imports = Imports::new(PathBuf::new());
        let (anna, ben) = (SubjectId::random(), SubjectId::random());
        let mut first = imports.turn(anna).expect("free");
        assert!(imports.turn(anna).is_none());
        first.take(ALL_BYTES - 10).expect("there is room");
        let mut second = imports.turn(ben).expect("free");
        second.take(10).expect("there is room");
        assert!(matches!(second.take(1), Err(AppError::Limited { .. })));
        drop(first);
        second.take(ALL_BYTES - 10).expect("there is room again");
        assert!(imports.turn(anna).is_some());
    }
}
