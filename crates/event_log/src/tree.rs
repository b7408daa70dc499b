//! The tables of the tree: what one step reads and writes, and what is read to answer requests.
//!
//! Leaves are the events in the order of the [`Reader`](crate::Reader), from the first event of the newest tree on. A
//! step holds the tree's row, so that of several servers one integrates and none waits.

use chrono::{DateTime, Utc};
use db::{FromRow, Query, sql};
use transparency::{Checkpoint, Edge, Grown, Leaf, TILE_HASHES};

use crate::{Event, Position};

/// A tree as its row says.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct TreeRow {
    /// The number of the tree, from 1. The tree with the highest number grows.
    pub tree: i64,
    pub origin: String,
    /// How many events of the log come before the first leaf of the tree.
    pub begins: i64,
    /// How many leaves the tree has.
    #[row(with = size_of)]
    pub size: u64,
    /// The position up to which the log is in the tree.
    #[row(flatten)]
    pub position: Position,
}

/// A signed checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct StoredCheckpoint {
    pub tree: i64,
    /// How many leaves the checkpoint covers.
    #[row(with = size_of)]
    pub size: u64,
    pub note: String,
    /// Whether enough witnesses have cosigned.
    pub witnessed: bool,
    pub signed_at: DateTime<Utc>,
}

impl Event {
    pub fn leaf(&self) -> Leaf<'_> {
        Leaf {
            aggregate_type: &self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            sequence: self.sequence,
            event_type: &self.event_type,
            event_version: &self.event_version,
            payload: &self.payload,
            metadata: &self.metadata,
            event_id: *self.event_id.0.as_bytes(),
            subject_id: *self.subject_id.0.as_bytes(),
            kind: &self.kind,
            recorded_at_us: self.recorded_at.timestamp_micros(),
        }
    }
}

fn count(size: u64) -> i64 {
    i64::try_from(size).expect("fewer events than 2^63")
}

fn size_of(count: i64) -> u64 {
    u64::try_from(count).expect("a size is not negative")
}

/// Locks the newest tree for the length of the transaction. Returns no row if another server has it, or if there is no
/// tree.
pub fn tree_lock() -> Query {
    Query::new(sql!(
        "-- tree_lock
        SELECT ",
        TreeRow::COLUMNS,
        " FROM log.trees
        WHERE tree = (SELECT max(tree) FROM log.trees) FOR UPDATE SKIP LOCKED"
    ))
}

/// All trees, the newest first.
pub fn tree_list() -> Query {
    Query::new(sql!("-- tree_list\nSELECT ", TreeRow::COLUMNS, " FROM log.trees ORDER BY tree DESC"))
}

/// Begins a tree after a position of the log. Returns no row if the number is taken.
pub fn tree_add(tree: &TreeRow, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- tree_add
        INSERT INTO log.trees (tree, origin, begins, txid, position, moved_at)
        VALUES ($1, $2, $3, $4::text::xid8, $5, $6) ON CONFLICT DO NOTHING RETURNING tree",
    )
    .bind(tree.tree)
    .bind(tree.origin.clone())
    .bind(tree.begins)
    .bind(tree.position.txid.to_string())
    .bind(tree.position.position)
    .bind(now)
}

/// A stored tile of hashes.
#[derive(FromRow)]
pub struct TileRow {
    #[row(with = level_of)]
    pub level: u8,
    #[row(with = size_of)]
    pub tile: u64,
    pub hashes: Vec<u8>,
}

fn level_of(level: i16) -> u8 {
    u8::try_from(level).expect("a level is 0 to 7")
}

/// The tiles with these levels and numbers.
pub fn tiles_get(tree: i64, coordinates: &[(u8, u64)]) -> Query {
    let (levels, tiles): (Vec<i16>, Vec<i64>) =
        coordinates.iter().map(|(level, tile)| (i16::from(*level), count(*tile))).unzip();
    Query::new(sql!(
        "-- tiles_get
        SELECT ",
        TileRow::COLUMNS,
        " FROM unnest($2::smallint[], $3::bigint[]) AS wanted (level, tile)
        JOIN log.tiles t USING (level, tile) WHERE t.tree = $1"
    ))
    .bind(tree)
    .bind(levels)
    .bind(tiles)
}

