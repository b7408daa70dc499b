//! A sealed file: pieces of 64 KiB. Each piece is sealed with the file's own key and bound to person, request, its
//! number, and whether it is the last. So pieces can't be exchanged, cut off or added, and a range opens with only the
//! pieces that it touches.

use std::{io, ops::Range};

use context::{ExportId, SubjectId};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use vault::{FileKey, Place};

use crate::export::store::{FileName, Store, StoreError, Upload};

/// The length of a piece in clear, in bytes.
const PIECE: usize = 64 * 1024;
const SEALED_PIECE: usize = PIECE + FileKey::OVERHEAD;

/// The person and the request that a file's key and pieces are bound to.
#[derive(Clone, Copy, Debug)]
pub struct FilePlace {
    pub subject: SubjectId,
    pub export: ExportId,
}

impl FilePlace {
    /// The place that binds the wrapped key of the file.
    pub fn key(&self) -> Place {
        Place::of("export key").and(self.subject.0.as_bytes()).and(self.export.0.as_bytes())
    }

    fn piece(&self, number: u64, last: bool) -> Place {
        Place::of("export piece")
            .and(self.subject.0.as_bytes())
            .and(self.export.0.as_bytes())
            .and(&number.to_be_bytes())
            .and(&[u8::from(last)])
    }
}

pub struct FileWriter {
    key: FileKey,
    place: FilePlace,
    upload: Upload,
    waiting: Vec<u8>,
    number: u64,
    size: u64,
}

impl FileWriter {
    pub async fn create(store: &Store, name: &FileName, key: FileKey) -> Result<Self, StoreError> {
        let place = FilePlace { subject: name.subject, export: name.export };
        let upload = store.create(name).await?;
        Ok(Self { key, place, upload, waiting: Vec::with_capacity(2 * PIECE), number: 0, size: 0 })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        for part in bytes.chunks(PIECE) {
            self.waiting.extend_from_slice(part);
            // A piece is sealed only when more bytes follow, because the last piece is bound to being the last.
            if self.waiting.len() > PIECE {
                let sealed = self.key.seal(&self.place.piece(self.number, false), &self.waiting[..PIECE]);
                self.upload.write(&sealed).await?;
                self.waiting.drain(..PIECE);
                self.number += 1;
            }
        }
        Ok(())
    }

    /// Ends the file, and returns its size in clear.
    pub async fn finish(mut self) -> Result<u64, StoreError> {
        let sealed = self.key.seal(&self.place.piece(self.number, true), &self.waiting);
        self.upload.write(&sealed).await?;
        self.upload.finish().await?;
        Ok(self.size)
    }
}

pub struct FileReader {
    store: Store,
    name: FileName,
    key: FileKey,
    size: u64,
}

impl FileReader {
    /// A file of `size` bytes in clear. If the stored file has another size, reading it fails.
    pub fn new(store: Store, name: FileName, key: FileKey, size: u64) -> Self {
        Self { store, name, key, size }
    }

    /// Opens a range of the file, which must not end behind it. A piece that does not open ends the stream with an
    /// error.
    pub async fn range(self, range: Range<u64>) -> Result<BoxStream<'static, io::Result<Vec<u8>>>, StoreError> {
        let (piece, last) = (PIECE as u64, self.size.saturating_sub(1) / PIECE as u64);
        let first = (range.start / piece).min(last);
        let until = range.end.div_ceil(piece).clamp(first + 1, last + 1);
        let sealed_end = sealed_size(self.size).min(until * SEALED_PIECE as u64);
        let sealed = self.store.read(&self.name, first * SEALED_PIECE as u64..sealed_end).await?;
        let place = FilePlace { subject: self.name.subject, export: self.name.export };
        let clear = exact(sealed, SEALED_PIECE).enumerate().map(move |(count, sealed)| {
            let number = first + count as u64;
            let opened = self.key.open(&place.piece(number, number == last), &sealed?);
            let opened = opened.map_err(|_| io::Error::other("a piece of an export does not open"))?;
            let begin = number * piece;
            let within = |at: u64| usize::try_from(at.saturating_sub(begin)).unwrap_or(PIECE).min(opened.len());
            Ok(opened[within(range.start)..within(range.end)].to_vec())
        });
        Ok(clear.boxed())
    }
}

fn sealed_size(size: u64) -> u64 {
    size + (size.saturating_sub(1) / PIECE as u64 + 1) * FileKey::OVERHEAD as u64
}

