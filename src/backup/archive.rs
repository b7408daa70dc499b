//! An archive: a zip, stored and not compressed, of one file a table in PostgreSQL's text format, a manifest that counts and
//! hashes them, and the ring's MAC over it. Mode 0600, there whole or not at all, and never in the place of another file. Refuses an
//! archive that is damaged, altered, of another ring, or of another kind.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use vault::Ring;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{
    data::new_file::{NewFile, is_one_file, refuse_taken},
    server::ServerError,
};

const MANIFEST: &str = "manifest.json";
/// The ring's MAC over the manifest: hashes alone would follow whoever alters what they cover.
const MAC: &str = "manifest.mac";
const FORMAT: u32 = 1;

/// What an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Events: what happened, sealed.
    Log,
    /// Wrapped keys, the register of living records, and who stands behind an address.
    Keys,
}

/// One table of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its columns, in the order of the file.
    pub columns: Vec<String>,
    /// How many rows.
    pub rows: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// What it holds.
    pub content: Content,
    /// Since when the snapshot that it holds stands.
    pub taken_at: DateTime<Utc>,
    /// The newest migration of the database.
    pub schema: i32,
    /// Versions of the ring's key-encryption key that its keys are under.
    pub ring_versions: Vec<i32>,
    /// How many entries the ledger of erasures had.
    pub ledger_entries: usize,
    /// Its tables, by name.
    pub tables: BTreeMap<String, Table>,
}

/// Why an archive can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file can't be read or written.
    #[error("archive {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// One file can't be both archives: the second would take the first's place.
    #[error("archive {0}: log and keys need a file each, in different places")]
    OneFile(PathBuf),
    /// It is not an archive of ours.
    #[error("archive {0}: {1}")]
    Malformed(PathBuf, &'static str),
    /// A table of it is not what the manifest says.
    #[error("archive {0}: {1} is damaged")]
    Damaged(PathBuf, String),
}

impl From<ArchiveError> for ServerError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Box::new(error))
    }
}

/// An archive that is being written.
pub struct Writer {
    path: PathBuf,
    zip: ZipWriter<BufWriter<NewFile>>,
    manifest: Manifest,
}

/// A table that is being written.
pub struct TableWriter<'w> {
    writer: &'w mut Writer,
    name: String,
    columns: Vec<String>,
    hash: digest::Context,
    rows: u64,
}

fn mac(ring: &Ring, manifest: &[u8]) -> [u8; 32] {
    ring.row_mac("archive", &[manifest])
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true).unix_permissions(0o600)
}

impl Writer {
    /// Begins an archive.
    pub fn create(path: &Path, content: Content, taken_at: DateTime<Utc>, schema: i32) -> Result<Self, ArchiveError> {
        let file = NewFile::create(path).map_err(|error| ArchiveError::Io(path.into(), error))?;
        let zip = ZipWriter::new(BufWriter::new(file));
        let (ring_versions, tables) = (Vec::new(), BTreeMap::new());
        let manifest = Manifest { format: FORMAT, content, taken_at, schema, ring_versions, ledger_entries: 0, tables };
        Ok(Self { path: path.into(), zip, manifest })
    }

    /// Notes under which versions of the ring's key its keys are.
    pub fn note_ring_versions(&mut self, versions: Vec<i32>) {
        self.manifest.ring_versions = versions;
    }

    /// Notes how many entries the ledger has: a restore must not find fewer.
    pub fn note_ledger(&mut self, entries: usize) {
        self.manifest.ledger_entries = entries;
    }

    /// Begins a table.
    pub fn table(&mut self, name: &str, columns: Vec<String>) -> Result<TableWriter<'_>, ArchiveError> {
        let started = self.zip.start_file(name, options());
        started.map_err(|error| ArchiveError::Io(self.path.clone(), io::Error::other(error)))?;
        let hash = digest::Context::new(&digest::SHA256);
        Ok(TableWriter { writer: self, name: name.to_owned(), columns, hash, rows: 0 })
    }

    /// Ends it, durably, and gives the file, which has no name until it is finished as well.
    pub fn finish(mut self, ring: &Ring) -> Result<(Manifest, NewFile), ArchiveError> {
        let io = |error| ArchiveError::Io(self.path.clone(), error);
        let text = serde_json::to_vec_pretty(&self.manifest).expect("a manifest can be written as JSON");
        self.zip.start_file(MANIFEST, options()).map_err(|error| io(io::Error::other(error)))?;
        self.zip.write_all(&text).map_err(io)?;
        self.zip.start_file(MAC, options()).map_err(|error| io(io::Error::other(error)))?;
        self.zip.write_all(hex::encode(mac(ring, &text)).as_bytes()).map_err(io)?;
        let file = self.zip.finish().map_err(|error| io(io::Error::other(error)))?;
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync().map_err(io)?;
        Ok((self.manifest, file))
    }
}

/// Puts an archive in its place.
pub fn put_in_place(file: NewFile) -> Result<(), ArchiveError> {
    let path = file.path().to_owned();
    file.finish().map_err(|error| ArchiveError::Io(path, error))
}

/// Refuses names of a pair under which something stands, and one file under two names.
pub fn refuse_pair(log: &Path, keys: &Path) -> Result<(), ArchiveError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| ArchiveError::Io(path, error)
    };
    if is_one_file(log, keys).map_err(io(log))? {
        return Err(ArchiveError::OneFile(log.into()));
    }
    refuse_taken(log).map_err(io(log))?;
    refuse_taken(keys).map_err(io(keys))
}

