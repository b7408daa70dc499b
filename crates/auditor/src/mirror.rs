//! A copy of a log as files (C2SP `tlog-tiles`). Tiles and entries are written first and the checkpoint last, each
//! whole and on disk before the next step, so that a folder with a checkpoint is complete, also after a crash. The
//! content is sealed and pseudonymous, as the log is.

use std::{collections::BTreeMap, fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use transparency::{Checkpoint, Edge, Grown, Hash, LogKey, TILE_HASHES, bundle, tile_path};

use crate::{error::AuditError, source::Source};

/// Copies a log up to its newest checkpoint, and returns that checkpoint. Before anything is written, all leaves are
/// compared with what was signed, and with the checkpoint of an earlier copy in the folder. An earlier copy is only
/// ever extended.
pub async fn mirror(source: &Source, key: &LogKey, folder: &Path) -> Result<Checkpoint, AuditError> {
    let described = source.describe(key.origin()).await?;
    let signed = described.notes.iter().filter_map(|note| Checkpoint::verify(note, key).ok());
    let newest = signed.max_by_key(|checkpoint| checkpoint.size).ok_or(AuditError::NoCheckpoint)?;
    let before = match fs::read_to_string(folder.join("checkpoint")) {
        Ok(note) => Some(Checkpoint::verify(&note, key)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let known = [before.as_ref(), Some(&newest)].into_iter().flatten().map(|it| (it.size, it.root)).collect();
    let mut walk = Copying { edge: Edge::default(), known, full: Vec::new() };
    walk.run(source, described.begins, newest.size, &mut |_, _, _| Ok(())).await?;
    // The source may give other leaves the second time, so they are compared again before they are moved into the
    // folder.
    let staging = tempfile::Builder::new().prefix(".mirror-").tempdir_in(existing(folder)?)?;
    let mut walk = Copying { edge: Edge::default(), known: walk.known, full: Vec::new() };
    let write_part = &mut |number, leaves: &[Vec<u8>], full: &[Grown]| {
        let width = u64::try_from(leaves.len()).unwrap_or_default();
        let bytes = bundle(leaves.iter().map(Vec::as_slice)).ok_or(AuditError::NotAsSigned(newest.size))?;
        write(&staging.path().join(tile_path("entries", number, width)), &bytes)?;
        full.iter().try_for_each(|tile| write_tile(staging.path(), tile))
    };
    walk.run(source, described.begins, newest.size, write_part).await?;
    walk.edge.partial().try_for_each(|tile| write_tile(staging.path(), &tile))?;
    put_in_place(staging.path(), folder)?;
    write(&folder.join("log.vkey"), format!("{}\n", key.vkey()).as_bytes())?;
    write(&folder.join(format!("checkpoints/{}", newest.size)), newest.note.as_bytes())?;
    write(&folder.join("checkpoint"), newest.note.as_bytes())?;
    Ok(newest)
}

/// One pass over a log.
struct Copying {
    edge: Edge,
    /// The roots that the log must have, by size.
    known: BTreeMap<u64, Hash>,
    full: Vec<Grown>,
}

type PartTaker<'t> = &'t mut dyn FnMut(u64, &[Vec<u8>], &[Grown]) -> Result<(), AuditError>;

impl Copying {
    async fn run(&mut self, source: &Source, begins: u64, size: u64, take: PartTaker<'_>) -> Result<(), AuditError> {
        let (mut leaves, mut number) = (source.leaves(begins, size).await?, 0);
        while let Some(part) = leaves.next().await? {
            self.full.clear();
            for hash in part.hashes {
                let full = &mut self.full;
                self.edge.push(hash, &mut |tile| full.push(tile));
                let size = self.edge.size();
                if self.known.get(&size).is_some_and(|root| *root != self.edge.root()) {
                    return Err(AuditError::NotAsSigned(size));
                }
            }
            take(number, &part.leaves, &self.full)?;
            number += 1;
        }
        let longest = self.known.last_key_value().map_or(0, |(size, _)| *size);
        if self.edge.size() < longest { Err(AuditError::NotAsSigned(longest)) } else { Ok(()) }
    }
}

fn write_tile(folder: &Path, tile: &Grown) -> Result<(), AuditError> {
    let width = u64::try_from(tile.hashes.len() / 32).unwrap_or(TILE_HASHES);
    write(&folder.join(tile_path(&tile.level.to_string(), tile.tile, width)), &tile.hashes)
}

fn existing(folder: &Path) -> Result<&Path, AuditError> {
    fs::create_dir_all(folder)?;
    Ok(folder)
}

/// Moves all files below a folder to the same paths below another folder, durably.
fn put_in_place(from: &Path, to: &Path) -> Result<(), AuditError> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            put_in_place(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), target)?;
        }
    }
    Ok(fs::File::open(to)?.sync_all()?)
}

/// Writes a file whole or not at all, and waits until it is on disk.
fn write(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // The umask decides who may read the file, because another login may serve the mirror.
    let mode = fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().prefix(".new-").permissions(mode).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(fs::File::open(folder)?.sync_all()?)
}
