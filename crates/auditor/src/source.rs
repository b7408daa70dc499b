//! Where a log is read from: a folder, a server, or its database. A folder has the layout of C2SP `tlog-tiles`, with
//! the newest checkpoint in `checkpoint` and older ones in `checkpoints`. A server gives entries only to a client with
//! a token. A database is read as `lethe_auditor`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use futures_util::TryStreamExt;
use sqlx::{
    Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use transparency::{Hash, Leaf, TILE_HASHES, entries, record_hash, tile_path};

use crate::{connection, error::AuditError};

/// Microseconds between 1970, from which leaves count time, and 2000, from which PostgreSQL does.
const EPOCHS_APART_US: i64 = 946_684_800_000_000;
/// How many times a request that was one too many is sent again.
const WAITS: usize = 5;
/// How many bundles of a folder are read ahead.
const AHEAD: usize = 64;

/// A log that can be read.
pub enum Source {
    Folder(PathBuf),
    /// A server's log.
    Server {
        client: reqwest::Client,
        /// The prefix, such as `https://log.example.com/v1/log`.
        prefix: String,
        /// The access token, which is sent with requests for entries only.
        token: Option<String>,
    },
    Database {
        /// The settings for the connection of the one long COPY.
        options: Box<PgConnectOptions>,
        /// The connection for all other statements.
        pool: PgPool,
    },
}

/// How long a server that had too many requests asks to wait; at most two minutes.
fn wait(answer: &reqwest::Response) -> Duration {
    let said = answer.headers().get(reqwest::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    Duration::from_secs(said.and_then(|seconds| seconds.parse().ok()).unwrap_or(1).min(120))
}

/// Up to 256 leaves that follow one another.
pub struct Part {
    /// The leaves in their canonical form.
    pub leaves: Vec<Vec<u8>>,
    pub hashes: Vec<Hash>,
}

impl Part {
    fn of(leaves: Vec<Vec<u8>>) -> Self {
        let hashes = leaves.iter().map(|leaf| record_hash(leaf)).collect();
        Self { leaves, hashes }
    }
}

/// A tree, as its source describes it.
pub struct Described {
    /// The number of the tree; 0 if the source holds only one tree.
    pub tree: i64,
    /// How many events of the log come before the first leaf of the tree.
    pub begins: u64,
    /// The final number of leaves, if a later tree has replaced this tree.
    pub ends: Option<u64>,
    /// The checkpoints that the source keeps. They are not verified yet.
    pub notes: Vec<String>,
}

impl Source {
    /// Opens a folder, `http(s)://…` or `postgresql://…`.
    pub fn open(text: &str, password: Option<&Path>, token: Option<&Path>) -> Result<Self, AuditError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let options = connection::connect_options(text, password)?;
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
            return Ok(Self::Database { options: Box::new(options), pool });
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
            let token = token.map(connection::read_secret).transpose()?;
            return Ok(Self::Server { client, prefix: text.trim_end_matches('/').to_owned(), token });
        }
        Ok(Self::Folder(text.into()))
    }

    /// Describes the tree with this origin.
    pub async fn describe(&self, origin: &str) -> Result<Described, AuditError> {
        match self {
            Self::Folder(path) => {
                let mut notes: Vec<String> = fs::read_to_string(path.join("checkpoint")).into_iter().collect();
                if let Ok(older) = fs::read_dir(path.join("checkpoints")) {
                    notes.extend(older.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()));
                }
                Ok(Described { tree: 0, begins: 0, ends: None, notes })
            }
            Self::Server { .. } => {
                let note = self.get("checkpoint", false).await?;
                let notes = note.and_then(|bytes| String::from_utf8(bytes).ok()).into_iter().collect();
                Ok(Described { tree: 0, begins: 0, ends: None, notes })
            }
            Self::Database { pool, .. } => {
                let sql = "-- audit_tree
                    SELECT tree, begins, CASE WHEN tree < (SELECT max(tree) FROM log.trees) THEN size END AS ends
                    FROM log.trees WHERE origin = $1";
                let row = sqlx::query(sql).bind(origin).fetch_optional(pool).await?;
                let Some(row) = row else { return Err(AuditError::UnknownOrigin(origin.to_owned())) };
                let (tree, begins, ends): (i64, i64, Option<i64>) =
                    (row.try_get("tree")?, row.try_get("begins")?, row.try_get("ends")?);
                let sql = "-- audit_checkpoints\nSELECT note FROM log.checkpoints WHERE tree = $1 ORDER BY size";
                let notes = sqlx::query(sql).bind(tree).fetch_all(pool).await?;
                let notes = notes.iter().map(|row| row.try_get("note")).collect::<Result<_, _>>()?;
                Ok(Described { tree, begins: begins.unsigned_abs(), ends: ends.map(i64::unsigned_abs), notes })
            }
        }
    }

    /// A tile of hashes; `None` if the source has no tile that is at least `width` wide.
    pub async fn tile(&self, tree: i64, level: u8, tile: u64, width: u64) -> Result<Option<Vec<u8>>, AuditError> {
        let length = usize::try_from(width * 32).unwrap_or(usize::MAX);
        let cut = |bytes: Vec<u8>| bytes.get(..length).map(<[u8]>::to_vec);
        let level_name = level.to_string();
        match self {
            Self::Folder(path) => Ok(read_as_wide(path, &level_name, tile, width).and_then(cut)),
            Self::Server { .. } => Ok(self.get(&tile_path(&level_name, tile, width), false).await?.and_then(cut)),
            Self::Database { pool, .. } => {
                let sql = "-- audit_tile\nSELECT hashes FROM log.tiles WHERE tree = $1 AND level = $2 AND tile = $3";
                let number = i64::try_from(tile).unwrap_or(i64::MAX);
                let query = sqlx::query(sql).bind(tree).bind(i16::from(level)).bind(number);
                let row = query.fetch_optional(pool).await?;
                Ok(row.map(|row| row.try_get("hashes")).transpose()?.and_then(cut))
            }
        }
    }

    async fn get(&self, path: &str, secret: bool) -> Result<Option<Vec<u8>>, AuditError> {
        let Self::Server { client, prefix, token } = self else { return Ok(None) };
        let mut waits = 0;
        loop {
            let request = client.get(format!("{prefix}/{path}"));
            let request = match token.as_ref().filter(|_| secret) {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            let answer = request.send().await?;
            match answer.status().as_u16() {
                200 => return Ok(Some(answer.bytes().await?.to_vec())),
                404 => return Ok(None),
                429 if waits < WAITS => tokio::time::sleep(wait(&answer)).await,
                status => return Err(AuditError::Refused(path.to_owned(), status)),
            }
            waits += 1;
        }
    }

    /// The leaves after the first `begins` events of the log, in order, at most `size`. A source with fewer leaves ends
    /// earlier.
    pub async fn leaves(&self, begins: u64, size: u64) -> Result<Leaves<'_>, AuditError> {
        Ok(match self {
            Self::Folder(path) => Leaves::Folder(read_ahead(path.clone(), size)),
            Self::Server { .. } => Leaves::Server { source: self, next: 0, size },
            Self::Database { options, .. } => Leaves::Database(Box::new(Rows::start(options, begins, size).await?)),
        })
    }
}

