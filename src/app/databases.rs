//! The pools, one a login.

use db::Db;

/// One pool a login.
#[derive(Clone)]
pub struct Databases {
    /// Requests, under the tickets of those who make them.
    pub api: Db,
    /// Jobs.
    pub system: Db,
    /// The log of reads.
    pub access: Db,
    /// Releases of statistics.
    pub stats: Db,
}
