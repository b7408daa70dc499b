//! Checkpoints: a tree's size and root as a signed note (C2SP `signed-note`, `tlog-checkpoint`).

use base64::{Engine, engine::general_purpose::STANDARD};
use signed_note::{Note, Signature, StandardVerifier, Verifier, VerifierList, is_key_name_valid, key_id};
use tlog_tiles::Hash;

/// The type of an Ed25519 signature by a log.
const ED25519: u8 = 0x01;

/// Why a note is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is no signed note, or its body is no checkpoint.
    #[error("not a signed checkpoint")]
    Malformed,
    #[error("a checkpoint of another origin than the key's")]
    Origin,
    /// The log's key did not sign it, or the signature does not hold.
    #[error("not signed by the log's key")]
    Unsigned,
    #[error("not a verifier key of an Ed25519 log (name+id+key)")]
    Key,
}

/// The public key of a log; its name is the log's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    name: String,
    public: [u8; 32],
}

impl LogKey {
    /// The key of the log with this origin.
    pub fn new(origin: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        let key = Self { name: origin.to_owned(), public };
        if is_key_name_valid(origin) { Ok(key) } else { Err(NoteError::Key) }
    }

    /// Reads a verifier key: `name+id+key`.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let (name, public) = parse_vkey(vkey, ED25519).ok_or(NoteError::Key)?;
        Self::new(&name, public)
    }

    /// The key as a verifier key: `name+id+key`.
    pub fn vkey(&self) -> String {
        vkey(&self.name, ED25519, &self.public)
    }

    pub fn origin(&self) -> &str {
        &self.name
    }

    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

/// Writes a verifier key for a type of signature.
pub(crate) fn vkey(name: &str, kind: u8, public: &[u8; 32]) -> String {
    let key = [&[kind], public.as_slice()].concat();
    format!("{name}+{:08x}+{}", key_id(name, &key), STANDARD.encode(key))
}

/// Reads a verifier key for a type of signature.
pub(crate) fn parse_vkey(text: &str, kind: u8) -> Option<(String, [u8; 32])> {
    let (name, rest) = text.split_once('+')?;
    let (_, key) = rest.split_once('+')?;
    let key = STANDARD.decode(key).ok()?;
    let public = key.strip_prefix(&[kind])?.try_into().ok()?;
    (is_key_name_valid(name) && vkey(name, kind, &public) == text).then(|| (name.to_owned(), public))
}

/// The id that signatures of a key have in a note.
pub(crate) fn signature_id(name: &str, kind: u8, public: &[u8; 32]) -> u32 {
    key_id(name, &[&[kind], public.as_slice()].concat())
}

/// Signs a checkpoint. `sign` signs with the private part of `key` (RFC 8032).
pub fn sign_checkpoint<E>(
    key: &LogKey,
    size: u64,
    root: Hash,
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<Checkpoint, E> {
    let body = format!("{}\n{size}\n{root}\n", key.name);
    let signature = sign(body.as_bytes())?.to_vec();
    let id = signature_id(&key.name, ED25519, &key.public);
    let signature = Signature::new(key.name.clone(), id, signature).expect("a log's key has a sound name");
    let note = Note::new(body.as_bytes(), &[signature]).expect("a checkpoint is plain text");
    let note = String::from_utf8(note.to_bytes()).expect("a note is UTF-8");
    Ok(Checkpoint { origin: key.name.clone(), size, root, note })
}

/// A checkpoint. Unless [`Checkpoint::unverified`] read it, its signature was made or checked here.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The origin of the log.
    pub origin: String,
    /// How many leaves the tree has.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
    /// The whole note: body and signature lines.
    pub note: String,
}

impl Checkpoint {
    /// Reads a note that `key` has signed.
    pub fn verify(note: &str, key: &LogKey) -> Result<Self, NoteError> {
        Self::verify_by_any(note, &[key])
    }