/// Leaves while they are being read.
pub enum Leaves<'s> {
    /// Bundles that threads read ahead.
    Folder(Receiver<Receiver<Option<Part>>>),
    /// One bundle after the other, from a server.
    Server {
        source: &'s Source,
        /// The number of the next bundle.
        next: u64,
        /// How many leaves are wanted in all.
        size: u64,
    },
    /// The rows of one COPY.
    Database(Box<Rows>),
}

impl Leaves<'_> {
    /// The next leaves, at most 256; `None` at the end, or if a bundle is missing or damaged.
    pub async fn next(&mut self) -> Result<Option<Part>, AuditError> {
        match self {
            Self::Folder(parts) => Ok(parts.recv().ok().and_then(|part| part.recv().ok()).flatten()),
            Self::Server { source, next, size } => {
                let width = size.saturating_sub(*next * TILE_HASHES).min(TILE_HASHES);
                if width == 0 {
                    return Ok(None);
                }
                let bytes = source.get(&tile_path("entries", *next, width), true).await?;
                *next += 1;
                Ok(bytes.and_then(|bytes| parsed(&bytes, width)))
            }
            Self::Database(rows) => rows.next().await,
        }
    }
}

/// The first `width` leaves of a bundle.
fn parsed(bytes: &[u8], width: u64) -> Option<Part> {
    let wanted = usize::try_from(width).unwrap_or(usize::MAX);
    Some(Part::of(entries(bytes)?.into_iter().take(wanted).map(<[u8]>::to_vec).collect()))
}

/// Reads a file of a folder that is at least this wide: the full file, the file of exactly this width, or a file that
/// was written later.
fn read_as_wide(folder: &Path, level: &str, tile: u64, width: u64) -> Option<Vec<u8>> {
    let read = |width| fs::read(folder.join(tile_path(level, tile, width)));
    if let Ok(bytes) = read(TILE_HASHES).or_else(|_| read(width)) {
        return Some(bytes);
    }
    let exact = folder.join(tile_path(level, tile, width));
    let siblings = fs::read_dir(exact.parent().filter(|_| width < TILE_HASHES)?).ok()?.flatten();
    let widths = siblings.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    read(widths.filter(|other| *other > width).min()?).ok()
}

