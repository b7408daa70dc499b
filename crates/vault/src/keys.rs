//! A person's three keys, and the key of one record.

use aws_lc_rs::hmac;
use context::{RecordId, SubjectId};
use db::FromRow;
use zeroize::Zeroizing;

use crate::{
    Place, RecordEntry, Ring, Sealed,
    seal::{self, SealKey, Unreadable, random_secret},
};

/// Makes keyed hashes by which rows are found. Only somebody with the key can link such a hash to the person.
#[derive(Clone)]
pub struct IndexKey(hmac::Key);

impl IndexKey {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        seal::keyed_hash(&self.0, parts)
    }

    /// The hash by which the record with a natural key is found.
    pub fn key_hash(&self, kind: &str, natural_key: &str) -> [u8; 32] {
        self.hash(&[b"natural key", kind.as_bytes(), natural_key.as_bytes()])
    }

    /// The hash by which the records of a quarter (`2025-Q1`) are found.
    pub fn bucket(&self, kind: &str, quarter: &str) -> [u8; 32] {
        self.hash(&[b"bucket", kind.as_bytes(), quarter.as_bytes()])
    }

    /// The hash by which the answer to a request with an `Idempotency-Key` is found.
    pub fn answer_hash(&self, operation: &str, key: &str) -> [u8; 32] {
        self.hash(&[b"idempotency key", operation.as_bytes(), key.as_bytes()])
    }
}

/// A person's keys as the database holds them.
#[derive(Clone, FromRow)]
pub struct WrappedSubject {
    /// The version of the ring's key-encryption key under which the keys are wrapped.
    pub ring_version: i32,
    /// How often the wrapping key was renewed, from 1.
    pub wrapping_version: i64,
    /// The wrapped index key.
    #[row(sql = "index_key")]
    pub index: Vec<u8>,
    /// The wrapped trail key.
    #[row(sql = "trail_key")]
    pub trail: Vec<u8>,
    /// The wrapped wrapping key.
    #[row(sql = "wrapping_key")]
    pub wrapping: Vec<u8>,
}

/// A person's keys, unwrapped. They wipe themselves when dropped.
pub struct SubjectKeys {
    subject: SubjectId,
    index: IndexKey,
    trail: SealKey,
    wrapping: SealKey,
    wrapping_version: i64,
}

impl WrappedSubject {
    /// The same keys, wrapped under the ring's current key-encryption key.
    pub(crate) fn wrap_again(&self, ring: &Ring, subject: SubjectId) -> Result<Self, Unreadable> {
        Ok(Secrets::unwrap(ring, subject, self)?.wrap(ring, subject))
    }
}

/// A person's three keys in clear, after one wrapping is opened and before the next is made.
struct Secrets {
    index: Zeroizing<[u8; 32]>,
    trail: Zeroizing<[u8; 32]>,
    wrapping: Zeroizing<[u8; 32]>,
    wrapping_version: i64,
}

impl Secrets {
    fn unwrap(ring: &Ring, subject: SubjectId, wrapped: &WrappedSubject) -> Result<Self, Unreadable> {
        let kek = ring.kek(wrapped.ring_version).ok_or(Unreadable)?;
        Ok(Self {
            index: kek.unwrap(&place(subject, "index", 0), &wrapped.index)?,
            trail: kek.unwrap(&place(subject, "trail", 0), &wrapped.trail)?,
            wrapping: kek.unwrap(&place(subject, "wrapping", wrapped.wrapping_version), &wrapped.wrapping)?,
            wrapping_version: wrapped.wrapping_version,
        })
    }

    /// Wraps the keys under the ring's current key-encryption key.
    fn wrap(&self, ring: &Ring, subject: SubjectId) -> WrappedSubject {
        let (ring_version, kek) = ring.current_kek();
        WrappedSubject {
            ring_version,
            wrapping_version: self.wrapping_version,
            index: kek.wrap(&place(subject, "index", 0), &self.index),
            trail: kek.wrap(&place(subject, "trail", 0), &self.trail),
            wrapping: kek.wrap(&place(subject, "wrapping", self.wrapping_version), &self.wrapping),
        }
    }
}

impl SubjectKeys {
    pub(crate) fn generate(ring: &Ring, subject: SubjectId) -> (Self, WrappedSubject) {
        let secrets =
            Secrets { index: random_secret(), trail: random_secret(), wrapping: random_secret(), wrapping_version: 1 };
        let wrapped = secrets.wrap(ring, subject);
        (Self::from_secrets(subject, &secrets), wrapped)
    }

    pub(crate) fn open(ring: &Ring, subject: SubjectId, wrapped: &WrappedSubject) -> Result<Self, Unreadable> {
        Ok(Self::from_secrets(subject, &Secrets::unwrap(ring, subject, wrapped)?))
    }

    fn from_secrets(subject: SubjectId, secrets: &Secrets) -> Self {
        Self {
            subject,
            index: IndexKey(hmac::Key::new(hmac::HMAC_SHA256, secrets.index.as_slice())),
            trail: SealKey::new(&secrets.trail),
            wrapping: SealKey::new(&secrets.wrapping),
            wrapping_version: secrets.wrapping_version,
        }
    }

    pub fn subject(&self) -> SubjectId {
        self.subject
    }

    /// The key that makes keyed hashes.
    pub fn index(&self) -> &IndexKey {
        &self.index
    }

