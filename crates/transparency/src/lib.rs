//! The log as a Merkle tree (RFC 6962): what a leaf is, how the tree grows and is stored in tiles, how inclusion and
//! consistency are proved, and how a checkpoint is signed and cosigned (C2SP `tlog-checkpoint`, `tlog-tiles`,
//! `tlog-proof`, `tlog-cosignature`, `tlog-policy`).
//!
//! Promises: pure functions on bytes, shared by the server, which grows the tree, and by the auditor, who does not
//! trust the server; nothing here reaches a database, a clock or a key ring. Refuses to parse anything that is not in
//! canonical form. Notes, tiles and proofs come from the crates `signed_note` and `tlog_tiles`.

mod cosignature;
mod edge;
mod leaf;
mod note;
mod policy;
mod proof;
mod stored;

pub use cosignature::{Cosigner, Witness};
pub use edge::{Edge, Grown, TILE_HASHES, tile_path, tile_width};
pub use leaf::{FORM, LARGEST, Leaf, bundle, entries};
pub use note::{Checkpoint, LogKey, NoteError, sign_checkpoint};
pub use policy::{Policy, PolicyError, WitnessLine};
pub use proof::{InclusionProof, ProofError, check_consistency, check_inclusion};
pub use stored::{Missing, StoredTiles};
pub use tlog_tiles::{EMPTY_HASH, Hash, HashReader, node_hash, record_hash, tree_hash};
