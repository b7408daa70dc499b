//! The tree over the log: integrating events and signing checkpoints. What is read of it is `log.rs`, how one is opened `log_origin.rs`.
//!
//! Promises: leaves are integrated in the order of the log, each once, by one server at a time, whichever dies; a checkpoint is
//! signed in the transaction that stores its tiles, and leaves afterwards. Refuses: to sign what does not go on from the
//! newest checkpoint outside the database, so that a database that was rolled back, cut or exchanged gets no signature.

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

use crate::app::{
    App, AppError,
    frame::{self},
};

/// So many events are integrated at once.
const PAGE: i64 = 4096;
/// How long is waited for transactions that hold readers of the log back.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// Whether a step signs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It integrates only.
    No,
    /// Where the tree goes on from what was signed last.
    GoingOn,
    /// Also the first of a tree that is being opened.
    Opening,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq)]
enum Grown {
    /// Another server integrates.
    Elsewhere,
    /// Integrated so many events; there are more.
    More(usize),
    /// Integrated so many events, all there were, and signed, where something was not signed yet.
    Whole(usize, Option<(i64, Checkpoint)>),
}

/// The key of a tree of ours.
pub(crate) fn log_key(app: &App, origin: &str) -> Result<LogKey, AppError> {
    let public = app.vault.ring().log_public()?;
    LogKey::new(origin, public).map_err(|_| AppError::Corrupt("the origin of the log is no name".to_owned()))
}

/// The origin of the first tree.
pub(crate) fn first_origin(app: &App) -> Result<String, AppError> {
    let public = app.vault.ring().log_public()?;
    let named = app.log.origin.clone();
    Ok(named.unwrap_or_else(|| format!("lethe/{}", hex::encode(&record_hash(&public).0[..8]))))
}

/// Integrates the next page of events, and, where it is asked to and the page was the last, signs a checkpoint.
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
            let leaves = events.iter().map(|(_, event)| record_hash(&event.leaf().to_bytes()));
            work.queue(tiles_put(tree.tree, edge.grow(leaves)));
            let places = events.iter().map(|(position, _)| *position);
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
        // It is published once it stands outside the database as well.
        work.queue(checkpoint_add(tree.tree, &checkpoint, false, ctx.now()));
        crash_point("tree: integrated");
        Ok((Grown::Whole(events.len(), Some((tree.tree, checkpoint))), Some(key)))
    })
    .await?;
    // After the commit: what is outside the database must never be ahead of it.
    if let (Grown::Whole(_, Some((_, checkpoint))), Some(key)) = (&grown, key) {
        crash_point("tree: signed");
        app.log.watermark.write(checkpoint, &key).await?;
        crash_point("tree: in the file");
    }
    Ok(grown)
}

/// Makes the first tree, where there is none.
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

/// Refuses a tree that does not go on from the newest checkpoint outside the database. `before` is size and root that the
/// tree had before this step, `signed` whether the database has a checkpoint of it.
async fn goes_on(app: &App, tx: &Tx, tree: &TreeRow, before: (u64, Hash), signed: bool) -> Result<(), AppError> {
    let Some(known) = app.log.watermark.read(app.vault.ring().log_public()?).await? else {
        // Nothing was signed yet, or the file that says so is gone.
        return if signed || tree.tree > 1 { Err(AppError::WatermarkMissing) } else { Ok(()) };
    };
    let stored = TreeRow { size: before.0, ..tree.clone() };
    let same = known.origin == tree.origin && is_beginning(tx, &known, &stored, before.1).await?;
    if same { Ok(()) } else { Err(AppError::LogNotContinued { origin: known.origin, size: known.size }) }
}

/// Whether a checkpoint is of the beginning of a stored tree, whose root its right edge gives: proved, since the tiles that say
/// what the tree was and those that say what it is are not all the same.
pub(crate) async fn is_beginning(tx: &Tx, known: &Checkpoint, tree: &TreeRow, root: Hash) -> Result<bool, AppError> {
    if known.size > tree.size {
        return Ok(false);
    }
    let proof = prove(tx, tree, |tiles| tiles.consistency(tree.size, known.size)).await?;
    Ok(check_consistency(&proof, (known.size, known.root), (tree.size, root)))
}

/// Proves something of a stored tree, reading the tiles that it takes.
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

/// Integrates everything that can be read now, signs, and, where no witness has to be asked first, publishes; gives the newest
/// checkpoint, if it signed one.
pub async fn grow(app: &App) -> Result<Option<Checkpoint>, AppError> {
    let Some((tree, checkpoint)) = integrate(app, Sign::GoingOn).await? else { return Ok(None) };
    if app.log.policy.as_ref().is_none_or(|policy| policy.is_witnessed(&checkpoint)) {
        publish(app, tree, &checkpoint, true).await?;
    }
    Ok(Some(checkpoint))
}

/// Stores what was added to a checkpoint, and whether it is published.
pub async fn publish(app: &App, tree: i64, checkpoint: &Checkpoint, published: bool) -> Result<(), AppError> {
    if published {
        // Whoever signed it may have died before it stood outside the database.
        app.log.watermark.write(checkpoint, &log_key(app, &checkpoint.origin)?).await?;
    }
    let cosign = || checkpoint_cosign(tree, checkpoint, published);
    frame::system_query(app, "checkpoint_cosign", || [cosign()]).await.map(drop)
}

/// A checkpoint that is not published yet, with its tree's number.
pub async fn unpublished(app: &App) -> Result<Option<(i64, Checkpoint)>, AppError> {
    let Some(tree) = trees(app).await?.into_iter().next() else { return Ok(None) };
    let [rows] = frame::system_query(app, "checkpoint_newest", || [checkpoint_newest(None, false)]).await?;
    let Some(stored) = rows.first().map(StoredCheckpoint::from_row).filter(|stored| !stored.witnessed) else {
        return Ok(None);
    };
    let checkpoint = own_checkpoint(app, &tree, &stored)?;
    // Whoever signed it may have died before it stood outside the database, and nobody is shown it before.
    app.log.watermark.write(&checkpoint, &log_key(app, &tree.origin)?).await?;
    Ok(Some((stored.tree, checkpoint)))
}

/// What is stored as a checkpoint of a tree, if it is one: a row that somebody put there is not taken for ours.
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

/// The right edge of a tree, of the rows that `edge_get` gives.
pub(crate) fn edge_of(tree: &TreeRow, rows: &[Row]) -> Result<Edge, AppError> {
    let tiles: HashMap<_, _> =
        rows.iter().map(TileRow::from_row).map(|row| ((row.level, row.tile), row.hashes)).collect();
    let edge = Edge::load(tree.size, |level, tile| tiles.get(&(level, tile)).cloned());
    edge.ok_or_else(|| AppError::Corrupt("the tree's tiles do not fit its size".to_owned()))
}

/// All trees, the newest first.
pub async fn trees(app: &App) -> Result<Vec<TreeRow>, AppError> {
    let [rows] = frame::system_query(app, "log_trees", || [tree_list()]).await?;
    Ok(rows.iter().map(TreeRow::from_row).collect())
}
