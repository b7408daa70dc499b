//! The evidence key: signs documents that people take away and show to others, such as receipts of consent and
//! certificates of erasure.
//!
//! Each ring has one Ed25519 key for this. It is durable before it first signs and is kept for good, because a receipt
//! must be verifiable for as long as somebody may need it.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    Ring, RingError,
    ring_file::{RingFile, SigningSecret},
};

/// The multicodec of an Ed25519 public key.
const ED25519_PUBLIC: [u8; 2] = [0xed, 0x01];

/// The public part of the evidence key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceKey {
    /// The id of the key in the published key set: `evidence-…`.
    pub kid: String,
    pub public: [u8; 32],
}

impl EvidenceKey {
    /// The key as a Multikey (W3C Controlled Identifiers): base58btc of its multicodec and its bytes.
    pub fn multikey(&self) -> String {
        let bytes = [ED25519_PUBLIC.as_slice(), &self.public].concat();
        format!("z{}", bs58::encode(bytes).into_string())
    }

    /// The key as a verification method that any verifier resolves without asking the server (`did:key`).
    pub fn verification_method(&self) -> String {
        let key = self.multikey();
        format!("did:key:{key}#{key}")
    }

    /// The published key set, as a JSON Web Key Set (RFC 7517, RFC 8037).
    pub fn jwks(&self) -> Value {
        json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "kid": self.kid, "x": URL_SAFE_NO_PAD.encode(self.public),
        }] })
    }
}

impl Ring {
    pub fn evidence(&self) -> Result<EvidenceKey, RingError> {
        let secret = self.evidence_secret()?;
        let public = self.evidence_pair(&secret)?.public_key().as_ref().try_into();
        Ok(EvidenceKey { kid: secret.kid, public: public.expect("an Ed25519 public key has 32 bytes") })
    }

    /// The id of the evidence key; `None` if the key was not needed yet.
    pub fn evidence_kid(&self) -> Option<String> {
        self.find(|opened| opened.file.evidence.as_ref().map(|secret| secret.kid.clone()))
    }

    /// Signs evidence (RFC 8032).
    pub fn sign_evidence(&self, message: &[u8]) -> Result<[u8; 64], RingError> {
        let signature = self.evidence_pair(&self.evidence_secret()?)?.sign(message);
        Ok(signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes"))
    }

    fn evidence_secret(&self) -> Result<SigningSecret, RingError> {
        if let Some(secret) = self.find(|opened| opened.file.evidence.clone()) {
            return Ok(secret);
        }
        // Another server may have made the key just now, so the change begins with what the file holds.
        let make =
            |file: &mut RingFile| Ok(file.evidence.get_or_insert_with(|| SigningSecret::generate("evidence-")).clone());
        self.change(false, make)
    }

    fn evidence_pair(&self, secret: &SigningSecret) -> Result<Ed25519KeyPair, RingError> {
        Ed25519KeyPair::from_seed_unchecked(secret.seed.0.as_slice()).map_err(|_| self.malformed())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use crate::ring::tests::Folder;

    #[test]
    fn the_evidence_key_is_made_once_for_all_servers() {
        let folder = Folder::new();
        let (one, other) = (folder.open(), folder.open());
        assert!(!folder.text().contains("evidence"), "not before it is needed");
        let key = one.evidence().expect("made");
        assert!(key.kid.starts_with("evidence-") && folder.text().contains(&key.kid));
        assert_eq!(other.evidence().expect("found"), key);
        let generation = one.generation();
        let signature = other.sign_evidence(b"a receipt").expect("signed");
        assert_eq!(folder.open().generation(), generation);
        let public = UnparsedPublicKey::new(&ED25519, key.public);
        assert!(public.verify(b"a receipt", &signature).is_ok());
        assert!(public.verify(b"a deceit", &signature).is_err());
        assert_eq!(key.jwks()["keys"][0]["kid"], key.kid);
    }
}
