//! The key of one file. It seals the pieces of the file, each bound to its place. The key itself is sealed under a
//! person's trail key, so that the file cannot be opened once the person's keys are gone, or earlier, once its own key
//! is removed.

use zeroize::Zeroizing;

use crate::{
    Place, Sealed, SubjectKeys,
    seal::{SealKey, Unreadable, random_secret},
};

pub struct FileKey {
    key: SealKey,
    secret: Zeroizing<[u8; 32]>,
}

impl FileKey {
    /// How many bytes longer a sealed piece is than the piece.
    pub const OVERHEAD: usize = SealKey::OVERHEAD;

    pub fn generate() -> Self {
        Self::from_secret(random_secret())
    }

    fn from_secret(secret: Zeroizing<[u8; 32]>) -> Self {
        Self { key: SealKey::new(&secret), secret }
    }

    /// The key itself, sealed under a person's trail key.
    pub fn wrap(&self, keys: &SubjectKeys, place: &Place) -> Sealed {
        keys.seal_trail(place, self.secret.as_slice())
    }

    /// Opens what [`FileKey::wrap`] made.
    pub fn unwrap(keys: &SubjectKeys, place: &Place, sealed: &Sealed) -> Result<Self, Unreadable> {
        let secret = keys.open_trail(place, sealed)?;
        Ok(Self::from_secret(Zeroizing::new(secret.as_slice().try_into().map_err(|_| Unreadable)?)))
    }

    /// Seals a piece. The length of a piece is not hidden, because the length of the file is known anyway.
    pub fn seal(&self, place: &Place, piece: &[u8]) -> Vec<u8> {
        self.key.encrypt(place, piece).0
    }

    /// Opens what [`FileKey::seal`] made for the same place.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.key.decrypt(place, sealed)
    }
}

#[cfg(test)]
mod tests {
    use context::SubjectId;

    use super::*;
    use crate::{Vault, ring::tests::Folder};

    #[test]
    fn a_key_opens_under_the_same_person_and_place_only() {
        let folder = Folder::new();
        let vault = Vault::new(folder.open());
        let (anna, _) = vault.create_subject(SubjectId::random());
        let (ben, _) = vault.create_subject(SubjectId::random());
        let (place, other) = (Place::of("file").and(b"1"), Place::of("file").and(b"2"));
        let key = FileKey::generate();
        let wrapped = key.wrap(&anna, &place);
        assert!(FileKey::unwrap(&ben, &place, &wrapped).is_err());
        assert!(FileKey::unwrap(&anna, &other, &wrapped).is_err());
        let again = FileKey::unwrap(&anna, &place, &wrapped).expect("opens");
        let sealed = key.seal(&place, b"a piece");
        assert_eq!(sealed.len(), b"a piece".len() + FileKey::OVERHEAD);
        assert_eq!(again.open(&place, &sealed).expect("opens").as_slice(), b"a piece");
        assert!(again.open(&other, &sealed).is_err());
        assert!(FileKey::generate().open(&place, &sealed).is_err());
    }
}
