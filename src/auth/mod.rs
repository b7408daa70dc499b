//! Who is asking: mailed codes, known devices, access tokens, sessions with refresh tokens, and limits on trying.

pub mod accounts;
pub mod codes;
pub mod counter;
pub mod devices;
pub mod limits;
pub mod sessions;
mod tokens;

pub use tokens::{Claims, Tokens};

use chrono::{DateTime, Utc};
use context::Personal;

/// The result of a sign-in or of a refresh.
pub struct Grant {
    /// The content of the access token.
    pub claims: Claims,
    pub token: String,
    pub refresh_token: String,
    /// The secret by which the device is known from now on. `None` after a refresh.
    pub device_secret: Option<Personal<String>>,
    pub expires_at: DateTime<Utc>,
}
