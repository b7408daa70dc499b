//! The header fields that tell what is left of a limit: `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers).

use poem::http::{HeaderName, HeaderValue};

use crate::auth::limits::Allowance;

const LEFT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The header fields that tell what is left of a limit.
pub fn fields(left: &Allowance) -> [(HeaderName, HeaderValue); 2] {
    let value = |text: String| HeaderValue::try_from(text).expect("names and numbers are plain text");
    [(LEFT, value(left.header())), (POLICY, value(left.policy_header()))]
}
