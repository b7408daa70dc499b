//! The tree over the log: integrating events and signing checkpoints. `published.rs` reads the tree, `origin.rs` opens
//! a new one.
//!
//! Promises: leaves are integrated in the order of the log, each once, by one server at a time, even if a server dies.
//! A checkpoint is signed in the transaction that stores its tiles, and leaves the database after the commit. Refuses
//! to sign a tree that does not continue the newest checkpoint outside the database, so that a database that was rolled
//! back, cut or exchanged gets no signature.

use std::{collections::HashMap, time::Duration};

use context::{Ctx, crash_point};
use db::{FromRow, Row, Tx};
use event_log::{
    Position, Reader,
    tree::{
        StoredCheckpoint, TileRow, TreeRow, bundles_put, checkpoint_add, checkpoint_cosign, checkpoint_newest,
        edge_get, tiles_get, tiles_put, tree_add, tree_list, tree_lock, tree_move,
    },
};
use transparency::{
    Checkpoint, Edge, Hash, LogKey, Missing, StoredTiles, check_consistency, record_hash, sign_checkpoint,
};

use crate::app::{App, AppError, frame};

/// The most events that one step integrates.
const PAGE: i64 = 4096;
/// How long to wait for open transactions, which hold back the readers of the log.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// Whether a step signs a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The step only integrates events.
    No,
    /// The step signs if the tree continues the checkpoint that was signed last.
    GoingOn,
    /// The step signs without that check, because the tree was just opened.
    Opening,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq)]
enum Grown {
    /// Nothing, because another server integrates.
    Elsewhere,
    /// Integrated so many events; more are left.
    More(usize),
    /// Integrated so many events, and none are left. Holds the new checkpoint and its tree's number, if one was signed.
    Whole(usize, Option<(i64, Checkpoint)>),
}

/// The log's public key under the origin of one of our trees.
pub(crate) fn log_key(app: &App, origin: &str) -> Result<LogKey, AppError> {
    let public = app.vault.ring().log_public()?;
    LogKey::new(origin, public).map_err(|_| AppError::Corrupt("the origin of the log is no name".to_owned()))
}

/// The origin of the first tree: the configured one, or one derived from the log's key.
pub(crate) fn first_origin(app: &App) -> Result<String, AppError> {
    let public = app.vault.ring().log_public()?;
    let named = app.log.origin.clone();
    Ok(named.unwrap_or_else(|| format!("lethe/{}", hex::encode(&record_hash(&public).0[..8]))))
}

/// Integrates the next page of events. Signs a checkpoint if `sign` asks for it and the page was the last.
async fn step(app: &App, sign: Sign) -> Result<Grown, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let (grown, key) = frame::system_work(app, &app.db.system, "tree_step", ctx, move |work| async move {
        let [rows, newest] = work.tx.flight([tree_lock(), checkpoint_newest(None, false)]).await?;
        let Some(mut tree) = rows.first().map(TreeRow::from_row) else {
            return begin(app, ctx, &work.tx).await;
        };
        let signed = newest.first().map(StoredCheckpoint::from_row).filter(|stored| stored.tree == tree.tree);
        let signed = signed.map(|stored| own_checkpoint(app, &tree, &stored)).transpose()?;
        let mut reader = Reader::new(tree.position, PAGE);
        let [tiles, page] = work.tx.flight([edge_get(&tree), reader.page()]).await?;
        let mut edge = edge_of(&tree, &tiles)?;
        let before = (edge.size(), edge.root());
        let events = reader.take(&page);
        if !events.is_empty() {
            let leaves = events.iter().map(|placed| record_hash(&placed.event.leaf().to_bytes()));
            work.queue(tiles_put(tree.tree, edge.grow(leaves)));
            let places = events.iter().map(|placed| placed.position);
            work.queue(bundles_put(tree.tree, before.0, places));
            (tree.size, tree.position) = (edge.size(), reader.position());
            work.queue(tree_move(&tree, ctx.now()));
        }
        if events.len() == usize::try_from(PAGE).unwrap_or_default() {
            return Ok((Grown::More(events.len()), None));
        }
        if sign == Sign::No || edge.size() == 0 || signed.as_ref().is_some_and(|stored| stored.size == edge.size()) {
            return Ok((Grown::Whole(events.len(), None), None));
        }
        if sign == Sign::GoingOn {
            goes_on(app, &work.tx, &tree, before, signed.is_some()).await?;
        }
        let key = log_key(app, &tree.origin)?;
        let checkpoint = sign_checkpoint(&key, edge.size(), edge.root(), |body| app.vault.ring().sign_log(body))?;
        // It is published only once it is stored outside the database as well.
        work.queue(checkpoint_add(tree.tree, &checkpoint, false, ctx.now()));
        crash_point("tree: integrated");
        Ok((Grown::Whole(events.len(), Some((tree.tree, checkpoint))), Some(key)))
    })
    .await?;
    // Written after the commit, because the checkpoint outside the database must never be ahead of the database.
    if let (Grown::Whole(_, Some((_, checkpoint))), Some(key)) = (&grown, key) {
        crash_point("tree: signed");
        app.log.watermark.write(checkpoint, &key).await?;
        crash_point("tree: in the file");
    }
    Ok(grown)
}

