//! An archive: an uncompressed zip with one file for each table in PostgreSQL's text format, a manifest that counts and
//! hashes them, and the ring's MAC over the manifest. It has mode 0600, appears whole or not at all, and never replaces
//! another file. Refuses an archive that is damaged, altered, of another ring, or of the other kind.

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
/// The ring's MAC over the manifest. Hashes alone would not do, because an attacker who alters a table can compute its
/// hash again.
const MAC: &str = "manifest.mac";
const FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The events, sealed, with the tree over them and the published statistics.
    Log,
    /// Wrapped keys, the register of living records, accounts with their hashed addresses, and the roles of staff.
    Keys,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The quoted column names, in the order of the file.
    pub columns: Vec<String>,
    pub rows: u64,
    /// SHA-256 of the table's file, in hexadecimal.
    pub sha256: String,
}

/// The description that an archive holds of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    pub content: Content,
    /// When the snapshot was taken, by the database's clock.
    pub taken_at: DateTime<Utc>,
    /// The number of the database's newest migration.
    pub schema: i32,
    /// The versions of the key-encryption key that the archived keys are under; empty in an archive of the log.
    pub ring_versions: Vec<i32>,
    /// How many entries the ledger of erasures had before the snapshot.
    pub ledger_entries: usize,
    pub tables: BTreeMap<String, Table>,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("archive {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// Log and keys have the same path, so that the second archive would replace the first.
    #[error("archive {0}: log and keys need a file each, in different places")]
    OneFile(PathBuf),
    /// The file is not an archive that we made, or not the one that was asked for.
    #[error("archive {0}: {1}")]
    Malformed(PathBuf, &'static str),
    /// A table does not have the hash that the manifest gives; holds its name.
    #[error("archive {0}: {1} is damaged")]
    Damaged(PathBuf, String),
}

impl From<ArchiveError> for ServerError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Box::new(error))
    }
}

pub struct Writer {
    path: PathBuf,
    zip: ZipWriter<BufWriter<NewFile>>,
    manifest: Manifest,
}

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
    pub fn create(path: &Path, content: Content, taken_at: DateTime<Utc>, schema: i32) -> Result<Self, ArchiveError> {
        let file = NewFile::create(path).map_err(|error| ArchiveError::Io(path.into(), error))?;
        let zip = ZipWriter::new(BufWriter::new(file));
        let (ring_versions, tables) = (Vec::new(), BTreeMap::new());
        let manifest = Manifest { format: FORMAT, content, taken_at, schema, ring_versions, ledger_entries: 0, tables };
        Ok(Self { path: path.into(), zip, manifest })
    }

    /// Notes the versions of the key-encryption key that the archived keys are under.
    pub fn note_ring_versions(&mut self, versions: Vec<i32>) {
        self.manifest.ring_versions = versions;
    }

    /// Notes how many entries the ledger has. A restore refuses a ledger with fewer.
    pub fn note_ledger(&mut self, entries: usize) {
        self.manifest.ledger_entries = entries;
    }

    pub fn table(&mut self, name: &str, columns: Vec<String>) -> Result<TableWriter<'_>, ArchiveError> {
        let started = self.zip.start_file(name, options());
        started.map_err(|error| ArchiveError::Io(self.path.clone(), io::Error::other(error)))?;
        let hash = digest::Context::new(&digest::SHA256);
        Ok(TableWriter { writer: self, name: name.to_owned(), columns, hash, rows: 0 })
    }

    /// Ends the archive and brings it to disk. The returned file gets its name only by [`put_in_place`].
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

/// Gives a finished archive its name.
pub fn put_in_place(file: NewFile) -> Result<(), ArchiveError> {
    let path = file.path().to_owned();
    file.finish().map_err(|error| ArchiveError::Io(path, error))
}

/// Refuses paths that are taken, and one path for both archives.
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
    pub fn write(&mut self, part: &[u8]) -> Result<(), ArchiveError> {
        self.hash.update(part);
        // In this format a line break inside a value is written as two other characters.
        self.rows += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.writer.zip.write_all(part).map_err(|error| ArchiveError::Io(self.writer.path.clone(), error))
    }

    pub fn finish(self) {
        let table = Table { columns: self.columns, rows: self.rows, sha256: hex::encode(self.hash.finish()) };
        self.writer.manifest.tables.insert(self.name, table);
    }
}

pub struct Reader {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    pub manifest: Manifest,
}

impl Reader {
    /// Opens an archive of a kind, checks its MAC, and compares every table with its hash.
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

    /// Passes a table's text to `take`, part by part.
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

    /// Sends a table's text into a channel, part by part. Blocks while the channel is full, so it needs a thread of its
    /// own.
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
