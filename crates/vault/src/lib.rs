//! Keys and sealing. A value is a person's because it is sealed under that person's keys; when the keys are gone, the
//! value is erased.
//!
//! ```text
//! ring (outside the database) ── key-encryption key ── wraps ─┬─ index key    keyed hashes of natural keys and dates
//!                                                             ├─ trail key    addresses, agents, stored answers
//!                                                             └─ wrapping key ── wraps ── one key a record ── seals events
//! ```
//!
//! Promises: AES-256-GCM with fresh random nonces; what is sealed for one place does not open in another (associated
//! data); lengths are hidden in steps; keys are wiped from memory. Refuses to name a key or a plaintext in any error.

mod evidence;
mod file_key;
mod file_lock;
pub mod floor;
mod kek;
mod keys;
mod log_key;
pub mod nodes;
mod proof;
mod record_entry;
mod register;
mod ring;
mod ring_file;
mod seal;
mod signing;
mod signing_key;
mod transit;

pub use evidence::EvidenceKey;
pub use file_key::FileKey;
pub use file_lock::lock_within;
pub use kek::{Kek, ROTATION};
pub use keys::{IndexKey, RecordKey, SubjectKeys, WrappedSubject};
pub use proof::{check_document, seal_document};
pub use record_entry::RecordEntry;
pub use register::{
    record_delete, record_insert, record_register, record_rewrap, subject_get, subject_insert, subject_rewrap,
};
pub use ring::{Ring, Sealer};
pub use ring_file::RingError;
pub use seal::{Place, Sealed, Unreadable};
pub use signing_key::{LONGEST_TOKEN, Signing, SigningKey};
pub use transit::TransitId;

use context::SubjectId;
use quick_cache::sync::Cache;

const INDEX_KEYS: usize = 100_000;

/// The ring, and the index keys of people who were active lately.
pub struct Vault {
    ring: Ring,
    index_keys: Cache<SubjectId, IndexKey>,
}

impl Vault {
    pub fn new(ring: Ring) -> Self {
        Self { ring, index_keys: Cache::new(INDEX_KEYS) }
    }

    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Fresh keys for a new person, and their wrapped form for the database.
    pub fn create_subject(&self, subject: SubjectId) -> (SubjectKeys, WrappedSubject) {
        let (keys, wrapped) = SubjectKeys::generate(&self.ring, subject);
        self.index_keys.insert(subject, keys.index().clone());
        (keys, wrapped)
    }

    /// Opens a person's keys, and keeps the index key in memory.
    pub fn open_subject(&self, subject: SubjectId, wrapped: &WrappedSubject) -> Result<SubjectKeys, Unreadable> {
        let keys = SubjectKeys::open(&self.ring, subject, wrapped)?;
        self.index_keys.insert(subject, keys.index().clone());
        Ok(keys)
    }

    /// Opens a person's keys for one use. Nothing of them stays in memory.
    pub fn open_once(&self, subject: SubjectId, wrapped: &WrappedSubject) -> Result<SubjectKeys, Unreadable> {
        SubjectKeys::open(&self.ring, subject, wrapped)
    }

    /// Removes the index key of an erased person from memory.
    pub fn forget(&self, subject: SubjectId) {
        self.index_keys.remove(&subject);
    }

    /// Wraps a person's keys under the ring's current key-encryption key.
    pub fn rewrap_subject(&self, subject: SubjectId, wrapped: &WrappedSubject) -> Result<WrappedSubject, Unreadable> {
        wrapped.wrap_again(&self.ring, subject)
    }

    /// The person's index key, if it is in memory. It never changes while the person exists.
    pub fn index_key(&self, subject: SubjectId) -> Option<IndexKey> {
        self.index_keys.get(&subject)
    }
}
