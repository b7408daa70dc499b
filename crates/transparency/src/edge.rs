//! The right edge of a growing tree: for each level the tile that is not full yet. The edge is all that is needed to
//! add leaves and to compute the root.

use tlog_tiles::{EMPTY_HASH, HASH_SIZE, Hash, Tile, node_hash};

/// The number of hashes in a full tile (C2SP `tlog-tiles`).
pub const TILE_HASHES: u64 = 256;
const HEIGHT: u8 = 8;
const TILE_BYTES: usize = 256 * HASH_SIZE;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edge {
    size: u64,
    /// The hashes of each level, from the leaves up; 0 to 255 hashes for each level.
    levels: Vec<Vec<u8>>,
}

/// A tile that changed because the tree grew.
#[derive(Clone, Debug, PartialEq)]
pub struct Grown {
    /// 0 for leaf hashes.
    pub level: u8,
    /// The number of the tile within its level.
    pub tile: u64,
    /// 1 to 256 hashes.
    pub hashes: Vec<u8>,
}

impl Edge {
    /// The edge of a tree of this size. `read` returns the rightmost tile of a level. `None` if a tile is missing or
    /// too short.
    pub fn load(size: u64, read: impl Fn(u8, u64) -> Option<Vec<u8>>) -> Option<Self> {
        let mut levels = Vec::new();
        let mut hashes = size;
        while hashes > 0 {
            let width = usize::try_from(hashes % TILE_HASHES).expect("less than 256") * HASH_SIZE;
            let level = u8::try_from(levels.len()).expect("64 bits are eight levels");
            let bytes = if width == 0 { Vec::new() } else { read(level, hashes / TILE_HASHES)?.get(..width)?.to_vec() };
            levels.push(bytes);
            hashes /= TILE_HASHES;
        }
        Some(Self { size, levels })
    }

    /// The levels and numbers of the tiles that [`Edge::load`] reads.
    pub fn coordinates(size: u64) -> Vec<(u8, u64)> {
        let levels = (0..).map(|level| (level, size.checked_shr(8 * u32::from(level)).unwrap_or(0)));
        let levels = levels.take_while(|(_, hashes)| *hashes > 0);
        levels.filter(|(_, hashes)| hashes % TILE_HASHES > 0).map(|(level, n)| (level, n / TILE_HASHES)).collect()
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf, and calls `full` with each tile that becomes full.
    pub fn push(&mut self, leaf: Hash, full: &mut impl FnMut(Grown)) {
        self.size += 1;
        let (mut hash, mut level) = (leaf, 0);
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(TILE_BYTES));
            }
            let tile = &mut self.levels[level];
            tile.extend_from_slice(&hash.0);
            if tile.len() < TILE_BYTES {
                return;
            }
            let hashes = std::mem::replace(tile, Vec::with_capacity(TILE_BYTES));
            hash = Tile::subtree_hash(&hashes);
            let number = u8::try_from(level).expect("64 bits are eight levels");
            full(Grown { level: number, tile: (self.size >> (8 * (level + 1))) - 1, hashes });
            level += 1;
        }
    }

    /// Adds leaves, and returns every tile that changed, full or not.
    pub fn grow(&mut self, leaves: impl IntoIterator<Item = Hash>) -> Vec<Grown> {
        let (before, mut grown) = (self.size, Vec::new());
        leaves.into_iter().for_each(|leaf| self.push(leaf, &mut |tile| grown.push(tile)));
        grown.extend(self.partial().filter(|tile| before >> (8 * tile.level) != self.size >> (8 * tile.level)));
        grown
    }

    /// The tiles that are not full.
    pub fn partial(&self) -> impl Iterator<Item = Grown> {
        let filled = (0_u8..).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty());
        filled.map(|(level, hashes)| {
            let tile = (self.size >> (8 * level)) / TILE_HASHES;
            Grown { level, tile, hashes: hashes.clone() }
        })
    }

    /// The root (RFC 6962, section 2.1): perfect subtrees, folded from the right.
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for level in &self.levels {
            let mut end = level.len() / HASH_SIZE;
            while end > 0 {
                let width = 1 << end.trailing_zeros();
                let part = Tile::subtree_hash(&level[(end - width) * HASH_SIZE..end * HASH_SIZE]);
                root = Some(root.map_or(part, |right| node_hash(part, right)));
                end -= width;
            }
        }
        root.unwrap_or(EMPTY_HASH)
    }
}

/// How many hashes a tile has in a tree of this size; 0 if the tree has no such tile.
pub fn tile_width(size: u64, level: u8, tile: u64) -> u64 {
    let hashes = size.checked_shr(u32::from(HEIGHT) * u32::from(level)).unwrap_or(0);
    tile.checked_mul(TILE_HASHES).map_or(0, |first| hashes.saturating_sub(first).min(TILE_HASHES))
}

/// The path of a tile below a log's prefix. `level` is a number or `entries`. The path of a full tile names no width.
pub fn tile_path(level: &str, tile: u64, width: u64) -> String {
    let (mut rest, mut number) = (tile / 1000, format!("{:03}", tile % 1000));
    while rest > 0 {
        number = format!("x{:03}/{number}", rest % 1000);
        rest /= 1000;
    }
    let partial = if width < TILE_HASHES { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{number}{partial}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use tlog_tiles::record_hash;

    use super::*;

    fn leaves(range: std::ops::Range<u64>) -> impl Iterator<Item = Hash> {
        range.map(|n| record_hash(&n.to_be_bytes()))
    }

    /// RFC 6962's own definition, word for word.
    fn definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => EMPTY_HASH,
            [one] => *one,
            many => {
                let left = many.len().next_power_of_two() / 2;
                node_hash(definition(&many[..left]), definition(&many[left..]))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// A tree has the root of the definition, however it grows, and however often its edge is read back from tiles.
        #[test]
        fn the_root_is_that_of_the_definition(steps in proptest::collection::vec(0_u64..700, 1..6)) {
            let (mut tiles, mut size) = (HashMap::new(), 0);
            for step in steps {
                let mut edge = Edge::load(size, |level, tile| tiles.get(&(level, tile)).cloned()).expect("stored");
                for tile in edge.grow(leaves(size..size + step)) {
                    prop_assert_eq!(tile_width(size + step, tile.level, tile.tile) * 32, tile.hashes.len() as u64);
                    tiles.insert((tile.level, tile.tile), tile.hashes);
                }
                size += step;
                prop_assert_eq!(edge.size(), size);
                prop_assert_eq!(edge.root(), definition(&leaves(0..size).collect::<Vec<_>>()));
                for (level, tile) in Edge::coordinates(size) {
                    prop_assert!(tiles.contains_key(&(level, tile)));
                }
            }
        }
    }

    #[test]
    fn seventy_thousand_leaves_make_the_tiles_of_the_specification() {
        let mut edge = Edge::default();
        let grown = edge.grow(leaves(0..70_000));
        let full = |level: u8| grown.iter().filter(|tile| tile.level == level && tile.hashes.len() == 8192).count();
        assert_eq!((full(0), full(1)), (273, 1));
        let widths = [(0, 273), (1, 1), (2, 0)].map(|(level, tile)| tile_width(70_000, level, tile));
        assert_eq!(widths, [112, 17, 1]);
        assert_eq!(Edge::coordinates(70_000), [(0, 273), (1, 1), (2, 0)]);
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path("0", 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile_path("entries", 5, 17), "tile/entries/005.p/17");
    }
}
