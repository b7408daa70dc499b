//! Servers that use the ring, each with a row that it renews. A rotation waits for all of them.

use context::NodeId;
use db::Query;

/// Renews a server's row. The time is the database's, which all servers share.
pub fn node_beat(node: NodeId, ring_generation: i64) -> Query {
    Query::new(
        "-- node_beat
        INSERT INTO vault.nodes (node_id, ring_generation, seen_at) VALUES ($1, $2, statement_timestamp())
        ON CONFLICT (node_id) DO UPDATE
        SET ring_generation = excluded.ring_generation, seen_at = excluded.seen_at",
    )
    .bind(node.0)
    .bind(ring_generation)
}

/// Removes the rows of servers that have not renewed theirs for an hour.
pub fn nodes_clear() -> Query {
    Query::new("-- nodes_clear\nDELETE FROM vault.nodes WHERE seen_at < statement_timestamp() - interval '1 hour'")
}

/// Removes a server's row.
pub fn node_leave(node: NodeId) -> Query {
    Query::new("-- node_leave\nDELETE FROM vault.nodes WHERE node_id = $1").bind(node.0)
}

/// Counts, as `servers`, the living servers that have read an older state of the ring.
pub fn nodes_behind(ring_generation: i64) -> Query {
    Query::new(
        "-- nodes_behind
        SELECT count(*) AS servers FROM vault.nodes
        WHERE ring_generation < $1 AND seen_at > statement_timestamp() - interval '15 seconds'",
    )
    .bind(ring_generation)
}
