//! The body of a record.

use context::Personal;
use serde_json::Value;

/// What a record says: one JSON object, in clear text.
pub type Body = Personal<Value>;
