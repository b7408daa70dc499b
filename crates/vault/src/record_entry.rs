//! A living record in the register.

use context::RecordId;
use db::FromRow;

/// A living record's entry in the register.
#[derive(Clone, FromRow)]
pub struct RecordEntry {
    /// Its random id.
    #[row(sql = "record_id", with = RecordId)]
    pub record: RecordId,
    pub kind: String,
    /// The keyed hash of the record's natural key.
    pub key_hash: Vec<u8>,
    /// The keyed hash of the quarter in which the record lies; `None` for kinds without dates.
    pub bucket: Option<Vec<u8>>,
    /// The record's key, wrapped by the person's wrapping key and bound to all fields above.
    pub wrapped_key: Vec<u8>,
}
