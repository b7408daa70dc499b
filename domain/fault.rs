//! What is wrong with an input, and where.

use serde::{Deserialize, Serialize};

/// The most faults that are named at once.
pub const FAULTS: usize = 100;

/// One fault of an input: the path of the field, and what is wrong with the field. A fault never repeats the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The path of the field, such as `events[3].date`.
    pub field: String,
    pub message: String,
}

impl Fault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// The same fault inside an outer field.
    pub fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}
