//! Key-encryption keys: the current one wraps every person's keys, and older ones are kept until no key is under them
//! any more.
//!
//! A rotation is a sequence of steps, each of which is durable and may be repeated: publish a version; use it once
//! every server knows it; note that no key is under an older version; archive the keys; destroy the older version.
//! `src/app/operation/keys.rs` takes these steps, together with the database.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    Ring, RingError,
    ring_file::{Note, Secret},
    seal::random_secret,
};

/// How often the key-encryption key is to be rotated.
pub const ROTATION: TimeDelta = TimeDelta::days(30);
/// How long a rotation may take, from its beginning until the version before it is destroyed.
const FINISH: TimeDelta = TimeDelta::days(1);

/// One version of the key-encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kek {
    /// The number of the version, from 1.
    pub version: i32,
    /// Whether keys are wrapped under this version now. A newer version is published and waits; an older version only
    /// opens what is under it.
    pub is_current: bool,
    /// When the version was made; `None` in rings of the first version of this program.
    pub created_at: Option<DateTime<Utc>>,
    /// Since when no key is under an older version.
    pub rewrapped_at: Option<DateTime<Utc>>,
    /// When the newest archive of keys was taken while this version was the current one.
    pub archived_at: Option<DateTime<Utc>>,
}

impl Kek {
    /// Whether an archive of keys was taken after all keys had come under this version.
    pub fn is_archived(&self) -> bool {
        self.rewrapped_at.is_some_and(|rewrapped| self.archived_at.is_some_and(|archived| rewrapped <= archived))
    }
}

impl Ring {
    /// All versions, the oldest first.
    pub fn keks(&self) -> Vec<Kek> {
        let opened = self.opened();
        let keks = &opened.file.keks;
        let kek = |version: i32| {
            let Note { created_at, rewrapped_at, archived_at } = keks.notes.get(&version).copied().unwrap_or_default();
            Kek { version, is_current: version == keks.current, created_at, rewrapped_at, archived_at }
        };
        keks.keys.keys().map(|version| kek(*version)).collect()
    }

    /// The version under which keys are wrapped now.
    pub fn current(&self) -> Kek {
        self.keks().into_iter().find(|kek| kek.is_current).expect("a ring opens only with its current version")
    }

    /// Whether a rotation was begun and has not ended: a version waits, or some keys are not under the current version.
    pub fn is_rotating(&self) -> bool {
        let keks = self.keks();
        let current = self.current();
        keks.last().is_some_and(|newest| newest.version > current.version)
            || (keks.len() > 1 && current.rewrapped_at.is_none())
    }

    /// The newest version, in use or not.
    pub fn newest_kek(&self) -> i32 {
        self.opened().file.keks.newest()
    }

    /// Publishes a new version, which is known but not used yet, and returns its number. If a version waits already,
    /// returns its number.
    pub fn publish_kek(&self, now: DateTime<Utc>) -> Result<i32, RingError> {
        self.change(false, |file| {
            let keks = &mut file.keks;
            if keks.newest() == keks.current {
                let version = keks.current + 1;
                keks.keys.insert(version, Secret(random_secret()));
                keks.notes.insert(version, Note { created_at: Some(now), ..Note::default() });
            }
            Ok(keks.newest())
        })
    }

    /// Makes the newest version the current one, and returns its number.
    pub fn use_newest_kek(&self) -> Result<i32, RingError> {
        self.change(false, |file| {
            file.keks.current = file.keks.newest();
            Ok(file.keks.current)
        })
    }

    /// Notes that no key is under a version older than this one any more.
    pub fn note_rewrapped(&self, version: i32, now: DateTime<Utc>) -> Result<(), RingError> {
        self.change(false, |file| {
            file.keks.notes.entry(version).or_default().rewrapped_at = Some(now);
            Ok(())
        })
    }

    /// Notes that an archive of all keys was taken: of this ring, and of the wrapped keys in the database as they were
    /// at `now`.
    pub fn note_archive(&self, now: DateTime<Utc>) -> Result<(), RingError> {
        self.change(false, |file| {
            file.keks.notes.entry(file.keks.current).or_default().archived_at = Some(now);
            Ok(())
        })
    }

    /// Destroys an older version: it is removed from the file durably, and the file before is overwritten as far as a
    /// program can do that. Refuses the current version and newer ones. The caller has to ask the database whether a
    /// key is still under the version.
    pub fn destroy_kek(&self, version: i32) -> Result<(), RingError> {
        self.change(true, |file| {
            if version >= file.keks.current {
                return Err(RingError::InUse(version));
            }
            file.keks.keys.remove(&version);
            file.keks.notes.remove(&version);
            Ok(())
        })
    }

    /// When the current version should be replaced; `None` if its age is unknown, and then it should be replaced now.
    pub fn rotation_due(&self) -> Option<DateTime<Utc>> {
        self.current().created_at.map(|created| created + ROTATION)
    }

    /// The time after which no older backup can bring back what is erased `now`, if the ring is rotated as it should
    /// be: one day after the rotation of the current version is due. By then the current version is destroyed, and
    /// every copy made until now is wrapped under it. If that rotation is overdue, or the age of the key is unknown,
    /// nobody kept to the calendar so far, so a whole period is counted from `now`.
    pub fn unrecoverable_by(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.rotation_due().filter(|due| now <= *due).unwrap_or(now + ROTATION) + FINISH
    }
}

