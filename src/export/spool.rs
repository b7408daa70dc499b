//! A document on disk while it is imported: sealed pieces of 64 KiB in a file that has no name.
//!
//! The file is gone once nobody holds it open any more, also if the server is killed, so that nothing has to be swept.
//! Its key lives in memory only, so that nobody opens what a disk may still hold of it.

use std::{
    fs::File,
    io::{self, BufRead, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use vault::{FileKey, Place};
use zeroize::Zeroizing;

/// The length of a piece in clear, in bytes.
const PIECE: usize = 64 * 1024;
const SEALED_PIECE: usize = PIECE + FileKey::OVERHEAD;

/// The place that a piece is bound to, so that pieces can't be exchanged.
fn place(number: u64) -> Place {
    Place::of("import piece").and(&number.to_be_bytes())
}

pub struct SpoolWriter {
    stopped: Arc<AtomicBool>,
    file: File,
    key: FileKey,
    size: u64,
    waiting: Vec<u8>,
}

impl SpoolWriter {
    /// Begins a file on the disk of this folder. Once `stopped` is set, nothing reads it any more.
    pub fn create(folder: &Path, stopped: Arc<AtomicBool>) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        Ok(Self { stopped, file, key: FileKey::generate(), size: 0, waiting: Vec::with_capacity(2 * PIECE) })
    }

    /// How many bytes have been written, in clear.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(PIECE) {
            self.waiting.extend_from_slice(part);
            if self.waiting.len() >= PIECE {
                let rest = self.waiting.split_off(PIECE);
                self.seal()?;
                self.waiting = rest;
            }
            self.size += part.len() as u64;
        }
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<Spool> {
        self.seal()?;
        let Self { stopped, file, key, size, .. } = self;
        Ok(Spool { stopped, file, key, size })
    }

    /// Writes the waiting bytes, at most a piece, behind the pieces before.
    fn seal(&mut self) -> io::Result<()> {
        let number = self.size / PIECE as u64;
        self.file.write_all_at(&self.key.seal(&place(number), &self.waiting), number * SEALED_PIECE as u64)
    }
}

/// A whole document. Dropping the last hold of it removes it from the disk.
pub struct Spool {
    stopped: Arc<AtomicBool>,
    file: File,
    key: FileKey,
    size: u64,
}

impl Spool {
    /// The size in clear, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads from this place on.
    pub fn reader(self: &Arc<Self>, at: u64) -> SpoolReader {
        SpoolReader { spool: self.clone(), at, number: None, piece: Zeroizing::default() }
    }

    fn piece(&self, number: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        // Work on a thread of its own goes on when the request has ended that began it.
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("the import has ended"));
        }
        let left = self.size - number * PIECE as u64;
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let mut sealed = vec![0; length + FileKey::OVERHEAD];
        self.file.read_exact_at(&mut sealed, number * SEALED_PIECE as u64)?;
        let opened = self.key.open(&place(number), &sealed);
        opened.map_err(|_| io::Error::other("a piece of an import does not open"))
    }
}

/// Reads a document, and holds one piece of it in clear.
pub struct SpoolReader {
    spool: Arc<Spool>,
    at: u64,
    /// The number of the piece that is held.
    number: Option<u64>,
    piece: Zeroizing<Vec<u8>>,
}

impl BufRead for SpoolReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.spool.size {
            return Ok(&[]);
        }
        let number = self.at / PIECE as u64;
        if self.number != Some(number) {
            self.piece = self.spool.piece(number)?;
            self.number = Some(number);
        }
        let within = usize::try_from(self.at % PIECE as u64).expect("it is below a piece");
        Ok(&self.piece[within..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount as u64;
    }
}

impl Read for SpoolReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(bytes)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8).collect()
    }

    fn spool(content: &[u8], part: usize) -> Arc<Spool> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = SpoolWriter::create(folder.path(), Arc::default()).expect("begun");
        content.chunks(part).for_each(|part| writer.write(part).expect("written"));
        assert_eq!(folder.path().read_dir().expect("a folder").count(), 0, "it has no name");
        Arc::new(writer.finish().expect("ended"))
    }

    #[test]
    fn every_size_reads_back_from_every_place() {
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 77] {
            let all = content(size);
            for part in [PIECE / 3 + 1, 5 * PIECE] {
                let spool = spool(&all, part);
                assert_eq!(spool.size(), size as u64);
                for at in [0, 1, PIECE, size / 2, size] {
                    let mut found = Vec::new();
                    spool.reader(at as u64).read_to_end(&mut found).expect("opens");
                    assert!(found == all[at.min(size)..], "{at} of {size}");
                }
            }
        }
    }

    #[test]
    fn whoever_has_ended_reads_no_further() {
        let spool = spool(&content(3 * PIECE), PIECE);
        let mut reader = spool.reader(0);
        reader.read_exact(&mut [0; 10]).expect("it goes on");
        spool.stopped.store(true, Ordering::Relaxed);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn the_disk_holds_nothing_in_clear_and_pieces_can_not_be_exchanged() {
        let spool = spool(&b"canary ".repeat(PIECE), 1000);
        let mut stored = vec![0; usize::try_from(spool.file.metadata().expect("there").len()).expect("small")];
        spool.file.read_exact_at(&mut stored, 0).expect("read");
        assert!(stored.windows(6).all(|bytes| bytes != b"canary"));
        spool.file.write_all_at(&stored[SEALED_PIECE..2 * SEALED_PIECE], 0).expect("written");
        assert!(spool.reader(0).read(&mut [0; 10]).is_err());
        assert!(spool.reader(PIECE as u64).read(&mut [0; 10]).is_ok());
    }
}
