//! A copy of a log as files (C2SP `tlog-tiles`): tiles and entries first, the checkpoint last, so that a folder with a checkpoint
//! is whole. What it holds is sealed and pseudonymous, as the log is.

use std::{fs, path::Path};

use transparency::{Checkpoint, Edge, Grown, LogKey, TILE_HASHES, bundle, tile_path};

use crate::{replay::AuditError, source::Source};

/// Copies a log up to its newest checkpoint; gives that. Refuses leaves that are not what was signed.
pub async fn mirror(source: &Source, key: &LogKey, folder: &Path) -> Result<Checkpoint, AuditError> {
    let described = source.describe(key.origin()).await?;
    let signed = described.notes.iter().filter_map(|note| Checkpoint::verify(note, key).ok());
    let newest = signed.max_by_key(|checkpoint| checkpoint.size).ok_or(AuditError::NoCheckpoint)?;
    let mut leaves = source.leaves(described.begins, newest.size).await?;
    let (mut edge, mut number) = (Edge::default(), 0);
    while let Some(part) = leaves.next().await? {
        let width = u64::try_from(part.leaves.len()).unwrap_or_default();
        let bytes = bundle(part.leaves.iter().map(Vec::as_slice)).unwrap_or_default();
        write(&folder.join(tile_path("entries", number, width)), &bytes)?;
        let mut full = Vec::new();
        part.hashes.into_iter().for_each(|hash| edge.push(hash, &mut |tile| full.push(tile)));
        full.iter().try_for_each(|tile| write_tile(folder, tile))?;
        number += 1;
    }
    edge.partial().try_for_each(|tile| write_tile(folder, &tile))?;
    if edge.size() != newest.size || edge.root() != newest.root {
        return Err(AuditError::NotAsSigned(newest.size));
    }
    write(&folder.join("log.vkey"), format!("{}\n", key.vkey()).as_bytes())?;
    write(&folder.join(format!("checkpoints/{}", newest.size)), newest.note.as_bytes())?;
    write(&folder.join("checkpoint"), newest.note.as_bytes())?;
    Ok(newest)
}

fn write_tile(folder: &Path, tile: &Grown) -> Result<(), AuditError> {
    let width = u64::try_from(tile.hashes.len() / 32).unwrap_or(TILE_HASHES);
    write(&folder.join(tile_path(&tile.level.to_string(), tile.tile, width)), &tile.hashes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    Ok(fs::write(path, bytes)?)
}