/// Makes the first tree if there is none.
async fn begin(app: &App, ctx: &Ctx, tx: &Tx) -> Result<(Grown, Option<LogKey>), AppError> {
    let origin = first_origin(app)?;
    log_key(app, &origin)?;
    let tree = TreeRow { tree: 1, origin, begins: 0, size: 0, position: Position::default() };
    let [known] = tx.flight([tree_list()]).await?;
    if !known.is_empty() {
        return Ok((Grown::Elsewhere, None));
    }
    tx.queue(tree_add(&tree, ctx.now()));
    Ok((Grown::More(0), None))
}

/// Refuses a tree that does not continue the newest checkpoint outside the database. `before` is the size and root that
/// the tree had before this step; `signed` says if the database has a checkpoint of the tree.
async fn goes_on(app: &App, tx: &Tx, tree: &TreeRow, before: (u64, Hash), signed: bool) -> Result<(), AppError> {
    let Some(known) = app.log.watermark.read(app.vault.ring().log_public()?).await? else {
        // Nothing was signed yet, or the file that would say so is missing.
        return if signed || tree.tree > 1 { Err(AppError::WatermarkMissing) } else { Ok(()) };
    };
    let stored = TreeRow { size: before.0, ..tree.clone() };
    let same = known.origin == tree.origin && is_beginning(tx, &known, &stored, before.1).await?;
    if same { Ok(()) } else { Err(AppError::LogNotContinued { origin: known.origin, size: known.size }) }
}

/// Whether a checkpoint is of the beginning of a stored tree, whose root is given. A proof is necessary, because the
/// older tree and the present one do not consist of the same tiles.
pub(crate) async fn is_beginning(tx: &Tx, known: &Checkpoint, tree: &TreeRow, root: Hash) -> Result<bool, AppError> {
    if known.size > tree.size {
        return Ok(false);
    }
    let proof = prove(tx, tree, |tiles| tiles.consistency(tree.size, known.size)).await?;
    Ok(check_consistency(&proof, (known.size, known.root), (tree.size, root)))
}

/// Proves something about a stored tree, and reads the tiles that the proof needs.
pub(crate) async fn prove<T>(
    tx: &Tx,
    tree: &TreeRow,
    prove: impl Fn(&StoredTiles) -> Result<T, Missing>,
) -> Result<T, AppError> {
    let mut stored = StoredTiles::default();
    loop {
        let wanted = match prove(&stored) {
            Ok(proof) => return Ok(proof),
            Err(Missing(wanted)) => wanted,
        };
        let [rows] = tx.flight([tiles_get(tree.tree, &wanted)]).await?;
        if wanted.is_empty() || rows.len() < wanted.len() {
            return Err(AppError::Corrupt("tiles of the tree are missing".to_owned()));
        }
        rows.iter().map(TileRow::from_row).for_each(|row| stored.insert(row.level, row.tile, row.hashes));
    }
}

