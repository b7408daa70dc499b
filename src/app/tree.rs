//! The tree over the log: integrating events, signing checkpoints, and what auditors and people read of it.
//!
//! Promises: leaves are integrated in the order of the log, each once, by one server at a time, whichever dies; a checkpoint is
//! signed in the transaction that stores its tiles, and leaves afterwards. Refuses: to sign what does not go on from the
//! newest checkpoint outside the database, so that a database that was rolled back, cut or exchanged gets no signature.

use std::time::Duration;

use context::{Ctx, EventId, SubjectId};
use db::{Gate, Query, Tx};
use domain::log_origin::{Left, LogOrigin, LogOriginCommand, LogOriginEvent};
use event_log::{
    Event, Position, Reader,
    cqrs_es::Aggregate,
    tree::{
        StoredCheckpoint, TreeRow, bundle_events, bundles_put, checkpoint_add, checkpoint_cosign, checkpoint_newest,
        edge_get, leaf_index, log_uncovered, tile_row, tiles_get, tiles_put, tree_add, tree_list, tree_lock, tree_move,
    },
};
use projections::audit::{event_place, newest};
use tokio::sync::Semaphore;
use transparency::{
    Checkpoint, EMPTY_HASH, Edge, Hash, InclusionProof, LogKey, Missing, Policy, StoredTiles, TILE_HASHES, bundle,
    check_consistency, record_hash, sign_checkpoint, tile_width,
};

use super::{App, AppError, stream::newest_of};
use crate::watermark::{Watermark, tree_number};

/// So many events are integrated at once.
const PAGE: i64 = 4096;
/// How long is waited for transactions that hold readers of the log back.
const PAUSE: Duration = Duration::from_millis(50);

/// How the log is made verifiable.
pub struct LogSettings {
    /// The first line of its checkpoints; where none is named, one is made of the key.
    pub origin: Option<String>,
    /// Which witnesses must cosign before a checkpoint is published; none: no witness is asked.
    pub policy: Option<Policy>,
    /// The newest checkpoint outside the database.
    pub watermark: Watermark,
    /// So many public reads of the log go on at once: they share connections with jobs.
    pub readers: Semaphore,
}

impl LogSettings {
    /// Settings on the files of a data folder.
    pub fn new(origin: Option<String>, policy: Option<Policy>, watermark: Watermark) -> Self {
        Self { origin, policy, watermark, readers: Semaphore::new(2) }
    }
}

/// Whether a step signs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
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

impl App {
    /// The key of a tree of ours.
    fn log_key(&self, origin: &str) -> Result<LogKey, AppError> {
        let public = self.vault.ring().log_public()?;
        LogKey::new(origin, public).map_err(|_| AppError::Corrupt("the origin of the log is no name".to_owned()))
    }

    /// The origin of the first tree.
    fn first_origin(&self) -> Result<String, AppError> {
        let public = self.vault.ring().log_public()?;
        let named = self.log.origin.clone();
        Ok(named.unwrap_or_else(|| format!("lethe/{}", hex::encode(&record_hash(&public).0[..8]))))
    }