impl TableWriter<'_> {
    /// Adds a part of the table's text.
    pub fn write(&mut self, part: &[u8]) -> Result<(), ArchiveError> {
        self.hash.update(part);
        // A line break inside a value is written as two other characters in this format.
        self.rows += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.writer.zip.write_all(part).map_err(|error| ArchiveError::Io(self.writer.path.clone(), error))
    }

    /// Ends the table.
    pub fn finish(self) {
        let table = Table { columns: self.columns, rows: self.rows, sha256: hex::encode(self.hash.finish()) };
        self.writer.manifest.tables.insert(self.name, table);
    }
}

/// An archive that is being read.
pub struct Reader {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    /// What it says of itself.
    pub manifest: Manifest,
}

impl Reader {
    /// Opens an archive of a kind and compares every table with the manifest.
    pub fn open(path: &Path, content: Content, ring: &Ring) -> Result<Self, ArchiveError> {
        let malformed = |fact| ArchiveError::Malformed(path.into(), fact);
        let file = File::open(path).map_err(|error| ArchiveError::Io(path.into(), error))?;
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|_| malformed("is no archive, or damaged"))?;
        let mut text = Vec::new();
        let found = zip.by_name(MANIFEST).map_err(|_| malformed("has no manifest"))?.read_to_end(&mut text);
        found.map_err(|_| malformed("has a damaged manifest"))?;
        let mut shown = String::new();
        let found = zip.by_name(MAC).map_err(|_| malformed("is not signed"))?.read_to_string(&mut shown);
        let shown = found.ok().and_then(|_| hex::decode(&shown).ok()).ok_or_else(|| malformed("is not signed"))?;
        if !ring.check_row("archive", &[&text], &shown) {
            return Err(malformed("was altered, or belongs to another key ring"));
        }
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| malformed("has a damaged manifest"))?;
        if manifest.format != FORMAT {
            return Err(malformed("is of another version"));
        }
        if manifest.content != content {
            return Err(malformed(
                "holds the other half: name the archive of the log with --log, that of the keys with --keys",
            ));
        }
        let mut reader = Self { path: path.into(), zip, manifest };
        for (name, table) in reader.manifest.tables.clone() {
            let mut hash = digest::Context::new(&digest::SHA256);
            reader.each_part(&name, |part| {
                hash.update(part);
                Ok(())
            })?;
            if hex::encode(hash.finish()) != table.sha256 {
                return Err(ArchiveError::Damaged(path.into(), name));
            }
        }
        Ok(reader)
    }

    /// Hands over a table's text, part by part.
    pub fn each_part(
        &mut self,
        name: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let damaged = || ArchiveError::Damaged(self.path.clone(), name.to_owned());
        let mut entry = self.zip.by_name(name).map_err(|_| damaged())?;
        let mut part = vec![0; 256 * 1024];
        loop {
            match entry.read(&mut part) {
                Ok(0) => return Ok(()),
                Ok(length) => take(&part[..length])?,
                Err(_) => return Err(damaged()),
            }
        }
    }

    /// Sends a table's text, part by part, to whoever must wait between parts. Called by a thread of its own.
    pub fn parts(&mut self, name: &str, parts: &tokio::sync::mpsc::Sender<Vec<u8>>) -> Result<(), ArchiveError> {
        let path = self.path.clone();
        self.each_part(name, |part| {
            let lost = |_| ArchiveError::Malformed(path.clone(), "is not taken any more");
            parts.blocking_send(part.to_vec()).map_err(lost)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(folder: &tempfile::TempDir, name: &str) -> Ring {
        Ring::open_or_create(&folder.path().join(name), None).expect("a ring")
    }

    fn archive(path: &Path, ring: &Ring) -> Manifest {
        let mut writer = Writer::create(path, Content::Log, DateTime::UNIX_EPOCH, 6).expect("begun");
        let mut table = writer.table("log.events", vec!["position".to_owned()]).expect("begun");
        table.write(b"1\n2\n").expect("written");
        table.finish();
        let (manifest, file) = writer.finish(ring).expect("ended");
        put_in_place(file).expect("put in place");
        manifest
    }

    #[test]
    fn an_archive_reads_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.zip");
        let ring = ring(&folder, "ring.json");
        let manifest = archive(&path, &ring);
        assert_eq!(manifest.tables["log.events"].rows, 2);
        let mut reader = Reader::open(&path, Content::Log, &ring).expect("opens");
        assert_eq!(reader.manifest, manifest);
        let mut text = Vec::new();
        reader
            .each_part("log.events", |part| {
                text.extend_from_slice(part);
                Ok(())
            })
            .expect("read");
        assert_eq!(text, b"1\n2\n");
        assert!(
            matches!(Reader::open(&path, Content::Keys, &ring), Err(ArchiveError::Malformed(..))),
            "the other half"
        );
    }

    #[test]
    fn a_changed_byte_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.zip");
        let (ring, other) = (ring(&folder, "ring.json"), ring(&folder, "other.json"));
        archive(&path, &ring);
        assert!(matches!(Reader::open(&path, Content::Log, &other), Err(ArchiveError::Malformed(..))), "another ring");
        let mut bytes = std::fs::read(&path).expect("read");
        let at = bytes.windows(4).position(|four| four == b"1\n2\n").expect("the table's text");
        bytes[at] = b'7';
        std::fs::write(&path, &bytes).expect("written");
        assert!(matches!(Reader::open(&path, Content::Log, &ring), Err(ArchiveError::Damaged(..))));
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        assert!(Reader::open(&path, Content::Log, &ring).is_err(), "half an archive");
    }
}
