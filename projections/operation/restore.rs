//! The mark of a restore that has not come to its end.

use db::Query;

/// One row while a restore of this database is unfinished.
pub fn restore_unfinished() -> Query {
    Query::new("-- restore_unfinished\nSELECT FROM lethe.restoring")
}