    /// Reads a note that one of a log's keys has signed. If a signature of one of these keys does not hold, the note is
    /// refused, whatever the other signatures say (C2SP `signed-note`).
    pub fn verify_by_any(note: &str, keys: &[&LogKey]) -> Result<Self, NoteError> {
        let checkpoint = Self::unverified(note)?;
        if keys.iter().any(|key| checkpoint.origin != key.name) {
            return Err(NoteError::Origin);
        }
        let verifiers = keys.iter().map(|key| StandardVerifier::new(&key.vkey()).map_err(|_| NoteError::Key));
        let verifiers =
            verifiers.map(|verifier| Ok(Box::new(verifier?) as Box<dyn Verifier>)).collect::<Result<_, NoteError>>()?;
        let known = VerifierList::new(verifiers);
        checkpoint.parsed()?.verify(&known).map_err(|_| NoteError::Unsigned)?;
        Ok(checkpoint)
    }

    /// Reads a note without checking its signatures.
    pub fn unverified(note: &str) -> Result<Self, NoteError> {
        let parsed = Note::from_bytes(note.as_bytes()).map_err(|_| NoteError::Malformed)?;
        let body = tlog_tiles::Checkpoint::from_bytes(parsed.text()).map_err(|_| NoteError::Malformed)?;
        let (origin, size, root) = (body.origin().to_owned(), body.size(), *body.hash());
        Ok(Self { origin, size, root, note: note.to_owned() })
    }

    /// The text that the signatures sign.
    pub fn body(&self) -> &str {
        self.note.split_once("\n\n").map_or("", |(body, _)| &self.note[..=body.len()])
    }

    /// The signatures of the note: name, key id, bytes.
    pub(crate) fn signatures(&self) -> Vec<(String, u32, Vec<u8>)> {
        let lines = self.note.rsplit_once("\n\n").map_or("", |(_, lines)| lines);
        let signatures = lines.lines().filter_map(|line| Signature::from_bytes(line.as_bytes()).ok());
        signatures.map(|it| (it.name().to_owned(), it.id(), it.signature().to_vec())).collect()
    }

    fn parsed(&self) -> Result<Note, NoteError> {
        Note::from_bytes(self.note.as_bytes()).map_err(|_| NoteError::Malformed)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    pub fn pair(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
        let public = pair.public_key().as_ref().try_into().expect("32 bytes");
        (pair, public)
    }

    pub fn signed(origin: &str, seed: u8, size: u64, root: Hash) -> (LogKey, Checkpoint) {
        let (pair, public) = pair(seed);
        let key = LogKey::new(origin, public).expect("a sound name");
        let sign = |body: &[u8]| Ok::<_, ()>(pair.sign(body).as_ref().try_into().expect("64 bytes"));
        let checkpoint = sign_checkpoint(&key, size, root, sign).expect("signed");
        (key, checkpoint)
    }

    #[test]
    fn a_checkpoint_is_taken_from_its_own_log_only() {
        let (key, checkpoint) = signed("lethe.example/log", 1, 5, Hash([3; 32]));
        assert_eq!(LogKey::parse(&key.vkey()), Ok(key.clone()));
        assert_eq!(Checkpoint::verify(&checkpoint.note, &key), Ok(checkpoint.clone()));
        assert_eq!(checkpoint.body().lines().count(), 3);
        let altered = checkpoint.note.replacen("\n5\n", "\n6\n", 1);
        assert_eq!(Checkpoint::verify(&altered, &key), Err(NoteError::Unsigned));
        let (other, _) = signed("lethe.example/log", 2, 5, Hash([3; 32]));
        assert_eq!(Checkpoint::verify(&checkpoint.note, &other), Err(NoteError::Unsigned));
        let (foreign, _) = signed("lethe.example/other", 1, 5, Hash([3; 32]));
        assert_eq!(Checkpoint::verify(&checkpoint.note, &foreign), Err(NoteError::Origin));
        assert_eq!(Checkpoint::verify("", &key), Err(NoteError::Malformed));
    }

    #[test]
    fn a_verifier_key_with_a_wrong_id_or_type_is_refused() {
        let (key, _) = signed("lethe.example/log", 1, 0, Hash([0; 32]));
        let vkey = key.vkey();
        for wrong in [
            vkey.replacen("lethe", "theel", 1),
            vkey.replacen('+', "", 1),
            vkey[..vkey.len() - 4].to_owned(),
            super::vkey("lethe.example/log", 4, key.public()),
            String::new(),
        ] {
            assert_eq!(LogKey::parse(&wrong), Err(NoteError::Key), "{wrong}");
        }
    }
}
