//! Who is asking: mailed codes, devices that are known, access tokens, sessions with refresh tokens, and limits on trying.

pub mod codes;
pub mod devices;
pub mod limits;
pub mod sessions;
mod tokens;

pub use tokens::{Claims, Tokens};

use chrono::{DateTime, Utc};
use context::Personal;

/// What a sign-in gives.
pub struct Grant {
    /// What the access token says.
    pub claims: Claims,
    /// The access token, a signed JWT.
    pub token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// The secret by which the device is known from now on; none where nobody signed in anew.
    pub device_secret: Option<Personal<String>>,
    /// When the access token runs out.
    pub expires_at: DateTime<Utc>,
}
