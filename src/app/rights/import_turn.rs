//! Turns of imports on one server: one a person, and few that work at the same moment.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use context::SubjectId;
use tokio::sync::Semaphore;

/// So many imports work at the same moment on one server.
const AT_ONCE: usize = 2;

/// The imports of one server: who imports, and who works now.
pub struct Imports {
    people: Arc<Mutex<BTreeSet<SubjectId>>>,
    /// Taken for the check of a document and for each page of records, in the order of asking. So an import of many records lets
    /// a small one of another person through.
    pub(crate) working: Semaphore,
}

impl Default for Imports {
    fn default() -> Self {
        Self { people: Arc::default(), working: Semaphore::new(AT_ONCE) }
    }
}

impl Imports {
    /// Takes a person's turn; `None` if they import already.
    pub(crate) fn turn(&self, subject: SubjectId) -> Option<ImportTurn> {
        let is_free = self.people.lock().unwrap_or_else(PoisonError::into_inner).insert(subject);
        // A turn is given back when it is dropped, so none is made for a person who has one.
        if is_free { Some(ImportTurn { people: self.people.clone(), subject }) } else { None }
    }
}

/// A person's turn to import. Each person has one at a time on a server; it ends when this is dropped.
pub struct ImportTurn {
    people: Arc<Mutex<BTreeSet<SubjectId>>>,
    subject: SubjectId,
}

impl Drop for ImportTurn {
    fn drop(&mut self) {
        self.people.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.subject);
    }
}
