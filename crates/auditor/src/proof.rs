//! Checks a proof of inclusion offline, with the log's key and, if somebody knows it, the hash of the leaf.

use std::fmt;

use serde::Serialize;
use transparency::{Checkpoint, Hash, InclusionProof, Leaf, LogKey, check_inclusion, record_hash};

use crate::error::AuditError;

/// The result of checking a proof.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Whether the leaf stands in the log where the proof says.
    pub holds: bool,
    what: String,
    index: u64,
    size: u64,
    origin: String,
}

impl Checked {
    /// Checks a proof. With a hash, the proof must be of the leaf with that hash; without one, of the leaf that the
    /// proof names.
    pub fn of(text: &str, key: &LogKey, leaf_hash: Option<&str>) -> Result<Self, AuditError> {
        let proof = InclusionProof::parse(text)?;
        let Checkpoint { size, root, origin, .. } = Checkpoint::verify(&proof.checkpoint, key)?;
        let expected = leaf_hash.map(|text| Hash::parse_hash(text).map_err(|_| AuditError::LeafHash)).transpose()?;
        let leaf = proof.leaf.as_deref().and_then(Leaf::parse);
        let named = proof.leaf.as_deref().map(named).transpose()?;
        let hash = expected.or(named).ok_or(AuditError::NoLeaf)?;
        let fits = named.is_none_or(|named| named == hash);
        let holds = fits && check_inclusion(&proof.hashes, size, root, proof.index, hash);
        let what = leaf.filter(|_| fits);
        let what =
            what.map_or_else(|| format!("the leaf {hash}"), |leaf| format!("{} of {}", leaf.event_type, leaf.kind));
        Ok(Self { holds, what, index: proof.index, size, origin })
    }
}

/// The hash of the leaf that a proof names in its extra line. The line holds the leaf itself or its hash.
fn named(extra: &[u8]) -> Result<Hash, AuditError> {
    match (Leaf::parse(extra), <[u8; 32]>::try_from(extra)) {
        (Some(_), _) => Ok(record_hash(extra)),
        (None, Ok(hash)) => Ok(Hash(hash)),
        (None, Err(_)) => Err(transparency::ProofError.into()),
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holds, what, index, size, origin } = self;
        let verb = if *holds { "is" } else { "IS NOT" };
        write!(f, "{what} {verb} at {index} among the {size} events of {origin}")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use transparency::{Edge, StoredTiles, sign_checkpoint};

    use super::*;

    fn leaf(number: u8) -> Vec<u8> {
        Leaf {
            aggregate_type: "record",
            aggregate_id: "a",
            sequence: i64::from(number),
            event_type: "record.submitted",
            event_version: "1.0",
            payload: "{}",
            metadata: "{}",
            event_id: [number; 16],
            subject_id: [2; 16],
            kind: "work_day",
            recorded_at_us: 0,
        }
        .to_bytes()
    }

    /// The proof of one of nine leaves, without an extra line.
    fn proof(index: u8) -> (InclusionProof, LogKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
        let key = LogKey::new("lethe.example/log", pair.public_key().as_ref().try_into().expect("32 bytes"));
        let key = key.expect("a sound name");
        let (mut edge, mut tiles) = (Edge::default(), StoredTiles::default());
        let grown = edge.grow((0..9).map(|number| record_hash(&leaf(number))));
        grown.into_iter().for_each(|tile| tiles.insert(tile.level, tile.tile, tile.hashes));
        let sign = |body: &[u8]| Ok::<_, ()>(pair.sign(body).as_ref().try_into().expect("64 bytes"));
        let checkpoint = sign_checkpoint(&key, 9, edge.root(), sign).expect("signed").note;
        let hashes = tiles.inclusion(9, index.into()).expect("proved");
        (InclusionProof { leaf: None, index: index.into(), hashes, checkpoint }, key)
    }

    #[test]
    fn a_proof_holds_for_its_leaf_only() {
        let (bare, key) = proof(4);
        let (mine, other) = (record_hash(&leaf(4)), record_hash(&leaf(5)));
        let with = |extra: &[u8]| InclusionProof { leaf: Some(extra.to_vec()), ..bare.clone() }.to_text();
        let holds = |text: &str, expected: Option<Hash>| {
            let expected = expected.map(|hash| hash.to_string());
            Checked::of(text, &key, expected.as_deref()).expect("it can be checked").holds
        };
        for right in [with(&mine.0), with(&leaf(4))] {
            assert!(holds(&right, None) && holds(&right, Some(mine)));
            assert!(!holds(&right, Some(other)), "of another leaf than it must be");
        }
        assert!(!holds(&with(&other.0), None) && !holds(&with(&leaf(5)), None));
        assert!(!holds(&with(&other.0), Some(mine)), "it names another leaf than it must");
        let said = Checked::of(&with(&leaf(4)), &key, None).expect("checked").to_string();
        assert_eq!(said, "record.submitted of work_day is at 4 among the 9 events of lethe.example/log");
        // Without an extra line the leaf has to be known from elsewhere.
        assert!(holds(&bare.to_text(), Some(mine)) && !holds(&bare.to_text(), Some(other)));
        assert!(matches!(Checked::of(&bare.to_text(), &key, None), Err(AuditError::NoLeaf)));
        assert!(matches!(Checked::of(&bare.to_text(), &key, Some("x")), Err(AuditError::LeafHash)));
        assert!(matches!(Checked::of(&with(b"nonsense"), &key, None), Err(AuditError::Proof(_))));
    }
}
