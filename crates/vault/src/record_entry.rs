//! A record as the register of living records knows it.

use context::RecordId;
use db::Row;

/// A living record's entry in the register.
#[derive(Clone)]
pub struct RecordEntry {
    /// Its random id.
    pub record: RecordId,
    /// Its kind's name.
    pub kind: String,
    /// The keyed hash of its natural key.
    pub key_hash: Vec<u8>,
    /// The keyed hash of the quarter it lies in, for kinds with dates.
    pub bucket: Option<Vec<u8>>,
    /// Its key, wrapped by the person's wrapping key and bound to all of the above.
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
