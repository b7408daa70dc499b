//! The origin of the tree over the log after a restore. If the database holds all that was signed, its tree goes on.
//! Otherwise a new tree is opened, whose first leaf says what was kept and what is lost. Nothing else may write
//! meanwhile.

use context::{Ctx, SubjectId};
use db::FromRow;
use domain::log::origin::{AbandonedTree, LogOrigin, LogOriginCommand, LogOriginEvent};
use event_log::{
    cqrs_es::Aggregate,
    tree::{TreeRow, edge_get, tree_add, tree_list, tree_whole},
};
use projections::log::audit::stream_newest;
use transparency::{Checkpoint, EMPTY_HASH, Hash};

use crate::{
    app::{
        App, AppError,
        frame::{self, newest_of},
        log::tree::{self, PAUSE, Sign, edge_of},
    },
    data::watermark::tree_number,
};

/// Continues the tree of a restored database if it holds all that was signed. Otherwise opens a new tree, whose first
/// leaf says what was lost, and returns its first checkpoint. Nothing else may write meanwhile. A second run opens no
/// second tree.
pub async fn reopen(app: &App) -> Result<Option<Checkpoint>, AppError> {
    let trees = tree::trees(app).await?;
    let known = app.log.watermark.read(app.vault.ring().log_public()?).await?;
    if trees.is_empty() && known.is_none() {
        return Ok(None);
    }
    if let (Some(newest), Some(signed)) = (trees.first(), &known)
        && newest.size > 0
        && is_opened(app, newest, signed).await?
    {
        return first_checkpoint(app).await.map(Some);
    }
    let (tree, left) = if let Some(newest) = trees.first().filter(|newest| newest.tree > 1 && newest.size == 0) {
        // An earlier run broke off before the new tree got its first leaf, so the tree that is left is the one before
        // it.
        (newest.clone(), trees.get(1).cloned())
    } else {
        let tree = whole(app).await?;
        if let Some(signed) = &known
            && tree.origin == signed.origin
            && tree_goes_on(app, &tree, signed).await?
        {
            return Ok(None);
        }
        // The new tree's number must not be that of a signed tree. The restored database may have an older number than
        // the signed one. If the checkpoint file is missing as well, nobody knows the last number, so the present time
        // in seconds is taken, which is the number of no earlier tree.
        let first = trees.last().map_or_else(|| tree.origin.clone(), |tree| tree.origin.clone());
        let number = match known.as_ref().and_then(|signed| tree_number(&signed.origin, &first)) {
            Some((signed, _)) => tree.tree.max(i64::try_from(signed).unwrap_or(i64::MAX - 1)) + 1,
            None => app.clock.now().timestamp(),
        };
        let begins = tree.begins + i64::try_from(tree.size).unwrap_or_default();
        let origin = format!("{first}/{number}");
        (TreeRow { tree: number, origin, begins, size: 0, ..tree.clone() }, Some(tree))
    };
    let left = left.ok_or_else(|| AppError::Corrupt("a tree behind no other".to_owned()))?;
    let kept_root = root(app, &left, left.size).await?.unwrap_or(EMPTY_HASH);
    // Without a checkpoint from outside the database nobody knows what was signed: at least what was kept.
    let nothing =
        |origin: &str| Checkpoint { origin: origin.to_owned(), size: 0, root: EMPTY_HASH, note: String::new() };
    let signed = known.unwrap_or_else(|| Checkpoint { size: left.size, root: kept_root, ..nothing(&left.origin) });
    let now = app.clock.now();
    frame::system_query(app, "tree_add", || [tree_add(&tree, now)]).await?;
    let left = AbandonedTree {
        previous: left.origin,
        previous_begins: left.begins.unsigned_abs(),
        kept_size: left.size,
        kept_root: kept_root.to_string(),
        signed_origin: signed.origin,
        signed_size: signed.size,
        signed_root: signed.root.to_string(),
    };
    record_origin(app, LogOriginCommand::Open { origin: tree.origin.clone(), left }).await?;
    first_checkpoint(app).await.map(Some)
}

/// The first checkpoint of a tree that was just opened. A server publishes it later, because only a server knows the
/// witnesses.
async fn first_checkpoint(app: &App) -> Result<Checkpoint, AppError> {
    loop {
        if let Some((_, checkpoint)) = tree::integrate(app, Sign::Opening).await? {
            return Ok(checkpoint);
        }
        if let Some((_, checkpoint)) = tree::unpublished(app).await? {
            return Ok(checkpoint);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether `tree` was opened because of the checkpoint `signed`.
async fn is_opened(app: &App, tree: &TreeRow, signed: &Checkpoint) -> Result<bool, AppError> {
    let id = SubjectId::NIL.to_string();
    let [rows] =
        frame::system_query(app, "origin_get", || [stream_newest(SubjectId::NIL, LogOrigin::TYPE, &id)]).await?;
    let event = newest_of(&rows).and_then(|event| serde_json::from_str(&event.payload).ok());
    Ok(event.is_some_and(|LogOriginEvent::OriginOpened { origin, left, .. }| {
        origin == tree.origin && left.signed_origin == signed.origin && left.signed_size == signed.size
    }))
}

/// Whether a stored tree continues the tree of a checkpoint.
async fn tree_goes_on(app: &App, tree: &TreeRow, signed: &Checkpoint) -> Result<bool, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "tree_goes_on", ctx, move |work| async move {
        let [tiles] = work.tx.flight([edge_get(tree)]).await?;
        tree::is_beginning(&work.tx, signed, tree, edge_of(tree, &tiles)?.root()).await
    })
    .await
}

/// Integrates events without signing until the tree covers the whole log; returns the tree.
async fn whole(app: &App) -> Result<TreeRow, AppError> {
    loop {
        tree::integrate(app, Sign::No).await?;
        let [trees, whole] = frame::system_query(app, "tree_whole", || [tree_list(), tree_whole()]).await?;
        if let Some(tree) = trees.first().filter(|_| whole[0].get("is_whole")) {
            return Ok(TreeRow::from_row(tree));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The root that a stored tree had at a size; `None` if the tree is smaller.
async fn root(app: &App, tree: &TreeRow, size: u64) -> Result<Option<Hash>, AppError> {
    if size > tree.size {
        return Ok(None);
    }
    let ctx = &Ctx::system(app.clock.clone());
    frame::system_work(app, &app.db.system, "tree_root", ctx, move |work| async move {
        tree::prove(&work.tx, tree, |tiles| tiles.root(size)).await
    })
    .await
    .map(Some)
}

async fn record_origin(app: &App, command: LogOriginCommand) -> Result<(), AppError> {
    let (ctx, id) = (&Ctx::system(app.clock.clone()), SubjectId::NIL.to_string());
    frame::system_command::<LogOrigin>(app, "log_origin_record", ctx, &id, command).await.map(drop)
}
