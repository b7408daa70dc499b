//! Documents with a proof that anybody can check: W3C Data Integrity with the cryptosuite `eddsa-jcs-2022`.
//!
//! A document and the proof's options are each brought into RFC 8785's canonical form and hashed with SHA-256; the
//! evidence key signs both hashes ("Data Integrity EdDSA Cryptosuites v1.0", section 3.3). Checking refuses every proof
//! that is not of this suite, of another context than the document's, or for another purpose than `assertionMethod`.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::{Ring, RingError};

const SUITE: &str = "eddsa-jcs-2022";

/// Adds a proof to a document, made with the ring's evidence key. The document must be an object; a `proof` that it has
/// is replaced. Its numbers must be integers that a double holds exactly, because the canonical form knows no other
/// numbers.
///
/// # Panics
/// If the document is not an object.
pub fn seal_document(ring: &Ring, document: Value, now: DateTime<Utc>) -> Result<Value, RingError> {
    let Value::Object(mut document) = document else { panic!("a document with a proof is an object") };
    document.remove("proof");
    let key = ring.evidence()?;
    let mut proof = Map::new();
    let mut put = |name: &str, value: Value| drop(proof.insert(name.to_owned(), value));
    put("type", json!("DataIntegrityProof"));
    put("cryptosuite", json!(SUITE));
    put("created", json!(now.to_rfc3339_opts(SecondsFormat::Secs, true)));
    put("verificationMethod", json!(key.verification_method()));
    put("proofPurpose", json!("assertionMethod"));
    if let Some(context) = document.get("@context") {
        put("@context", context.clone());
    }
    let signature = ring.sign_evidence(&signed_bytes(&document, &proof))?;
    proof.insert("proofValue".to_owned(), json!(format!("z{}", bs58::encode(signature).into_string())));
    document.insert("proof".to_owned(), Value::Object(proof));
    Ok(Value::Object(document))
}

/// Whether the document is as the holder of this Ed25519 key sealed it.
pub fn check_document(document: &Value, public_key: &[u8]) -> bool {
    check(document, public_key).is_some()
}

fn check(document: &Value, public_key: &[u8]) -> Option<()> {
    let mut document = document.as_object()?.clone();
    let Value::Object(mut proof) = document.remove("proof")? else { return None };
    let value = proof.remove("proofValue")?;
    let signature = bs58::decode(value.as_str()?.strip_prefix('z')?).into_vec().ok()?;
    let expected = [("type", "DataIntegrityProof"), ("cryptosuite", SUITE), ("proofPurpose", "assertionMethod")];
    if expected.iter().any(|(name, value)| proof.get(*name).and_then(Value::as_str) != Some(value))
        || proof.get("@context") != document.get("@context")
    {
        return None;
    }
    UnparsedPublicKey::new(&ED25519, public_key).verify(&signed_bytes(&document, &proof), &signature).ok()
}

/// The bytes that are signed: the hash of the proof's options, then the hash of the document.
fn signed_bytes(document: &Map<String, Value>, options: &Map<String, Value>) -> Vec<u8> {
    [options, document].iter().flat_map(|part| digest(&SHA256, &canonical(part)).as_ref().to_vec()).collect()
}