/// The tiles that a tree of this size needs to go on growing.
pub fn edge_get(tree: &TreeRow) -> Query {
    tiles_get(tree.tree, &Edge::coordinates(tree.size))
}

/// Stores tiles that are new or have grown.
pub fn tiles_put(tree: i64, grown: Vec<Grown>) -> Query {
    let (mut levels, mut tiles, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for tile in grown {
        levels.push(i16::from(tile.level));
        tiles.push(count(tile.tile));
        hashes.push(tile.hashes);
    }
    Query::new(
        "-- tiles_put
        INSERT INTO log.tiles (tree, level, tile, hashes)
        SELECT $1, level, tile, hashes FROM unnest($2::smallint[], $3::bigint[], $4::bytea[]) AS t (level, tile, hashes)
        ON CONFLICT (tree, level, tile) DO UPDATE SET hashes = excluded.hashes",
    )
    .bind(tree)
    .bind(levels)
    .bind(tiles)
    .bind(hashes)
}

/// Stores the positions at which bundles begin. Of the leaves from `first` on, these are the first of each 256.
pub fn bundles_put(tree: i64, first: u64, positions: impl Iterator<Item = Position>) -> Query {
    let (mut bundles, mut txids, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (index, position) in (first..).zip(positions).filter(|(index, _)| index % TILE_HASHES == 0) {
        bundles.push(count(index / TILE_HASHES));
        txids.push(position.txid.to_string());
        places.push(position.position);
    }
    Query::new(
        "-- bundles_put
        INSERT INTO log.bundles (tree, bundle, txid, position)
        SELECT $1, bundle, txid::xid8, position FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS b (bundle, txid, position)",
    )
    .bind(tree)
    .bind(bundles)
    .bind(txids)
    .bind(places)
}

/// Stores the new size and position of a tree.
pub fn tree_move(tree: &TreeRow, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- tree_move
        UPDATE log.trees SET size = $2, txid = $3::text::xid8, position = $4, moved_at = $5 WHERE tree = $1",
    )
    .exactly(1)
    .bind(tree.tree)
    .bind(count(tree.size))
    .bind(tree.position.txid.to_string())
    .bind(tree.position.position)
    .bind(now)
}

pub fn checkpoint_add(tree: i64, checkpoint: &Checkpoint, witnessed: bool, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- checkpoint_add
        INSERT INTO log.checkpoints (tree, size, root, note, witnessed, signed_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(tree)
    .bind(count(checkpoint.size))
    .bind(checkpoint.root.0.to_vec())
    .bind(checkpoint.note.clone())
    .bind(witnessed)
    .bind(now)
}

/// Stores the cosignatures that witnesses have added to a checkpoint.
pub fn checkpoint_cosign(tree: i64, checkpoint: &Checkpoint, witnessed: bool) -> Query {
    Query::new(
        "-- checkpoint_cosign\nUPDATE log.checkpoints SET note = $3, witnessed = $4\n        WHERE tree = $1 AND size = $2 AND NOT witnessed",
    )
    .bind(tree)
    .bind(count(checkpoint.size))
    .bind(checkpoint.note.clone())
    .bind(witnessed)
}

/// The newest checkpoint of a tree; without a tree, of the newest tree. With `published`, only a published checkpoint.
pub fn checkpoint_newest(tree: Option<i64>, published: bool) -> Query {
    Query::new(
        sql!("-- checkpoint_newest
        SELECT ", StoredCheckpoint::COLUMNS, " FROM log.checkpoints
        WHERE (witnessed OR NOT $1) AND tree = coalesce($2, (SELECT max(tree) FROM log.trees)) ORDER BY size DESC LIMIT 1"),
    )
    .bind(published)
    .bind(tree)
}

/// Removes checkpoints that are older than a day, except the last one of each hour.
pub fn checkpoints_thin(now: DateTime<Utc>) -> Query {
    Query::new(
        "-- checkpoints_thin
        DELETE FROM log.checkpoints c WHERE c.signed_at < $1::timestamptz - interval '1 day' AND EXISTS (
            SELECT FROM log.checkpoints later WHERE later.tree = c.tree AND later.size > c.size AND (later.witnessed OR NOT c.witnessed)
            AND date_trunc('hour', later.signed_at, 'UTC') = date_trunc('hour', c.signed_at, 'UTC'))",
    )
    .bind(now)
}

/// The events of a bundle, in order, at most `most`.
pub fn bundle_events(tree: i64, bundle: u64, most: u64) -> Query {
    Query::new(sql!(
        "-- bundle_events
        SELECT ",
        Event::COLUMNS,
        "
        FROM log.events e
        WHERE (e.txid, e.position) >= (SELECT b.txid, b.position FROM log.bundles b WHERE b.tree = $1 AND b.bundle = $2)
          AND e.txid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY e.txid, e.position LIMIT $3"
    ))
    .bind(tree)
    .bind(count(bundle))
    .bind(count(most))
}

/// Where an event is a leaf.
#[derive(FromRow)]
pub struct LeafRow {
    pub tree: i64,
    #[row(with = size_of)]
    pub index: u64,
}

/// The tree and the leaf index of the event at a position: the start of its bundle, plus the number of events in
/// between.
pub fn leaf_index(position: Position) -> Query {
    Query::new(
        "-- leaf_index
        SELECT b.tree, b.bundle * 256 + (SELECT count(*) FROM log.events e
               WHERE (e.txid, e.position) >= (b.txid, b.position) AND (e.txid, e.position) < ($1::text::xid8, $2)) AS index
        FROM (SELECT * FROM log.bundles WHERE (txid, position) <= ($1::text::xid8, $2)
              ORDER BY txid DESC, position DESC LIMIT 1) b
        JOIN log.trees t ON t.tree = b.tree AND (t.txid, t.position) >= ($1::text::xid8, $2)",
    )
    .bind(position.txid.to_string())
    .bind(position.position)
}

/// Since when a checkpoint is waited for: by the first event that is not in the tree, and by the oldest checkpoint that lacks
/// witnesses. `None` where nothing waits.
#[derive(FromRow)]
pub struct UncoveredRow {
    pub event: Option<DateTime<Utc>>,
    pub checkpoint: Option<DateTime<Utc>>,
}

/// Since when something waits for a published checkpoint: the time of the first event that is not in the tree, and of
/// the oldest checkpoint that witnesses did not cosign. Each is NULL if nothing waits. A column is compared with a
/// plain value, because under row-level security an expression that is not known to be safe would keep the index from
/// being used.
pub fn log_uncovered() -> Query {
    Query::new(
        "-- log_uncovered
        WITH newest AS MATERIALIZED (SELECT tree, txid, position FROM log.trees ORDER BY tree DESC LIMIT 1),
        place AS MATERIALIZED (
            SELECT coalesce((SELECT txid FROM newest), '0') AS txid, coalesce((SELECT position FROM newest), 0) AS position),
        covered AS MATERIALIZED (
            SELECT coalesce(max(size), 0) AS size FROM log.checkpoints WHERE tree = (SELECT tree FROM newest) AND witnessed)
        SELECT (SELECT e.recorded_at FROM log.events e
                WHERE (e.txid, e.position) > ((SELECT txid FROM place), (SELECT position FROM place))
                ORDER BY e.txid, e.position LIMIT 1) AS event,
               (SELECT min(c.signed_at) FROM log.checkpoints c
                WHERE c.tree = (SELECT tree FROM newest) AND c.size > (SELECT size FROM covered)) AS checkpoint",
    )
}

/// Whether, as `is_whole`, the newest tree covers all of the log.
pub fn tree_whole() -> Query {
    Query::new(
        "-- tree_whole
        SELECT NOT EXISTS (SELECT FROM log.events e WHERE (e.txid, e.position) >
                           (SELECT t.txid, t.position FROM log.trees t ORDER BY t.tree DESC LIMIT 1)) AS is_whole",
    )
}
