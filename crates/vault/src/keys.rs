//! A person's three keys, and the key of one record.

use aws_lc_rs::hmac;
use context::{RecordId, SubjectId};
use zeroize::Zeroizing;

use crate::{
    Aad, RecordEntry, Ring, Sealed, Unreadable,
    seal::{SealKey, random_secret},
};

/// Makes keyed hashes that can be found again, and linked to the person only by who holds the key.
#[derive(Clone)]
pub struct IndexKey(hmac::Key);

impl IndexKey {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        keyed_hash(&self.0, parts)
    }

    /// By which the record of a natural key is found.
    pub fn key_hash(&self, kind: &str, natural_key: &str) -> [u8; 32] {
        self.hash(&[b"natural key", kind.as_bytes(), natural_key.as_bytes()])
    }

    /// By which the records of a quarter (`2025-Q1`) are found.
    pub fn bucket(&self, kind: &str, quarter: &str) -> [u8; 32] {
        self.hash(&[b"bucket", kind.as_bytes(), quarter.as_bytes()])
    }

    /// By which the answer to a request with an `Idempotency-Key` is found.
    pub fn answer_hash(&self, operation: &str, key: &str) -> [u8; 32] {
        self.hash(&[b"idempotency key", operation.as_bytes(), key.as_bytes()])
    }
}

/// HMAC-SHA256 over parts with their lengths.
pub(crate) fn keyed_hash(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
}

/// A person's keys as the database holds them.
#[derive(Clone)]
pub struct WrappedSubject {
    /// Version of the ring's key-encryption key.
    pub ring_version: i32,
    /// How often the wrapping key was renewed, from 1.
    pub wrapping_version: i64,
    /// The wrapped index key.
    pub index: Vec<u8>,
    /// The wrapped trail key.
    pub trail: Vec<u8>,
    /// The wrapped wrapping key.
    pub wrapping: Vec<u8>,
}

/// A person's keys, open. They wipe themselves when dropped.
pub struct SubjectKeys {
    subject: SubjectId,
    index: IndexKey,
    trail: SealKey,
    wrapping: SealKey,
    wrapping_version: i64,
}

impl SubjectKeys {
    pub(crate) fn generate(ring: &Ring, subject: SubjectId) -> (Self, WrappedSubject) {
        let (index, trail, wrapping) = (random_secret(), random_secret(), random_secret());
        let (ring_version, kek) = ring.current_kek();
        let wrapped = WrappedSubject {
            ring_version,
            wrapping_version: 1,
            index: kek.wrap(&place(subject, "index", 0), &index),
            trail: kek.wrap(&place(subject, "trail", 0), &trail),
            wrapping: kek.wrap(&place(subject, "wrapping", 1), &wrapping),
        };
        (Self::from_secrets(subject, &index, &trail, &wrapping, 1), wrapped)
    }

    pub(crate) fn open(ring: &Ring, subject: SubjectId, wrapped: &WrappedSubject) -> Result<Self, Unreadable> {
        let kek = ring.kek(wrapped.ring_version).ok_or(Unreadable)?;
        let index = kek.unwrap(&place(subject, "index", 0), &wrapped.index)?;
        let trail = kek.unwrap(&place(subject, "trail", 0), &wrapped.trail)?;
        let wrapping = kek.unwrap(&place(subject, "wrapping", wrapped.wrapping_version), &wrapped.wrapping)?;
        Ok(Self::from_secrets(subject, &index, &trail, &wrapping, wrapped.wrapping_version))
    }

    fn from_secrets(subject: SubjectId, index: &[u8; 32], trail: &[u8; 32], wrapping: &[u8; 32], version: i64) -> Self {
        Self {
            subject,
            index: IndexKey(hmac::Key::new(hmac::HMAC_SHA256, index)),
            trail: SealKey::new(trail),
            wrapping: SealKey::new(wrapping),
            wrapping_version: version,
        }
    }

