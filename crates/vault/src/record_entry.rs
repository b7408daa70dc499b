//! A record as the register of living records knows it.

use context::RecordId;
use db::FromRow;

/// A living record's entry in the register.
#[derive(Clone, FromRow)]
pub struct RecordEntry {
    /// Its random id.
    #[row(sql = "record_id", with = RecordId)]
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