    /// Seals an address, an agent or an answer of this person.
    pub fn seal_trail(&self, place: &Place, plaintext: &[u8]) -> Sealed {
        self.trail.seal(place, plaintext)
    }

    /// Opens what [`SubjectKeys::seal_trail`] made.
    pub fn open_trail(&self, place: &Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.trail.open(place, sealed)
    }

    /// Makes the register's entry of a record, with the record's key wrapped.
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

    /// The same entry, with the record's key wrapped by this wrapping key.
    pub fn wrap_again(&self, entry: RecordEntry, key: &RecordKey) -> RecordEntry {
        let wrapped_key = self.wrapping.wrap(&self.record_place(&entry), &key.secret);
        RecordEntry { wrapped_key, ..entry }
    }

    /// Opens a record's key. Fails if the kind, the hash or the bucket of the entry was exchanged.
    pub fn open_record(&self, entry: &RecordEntry) -> Result<RecordKey, Unreadable> {
        Ok(RecordKey::from_secret(self.wrapping.unwrap(&self.record_place(entry), &entry.wrapped_key)?))
    }

    /// The same person's keys with a new wrapping key, and their wrapped form. The old wrapping key opens nothing that
    /// is wrapped anew. All three keys come under the ring's current key-encryption key.
    pub fn renew_wrapping(&self, ring: &Ring, wrapped: &WrappedSubject) -> Result<(Self, WrappedSubject), Unreadable> {
        let secrets = Secrets {
            wrapping: random_secret(),
            wrapping_version: self.wrapping_version + 1,
            ..Secrets::unwrap(ring, self.subject, wrapped)?
        };
        let renewed = secrets.wrap(ring, self.subject);
        Ok((Self::from_secrets(self.subject, &secrets), renewed))
    }

    fn record_place(&self, entry: &RecordEntry) -> Place {
        Place::of("record key")
            .and(self.subject.0.as_bytes())
            .and(entry.record.0.as_bytes())
            .and(&self.wrapping_version.to_be_bytes())
            .and(entry.kind.as_bytes())
            .and(&entry.key_hash)
            .and(entry.bucket.as_deref().unwrap_or_default())
    }
}

fn place(subject: SubjectId, which: &str, version: i64) -> Place {
    Place::of("subject key").and(subject.0.as_bytes()).and(which.as_bytes()).and(&version.to_be_bytes())
}

/// The key of one record: it seals every event of the record's stream.
pub struct RecordKey {
    key: SealKey,
    secret: Zeroizing<[u8; 32]>,
}

impl RecordKey {
    pub fn generate() -> Self {
        Self::from_secret(random_secret())
    }

    fn from_secret(secret: Zeroizing<[u8; 32]>) -> Self {
        Self { key: SealKey::new(&secret), secret }
    }

    /// The key itself in base64, for an auditor.
    pub fn granted(&self) -> Zeroizing<String> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        Zeroizing::new(STANDARD.encode(self.secret.as_slice()))
    }

    /// Seals an event's body.
    pub fn seal(&self, place: &Place, plaintext: &[u8]) -> Sealed {
        self.key.seal(place, plaintext)
    }

    /// Opens what [`RecordKey::seal`] made.
    pub fn open(&self, place: &Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.key.open(place, sealed)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{Vault, ring::tests::Folder};

    #[test]
    fn renewing_the_wrapping_key_shuts_out_what_was_not_wrapped_anew() {
        let folder = Folder::new();
        let vault = Vault::new(folder.open());
        let subject = SubjectId::random();
        let (keys, wrapped) = vault.create_subject(subject);
        let (kept, gone) = (RecordId::random(), RecordId::random());
        let (kept_key, gone_key) = (RecordKey::generate(), RecordKey::generate());
        let enter = |keys: &SubjectKeys, record, key| keys.enter(record, "kind", vec![1], None, key);
        let old_gone = enter(&keys, gone, &gone_key);
        let (renewed, rewrapped) = keys.renew_wrapping(vault.ring(), &wrapped).expect("renewed");
        let new_kept = enter(&renewed, kept, &kept_key);
        let opened = vault.open_subject(subject, &rewrapped).expect("opens");
        assert!(opened.open_record(&new_kept).is_ok());
        assert!(opened.open_record(&old_gone).is_err());
        assert!(opened.open_record(&RecordEntry { key_hash: vec![2], ..new_kept }).is_err(), "an exchanged hash");
    }

    #[test]
    fn renewing_the_wrapping_key_moves_a_person_to_the_newest_version() {
        let folder = Folder::new();
        let vault = Vault::new(folder.open());
        let (subject, ring) = (SubjectId::random(), vault.ring());
        let (keys, wrapped) = vault.create_subject(subject);
        let hash = keys.index().key_hash("kind", "1");
        let sealed = keys.seal_trail(&Place::of("trail"), b"an address");
        ring.publish_kek(DateTime::UNIX_EPOCH).expect("written");
        ring.use_newest_kek().expect("written");
        let (_, renewed) = keys.renew_wrapping(ring, &wrapped).expect("renewed");
        assert_eq!((renewed.ring_version, renewed.wrapping_version), (2, 2));
        ring.destroy_kek(1).expect("nothing is under it");
        let opened = vault.open_subject(subject, &renewed).expect("opens");
        assert_eq!(opened.index().key_hash("kind", "1"), hash);
        assert!(opened.open_trail(&Place::of("trail"), &sealed).is_ok());
        assert!(vault.open_subject(subject, &wrapped).is_err());
    }
}
