//! Versions of records, and what a condition demands of them.

use context::RecordId;

/// The version of a record, as conditions name it: its number, and the beginning of the record's id. A record that was
/// removed and is submitted anew begins with the number 1 again, and must not be taken for the one before.
pub fn version_of(record: RecordId, number: i64) -> String {
    format!("{number}-{}", &record.0.simple().to_string()[..8])
}

/// Versions of a record that a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Any version.
    Any,
    /// One of these versions, as [`version_of`] writes them.
    These(Vec<String>),
}

/// What must be true of a record before it is changed (RFC 9110, 13.1.1 and 13.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The record is there, in one of these versions.
    pub one_of: Option<Versions>,
    /// The record is not there in any of these versions.
    pub none_of: Option<Versions>,
}

impl Expected {
    /// Exactly this version.
    pub fn version(version: String) -> Self {
        Self { one_of: Some(Versions::These(vec![version])), none_of: None }
    }

    /// A condition that no version meets: for a change that is only checked, because another condition has failed
    /// already.
    pub fn nothing() -> Self {
        Self { one_of: Some(Versions::These(Vec::new())), none_of: None }
    }

    /// Whether a record of this version may be changed; `version` is `None` if there is no record.
    pub fn permits(&self, version: Option<&str>) -> bool {
        let named = |versions: &Versions| match (versions, version) {
            (_, None) => false,
            (Versions::Any, Some(_)) => true,
            (Versions::These(these), Some(version)) => these.iter().any(|one| one == version),
        };
        self.one_of.as_ref().is_none_or(named) && !self.none_of.as_ref().is_some_and(named)
    }
}