/// Reads and hashes the bundles of a folder on all cores. The results come in order.
fn read_ahead(folder: PathBuf, size: u64) -> Receiver<Receiver<Option<Part>>> {
    let (ordered, results) = mpsc::sync_channel(AHEAD);
    std::thread::spawn(move || {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, todo) = mpsc::sync_channel::<(u64, mpsc::SyncSender<Option<Part>>)>(AHEAD);
        let todo = std::sync::Arc::new(std::sync::Mutex::new(todo));
        for _ in 0..workers {
            let (todo, folder) = (todo.clone(), folder.clone());
            std::thread::spawn(move || {
                loop {
                    let job = todo.lock().expect("no one panics while taking a bundle").recv();
                    let Ok((number, done)) = job else { return };
                    let width = (size - number * TILE_HASHES).min(TILE_HASHES);
                    let bytes = read_as_wide(&folder, "entries", number, width);
                    // Sending fails if the receiver has seen enough and is gone.
                    let _ = done.send(bytes.and_then(|bytes| parsed(&bytes, width)));
                }
            });
        }
        for number in 0..size.div_ceil(TILE_HASHES) {
            let (done, part) = mpsc::sync_channel(1);
            if ordered.send(part).is_err() || jobs.send((number, done)).is_err() {
                return;
            }
        }
    });
    results
}

/// The events of a database in the order of the log, read by one binary COPY.
pub struct Rows {
    parts: futures_util::stream::BoxStream<'static, Result<bytes::Bytes, sqlx::Error>>,
    buffer: BytesMut,
    begun: bool,
    left: u64,
}

impl Rows {
    async fn start(options: &PgConnectOptions, skipped: u64, size: u64) -> Result<Self, AuditError> {
        let mut connection = PgConnection::connect_with(options).await?;
        let limit = i64::try_from(size).unwrap_or(i64::MAX);
        // The statement holds numbers of ours and no text from outside, so binding is not needed.
        let sql = format!(
            "COPY (SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id, \
             subject_id, kind, recorded_at FROM log.events ORDER BY txid, position OFFSET {skipped} LIMIT {limit}) \
             TO STDOUT (FORMAT binary)"
        );
        let (sender, receiver) = tokio::sync::mpsc::channel(32);
        tokio::spawn(async move {
            let outcome = async {
                let mut stream = connection.copy_out_raw(&sql).await?;
                while let Some(part) = stream.try_next().await? {
                    if sender.send(Ok(part)).await.is_err() {
                        break;
                    }
                }
                Ok(())
            };
            if let Err(error) = outcome.await {
                // Sending fails if the reader is gone, and then nobody needs the error.
                let _ = sender.send(Err(error)).await;
            }
        });
        let parts = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|part| (part, receiver))
        });
        Ok(Self { parts: Box::pin(parts), buffer: BytesMut::new(), begun: false, left: size })
    }

    async fn next(&mut self) -> Result<Option<Part>, AuditError> {
        let mut leaves = Vec::new();
        while self.left > 0 && u64::try_from(leaves.len()).unwrap_or(u64::MAX) < TILE_HASHES {
            let Some(leaf) = self.row().await? else { break };
            leaves.push(leaf);
            self.left -= 1;
        }
        Ok((!leaves.is_empty()).then(|| Part::of(leaves)))
    }

    /// Reads until `bytes` bytes are in the buffer. Returns false if the end comes before.
    async fn fill(&mut self, bytes: usize) -> Result<bool, AuditError> {
        while self.buffer.len() < bytes {
            match self.parts.try_next().await? {
                Some(part) => self.buffer.extend_from_slice(&part),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads one row of PostgreSQL's binary COPY format: the number of fields, then each field after its length.
    async fn row(&mut self) -> Result<Option<Vec<u8>>, AuditError> {
        if !self.begun {
            if !self.fill(19).await? {
                return Ok(None);
            }
            self.buffer.advance(19);
            self.begun = true;
        }
        if !self.fill(2).await? || self.buffer.get_i16() != 11 {
            return Ok(None);
        }
        let mut fields: [bytes::Bytes; 11] = Default::default();
        for field in &mut fields {
            if !self.fill(4).await? {
                return Ok(None);
            }
            let length = usize::try_from(self.buffer.get_i32()).unwrap_or(0);
            if !self.fill(length).await? {
                return Ok(None);
            }
            *field = self.buffer.split_to(length).freeze();
        }
        Ok(leaf_of(&fields))
    }
}

fn leaf_of(fields: &[bytes::Bytes; 11]) -> Option<Vec<u8>> {
    let text = |at: usize| std::str::from_utf8(&fields[at]).ok();
    let number = |at: usize| Some(i64::from_be_bytes(fields[at].as_ref().try_into().ok()?));
    let id = |at: usize| fields[at].as_ref().try_into().ok();
    let leaf = Leaf {
        aggregate_type: text(0)?,
        aggregate_id: text(1)?,
        sequence: number(2)?,
        event_type: text(3)?,
        event_version: text(4)?,
        payload: text(5)?,
        metadata: text(6)?,
        event_id: id(7)?,
        subject_id: id(8)?,
        kind: text(9)?,
        // A time that is out of range is no reason to stop: an event that was changed has another hash anyway.
        recorded_at_us: number(10)?.saturating_add(EPOCHS_APART_US),
    };
    Some(leaf.to_bytes())
}
