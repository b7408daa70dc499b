//! Inclusion and consistency proofs: checking them, and the text form of an inclusion proof (C2SP `tlog-proof`).

use base64::{Engine, engine::general_purpose::STANDARD};
use tlog_tiles::{EMPTY_HASH, Hash, check_record, check_tree};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Whether `proof` shows that the tree of this size and root has `leaf` at `index`.
pub fn check_inclusion(proof: &[Hash], size: u64, root: Hash, index: u64, leaf: Hash) -> bool {
    index < size && check_record(&proof.to_vec(), size, root, index, leaf).is_ok()
}

/// Whether `proof` shows that the older tree, by its size and root, is a beginning of the newer one.
pub fn check_consistency(proof: &[Hash], older: (u64, Hash), newer: (u64, Hash)) -> bool {
    match (older, newer) {
        ((0, root), _) => proof.is_empty() && root == EMPTY_HASH,
        ((size, root), (other, same)) if size == other => proof.is_empty() && root == same,
        ((size, _), (other, _)) if size > other => false,
        _ => check_tree(&proof.to_vec(), newer.0, newer.1, older.0, older.1).is_ok(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an inclusion proof (c2sp.org/tlog-proof@v1)")]
pub struct ProofError;

/// An inclusion proof that needs nothing but the log's key to be checked offline.
#[derive(Clone, Debug, PartialEq)]
pub struct InclusionProof {
    /// The content of the extra line, if there is one: the leaf itself, or its hash.
    pub leaf: Option<Vec<u8>>,
    /// The index of the leaf in the tree, from 0.
    pub index: u64,
    /// The hashes from the leaf's sibling up to the root's child.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, as it was published.
    pub checkpoint: String,
}

impl InclusionProof {
    pub fn to_text(&self) -> String {
        let extra = self.leaf.as_ref().map(|leaf| format!("extra {}\n", STANDARD.encode(leaf))).unwrap_or_default();
        let hashes: String = self.hashes.iter().map(|hash| format!("{hash}\n")).collect();
        format!("{HEADER}\n{extra}index {}\n{hashes}\n{}", self.index, self.checkpoint)
    }

    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(ProofError);
        }
        let mut line = lines.next().ok_or(ProofError)?;
        let mut leaf = None;
        if let Some(extra) = line.strip_prefix("extra ") {
            leaf = Some(STANDARD.decode(extra).map_err(|_| ProofError)?);
            line = lines.next().ok_or(ProofError)?;
        }
        let digits = line.strip_prefix("index ").ok_or(ProofError)?;
        let index: u64 = digits.parse().map_err(|_| ProofError)?;
        if index.to_string() != digits {
            return Err(ProofError);
        }
        let hashes = lines.map(|line| Hash::parse_hash(line).map_err(|_| ProofError)).collect::<Result<_, _>>()?;
        Ok(Self { leaf, index, hashes, checkpoint: checkpoint.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_read_as_it_was_written() {
        let hashes = vec![Hash([7; 32]), Hash([9; 32])];
        let checkpoint = "origin\n3\nAAAA=\n\n\u{2014} origin AAAA\n".to_owned();
        let mut proof = InclusionProof { leaf: Some(b"leaf".to_vec()), index: 2, hashes, checkpoint };
        assert_eq!(InclusionProof::parse(&proof.to_text()), Ok(proof.clone()));
        proof.leaf = None;
        proof.hashes.clear();
        assert_eq!(InclusionProof::parse(&proof.to_text()), Ok(proof.clone()));
        for wrong in ["", "c2sp.org/tlog-proof@v1\nindex 01\n\nx", "c2sp.org/tlog-proof@v2\nindex 1\n\nx"] {
            assert_eq!(InclusionProof::parse(wrong), Err(ProofError), "{wrong}");
        }
    }

    #[test]
    fn consistency_of_equal_and_empty_trees_needs_no_proof() {
        let (one, other) = (Hash([1; 32]), Hash([2; 32]));
        assert!(check_consistency(&[], (0, EMPTY_HASH), (5, one)));
        assert!(!check_consistency(&[], (0, one), (5, one)));
        assert!(!check_consistency(&[one], (0, EMPTY_HASH), (5, one)));
        assert!(check_consistency(&[], (5, one), (5, one)));
        assert!(!check_consistency(&[], (5, one), (5, other)), "a fork");
        assert!(!check_consistency(&[], (6, one), (5, one)), "it shrank");
        assert!(!check_consistency(&[], (4, one), (5, other)));
    }
}
