//! The proof at the end of a document: the ring's evidence key signs the hash of everything before it, for one account.
//! So damaged files, files of other installations and files edited by hand are told from the files that we made.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use context::UserId;
use serde::{Deserialize, Serialize};
use vault::{Ring, RingError};

const ALGORITHM: &str = "Ed25519";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proof {
    pub algorithm: String,
    /// The id of the ring's evidence key that signed.
    pub key_id: String,
    pub user_id: UserId,
    /// SHA-256 of the document up to the comma before the proof, in hexadecimal.
    pub sha256: String,
    /// The signature in base64.
    pub signature: String,
}

/// The text that is signed.
fn message(user: UserId, sha256: &str) -> String {
    format!("lethe export 1\n{user}\n{sha256}\n")
}

/// Signs a document with this SHA-256.
pub fn prove(ring: &Ring, user: UserId, hash: &[u8]) -> Result<Proof, RingError> {
    let sha256 = hex::encode(hash);
    let signature = ring.sign_evidence(message(user, &sha256).as_bytes())?;
    Ok(Proof {
        algorithm: ALGORITHM.to_owned(),
        key_id: ring.evidence()?.kid,
        user_id: user,
        sha256,
        signature: STANDARD.encode(signature),
    })
}

/// Whether we signed a document with this SHA-256, for the account that the proof names.
pub fn check(ring: &Ring, proof: &Proof, hash: &[u8]) -> Result<bool, RingError> {
    let Ok(signature) = STANDARD.decode(&proof.signature) else { return Ok(false) };
    let sha256 = hex::encode(hash);
    let key = UnparsedPublicKey::new(&ED25519, ring.evidence()?.public);
    let signed = key.verify(message(proof.user_id, &sha256).as_bytes(), &signature).is_ok();
    Ok(signed && proof.algorithm == ALGORITHM && proof.sha256 == sha256)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};

    use super::*;

    #[test]
    fn a_proof_holds_for_its_document_its_account_and_its_ring_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = |name: &str| Ring::open_or_create(&folder.path().join(name), None).expect("a ring");
        let (ours, theirs) = (ring("ours.json"), ring("theirs.json"));
        let (hash, other) = (digest(&SHA256, b"a document"), digest(&SHA256, b"another"));
        let proof = prove(&ours, UserId::random(), hash.as_ref()).expect("proved");
        assert!(check(&ours, &proof, hash.as_ref()).expect("checked"));
        assert!(!check(&ours, &proof, other.as_ref()).expect("checked"));
        assert!(!check(&theirs, &proof, hash.as_ref()).expect("checked"));
        let foreign = Proof { user_id: UserId::random(), ..proof.clone() };
        assert!(!check(&ours, &foreign, hash.as_ref()).expect("checked"));
        let nonsense = Proof { signature: "?".to_owned(), ..proof };
        assert!(!check(&ours, &nonsense, hash.as_ref()).expect("checked"));
    }
}
