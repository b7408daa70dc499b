//! A comparison in progress. What is compared stands in `operation.rs` and `schema.rs`.

use std::collections::BTreeSet;

use super::{
    change::{Change, Place, Way, Weight},
    document::Document,
};

/// Two documents, and what was found so far.
pub struct Comparison<'a> {
    pub old: &'a Document,
    pub new: &'a Document,
    pub changes: BTreeSet<Change>,
    /// Pairs of named schemas that were compared, or are being compared.
    pub seen: BTreeSet<(String, String, Way)>,
}

impl<'a> Comparison<'a> {
    pub fn new(old: &'a Document, new: &'a Document) -> Self {
        Self { old, new, changes: BTreeSet::new(), seen: BTreeSet::new() }
    }

    pub fn found(&mut self, weight: Weight, place: &Place, text: impl Into<String>) {
        self.changes.insert(Change { weight, place: place.clone(), text: text.into() });
    }
}
