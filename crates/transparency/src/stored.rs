//! Proofs from stored tiles: which tiles a proof needs, and then the proof.

use std::{cell::RefCell, collections::HashMap};

use tlog_tiles::{Error, Hash, HashReader, Tile, prove_record, prove_tree, stored_hash_index, tree_hash};

use crate::{TILE_HASHES, tile_width};

const HEIGHT: u8 = 8;

/// Tiles by level and number, each with as many hashes as are stored.
#[derive(Default)]
pub struct StoredTiles {
    tiles: HashMap<(u8, u64), Vec<u8>>,
    missing: RefCell<Vec<(u8, u64)>>,
}

/// Tiles that are needed first. An empty list means that a stored tile does not hold what a tree of this size must
/// hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing(pub Vec<(u8, u64)>);

impl StoredTiles {
    pub fn insert(&mut self, level: u8, tile: u64, hashes: Vec<u8>) {
        self.tiles.insert((level, tile), hashes);
    }

    /// The root of the tree at a size.
    pub fn root(&self, size: u64) -> Result<Hash, Missing> {
        self.attempt(|reader| tree_hash(size, reader), size)
    }

    /// The hash of a leaf.
    pub fn leaf(&self, size: u64, index: u64) -> Result<Hash, Missing> {
        let at = [stored_hash_index(0, index)];
        let first = |hashes: Vec<Hash>| hashes.into_iter().next().ok_or(Error::IndexesNotInTree);
        self.attempt(|reader| reader.read_hashes(&at).and_then(first), size)
    }

    /// The inclusion proof of a leaf.
    pub fn inclusion(&self, size: u64, index: u64) -> Result<Vec<Hash>, Missing> {
        self.attempt(|reader| prove_record(size, index, reader), size)
    }

    /// The consistency proof between two sizes; empty if they are equal, or if the older is 0.
    pub fn consistency(&self, newer: u64, older: u64) -> Result<Vec<Hash>, Missing> {
        if older == 0 || older == newer {
            return Ok(Vec::new());
        }
        self.attempt(|reader| prove_tree(newer, older, reader), newer)
    }

    fn attempt<T>(&self, prove: impl FnOnce(&AtSize<'_>) -> Result<T, Error>, size: u64) -> Result<T, Missing> {
        let outcome = prove(&AtSize { stored: self, size });
        let missing = std::mem::take(&mut *self.missing.borrow_mut());
        outcome.map_err(|_| Missing(missing))
    }
}

struct AtSize<'a> {
    stored: &'a StoredTiles,
    size: u64,
}

impl HashReader for AtSize<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let hash = |index: &u64| {
            let tile = Tile::from_index(HEIGHT, *index);
            let place = (tile.level(), tile.level_index());
            if tile_width(self.size, place.0, place.1) < u64::from(tile.width()) {
                return Err(Error::IndexesNotInTree);
            }
            match self.stored.tiles.get(&place) {
                Some(hashes) => tile.hash_at_index(hashes, *index),
                None => {
                    let mut missing = self.stored.missing.borrow_mut();
                    if !missing.contains(&place) {
                        missing.push(place);
                    }
                    Ok(Hash::default())
                }
            }
        };
        let hashes = indexes.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
        if self.stored.missing.borrow().is_empty() { Ok(hashes) } else { Err(Error::InvalidTile) }
    }
}

const _: () = assert!(1 << HEIGHT == TILE_HASHES);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Edge, check_consistency, check_inclusion, record_hash};

    fn grown(size: u64) -> HashMap<(u8, u64), Vec<u8>> {
        let tiles = Edge::default().grow((0..size).map(|n| record_hash(&n.to_be_bytes())));
        tiles.into_iter().map(|tile| ((tile.level, tile.tile), tile.hashes)).collect()
    }

    /// Asks again until no tile is missing, as a server does.
    fn asked<T>(all: &HashMap<(u8, u64), Vec<u8>>, prove: impl Fn(&StoredTiles) -> Result<T, Missing>) -> T {
        let mut stored = StoredTiles::default();
        loop {
            match prove(&stored) {
                Ok(proof) => return proof,
                Err(Missing(tiles)) => {
                    assert!(!tiles.is_empty(), "it can't be proved");
                    tiles.into_iter().for_each(|(level, tile)| stored.insert(level, tile, all[&(level, tile)].clone()));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn proofs_of_stored_tiles_hold_and_of_others_do_not(older in 1_u64..70_000, more in 0_u64..3_000, pick: u64) {
            let newer = older + more;
            let all = grown(newer);
            let (old_root, root) = (asked(&all, |stored| stored.root(older)), asked(&all, |stored| stored.root(newer)));
            let index = pick % older;
            let leaf = record_hash(&index.to_be_bytes());
            // Tiles that have grown since then prove the smaller tree as well.
            for (size, root) in [(older, old_root), (newer, root)] {
                prop_assert_eq!(asked(&all, |stored| stored.leaf(size, index)), leaf);
                let proof = asked(&all, |stored| stored.inclusion(size, index));
                prop_assert!(check_inclusion(&proof, size, root, index, leaf));
                prop_assert!(!check_inclusion(&proof, size, root, index, record_hash(b"another")));
                prop_assert!(size == 1 || !check_inclusion(&proof, size, root, (index + 1) % size, leaf));
            }
            let proof = asked(&all, |stored| stored.consistency(newer, older));
            prop_assert!(check_consistency(&proof, (older, old_root), (newer, root)));
            prop_assert!(!check_consistency(&proof, (older, leaf), (newer, root)));
            prop_assert!(!check_consistency(&proof, (older, old_root), (newer, leaf)));
            prop_assert_eq!(StoredTiles::default().leaf(newer, newer), Err(Missing(Vec::new())), "behind the end");
        }
    }
}