    /// Whose keys they are.
    pub fn subject(&self) -> SubjectId {
        self.subject
    }

    /// The key of keyed hashes.
    pub fn index(&self) -> &IndexKey {
        &self.index
    }

    /// Seals an address, an agent or an answer of this person.
    pub fn seal_trail(&self, aad: &Aad, plaintext: &[u8]) -> Sealed {
        self.trail.seal(aad, plaintext)
    }

    /// Opens what [`SubjectKeys::seal_trail`] made.
    pub fn open_trail(&self, aad: &Aad, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.trail.open(aad, sealed)
    }

    /// The register's entry of a record, with its key wrapped.
    pub fn enter(
        &self,
        record: RecordId,
        kind: &str,
        key_hash: Vec<u8>,
        bucket: Option<Vec<u8>>,
        key: &RecordKey,
    ) -> RecordEntry {
        let entry = RecordEntry { record, kind: kind.to_owned(), key_hash, bucket, wrapped_key: Vec::new() };
        self.wrap_again(entry, key)
    }

    /// The same entry with the key wrapped by this wrapping key.
    pub fn wrap_again(&self, entry: RecordEntry, key: &RecordKey) -> RecordEntry {
        let wrapped_key = self.wrapping.wrap(&self.record_place(&entry), &key.secret);
        RecordEntry { wrapped_key, ..entry }
    }

    /// Opens a record's key. An entry whose kind, hash or bucket was exchanged does not open.
    pub fn open_record(&self, entry: &RecordEntry) -> Result<RecordKey, Unreadable> {
        Ok(RecordKey::from_secret(self.wrapping.unwrap(&self.record_place(entry), &entry.wrapped_key)?))
    }

    /// The same person with a new wrapping key, and its wrapped form. The old one opens nothing that is wrapped anew.
    pub fn renew_wrapping(&self, ring: &Ring, wrapped: &WrappedSubject) -> Result<(Self, WrappedSubject), Unreadable> {
        let kek = ring.kek(wrapped.ring_version).ok_or(Unreadable)?;
        let index = kek.unwrap(&place(self.subject, "index", 0), &wrapped.index)?;
        let trail = kek.unwrap(&place(self.subject, "trail", 0), &wrapped.trail)?;
        let (wrapping, version) = (random_secret(), self.wrapping_version + 1);
        let renewed = WrappedSubject {
            wrapping_version: version,
            wrapping: kek.wrap(&place(self.subject, "wrapping", version), &wrapping),
            ..wrapped.clone()
        };
        Ok((Self::from_secrets(self.subject, &index, &trail, &wrapping, version), renewed))
    }

    fn record_place(&self, entry: &RecordEntry) -> Aad {
        Aad::of("record key")
            .and(self.subject.0.as_bytes())
            .and(entry.record.0.as_bytes())
            .and(&self.wrapping_version.to_be_bytes())
            .and(entry.kind.as_bytes())
            .and(&entry.key_hash)
            .and(entry.bucket.as_deref().unwrap_or_default())
    }
}

fn place(subject: SubjectId, which: &str, version: i64) -> Aad {
    Aad::of("subject key").and(subject.0.as_bytes()).and(which.as_bytes()).and(&version.to_be_bytes())
}

/// The key of one record: it seals every event of the record's stream.
pub struct RecordKey {
    key: SealKey,
    secret: Zeroizing<[u8; 32]>,
}

impl RecordKey {
    /// A fresh key.
    pub fn generate() -> Self {
        Self::from_secret(random_secret())
    }

    fn from_secret(secret: Zeroizing<[u8; 32]>) -> Self {
        Self { key: SealKey::new(&secret), secret }
    }

    /// Seals an event's body.
    pub fn seal(&self, aad: &Aad, plaintext: &[u8]) -> Sealed {
        self.key.seal(aad, plaintext)
    }

    /// Opens what [`RecordKey::seal`] made.
    pub fn open(&self, aad: &Aad, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.key.open(aad, sealed)
    }
}
