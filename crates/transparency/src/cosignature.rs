//! Cosignatures: a witness states that it has seen a checkpoint, and none that contradicts it (C2SP `tlog-cosignature`,
//! Ed25519).

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use signed_note::{Signature, is_key_name_valid};

use crate::{
    Checkpoint, NoteError,
    note::{parse_vkey, signature_id, vkey},
};

/// The type of an Ed25519 cosignature with a time.
const COSIGNATURE: u8 = 0x04;

/// The public key of a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    name: String,
    public: [u8; 32],
}

impl Witness {
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let (name, public) = parse_vkey(vkey, COSIGNATURE).ok_or(NoteError::Key)?;
        Ok(Self { name, public })
    }

    /// The name of the witness, as signature lines have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// When this witness cosigned the checkpoint, in seconds since 1970; `None` if it did not.
    pub fn cosigned_at(&self, checkpoint: &Checkpoint) -> Option<u64> {
        let id = signature_id(&self.name, COSIGNATURE, &self.public);
        checkpoint.signatures().into_iter().filter(|(name, other, _)| *name == self.name && *other == id).find_map(
            |(_, _, bytes)| {
                let (time, signature) = bytes.split_first_chunk::<8>()?;
                let time = u64::from_be_bytes(*time);
                let key = UnparsedPublicKey::new(&ED25519, self.public);
                key.verify(&message(checkpoint, time), signature).is_ok().then_some(time)
            },
        )
    }
}

/// A witness that can cosign.
pub struct Cosigner<S> {
    witness: Witness,
    sign: S,
}

impl<S: Fn(&[u8]) -> [u8; 64]> Cosigner<S> {
    /// The witness with this name and public key. `sign` signs with the private key.
    pub fn new(name: &str, public: [u8; 32], sign: S) -> Result<Self, NoteError> {
        let witness = Witness { name: name.to_owned(), public };
        if is_key_name_valid(name) { Ok(Self { witness, sign }) } else { Err(NoteError::Key) }
    }

    /// The verifier key of the witness.
    pub fn vkey(&self) -> String {
        vkey(&self.witness.name, COSIGNATURE, &self.witness.public)
    }

    /// The signature line for a checkpoint, with its line break. The caller has checked the checkpoint.
    pub fn cosign(&self, checkpoint: &Checkpoint, time: u64) -> String {
        let signature = (self.sign)(&message(checkpoint, time));
        let bytes = [time.to_be_bytes().as_slice(), &signature].concat();
        let id = signature_id(&self.witness.name, COSIGNATURE, &self.witness.public);
        let line = Signature::new(self.witness.name.clone(), id, bytes).expect("a witness has a sound name");
        String::from_utf8(line.to_bytes()).expect("a signature line is UTF-8")
    }
}

impl Checkpoint {
    /// The checkpoint with the signature lines that a witness answered. Only lines of this witness are taken. `None` if
    /// the witness has not cosigned the checkpoint.
    pub fn with_cosignature(&self, lines: &str, witness: &Witness) -> Option<Self> {
        let mine = |line: &&str| {
            let signature = Signature::from_bytes(line.as_bytes()).ok();
            signature.is_some_and(|it| it.name() == witness.name)
        };
        let lines: String = lines.lines().filter(mine).map(|line| format!("{line}\n")).collect();
        let cosigned = Self::unverified(&format!("{}{lines}", self.note)).ok()?;
        witness.cosigned_at(&cosigned).map(|_| cosigned)
    }
}

fn message(checkpoint: &Checkpoint, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{}", checkpoint.body()).into_bytes()
}

#[cfg(test)]
mod tests {
    use tlog_tiles::Hash;

    use super::*;
    use crate::note::tests::{pair, signed};

    #[test]
    fn a_cosignature_holds_for_its_checkpoint_and_time_only() {
        let (key, checkpoint) = signed("lethe.example/log", 1, 5, Hash([3; 32]));
        let (secret, public) = pair(9);
        let sign = |message: &[u8]| secret.sign(message).as_ref().try_into().expect("64 bytes");
        let cosigner = Cosigner::new("witness.example/w1", public, sign).expect("a sound name");
        let witness = Witness::parse(&cosigner.vkey()).expect("a witness");
        assert_eq!(witness.cosigned_at(&checkpoint), None);
        let line = cosigner.cosign(&checkpoint, 1_700_000_000);
        let cosigned = checkpoint.with_cosignature(&line, &witness).expect("taken");
        assert_eq!(witness.cosigned_at(&cosigned), Some(1_700_000_000));
        assert_eq!(Checkpoint::verify(&cosigned.note, &key).expect("still signed").size, 5);

        let (_, other) = signed("lethe.example/log", 1, 6, Hash([3; 32]));
        assert!(other.with_cosignature(&line, &witness).is_none(), "of another checkpoint");
        let (_, public) = pair(8);
        let foreign = Cosigner::new("witness.example/w1", public, |_: &[u8]| [0; 64]).expect("a sound name");
        assert!(checkpoint.with_cosignature(&foreign.cosign(&checkpoint, 1), &witness).is_none(), "by another key");
        assert!(checkpoint.with_cosignature("nonsense\n", &witness).is_none());
        assert!(crate::LogKey::parse(&cosigner.vkey()).is_err(), "a witness's key is no log's");
    }
}