#[cfg(test)]
mod tests {
    use context::SubjectId;

    use super::*;
    use crate::{Vault, ring::tests::Folder};

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_014_400, 0).expect("a time")
    }

    #[test]
    fn a_version_is_published_used_and_destroyed() {
        let folder = Folder::new();
        let vault = Vault::new(folder.open());
        let ring = vault.ring();
        let subject = SubjectId::random();
        let (keys, old) = vault.create_subject(subject);
        assert_eq!(ring.publish_kek(noon()).expect("written"), 2);
        assert_eq!(ring.publish_kek(noon()).expect("written"), 2, "the one that waits is taken");
        assert_eq!(vault.create_subject(SubjectId::random()).1.ring_version, 1, "known is not used");
        assert!(matches!(ring.destroy_kek(1), Err(RingError::InUse(1))));
        assert_eq!(ring.use_newest_kek().expect("written"), 2);
        let new = vault.rewrap_subject(subject, &old).expect("both versions are there");
        assert_eq!((new.ring_version, new.wrapping_version), (2, old.wrapping_version));
        let hash = keys.index().key_hash("kind", "1");
        assert_eq!(vault.open_subject(subject, &new).expect("opens").index().key_hash("kind", "1"), hash);
        for version in [2, 3] {
            assert!(matches!(ring.destroy_kek(version), Err(RingError::InUse(_))), "{version}");
        }
        ring.destroy_kek(1).expect("destroyed");
        let again = Vault::new(folder.open());
        for vault in [&vault, &again] {
            assert!(vault.open_subject(subject, &old).is_err());
            assert!(vault.open_subject(subject, &new).is_ok());
        }
        assert_eq!(again.ring().keks().len(), 1);
    }

    #[test]
    fn a_destroyed_key_is_left_in_no_file() {
        let folder = Folder::new();
        let ring = folder.open();
        let secret = |text: &str| {
            let file: serde_json::Value = serde_json::from_str(text).expect("JSON");
            file["keks"]["keys"]["1"].as_str().map(str::to_owned)
        };
        let first = secret(&folder.text()).expect("the first version");
        let kept = std::fs::File::open(folder.ring()).expect("opens");
        ring.publish_kek(noon()).expect("written");
        ring.use_newest_kek().expect("written");
        let held = std::fs::File::open(folder.ring()).expect("opens");
        ring.destroy_kek(1).expect("destroyed");
        let all = std::io::read_to_string(kept).expect("a replaced file that somebody holds open is not touched");
        assert!(all.contains(&first), "the file before the last two changes");
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut &held, &mut rest).expect("read");
        assert!(
            !rest.is_empty() && !String::from_utf8_lossy(&rest).contains(&first),
            "the file it stood in is overwritten"
        );
        let folder_of = folder.ring();
        for entry in std::fs::read_dir(folder_of.parent().expect("a folder")).expect("read") {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("read");
            assert!(!String::from_utf8_lossy(&bytes).contains(&first));
        }
    }

    #[test]
    fn a_crash_while_destroying_leaves_a_ring_that_opens() {
        let folder = Folder::new();
        let ring = folder.open();
        ring.publish_kek(noon()).expect("written");
        ring.use_newest_kek().expect("written");
        // A crash after the second name was made, and before the new file took the first name.
        std::fs::hard_link(folder.ring(), folder.ring().with_extension("old")).expect("linked");
        let stood = std::fs::File::open(folder.ring()).expect("opens");
        let before = folder.text();
        ring.note_archive(noon()).expect("written");
        let after = std::io::read_to_string(stood).expect("read");
        assert_eq!(after, before, "what stood was not overwritten: a second crash would have left no ring");
        assert!(!folder.ring().with_extension("old").exists());
        // A crash after the new file replaced the old one, and before the old one was overwritten.
        std::fs::copy(folder.ring(), folder.ring().with_extension("old")).expect("copied");
        ring.destroy_kek(1).expect("destroyed");
        assert!(!folder.ring().with_extension("old").exists());
        assert_eq!(folder.open().keks().len(), 1);
    }

    #[test]
    fn an_archive_counts_from_when_everything_is_under_the_current_version() {
        let folder = Folder::new();
        let ring = folder.open();
        ring.publish_kek(noon()).expect("written");
        ring.use_newest_kek().expect("written");
        ring.note_archive(noon()).expect("written");
        assert!(!ring.current().is_archived());
        ring.note_rewrapped(2, noon() + TimeDelta::hours(1)).expect("written");
        assert!(!ring.current().is_archived(), "older keys were in that archive");
        ring.note_archive(noon() + TimeDelta::hours(2)).expect("written");
        assert!(folder.open().current().is_archived());
    }

    #[test]
    fn an_erasure_says_by_when_it_holds_against_backups() {
        let folder = Folder::new();
        let ring = folder.open();
        ring.publish_kek(noon()).expect("written");
        ring.use_newest_kek().expect("written");
        let days = |days| noon() + TimeDelta::days(days);
        assert_eq!(ring.unrecoverable_by(days(0)), days(31));
        assert_eq!(ring.unrecoverable_by(days(29)), days(31));
        assert_eq!(ring.unrecoverable_by(days(40)), days(71), "overdue");
        assert_eq!(ring.rotation_due(), Some(days(30)));
    }
}