    /// Integrates the next page of events, and, where it is asked to and the page was the last, signs a checkpoint.
    async fn tree_step(&self, sign: Sign) -> Result<Grown, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let [rows, newest] = tx.flight([tree_lock(), checkpoint_newest(None, false)]).await?;
            let Some(mut tree) = rows.first().map(TreeRow::from_row) else {
                return self.tree_begin(ctx, &tx).await;
            };
            let signed = newest.first().map(StoredCheckpoint::from_row).filter(|stored| stored.tree == tree.tree);
            let signed = signed.map(|stored| self.own_checkpoint(&tree, &stored)).transpose()?;
            let mut reader = Reader::new(tree.position, PAGE);
            let [tiles, page] = tx.flight([edge_get(&tree), reader.page()]).await?;
            let tiles: std::collections::HashMap<_, _> = tiles.iter().map(tile_row).collect();
            let edge = Edge::load(tree.size, |level, tile| tiles.get(&(level, tile)).cloned());
            let mut edge = edge.ok_or_else(|| AppError::Corrupt("the tree's tiles do not fit its size".to_owned()))?;
            let before = (edge.size(), edge.root());
            let events = reader.take(&page);
            if !events.is_empty() {
                let leaves = events.iter().map(|(_, event)| record_hash(&event.leaf().to_bytes()));
                tx.queue(tiles_put(tree.tree, edge.grow(leaves)));
                let places = events.iter().map(|(position, _)| *position);
                tx.queue(bundles_put(tree.tree, before.0, places));
                (tree.size, tree.position) = (edge.size(), reader.position());
                tx.queue(tree_move(&tree, ctx.now()));
            }
            if events.len() == usize::try_from(PAGE).unwrap_or_default() {
                return Ok((Grown::More(events.len()), None));
            }
            if sign == Sign::No || edge.size() == 0 || signed.as_ref().is_some_and(|stored| stored.size == edge.size())
            {
                return Ok((Grown::Whole(events.len(), None), None));
            }
            if sign == Sign::GoingOn {
                self.goes_on(&tx, &tree, before, signed.is_some()).await?;
            }
            let key = self.log_key(&tree.origin)?;
            let checkpoint = sign_checkpoint(&key, edge.size(), edge.root(), |body| self.vault.ring().sign_log(body))?;
            // It is published once it stands outside the database as well.
            tx.queue(checkpoint_add(tree.tree, &checkpoint, false, ctx.now()));
            Ok((Grown::Whole(events.len(), Some((tree.tree, checkpoint))), Some(key)))
        };
        let (grown, key) = self.db.system.run_tx("tree_step", ctx, Gate::read(ctx), work).await?;
        // After the commit: what is outside the database must never be ahead of it.
        if let (Grown::Whole(_, Some((_, checkpoint))), Some(key)) = (&grown, key) {
            self.log.watermark.write(checkpoint, &key)?;
        }
        Ok(grown)
    }

    /// Makes the first tree, where there is none.
    async fn tree_begin(&self, ctx: &Ctx, tx: &Tx) -> Result<(Grown, Option<LogKey>), AppError> {
        let origin = self.first_origin()?;
        self.log_key(&origin)?;
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
    async fn goes_on(&self, tx: &Tx, tree: &TreeRow, before: (u64, Hash), signed: bool) -> Result<(), AppError> {
        let Some(known) = self.log.watermark.read(self.vault.ring().log_public()?)? else {
            // Nothing was signed yet, or the file that says so is gone.
            return if signed || tree.tree > 1 { Err(AppError::WatermarkMissing) } else { Ok(()) };
        };
        let stored = TreeRow { size: before.0, ..tree.clone() };
        let same = known.origin == tree.origin && self.is_beginning(tx, &known, &stored, before.1).await?;
        if same { Ok(()) } else { Err(AppError::LogNotContinued { origin: known.origin, size: known.size }) }
    }

    /// Whether a checkpoint is of the beginning of a stored tree, whose root its right edge gives: proved, since the tiles that say
    /// what the tree was and those that say what it is are not all the same.
    async fn is_beginning(&self, tx: &Tx, known: &Checkpoint, tree: &TreeRow, root: Hash) -> Result<bool, AppError> {
        if known.size > tree.size {
            return Ok(false);
        }
        let proof = self.prove(tx, tree, |tiles| tiles.consistency(tree.size, known.size)).await?;
        Ok(check_consistency(&proof, (known.size, known.root), (tree.size, root)))
    }

    /// Proves something of a stored tree, reading the tiles that it takes.
    async fn prove<T>(
        &self,
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
            rows.iter().map(tile_row).for_each(|((level, tile), hashes)| stored.insert(level, tile, hashes));
        }
    }

    /// Integrates everything that can be read now, signs, and, where no witness has to be asked first, publishes; gives the newest
    /// checkpoint, if it signed one.
    pub async fn tree_grow(&self) -> Result<Option<Checkpoint>, AppError> {
        let Some((tree, checkpoint)) = self.tree_integrate(Sign::GoingOn).await? else { return Ok(None) };
        if self.log.policy.as_ref().is_none_or(|policy| policy.is_witnessed(&checkpoint)) {
            self.tree_publish(tree, &checkpoint, true).await?;
        }
        Ok(Some(checkpoint))
    }

    /// Stores what was added to a checkpoint, and whether it is published.
    pub async fn tree_publish(&self, tree: i64, checkpoint: &Checkpoint, published: bool) -> Result<(), AppError> {
        if published {
            // Whoever signed it may have died before it stood outside the database.
            self.log.watermark.write(checkpoint, &self.log_key(&checkpoint.origin)?)?;
        }
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            tx.queue(checkpoint_cosign(tree, checkpoint, published));
            Ok(())
        };
        self.db.system.run_tx("checkpoint_cosign", ctx, Gate::read(ctx), work).await
    }

    /// A checkpoint that is not published yet, with its tree's number.
    pub async fn tree_unpublished(&self) -> Result<Option<(i64, Checkpoint)>, AppError> {
        let Some(tree) = self.log_trees().await?.into_iter().next() else { return Ok(None) };
        let rows = self.read_as_system("checkpoint_newest", &|| checkpoint_newest(None, false)).await?;
        let Some(stored) = rows.first().map(StoredCheckpoint::from_row).filter(|stored| !stored.witnessed) else {
            return Ok(None);
        };
        let checkpoint = self.own_checkpoint(&tree, &stored)?;
        // Whoever signed it may have died before it stood outside the database, and nobody is shown it before.
        self.log.watermark.write(&checkpoint, &self.log_key(&tree.origin)?)?;
        Ok(Some((stored.tree, checkpoint)))
    }

    /// What is stored as a checkpoint of a tree, if it is one: a row that somebody put there is not taken for ours.
    fn own_checkpoint(&self, tree: &TreeRow, stored: &StoredCheckpoint) -> Result<Checkpoint, AppError> {
        let checkpoint = Checkpoint::verify(&stored.note, &self.log_key(&tree.origin)?).ok();
        let fits = |it: &Checkpoint| stored.tree == tree.tree && it.size == stored.size && it.size <= tree.size;
        checkpoint.filter(fits).ok_or_else(|| AppError::Corrupt("a checkpoint that we did not sign".to_owned()))
    }

    async fn tree_integrate(&self, sign: Sign) -> Result<Option<(i64, Checkpoint)>, AppError> {
        loop {
            match self.tree_step(sign).await? {
                Grown::More(_) => {}
                Grown::Elsewhere => return Ok(None),
                Grown::Whole(_, checkpoint) => return Ok(checkpoint),
            }
        }
    }

    /// Goes on with the tree of a database that was restored, where it holds all that was signed; otherwise opens a new one,
    /// whose first leaf says what was lost. Nothing else writes meanwhile. Doing it twice opens no second.
    pub async fn tree_reopen(&self) -> Result<Option<Checkpoint>, AppError> {
        let trees = self.log_trees().await?;
        let known = self.log.watermark.read(self.vault.ring().log_public()?)?;
        if trees.is_empty() && known.is_none() {
            return Ok(None);
        }
        if let (Some(newest), Some(signed)) = (trees.first(), &known)
            && newest.size > 0
            && self.is_opened(newest, signed).await?
        {
            return self.tree_first_checkpoint().await.map(Some);
        }
        let (tree, left) = if let Some(newest) = trees.first().filter(|newest| newest.tree > 1 && newest.size == 0) {
            // Broken off before its first leaf was there: what it leaves is the tree before.
            (newest.clone(), trees.get(1).cloned())
        } else {
            let tree = self.tree_whole().await?;
            if let Some(signed) = &known
                && tree.origin == signed.origin
                && self.tree_goes_on(&tree, signed).await?
            {
                return Ok(None);
            }
            // A number that no signed tree has: that of the restored database may be older, and without the file nobody knows
            // which was the last, but it was no moment of the present.
            let first = trees.last().map_or_else(|| tree.origin.clone(), |tree| tree.origin.clone());
            let number = match known.as_ref().and_then(|signed| tree_number(&signed.origin, &first)) {
                Some((signed, _)) => tree.tree.max(i64::try_from(signed).unwrap_or(i64::MAX - 1)) + 1,
                None => self.clock.now().timestamp(),
            };
            let begins = tree.begins + i64::try_from(tree.size).unwrap_or_default();
            let origin = format!("{first}/{number}");
            (TreeRow { tree: number, origin, begins, size: 0, ..tree.clone() }, Some(tree))
        };
        let left = left.ok_or_else(|| AppError::Corrupt("a tree behind no other".to_owned()))?;
        let kept_root = self.tree_root(&left, left.size).await?.unwrap_or(EMPTY_HASH);
        // Without a checkpoint from outside nobody knows what was signed: at least what was kept.
        let nothing =
            |origin: &str| Checkpoint { origin: origin.to_owned(), size: 0, root: EMPTY_HASH, note: String::new() };
        let signed = known.unwrap_or_else(|| Checkpoint { size: left.size, root: kept_root, ..nothing(&left.origin) });
        let ctx = &Ctx::system(self.clock.clone());
        let row = &tree;
        let work = move |tx: Tx| async move {
            tx.queue(tree_add(row, ctx.now()));
            Ok::<_, AppError>(())
        };
        self.db.system.run_tx("tree_add", ctx, Gate::read(ctx), work).await?;
        let left = Left {
            previous: left.origin,
            previous_begins: left.begins.unsigned_abs(),
            kept_size: left.size,
            kept_root: kept_root.to_string(),
            signed_origin: signed.origin,
            signed_size: signed.size,
            signed_root: signed.root.to_string(),
        };
        self.log_origin_record(LogOriginCommand::Open { origin: tree.origin.clone(), left }).await?;
        self.tree_first_checkpoint().await.map(Some)
    }

    /// The first checkpoint of a tree that was opened. It is published by a server, which knows the witnesses.
    async fn tree_first_checkpoint(&self) -> Result<Checkpoint, AppError> {
        loop {
            if let Some((_, checkpoint)) = self.tree_integrate(Sign::Opening).await? {
                return Ok(checkpoint);
            }
            if let Some((_, checkpoint)) = self.tree_unpublished().await? {
                return Ok(checkpoint);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether a tree was opened behind this checkpoint.
    async fn is_opened(&self, tree: &TreeRow, signed: &Checkpoint) -> Result<bool, AppError> {
        let id = SubjectId::NIL.to_string();
        let rows = self.read_as_system("origin_get", &|| newest(SubjectId::NIL, LogOrigin::TYPE, &id)).await?;
        let event = newest_of(&rows).and_then(|event| serde_json::from_str(&event.payload).ok());
        Ok(event.is_some_and(|LogOriginEvent::OriginOpened { origin, left, .. }| {
            origin == tree.origin && left.signed_origin == signed.origin && left.signed_size == signed.size
        }))
    }

    /// Whether a stored tree goes on from a checkpoint.
    async fn tree_goes_on(&self, tree: &TreeRow, signed: &Checkpoint) -> Result<bool, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let [tiles] = tx.flight([edge_get(tree)]).await?;
            let tiles: std::collections::HashMap<_, _> = tiles.iter().map(tile_row).collect();
            let edge = Edge::load(tree.size, |level, tile| tiles.get(&(level, tile)).cloned());
            let edge = edge.ok_or_else(|| AppError::Corrupt("the tree's tiles do not fit its size".to_owned()))?;
            self.is_beginning(&tx, signed, tree, edge.root()).await
        };
        self.db.system.run_tx("tree_goes_on", ctx, Gate::read(ctx), work).await
    }

    /// Integrates without signing until the tree covers the log; gives it.
    async fn tree_whole(&self) -> Result<TreeRow, AppError> {
        loop {
            self.tree_integrate(Sign::No).await?;
            let ctx = &Ctx::system(self.clock.clone());
            let work = move |tx: Tx| async move {
                let whole = Query::new(
                    "-- tree_whole
                    SELECT NOT EXISTS (SELECT FROM log.events e WHERE (e.txid, e.position) >
                                       (SELECT t.txid, t.position FROM log.trees t ORDER BY t.tree DESC LIMIT 1))",
                );
                let [trees, whole] = tx.finish([tree_list(), whole]).await?;
                Ok::<_, AppError>(trees.first().filter(|_| whole[0].get(0)).map(TreeRow::from_row))
            };
            if let Some(tree) = self.db.system.run_tx("tree_whole", ctx, Gate::read(ctx), work).await? {
                return Ok(tree);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A stored tree's root at a size; none where it is smaller.
    async fn tree_root(&self, tree: &TreeRow, size: u64) -> Result<Option<Hash>, AppError> {
        if size > tree.size {
            return Ok(None);
        }
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move { self.prove(&tx, tree, |tiles| tiles.root(size)).await };
        self.db.system.run_tx("tree_root", ctx, Gate::read(ctx), work).await.map(Some)
    }

    async fn log_origin_record(&self, command: LogOriginCommand) -> Result<(), AppError> {
        let (ctx, id) = (&Ctx::system(self.clock.clone()), SubjectId::NIL.to_string());
        self.system_command::<LogOrigin>("log_origin_record", ctx, &id, command).await.map(drop)
    }

    /// The published checkpoint of a tree, or of the newest.
    pub async fn log_checkpoint(&self, tree: Option<i64>) -> Result<Option<StoredCheckpoint>, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            match self.tree_published(&tx, tree).await {
                Err(AppError::Missing(_)) => Ok(None),
                found => found.map(|(_, stored)| Some(stored)),
            }
        };
        self.db.system.run_tx("log_checkpoint", ctx, Gate::read(ctx), work).await
    }

    /// A tree, the newest where none is named, and its published checkpoint.
    async fn tree_published(&self, tx: &Tx, tree: Option<i64>) -> Result<(TreeRow, StoredCheckpoint), AppError> {
        let [trees, newest] = tx.flight([tree_list(), checkpoint_newest(tree, true)]).await?;
        let stored = newest.first().map(StoredCheckpoint::from_row).ok_or(AppError::Missing("checkpoint"))?;
        let row = trees.iter().map(TreeRow::from_row).find(|row| row.tree == stored.tree);
        let row = row.ok_or(AppError::Missing("tree"))?;
        self.own_checkpoint(&row, &stored)?;
        Ok((row, stored))
    }

    /// The key of the newest tree, which its checkpoints verify with.
    pub async fn log_vkey(&self) -> Result<LogKey, AppError> {
        let trees = self.log_trees().await?;
        match trees.first() {
            Some(tree) => self.log_key(&tree.origin),
            None => self.log_key(&self.first_origin()?),
        }
    }

    /// All trees, the newest first.
    pub async fn log_trees(&self) -> Result<Vec<TreeRow>, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let [rows] = tx.finish([tree_list()]).await?;
            Ok(rows.iter().map(TreeRow::from_row).collect())
        };
        self.db.system.run_tx("log_trees", ctx, Gate::read(ctx), work).await
    }

    /// A tile of the newest tree, or of an older one, as wide as is asked for; none where no published checkpoint covers it.
    pub async fn log_tile(&self, tree: Option<i64>, level: u8, tile: u64, width: u64) -> Result<Vec<u8>, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let (tree, covers) = self.tree_published(&tx, tree).await?;
            if tile_width(covers.size, level, tile) < width {
                return Err(AppError::Missing("tile"));
            }
            let [rows] = tx.finish([tiles_get(tree.tree, &[(level, tile)])]).await?;
            let hashes = rows.first().map(|row| tile_row(row).1).unwrap_or_default();
            let bytes = usize::try_from(width * 32).unwrap_or(usize::MAX);
            hashes.get(..bytes).map(<[u8]>::to_vec).ok_or(AppError::Missing("tile"))
        };
        self.db.system.run_tx("log_tile", ctx, Gate::read(ctx), work).await
    }

    /// The leaves of 256 indexes, or of the first `width` of them, as an entry bundle.
    pub async fn log_bundle(&self, tree: Option<i64>, number: u64, width: u64) -> Result<Vec<u8>, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let (tree, covers) = self.tree_published(&tx, tree).await?;
            if tile_width(covers.size, 0, number) < width {
                return Err(AppError::Missing("bundle"));
            }
            let [rows] = tx.finish([bundle_events(tree.tree, number, width)]).await?;
            let leaves: Vec<Vec<u8>> = rows.iter().map(|row| Event::from_row(row, 0).leaf().to_bytes()).collect();
            let whole = u64::try_from(leaves.len()).unwrap_or(u64::MAX) == width;
            bundle(leaves.iter().map(Vec::as_slice)).filter(|_| whole).ok_or(AppError::Missing("bundle"))
        };
        self.db.system.run_tx("log_bundle", ctx, Gate::read(ctx), work).await
    }

    /// The proof that a leaf is in a tree, the newest where none is named, under its published checkpoint.
    pub async fn log_inclusion(&self, tree: Option<i64>, index: u64) -> Result<InclusionProof, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let (row, stored) = self.tree_published(&tx, tree).await?;
            if index >= stored.size {
                return Err(if index < row.size { AppError::Uncovered } else { AppError::Missing("leaf") });
            }
            let hashes = self.prove(&tx, &row, |tiles| tiles.inclusion(stored.size, index)).await?;
            Ok(InclusionProof { leaf: None, index, hashes, checkpoint: stored.note })
        };
        self.db.system.run_tx("log_inclusion", ctx, Gate::read(ctx), work).await
    }

    /// The proof that an event of the caller is in its tree, with the hash of its leaf, or with the leaf itself, which names the
    /// caller by the log's own id.
    pub async fn audit_proof(&self, ctx: &Ctx, event: EventId, with_leaf: bool) -> Result<InclusionProof, AppError> {
        let subject: SubjectId = ctx.subject;
        let work = move |tx: Tx| async move {
            let [rows] = tx.finish([event_place(subject, event)]).await?;
            let row = rows.first().ok_or(AppError::Missing("event"))?;
            let txid = row.get::<_, &str>(0).parse().expect("xid8 is a number");
            Ok::<_, AppError>((Position { txid, position: row.get(1) }, Event::from_row(row, 2)))
        };
        let (position, event) = self.db.api.run_tx("audit_proof", ctx, Gate::read(ctx), work).await?;
        let system = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let [rows] = tx.finish([leaf_index(position)]).await?;
            let row = rows.first().ok_or(AppError::Uncovered)?;
            Ok::<_, AppError>((row.get::<_, i64>(0), row.get::<_, i64>(1)))
        };
        let (tree, index) = self.db.system.run_tx("leaf_index", system, Gate::read(system), work).await?;
        let proof = self.log_inclusion(Some(tree), u64::try_from(index).unwrap_or_default()).await?;
        let leaf = event.leaf().to_bytes();
        let extra = if with_leaf { leaf } else { record_hash(&leaf).0.to_vec() };
        Ok(InclusionProof { leaf: Some(extra), ..proof })
    }

    /// The proof that the published tree goes on from one of `older` leaves, or that the tree of `newer` leaves does.
    pub async fn log_consistency(&self, older: u64, newer: Option<u64>) -> Result<(u64, Vec<Hash>), AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let (row, stored) = self.tree_published(&tx, None).await?;
            let newer = newer.unwrap_or(stored.size);
            if newer > stored.size {
                return Err(AppError::parameter("to", "must not lie behind the newest checkpoint"));
            }
            if older > newer {
                return Err(AppError::parameter("from", "must not be greater than `to`"));
            }
            Ok((newer, self.prove(&tx, &row, |tiles| tiles.consistency(newer, older)).await?))
        };
        self.db.system.run_tx("log_consistency", ctx, Gate::read(ctx), work).await
    }

    /// The proof that a checkpoint of the newest tree goes on from one of `older` leaves.
    pub async fn log_proof_between(&self, older: u64, checkpoint: &Checkpoint) -> Result<Vec<Hash>, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let [trees] = tx.flight([tree_list()]).await?;
            let row = trees.iter().map(TreeRow::from_row).find(|row| row.origin == checkpoint.origin);
            let row = row.filter(|row| older <= checkpoint.size && checkpoint.size <= row.size);
            let row = row.ok_or(AppError::Missing("tree"))?;
            self.prove(&tx, &row, |tiles| tiles.consistency(checkpoint.size, older)).await
        };
        self.db.system.run_tx("log_proof_between", ctx, Gate::read(ctx), work).await
    }

    /// For how long something has been waiting for a published checkpoint; none where nothing waits.
    pub async fn log_uncovered(&self) -> Result<Option<chrono::TimeDelta>, AppError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: Tx| async move {
            let [rows] = tx.finish([log_uncovered()]).await?;
            let since = [rows[0].get::<_, Option<chrono::DateTime<chrono::Utc>>>(0), rows[0].get(1)];
            Ok(since.into_iter().flatten().min().map(|since| ctx.now() - since))
        };
        self.db.system.run_tx("log_uncovered", ctx, Gate::read(ctx), work).await
    }
}

const _: () = assert!(TILE_HASHES == 256);
