//! Reads what is published of the tree over the log: checkpoints, tiles, entries, and the proofs made from them.
//! Nothing is given that no published checkpoint covers.

use chrono::TimeDelta;
use context::{Ctx, EventId, SubjectId};
use db::{FromRow, Gate, Tx};
use event_log::{
    Event, PlacedEvent,
    tree::{
        LeafRow, StoredCheckpoint, TileRow, TreeRow, UncoveredRow, bundle_events, checkpoint_newest, leaf_index,
        log_uncovered, tiles_get, tree_list,
    },
};
use projections::log::audit::event_place;
use transparency::{Checkpoint, Hash, InclusionProof, LogKey, bundle, record_hash, tile_width};

use crate::app::{App, AppError, frame, log::tree};

/// The newest published checkpoint of a tree, or of the newest tree if none is named; `None` if none is published.
pub async fn checkpoint(app: &App, tree: Option<i64>) -> Result<Option<StoredCheckpoint>, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "log_checkpoint", ctx, move |work| async move {
        match published_tree(app, &work.tx, tree).await {
            Err(AppError::NotFound(_)) => Ok(None),
            found => found.map(|(_, stored)| Some(stored)),
        }
    })
    .await
}

/// A tree, or the newest tree if none is named, and its newest published checkpoint.
pub(crate) async fn published_tree(
    app: &App,
    tx: &Tx,
    tree: Option<i64>,
) -> Result<(TreeRow, StoredCheckpoint), AppError> {
    let [trees, newest] = tx.flight([tree_list(), checkpoint_newest(tree, true)]).await?;
    let stored = newest.first().map(StoredCheckpoint::from_row).ok_or(AppError::NotFound("checkpoint"))?;
    let row = trees.iter().map(TreeRow::from_row).find(|row| row.tree == stored.tree);
    let row = row.ok_or(AppError::NotFound("tree"))?;
    tree::own_checkpoint(app, &row, &stored)?;
    Ok((row, stored))
}

/// The key that verifies the checkpoints of the newest tree.
pub async fn vkey(app: &App) -> Result<LogKey, AppError> {
    let trees = tree::trees(app).await?;
    match trees.first() {
        Some(tree) => tree::log_key(app, &tree.origin),
        None => tree::log_key(app, &tree::first_origin(app)?),
    }
}

/// The first `width` hashes of a tile of a tree, or of the newest tree if none is named; missing if no published
/// checkpoint covers them.
pub async fn tile_of(app: &App, tree: Option<i64>, level: u8, tile: u64, width: u64) -> Result<Vec<u8>, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "log_tile", ctx, move |work| async move {
        let (tree, covers) = published_tree(app, &work.tx, tree).await?;
        if tile_width(covers.size, level, tile) < width {
            return Err(AppError::NotFound("tile"));
        }
        let [rows] = work.tx.finish([tiles_get(tree.tree, &[(level, tile)])]).await?;
        let hashes = rows.first().map(|row| TileRow::from_row(row).hashes).unwrap_or_default();
        let bytes = usize::try_from(width * 32).unwrap_or(usize::MAX);
        hashes.get(..bytes).map(<[u8]>::to_vec).ok_or(AppError::NotFound("tile"))
    })
    .await
}

/// An entry bundle: the 256 leaves with this number, or the first `width` of them.
pub async fn bundle_of(app: &App, tree: Option<i64>, number: u64, width: u64) -> Result<Vec<u8>, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "log_bundle", ctx, move |work| async move {
        let (tree, covers) = published_tree(app, &work.tx, tree).await?;
        if tile_width(covers.size, 0, number) < width {
            return Err(AppError::NotFound("bundle"));
        }
        let [rows] = work.tx.finish([bundle_events(tree.tree, number, width)]).await?;
        let leaves: Vec<Vec<u8>> = rows.iter().map(|row| Event::from_row(row).leaf().to_bytes()).collect();
        let whole = u64::try_from(leaves.len()).unwrap_or(u64::MAX) == width;
        bundle(leaves.iter().map(Vec::as_slice)).filter(|_| whole).ok_or(AppError::NotFound("bundle"))
    })
    .await
}

