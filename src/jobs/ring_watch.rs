//! The watch over the key ring: each server takes over what others changed in the ring's file, and says which state it has read.
//!
//! A server is known from before it serves until it has stopped, by a row that it renews every two seconds; one not seen for
//! fifteen counts as gone. Who rotates a key waits for all that live. A server that was taken for gone and comes back does no
//! harm: it looks for keys that it does not know, and what it writes under an older version is refused and tried again.

use std::{sync::Arc, time::Duration};

use context::NodeId;
use db::Query;
use vault::RingError;

use crate::app::{
    App, AppError,
    frame::{self},
};

/// How often the file is looked at; the row is renewed every second time, and with every change.
const EVERY: Duration = Duration::from_secs(1);

/// Makes a server known, then takes over what changed meanwhile: whoever rotates a key either finds the row, or was earlier.
pub async fn join_ring(app: &App) -> Result<NodeId, AppError> {
    let node = NodeId::random();
    beat(app, node).await?;
    if reload(app).await? {
        beat(app, node).await?;
    }
    Ok(node)
}

/// Watches the ring until the task is ended.
pub async fn watch_ring(app: Arc<App>, node: NodeId) {
    let mut every = tokio::time::interval(EVERY);
    let (mut due, mut failed) = (false, None);
    loop {
        every.tick().await;
        let outcome = match reload(&app).await {
            Ok(changed) if changed || due => beat(&app, node).await,
            Ok(_) => Ok(()),
            // The others have to know that it lives, and lags behind.
            Err(error) => beat(&app, node).await.and(Err(error.into())),
        };
        due = !due;
        let failure = outcome.err().map(|error| error.to_string());
        if failure != failed {
            match &failure {
                Some(error) => tracing::error!(%error, "the key ring can't be followed"),
                None => tracing::info!("the key ring can be followed again"),
            }
            failed = failure;
        }
    }
}

/// Takes over what changed in the ring's file, beside the threads that serve; says whether anything did.
async fn reload(app: &App) -> Result<bool, RingError> {
    let vault = app.vault.clone();
    tokio::task::spawn_blocking(move || vault.ring().reload()).await.expect("no one panics while reading the ring")
}

/// Takes a server out that stops in order.
pub async fn leave_ring(app: &App, node: NodeId) -> Result<(), AppError> {
    let leave = || Query::new("-- node_leave\nDELETE FROM vault.nodes WHERE node_id = $1").bind(node.0);
    frame::system_query(app, "node_leave", || [leave()]).await.map(drop)
}

/// Renews a server's row, and clears those of servers that have been gone for an hour. The time is the database's, which all
/// servers share.
async fn beat(app: &App, node: NodeId) -> Result<(), AppError> {
    let generation = i64::try_from(app.vault.ring().generation()).unwrap_or(i64::MAX);
    let beat = || {
        Query::new(
            "-- node_beat
            INSERT INTO vault.nodes (node_id, ring_generation, seen_at) VALUES ($1, $2, statement_timestamp())
            ON CONFLICT (node_id) DO UPDATE
            SET ring_generation = excluded.ring_generation, seen_at = excluded.seen_at",
        )
        .bind(node.0)
        .bind(generation)
    };
    let clear = "-- nodes_clear\nDELETE FROM vault.nodes WHERE seen_at < statement_timestamp() - interval '1 hour'";
    frame::system_query(app, "node_beat", || [beat(), Query::new(clear)]).await.map(drop)
}