/// Integrates all events that can be read now, and signs a checkpoint. Publishes it if no witness has to be asked
/// first. Returns the checkpoint, if it signed one.
pub async fn grow(app: &App) -> Result<Option<Checkpoint>, AppError> {
    let Some((tree, checkpoint)) = integrate(app, Sign::GoingOn).await? else { return Ok(None) };
    if app.log.policy.as_ref().is_none_or(|policy| policy.is_witnessed(&checkpoint)) {
        publish(app, tree, &checkpoint, true).await?;
    }
    Ok(Some(checkpoint))
}

/// Stores a checkpoint's cosignatures, and whether it is published.
pub async fn publish(app: &App, tree: i64, checkpoint: &Checkpoint, published: bool) -> Result<(), AppError> {
    if published {
        // The server that signed it may have died before it wrote the file outside the database.
        app.log.watermark.write(checkpoint, &log_key(app, &checkpoint.origin)?).await?;
    }
    let cosign = || checkpoint_cosign(tree, checkpoint, published);
    frame::system_query(app, "checkpoint_cosign", || [cosign()]).await.map(drop)
}

/// The newest checkpoint with its tree's number, if it is not published yet.
pub async fn unpublished(app: &App) -> Result<Option<(i64, Checkpoint)>, AppError> {
    let Some(tree) = trees(app).await?.into_iter().next() else { return Ok(None) };
    let [rows] = frame::system_query(app, "checkpoint_newest", || [checkpoint_newest(None, false)]).await?;
    let Some(stored) = rows.first().map(StoredCheckpoint::from_row).filter(|stored| !stored.witnessed) else {
        return Ok(None);
    };
    let checkpoint = own_checkpoint(app, &tree, &stored)?;
    // The server that signed it may have died before it wrote the file outside the database, and nobody may see the
    // checkpoint before that.
    app.log.watermark.write(&checkpoint, &log_key(app, &tree.origin)?).await?;
    Ok(Some((stored.tree, checkpoint)))
}

/// Reads a stored checkpoint of a tree and verifies it, so that a row that somebody else put there is not taken for
/// ours.
pub(crate) fn own_checkpoint(app: &App, tree: &TreeRow, stored: &StoredCheckpoint) -> Result<Checkpoint, AppError> {
    let checkpoint = Checkpoint::verify(&stored.note, &log_key(app, &tree.origin)?).ok();
    let fits = |it: &Checkpoint| stored.tree == tree.tree && it.size == stored.size && it.size <= tree.size;
    checkpoint.filter(fits).ok_or_else(|| AppError::Corrupt("a checkpoint that we did not sign".to_owned()))
}

pub(crate) async fn integrate(app: &App, sign: Sign) -> Result<Option<(i64, Checkpoint)>, AppError> {
    loop {
        match step(app, sign).await? {
            Grown::More(_) => {}
            Grown::Elsewhere => return Ok(None),
            Grown::Whole(_, checkpoint) => return Ok(checkpoint),
        }
    }
}

/// The right edge of a tree, from the rows of `edge_get`.
pub(crate) fn edge_of(tree: &TreeRow, rows: &[Row]) -> Result<Edge, AppError> {
    let tiles: HashMap<_, _> =
        rows.iter().map(TileRow::from_row).map(|row| ((row.level, row.tile), row.hashes)).collect();
    let edge = Edge::load(tree.size, |level, tile| tiles.get(&(level, tile)).cloned());
    edge.ok_or_else(|| AppError::Corrupt("the tree's tiles do not fit its size".to_owned()))
}

/// All trees, the newest first.
pub async fn trees(app: &App) -> Result<Vec<TreeRow>, AppError> {
    let [rows] = frame::system_query(app, "log_trees", || [tree_list()]).await?;
    Ok(TreeRow::from_rows(&rows))
}