/// The proof that a leaf is in a tree, or in the newest tree if none is named, under its published checkpoint. The
/// proof carries the hash of the leaf.
pub async fn inclusion(app: &App, tree: Option<i64>, index: u64) -> Result<InclusionProof, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "log_inclusion", ctx, move |work| async move {
        let (row, stored) = published_tree(app, &work.tx, tree).await?;
        if index >= stored.size {
            return Err(if index < row.size { AppError::Uncovered } else { AppError::NotFound("leaf") });
        }
        let size = stored.size;
        let proof = tree::prove(&work.tx, &row, |tiles| Ok((tiles.leaf(size, index)?, tiles.inclusion(size, index)?)));
        let (leaf, hashes) = proof.await?;
        Ok(InclusionProof { leaf: Some(leaf.0.to_vec()), index, hashes, checkpoint: stored.note })
    })
    .await
}

/// The proof that an event of the caller is in its tree. The proof carries the hash of the leaf or, with `with_leaf`,
/// the leaf itself, which names the caller by the log's own id.
pub async fn entry_proof(app: &App, ctx: &Ctx, event: EventId, with_leaf: bool) -> Result<InclusionProof, AppError> {
    let subject: SubjectId = ctx.subject;
    let queries = || [event_place(subject, event)];
    let [rows] = frame::ticket_query(app, "audit_proof", ctx, Gate::read(ctx), queries).await?;
    let row = rows.first().ok_or(AppError::NotFound("event"))?;
    let PlacedEvent { position, event } = PlacedEvent::from_row(row);
    let [rows] = frame::system_query(app, "leaf_index", || [leaf_index(position)]).await?;
    let leaf = rows.first().map(LeafRow::from_row).ok_or(AppError::Uncovered)?;
    let proof = inclusion(app, Some(leaf.tree), leaf.index).await?;
    let leaf = event.leaf().to_bytes();
    let extra = if with_leaf { leaf } else { record_hash(&leaf).0.to_vec() };
    Ok(InclusionProof { leaf: Some(extra), ..proof })
}

/// The proof that the newest tree with `newer` leaves continues the tree with `older` leaves; without `newer`, the
/// published checkpoint's size counts. Returns the newer size as well.
pub async fn consistency(app: &App, older: u64, newer: Option<u64>) -> Result<(u64, Vec<Hash>), AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "log_consistency", ctx, move |work| async move {
        let (row, stored) = published_tree(app, &work.tx, None).await?;
        let newer = newer.unwrap_or(stored.size);
        if newer > stored.size {
            return Err(AppError::NotFound("tree of this size"));
        }
        if older > newer {
            return Err(AppError::parameter("from", "must not be greater than `to`"));
        }
        Ok((newer, tree::prove(&work.tx, &row, |tiles| tiles.consistency(newer, older)).await?))
    })
    .await
}

/// The proof that a checkpoint, published or not, continues the tree of the same origin with `older` leaves.
pub async fn proof_between(app: &App, older: u64, checkpoint: &Checkpoint) -> Result<Vec<Hash>, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "log_proof_between", ctx, move |work| async move {
        let [trees] = work.tx.flight([tree_list()]).await?;
        let row = trees.iter().map(TreeRow::from_row).find(|row| row.origin == checkpoint.origin);
        let row = row.filter(|row| older <= checkpoint.size && checkpoint.size <= row.size);
        let row = row.ok_or(AppError::NotFound("tree"))?;
        tree::prove(&work.tx, &row, |tiles| tiles.consistency(checkpoint.size, older)).await
    })
    .await
}

/// For how long something has been waiting for a published checkpoint; `None` if nothing waits.
pub async fn uncovered(app: &App) -> Result<Option<TimeDelta>, AppError> {
    let [rows] = frame::system_query(app, "log_uncovered", || [log_uncovered()]).await?;
    let UncoveredRow { event, checkpoint } = UncoveredRow::from_row(&rows[0]);
    Ok([event, checkpoint].into_iter().flatten().min().map(|since| app.clock.now() - since))
}
