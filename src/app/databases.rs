//! The connection pools: one for each login at the database.

use db::Db;

#[derive(Clone)]
pub struct Databases {
    /// For requests, which run under the ticket of the caller.
    pub api: Db,
    /// For jobs, and for what is about nobody in particular.
    pub system: Db,
    /// For writing the log of reads.
    pub access: Db,
    /// For releases of statistics.
    pub stats: Db,
}
