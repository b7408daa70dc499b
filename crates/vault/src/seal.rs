//! Sealing: AES-256-GCM over padded plaintext, bound to its place by associated data.
//!
//! Sealed bytes are `1 | nonce (12) | ciphertext | tag (16)`. Plaintext is padded (ISO/IEC 7816-4) to 64, 128, … 4096
//! bytes and to multiples of 4096 beyond, so that a length says little. Nothing is compressed, because a compressed
//! length would say more.

use std::fmt;

use aws_lc_rs::{
    aead::{self, AES_256_GCM, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac, rand,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

const FORMAT: u8 = 1;
const SMALLEST_STEP: usize = 64;
const LARGEST_STEP: usize = 4096;

/// Ciphertext. It may be stored anywhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed(pub Vec<u8>);

impl Sealed {
    /// As text, for JSON payloads and metadata.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// The inverse of [`Sealed::to_base64`].
    pub fn from_base64(text: &str) -> Result<Self, Unreadable> {
        STANDARD.decode(text).map(Self).map_err(|_| Unreadable)
    }
}

impl Sealed {
    /// As many random bytes as a sealed text of this length has, and no text. No key opens them, and without the key
    /// nobody can tell them from sealed text. For events whose sealed part must not tell whom they are about.
    pub fn decoy(plaintext: usize) -> Self {
        let mut bytes = vec![0; SealKey::OVERHEAD + padded_len(plaintext)];
        fill_random(&mut bytes);
        bytes[0] = FORMAT;
        Self(bytes)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The place of a sealed value, which binds the value to it: the associated data (AAD) of the seal. Parts with their
/// lengths, so that no part runs into the next.
#[derive(Clone, Debug)]
pub struct Place(Vec<u8>);

impl Place {
    /// Begins a place with its kind.
    pub fn of(kind: &str) -> Self {
        Self(Vec::with_capacity(128)).and(kind.as_bytes())
    }

    /// Adds a part.
    pub fn and(mut self, part: &[u8]) -> Self {
        let length = u32::try_from(part.len()).expect("associated data is short");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }
}

/// An AES-256-GCM key. It wipes itself when dropped.
pub(crate) struct SealKey(LessSafeKey);

impl SealKey {
    /// How many bytes longer sealed bytes are than their plaintext, padding aside.
    pub const OVERHEAD: usize = 1 + NONCE_LEN + 16;

    pub fn new(secret: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).expect("the key has 32 bytes")))
    }

    /// Pads the plaintext and seals it.
    pub fn seal(&self, place: &Place, plaintext: &[u8]) -> Sealed {
        let mut padded = Zeroizing::new(Vec::with_capacity(padded_len(plaintext.len())));
        padded.extend_from_slice(plaintext);
        padded.push(0x80);
        padded.resize(padded_len(plaintext.len()), 0);
        self.encrypt(place, &padded)
    }

    /// Opens what [`SealKey::seal`] made.
    pub fn open(&self, place: &Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let mut plaintext = self.decrypt(place, &sealed.0)?;
        let end = plaintext.iter().rposition(|byte| *byte != 0).ok_or(Unreadable)?;
        if plaintext[end] != 0x80 {
            return Err(Unreadable);
        }
        plaintext.truncate(end);
        Ok(plaintext)
    }

    /// Wraps a key. A key is not padded, because every key has the same length.
    pub fn wrap(&self, place: &Place, key: &[u8; 32]) -> Vec<u8> {
        self.encrypt(place, key).0
    }

    /// Opens what [`SealKey::wrap`] made.
    pub fn unwrap(&self, place: &Place, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, Unreadable> {
        let key = self.decrypt(place, wrapped)?;
        Ok(Zeroizing::new(key.as_slice().try_into().map_err(|_| Unreadable)?))
    }

    /// Seals without padding.
    pub fn encrypt(&self, place: &Place, plaintext: &[u8]) -> Sealed {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce);
        let mut out = Vec::with_capacity(1 + NONCE_LEN + plaintext.len() + AES_256_GCM.tag_len());
        out.push(FORMAT);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plaintext);
        let body = &mut out[1 + NONCE_LEN..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, aead::Aad::from(&place.0), body)
            .expect("a value of less than 64 GiB can be sealed");
        out.extend_from_slice(tag.as_ref());
        Sealed(out)
    }

    /// Opens what [`SealKey::encrypt`] made.
    pub fn decrypt(&self, place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let (format, rest) = sealed.split_first().ok_or(Unreadable)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Unreadable)?;
        if *format != FORMAT {
            return Err(Unreadable);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unreadable)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let length = self.0.open_in_place(nonce, aead::Aad::from(&place.0), &mut buffer).map_err(|_| Unreadable)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// Fills `bytes` with bytes of the operating system's generator.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the operating system gives random bytes");
}

pub(crate) fn random_secret() -> Zeroizing<[u8; 32]> {
    let mut secret = Zeroizing::new([0; 32]);
    fill_random(secret.as_mut());
    secret
}

fn padded_len(plaintext: usize) -> usize {
    let least = plaintext + 1;
    if least <= LARGEST_STEP {
        least.next_power_of_two().max(SMALLEST_STEP)
    } else {
        least.next_multiple_of(LARGEST_STEP)
    }
}

/// A value could not be opened: it was altered, it belongs to another place, or its key is gone. The error does not
/// tell these apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open")]
pub struct Unreadable;

/// HMAC-SHA256 over parts with their lengths.
pub(crate) fn keyed_hash(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_in_its_place_only() {
        let key = SealKey::new(&random_secret());
        let here = Place::of("here").and(b"1");
        let sealed = key.seal(&here, b"a value");
        assert_eq!(key.open(&here, &sealed).expect("opens").as_slice(), b"a value");
        assert_eq!(key.open(&Place::of("here").and(b"2"), &sealed), Err(Unreadable));
        assert_eq!(key.open(&Place::of("her").and(b"e1"), &sealed), Err(Unreadable));
        let mut altered = sealed.clone();
        *altered.0.last_mut().expect("not empty") ^= 1;
        assert_eq!(key.open(&here, &altered), Err(Unreadable));
        assert_eq!(SealKey::new(&random_secret()).open(&here, &sealed), Err(Unreadable));
        assert_eq!(key.open(&here, &Sealed(vec![])), Err(Unreadable));
    }

    #[test]
    fn lengths_are_told_in_steps() {
        let key = SealKey::new(&random_secret());
        let length = |n: usize| key.seal(&Place::of("x"), &vec![b'x'; n]).0.len();
        assert_eq!(length(0), length(63));
        assert_eq!(length(64), length(127));
        assert_eq!(length(4096), length(8191));
        assert_ne!(length(63), length(64));
    }

    #[test]
    fn a_decoy_looks_like_a_sealed_text_and_opens_for_nobody() {
        let (key, place) = (SealKey::new(&random_secret()), Place::of("x"));
        for length in [0, 63, 64, 108, 5_000] {
            let (real, decoy) = (key.seal(&place, &vec![b'x'; length]), Sealed::decoy(length));
            assert_eq!((decoy.0.len(), decoy.0[0]), (real.0.len(), real.0[0]), "{length}");
            assert_eq!(key.open(&place, &decoy), Err(Unreadable));
            assert_ne!(decoy, Sealed::decoy(length));
        }
    }

    #[test]
    fn trailing_zeros_of_a_value_survive() {
        let key = SealKey::new(&random_secret());
        let sealed = key.seal(&Place::of("x"), &[1, 0x80, 0, 0]);
        assert_eq!(key.open(&Place::of("x"), &sealed).expect("opens").as_slice(), [1, 0x80, 0, 0]);
    }
}
