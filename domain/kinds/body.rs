//! The body of a record.

use context::Personal;
use serde_json::Value;

/// The content of a record: one JSON object, in clear.
pub type Body = Personal<Value>;
