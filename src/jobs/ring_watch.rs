//! The watch over the key ring: each server takes over changes of the ring's file, and says in the database which state
//! it has read.
//!
//! A server has a row from before it serves until it has stopped, and renews it every two seconds; a server not seen
//! for fifteen seconds counts as gone. Rotating a key waits for all servers that are not gone. A server that counted as
//! gone and comes back does no harm: it looks for keys that it does not know, and a write under an older version is
//! refused and tried again.

use std::{sync::Arc, time::Duration};

use context::NodeId;
use vault::{
    RingError,
    nodes::{node_beat, node_leave, nodes_clear},
};

use crate::app::{App, AppError, frame};

/// How often the file is looked at. The row is renewed every second time, and with every change.
const EVERY: Duration = Duration::from_secs(1);

/// Writes a server's row, then takes over changes. In this order a key rotation either finds the row, or was over
/// before the reload.
pub async fn join_ring(app: &App) -> Result<NodeId, AppError> {
    let node = NodeId::random();
    beat(app, node).await?;
    if reload(app).await? {
        beat(app, node).await?;
    }
    Ok(node)
}

/// Follows the ring's file until the task is ended.
pub async fn watch_ring(app: Arc<App>, node: NodeId) {
    let mut every = tokio::time::interval(EVERY);
    let (mut due, mut failed) = (false, None);
    loop {
        every.tick().await;
        let outcome = match reload(&app).await {
            Ok(changed) if changed || due => beat(&app, node).await,
            Ok(_) => Ok(()),
            // The row is renewed all the same: the others must know that this server lives, with an older state of the
            // ring.
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

/// Takes over changes of the ring's file, on a thread that may block. Returns whether there were any.
async fn reload(app: &App) -> Result<bool, RingError> {
    let vault = app.vault.clone();
    tokio::task::spawn_blocking(move || vault.ring().reload()).await.expect("no one panics while reading the ring")
}

/// Deletes the row of a server that stops in order.
pub async fn leave_ring(app: &App, node: NodeId) -> Result<(), AppError> {
    frame::system_query(app, "node_leave", || [node_leave(node)]).await.map(drop)
}

/// Renews a server's row, and deletes rows of servers that have been gone for an hour. The time is the database's,
/// because all servers share it.
async fn beat(app: &App, node: NodeId) -> Result<(), AppError> {
    let generation = i64::try_from(app.vault.ring().generation()).unwrap_or(i64::MAX);
    frame::system_query(app, "node_beat", || [node_beat(node, generation), nodes_clear()]).await.map(drop)
}
