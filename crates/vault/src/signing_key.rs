//! Signing keys as the ring's file holds them, ready to sign and to verify.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use chrono::{DateTime, TimeDelta, Utc};
use zeroize::Zeroizing;

use crate::ring_file::SigningSecret;

/// A signing key of access tokens.
pub struct SigningKey {
    /// The `kid` of token headers and of the published key set.
    pub kid: String,
    /// The private key, as PKCS #8.
    pub pkcs8: Zeroizing<Vec<u8>>,
    /// The public key, 32 bytes.
    pub public: Vec<u8>,
    /// The longest life of a token that is signed with the key.
    pub longest_token: TimeDelta,
    /// Until when tokens of the key may live; `None` unless another key has replaced it.
    pub accepted_until: Option<DateTime<Utc>>,
}

/// All signing keys of one state of the ring.
pub struct Signing {
    /// The first key signs; tokens of all keys are accepted.
    pub keys: Vec<SigningKey>,
}

impl Signing {
    /// `None` if there is no key, or if one of them is malformed.
    pub(crate) fn new(secrets: &[SigningSecret]) -> Option<Self> {
        let keys: Vec<SigningKey> = secrets.iter().map(signing_key).collect::<Option<_>>()?;
        (!keys.is_empty()).then_some(Self { keys })
    }

    pub fn signer(&self) -> &SigningKey {
        &self.keys[0]
    }
}

fn signing_key(secret: &SigningSecret) -> Option<SigningKey> {
    let pair = Ed25519KeyPair::from_seed_unchecked(secret.seed.0.as_slice()).ok()?;
    Some(SigningKey {
        kid: secret.kid.clone(),
        pkcs8: Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()),
        public: pair.public_key().as_ref().to_vec(),
        longest_token: longest(secret),
        accepted_until: secret.accepted_until,
    })
}

/// The longest life of a token if its key notes no other: as long as a guest's token.
pub const LONGEST_TOKEN: TimeDelta = TimeDelta::hours(1);

pub(crate) fn longest(secret: &SigningSecret) -> TimeDelta {
    secret.longest_token_s.and_then(TimeDelta::try_seconds).unwrap_or(LONGEST_TOKEN)
}