/// The same bytes in pieces of exactly `length`; the last piece may be shorter.
fn exact(
    pieces: BoxStream<'static, io::Result<Vec<u8>>>,
    length: usize,
) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
    stream::try_unfold((pieces, Vec::new()), move |(mut pieces, mut waiting): (_, Vec<u8>)| async move {
        while waiting.len() < length {
            match StreamExt::next(&mut pieces).await {
                Some(piece) => waiting.extend_from_slice(&piece?),
                None if waiting.is_empty() => return Ok(None),
                None => return Ok(Some((std::mem::take(&mut waiting), (pieces, waiting)))),
            }
        }
        let rest = waiting.split_off(length);
        Ok(Some((waiting, (pieces, rest))))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    const SIZES: [usize; 7] = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 77];

    struct Shelf {
        folder: tempfile::TempDir,
        store: Store,
        vault: vault::Vault,
    }

    impl Shelf {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let ring = vault::Ring::open_or_create(&folder.path().join("ring.json"), None).expect("a ring");
            let store = Store::folder(folder.path().join("exports"));
            Self { folder, store, vault: vault::Vault::new(ring) }
        }

        /// Writes a file in parts of odd lengths; returns its name and a function that opens it.
        async fn write(&self, size: usize) -> (FileName, impl Fn(u64) -> FileReader) {
            let name = FileName {
                subject: SubjectId::random(),
                export: ExportId::random(),
                etag: "0123456789abcdef".to_owned(),
            };
            let place = FilePlace { subject: name.subject, export: name.export };
            let (keys, _) = self.vault.create_subject(name.subject);
            let key = FileKey::generate();
            let wrapped = key.wrap(&keys, &place.key());
            let mut writer = FileWriter::create(&self.store, &name, key).await.expect("begun");
            for part in content(size).chunks(PIECE / 3 + 1) {
                writer.write(part).await.expect("written");
            }
            assert_eq!(writer.finish().await.expect("ended"), size as u64);
            let (store, named) = (self.store.clone(), name.clone());
            let open = move |size| {
                let key = FileKey::unwrap(&keys, &place.key(), &wrapped).expect("the key opens");
                FileReader::new(store.clone(), named.clone(), key, size)
            };
            (name, open)
        }

        fn path(&self, name: &FileName) -> std::path::PathBuf {
            let person = self.folder.path().join("exports").join(name.subject.to_string());
            person.join(format!("{}.{}", name.export, name.etag))
        }
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8).collect()
    }

    async fn read(reader: FileReader, range: Range<u64>) -> io::Result<Vec<u8>> {
        reader.range(range).await.map_err(io::Error::other)?.try_concat().await
    }

    #[tokio::test]
    async fn every_range_of_every_size_opens() {
        let shelf = Shelf::new();
        for size in SIZES {
            let (name, open) = shelf.write(size).await;
            let all = content(size);
            let stored = std::fs::metadata(shelf.path(&name)).expect("it is there").len();
            assert_eq!(stored, sealed_size(size as u64));
            let edges = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, size / 2, size.saturating_sub(1), size];
            for start in edges.into_iter().filter(|start| *start <= size) {
                for end in edges.into_iter().filter(|end| (start..=size).contains(end)) {
                    let found = read(open(size as u64), start as u64..end as u64).await.expect("opens");
                    assert_eq!(found, all[start..end], "{start}..{end} of {size}");
                }
            }
        }
    }

    #[tokio::test]
    async fn pieces_that_were_exchanged_cut_off_or_added_do_not_open() {
        let shelf = Shelf::new();
        let size = 3 * PIECE;
        let (name, open) = shelf.write(size).await;
        let path = shelf.path(&name);
        let good = std::fs::read(&path).expect("read");
        let whole = 0..size as u64;
        let piece = |number: usize| good[number * SEALED_PIECE..(number + 1) * SEALED_PIECE].to_vec();
        let exchanged = [piece(1), piece(0), piece(2)].concat();
        let mut altered = good.clone();
        altered[SEALED_PIECE + 40] ^= 1;
        for damaged in [exchanged, altered, [piece(0), piece(2), piece(1)].concat()] {
            std::fs::write(&path, damaged).expect("written");
            assert!(read(open(size as u64), whole.clone()).await.is_err());
        }
        // Cut at the end of a piece and with a smaller size: the piece that is now the last was not sealed as the last.
        std::fs::write(&path, [piece(0), piece(1)].concat()).expect("written");
        assert!(read(open(2 * PIECE as u64), 0..2 * PIECE as u64).await.is_err());
        std::fs::write(&path, [good.clone(), piece(2)].concat()).expect("written");
        assert!(read(open(4 * PIECE as u64), 0..4 * PIECE as u64).await.is_err());
        std::fs::write(&path, &good).expect("written");
        assert_eq!(read(open(size as u64), whole).await.expect("opens"), content(size));
    }

    #[tokio::test]
    async fn files_are_private_and_go_one_by_one_or_all_together() {
        use std::os::unix::fs::PermissionsExt;
        let shelf = Shelf::new();
        let (name, _) = shelf.write(10).await;
        let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let path = shelf.path(&name);
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        assert_eq!(shelf.store.list().await.expect("listed"), std::slice::from_ref(&name));
        shelf.store.remove(&name).await.expect("removed");
        shelf.store.remove(&name).await.expect("removed already");
        assert!(shelf.store.list().await.expect("listed").is_empty());
        let half = FileName { export: ExportId::random(), ..name.clone() };
        drop(FileWriter::create(&shelf.store, &half, FileKey::generate()).await.expect("begun"));
        assert_eq!(shelf.store.list().await.expect("listed"), std::slice::from_ref(&half), "half a file has its name");
        shelf.store.remove(&half).await.expect("removed");
        assert!(shelf.store.list().await.expect("listed").is_empty());
        shelf.store.remove_all(name.subject).await.expect("removed");
        assert!(!path.parent().expect("a folder").exists());
        shelf.store.remove_all(name.subject).await.expect("removed already");
    }
}
