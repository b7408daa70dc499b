//! Clear text about a person, which debug output never shows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Clear text about a person. It serialises like its content, so that it can be sealed, and its debug output hides the
/// content.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal<T>(T);

impl<T> Personal<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for code that has to read it.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Personal;

    #[test]
    fn debug_output_says_nothing() {
        assert_eq!(format!("{:?}", Personal::new("Anna")), "Personal(…)");
    }
}
