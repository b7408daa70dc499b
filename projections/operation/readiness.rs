//! Probes: whether the database can be read and written.

use context::NodeId;
use db::Query;

/// Answers as every request's first flight does.
pub fn ready_answer() -> Query {
    Query::new("-- ready_answer\nSELECT lethe.ticket_role()")
}

/// Reads the files of two tables.
pub fn ready_read() -> Query {
    Query::new("-- ready_read\nSELECT EXISTS (SELECT FROM log.events), EXISTS (SELECT FROM vault.nodes)")
}

/// Inserts a row and removes it, in one transaction, so that no other ever sees it.
pub fn ready_write(node: NodeId) -> [Query; 2] {
    [
        Query::new(
            "-- ready_write
            INSERT INTO vault.nodes (node_id, ring_generation, seen_at) VALUES ($1, 0, statement_timestamp())",
        )
        .bind(node.0),
        Query::new("-- ready_unwrite\nDELETE FROM vault.nodes WHERE node_id = $1").bind(node.0),
    ]
}
