//! Random texts for tokens and passwords.

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A secret of `bytes` random bytes, as base64url text without padding.
pub fn random_text(bytes: usize) -> String {
    let mut secret = vec![0; bytes];
    rand::fill(&mut secret).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(secret)
}
