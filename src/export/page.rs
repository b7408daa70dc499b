//! What is read of a document: who it was made for, and pages of records.

use domain::Body;
use serde::Deserialize;

/// How many records a page has at most. An import submits a page in one transaction.
pub const PAGE: usize = 500;

/// The version of the documents that this version of the server reads.
pub const VERSION: &str = "1.0";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub export_version: String,
    /// The address of the person whom the document was made for.
    pub user_id: String,
}

/// Records of one kind that follow one another in a document. A kind without records has one empty page.
pub struct Page {
    pub kind: String,
    /// The number of the first record among those of its kind in the document.
    pub first: usize,
    /// The bodies; `None`: the record has none.
    pub bodies: Vec<Option<Body>>,
}
