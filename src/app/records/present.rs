//! Records that this server has stored lately. Whoever submits one of them again amends it, and would wait in vain for a
//! transaction that stores new records only. Of a record that was removed since this costs a round trip, and nothing else.

use projections::records::record::Named;
use quick_cache::sync::Cache;

/// How many records are remembered, by the hash that names them.
const RECORDS: usize = 50_000;

/// The records that this server has stored lately.
pub struct PresentRecords(Cache<[u8; 32], ()>);

impl Default for PresentRecords {
    fn default() -> Self {
        Self(Cache::new(RECORDS))
    }
}

impl PresentRecords {
    pub(crate) fn contains(&self, record: &Named) -> bool {
        self.0.get(&record.key_hash).is_some()
    }

    pub(crate) fn add(&self, record: &Named) {
        self.0.insert(record.key_hash, ());
    }
}
