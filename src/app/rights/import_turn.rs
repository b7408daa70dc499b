//! The turns of imports on one server: each person has at most one, and only a few work at the same moment.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use context::SubjectId;
use tokio::sync::Semaphore;

/// How many imports work at the same moment on one server.
const AT_ONCE: usize = 2;

/// The imports of one server: which people import, and which imports work now.
pub struct Imports {
    people: Arc<Mutex<BTreeSet<SubjectId>>>,
    /// Taken for the check of a document and for each page of records, in the order of asking, so that an import of
    /// many records lets a small one of another person through.
    pub(crate) working: Semaphore,
}

impl Default for Imports {
    fn default() -> Self {
        Self { people: Arc::default(), working: Semaphore::new(AT_ONCE) }
    }
}

impl Imports {
    /// Takes a person's turn; `None` if the person has one already.
    pub(crate) fn turn(&self, subject: SubjectId) -> Option<ImportTurn> {
        let is_free = self.people.lock().unwrap_or_else(PoisonError::into_inner).insert(subject);
        // Only a person without a turn gets one, because dropping a turn gives it back.
        if is_free { Some(ImportTurn { people: self.people.clone(), subject }) } else { None }
    }
}

/// A person's turn to import. A person has one at a time on a server; it ends when it is dropped.
pub struct ImportTurn {
    people: Arc<Mutex<BTreeSet<SubjectId>>>,
    subject: SubjectId,
}

impl Drop for ImportTurn {
    fn drop(&mut self) {
        self.people.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.subject);
    }
}