fn canonical(object: &Map<String, Value>) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(object).expect("JSON without infinite numbers has a canonical form")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::Ed25519KeyPair;

    use super::*;
    use crate::ring::tests::Folder;

    /// The signed document of the suite's specification (appendix "Representation: eddsa-jcs-2022"; `TestVectors` of
    /// the repository w3c/vc-di-eddsa), the pair of keys that signed it, and the hashes on the way.
    const SIGNED: &str = r#"{
      "@context": ["https://www.w3.org/ns/credentials/v2", "https://www.w3.org/ns/credentials/examples/v2"],
      "id": "urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33",
      "type": ["VerifiableCredential", "AlumniCredential"],
      "name": "Alumni Credential",
      "description": "A minimum viable example of an Alumni Credential.",
      "issuer": "https://vc.example/issuers/5678",
      "validFrom": "2023-01-01T00:00:00Z",
      "credentialSubject": { "id": "did:example:abcdefgh", "alumniOf": "The School of Examples" },
      "proof": {
        "type": "DataIntegrityProof",
        "cryptosuite": "eddsa-jcs-2022",
        "created": "2023-02-24T23:36:38Z",
        "verificationMethod":
          "did:key:z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2#z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2",
        "proofPurpose": "assertionMethod",
        "@context": ["https://www.w3.org/ns/credentials/v2", "https://www.w3.org/ns/credentials/examples/v2"],
        "proofValue": "z2HnFSSPPBzR36zdDgK8PbEHeXbR56YF24jwMpt3R1eHXQzJDMWS93FCzpvJpwTWd3GAVFuUfjoJdcnTMuVor51aX"
      }
    }"#;
    const PUBLIC: &str = "6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2";
    const PRIVATE: &str = "3u2en7t5LR2WtQH5PfFqMqwVHBeXouLzo6haApm8XHqvjxq";
    const COMBINED_HASH: &str = "66ab154f5c2890a140cb8388a22a160454f80575f6eae09e5a097cabe539a1db\
                                 59b7cb6251b8991add1ce0bc83107e3db9dbbab5bd2c28f687db1a03abc92f19";

    fn multibase(text: &str) -> Vec<u8> {
        bs58::decode(text).into_vec().expect("base58btc")
    }

    #[test]
    fn the_specifications_own_example_is_signed_and_checked_alike() {
        let signed: Value = serde_json::from_str(SIGNED).expect("JSON");
        let (public, private) = (multibase(PUBLIC), multibase(PRIVATE));
        assert!(check_document(&signed, &public[2..]));
        let mut document = signed.as_object().expect("an object").clone();
        let Some(Value::Object(mut proof)) = document.remove("proof") else { panic!("a proof is an object") };
        let value = proof.remove("proofValue").expect("a value");
        let bytes = signed_bytes(&document, &proof);
        assert_eq!(hex::encode(&bytes), COMBINED_HASH);
        let pair = Ed25519KeyPair::from_seed_and_public_key(&private[2..], &public[2..]).expect("a pair");
        assert_eq!(value, json!(format!("z{}", bs58::encode(pair.sign(&bytes)).into_string())));
    }

    #[test]
    fn a_document_of_ours_is_checked_with_the_published_key_and_not_when_it_was_altered() {
        let folder = Folder::new();
        let ring = folder.open();
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let document = json!({ "@context": ["https://w3id.org/dpv"], "type": "Receipt", "name": "Zoë \u{1F98B}",
                               "counts": { "records": 12, "letters": -1 }, "proof": "none yet" });
        let sealed = seal_document(&ring, document, now).expect("sealed");
        let key = ring.evidence().expect("there");
        assert!(check_document(&sealed, &key.public));
        assert_eq!(sealed["proof"]["verificationMethod"], json!(key.verification_method()));
        assert_eq!(sealed["proof"]["created"], "2027-01-15T08:00:00Z");
        // The same document, written and read by another JSON library.
        let read: Value = serde_json::from_str(&serde_json::to_string_pretty(&sealed).expect("text")).expect("JSON");
        assert!(check_document(&read, &key.public));
        let alter = |pointer: &str, value: Value| {
            let mut altered = sealed.clone();
            *altered.pointer_mut(pointer).expect(pointer) = value;
            altered
        };
        let mut bare = sealed.clone();
        bare.as_object_mut().expect("an object").remove("proof");
        for (number, altered) in [
            alter("/counts/records", json!(13)),
            alter("/@context", json!(["https://example.com"])),
            alter("/proof/created", json!("2027-01-15T08:00:01Z")),
            alter("/proof/cryptosuite", json!("eddsa-rdfc-2022")),
            alter("/proof/proofPurpose", json!("authentication")),
            alter("/proof/type", json!("Ed25519Signature2020")),
            alter("/proof/proofValue", json!("z1")),
            alter("/proof/proofValue", json!("")),
            alter("/proof", json!([])),
            bare,
            json!("a text"),
        ]
        .iter()
        .enumerate()
        {
            assert!(!check_document(altered, &key.public), "{number}");
        }
        let other = Folder::new();
        assert!(!check_document(&sealed, &other.open().evidence().expect("there").public), "another key");
    }
}
