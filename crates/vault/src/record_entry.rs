//! A living record in the register.

use context::RecordId;
use db::Row;

#[derive(Clone)]
pub struct RecordEntry {
    pub record: RecordId,
    pub kind: String,
    /// The keyed hash of the record's natural key.
    pub key_hash: Vec<u8>,
    /// The keyed hash of the quarter in which the record lies; `None` for kinds without dates.
    pub bucket: Option<Vec<u8>>,
    /// The record's key, wrapped by the person's wrapping key and bound to all fields above.
    pub wrapped_key: Vec<u8>,
}

impl RecordEntry {
    /// Reads a row of [`record_register`](crate::record_register).
    pub fn from_row(row: &Row) -> Self {
        Self {
            record: RecordId(row.get(0)),
            kind: row.get(1),
            key_hash: row.get(2),
            bucket: row.get(3),
            wrapped_key: row.get(4),
        }
    }
}
