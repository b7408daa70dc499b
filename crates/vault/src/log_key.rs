//! The log's key: signs the checkpoints of the tree over the log.
//!
//! Each ring has one Ed25519 key for this. It is durable before it first signs and is kept for good, because everybody
//! who verifies the log has been given its public part: a checkpoint under another key belongs to another log.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::{
    Ring, RingError,
    ring_file::{RingFile, SigningSecret},
};

impl Ring {
    /// The public part of the log's key.
    pub fn log_public(&self) -> Result<[u8; 32], RingError> {
        let pair = self.log_pair()?;
        Ok(pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes"))
    }

    /// Signs a message with the log's key (RFC 8032).
    pub fn sign_log(&self, message: &[u8]) -> Result<[u8; 64], RingError> {
        let signature = self.log_pair()?.sign(message);
        Ok(signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes"))
    }

    fn log_pair(&self) -> Result<Ed25519KeyPair, RingError> {
        let secret = match self.find(|opened| opened.file.log.clone()) {
            Some(secret) => secret,
            // Another server may have made the key just now, so the change begins with what the file holds.
            None => self.change(false, |file: &mut RingFile| {
                Ok(file.log.get_or_insert_with(|| SigningSecret::generate("log-")).clone())
            })?,
        };
        Ed25519KeyPair::from_seed_unchecked(secret.seed.0.as_slice()).map_err(|_| self.malformed())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use crate::ring::tests::Folder;

    #[test]
    fn the_logs_key_is_made_once_for_all_servers_and_is_no_other() {
        let folder = Folder::new();
        let (one, other) = (folder.open(), folder.open());
        let public = one.log_public().expect("made");
        assert_eq!(other.log_public().expect("found"), public);
        assert_ne!(one.evidence().expect("made").public, public);
        let signature = other.sign_log(b"a checkpoint").expect("signed");
        assert!(UnparsedPublicKey::new(&ED25519, public).verify(b"a checkpoint", &signature).is_ok());
    }
}
