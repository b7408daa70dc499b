//! The archive of the data of the service before (requirements 158 to 160, 199): weekly submissions without names and
//! with noise already added, so that they belong to nobody here and can't be counted again. They are written as CSV
//! with a manifest. The old tables are dropped only on request, and only after the file was read back and holds every
//! row.
//!
//! Refuses: a table with a column that could name somebody, a file that exists already, and dropping data that was not
//! archived.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    data::{
        home::Database,
        new_file::{NewFile, refuse_taken},
    },
    export::spreadsheet::guarded,
    server::ServerError,
};

const WEEKLY: &str = "weekly_submissions";
/// The tables that are dropped on request.
const OLD_TABLES: [&str; 3] = [WEEKLY, "reports", "verification_requests"];
/// Names of columns that would tell whose a row is.
const NAMING: [&str; 6] = ["user_id", "email", "email_hash", "name", "client_ip", "ip_address"];

pub enum Source {
    Sqlite(PathBuf),
    /// A PostgreSQL database, and the superuser's password if it needs one.
    Postgres(Database, Option<Zeroizing<String>>),
}

/// The description that stands beside the CSV file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub table: String,
    /// The column names, in the order of the file.
    pub columns: Vec<String>,
    /// The number of rows without the heading, counted in the file on disk.
    pub rows: u64,
    /// SHA-256 of the CSV file, in hexadecimal.
    pub sha256: String,
    pub archived_at: DateTime<Utc>,
}

/// Why nothing was archived, or nothing was dropped.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The SQLite file can't be read.
    #[error("the old database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The PostgreSQL database can't be read.
    #[error(transparent)]
    Postgres(#[from] db::DbError),
    /// The old database has no table of weekly submissions.
    #[error("the old database has no table {WEEKLY}")]
    Missing,
    /// The table has a column that could name somebody.
    #[error("{WEEKLY} has a column {0:?}: its rows are somebody's, and must not be archived in clear")]
    Naming(String),
    /// The file on disk does not hold as many rows as the table.
    #[error("the archive does not hold what the table does; nothing is dropped")]
    Unverified,
    #[error("the work was cut short")]
    Lost,
}

impl From<LegacyError> for ServerError {
    fn from(error: LegacyError) -> Self {
        Self::Archive(Box::new(error))
    }
}

impl From<tokio_postgres::Error> for LegacyError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

enum Cell {
    Null,
    /// A number, or another value that no spreadsheet takes for a formula.
    Number(String),
    /// A text, which a spreadsheet might take for a formula.
    Text(String),
}

impl Cell {
    /// The cell as CSV. An empty text gets quotes, as in PostgreSQL's CSV, to tell it from null.
    fn csv(&self) -> String {
        let text = match self {
            Self::Null => return String::new(),
            Self::Number(text) => text.into(),
            Self::Text(text) => guarded(text),
        };
        if text.is_empty() || text.contains([',', '"', '\r', '\n']) {
            return format!("\"{}\"", text.replace('"', "\"\""));
        }
        text.into_owned()
    }
}

/// A CSV file that is being written. The file has no name before it is whole.
struct Archive {
    path: PathBuf,
    file: BufWriter<NewFile>,
}

impl Archive {
    fn create(path: &Path) -> Result<Self, LegacyError> {
        let manifest = manifest_path(path);
        refuse_taken(&manifest).map_err(|error| LegacyError::Io(manifest, error))?;
        let file = NewFile::create(path).map_err(|error| LegacyError::Io(path.into(), error))?;
        Ok(Self { path: path.into(), file: BufWriter::new(file) })
    }

    fn heading(&mut self, columns: &[String]) -> Result<(), LegacyError> {
        self.row(&columns.iter().map(|name| Cell::Text(name.clone())).collect::<Vec<_>>())
    }

    fn row(&mut self, cells: &[Cell]) -> Result<(), LegacyError> {
        let line = cells.iter().map(Cell::csv).collect::<Vec<_>>().join(",");
        // A row of one null would be an empty line, which readers of CSV skip.
        let line = if line.is_empty() { "\"\"" } else { &line };
        writeln!(self.file, "{line}").map_err(|error| LegacyError::Io(self.path.clone(), error))
    }

    /// Ends the file and reads it back, so that the manifest describes the bytes on disk.
    fn finish(self, columns: Vec<String>, now: DateTime<Utc>) -> Result<Manifest, LegacyError> {
        let io = |error| LegacyError::Io(self.path.clone(), error);
        let file = self.file.into_inner().map_err(|error| io(error.into_error()))?;
        file.finish().map_err(io)?;
        let (rows, sha256) = read_back(&self.path)?;
        let manifest = Manifest { table: WEEKLY.to_owned(), columns, rows, sha256, archived_at: now };
        let path = manifest_path(&self.path);
        let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest can be written as JSON");
        text.push(b'\n');
        NewFile::write(&path, &text).map_err(|error| LegacyError::Io(path, error))?;
        Ok(manifest)
    }
}

/// The path of the manifest, beside the CSV file.
pub fn manifest_path(csv: &Path) -> PathBuf {
    csv.with_extension("manifest.json")
}

/// Counts and hashes the rows of a file on disk.
fn read_back(path: &Path) -> Result<(u64, String), LegacyError> {
    let text = std::fs::read(path).map_err(|error| LegacyError::Io(path.into(), error))?;
    let hash = hex::encode(digest::digest(&digest::SHA256, &text));
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let mut rows = 0;
    for row in reader.byte_records() {
        row.map_err(|_| LegacyError::Unverified)?;
        rows += 1;
    }
    Ok((rows, hash))
}

fn require_anonymous(columns: &[String]) -> Result<(), LegacyError> {
    if columns.is_empty() {
        return Err(LegacyError::Missing);
    }
    let naming = columns.iter().find(|column| NAMING.contains(&column.to_lowercase().as_str()));
    naming.map_or(Ok(()), |column| Err(LegacyError::Naming(column.clone())))
}

/// Archives the weekly submissions into a new CSV file with a manifest beside it. Drops the old tables afterwards if
/// `drop` is true.
pub async fn archive(source: Source, csv: &Path, drop: bool, now: DateTime<Utc>) -> Result<Manifest, LegacyError> {
    match source {
        Source::Sqlite(path) => {
            let csv = csv.to_owned();
            let work = tokio::task::spawn_blocking(move || of_sqlite(&path, &csv, drop, now));
            work.await.map_err(|_| LegacyError::Lost)?
        }
        Source::Postgres(database, password) => {
            let password = password.as_ref().map(|password| password.as_str());
            let mut client = db::admin(&database.address, &database.admin, password).await?;
            of_postgres(&mut client, csv, drop, now).await
        }
    }
}

fn of_sqlite(path: &Path, csv: &Path, drop: bool, now: DateTime<Utc>) -> Result<Manifest, LegacyError> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let flags = if drop { flags } else { rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY };
    let mut database = rusqlite::Connection::open_with_flags(path, flags)?;
    let behavior =
        if drop { rusqlite::TransactionBehavior::Immediate } else { rusqlite::TransactionBehavior::Deferred };
    let tx = database.transaction_with_behavior(behavior)?;
    let columns: Vec<String> = tx
        .prepare(&format!("SELECT name FROM pragma_table_info('{WEEKLY}')"))?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    require_anonymous(&columns)?;
    let mut archive = Archive::create(csv)?;
    archive.heading(&columns)?;
    let mut statement = tx.prepare(&format!("SELECT * FROM {WEEKLY} ORDER BY rowid"))?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let cell = |at: usize| -> Result<Cell, LegacyError> {
            Ok(match row.get_ref(at)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(value) => Cell::Number(value.to_string()),
                ValueRef::Real(value) => Cell::Number(value.to_string()),
                ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Cell::Number(hex::encode(bytes)),
            })
        };
        let cells = (0..columns.len()).map(cell).collect::<Result<Vec<_>, _>>()?;
        archive.row(&cells)?;
        count += 1;
    }
    std::mem::drop(rows);
    std::mem::drop(statement);
    let manifest = archive.finish(columns, now)?;
    if manifest.rows != count {
        return Err(LegacyError::Unverified);
    }
    if drop {
        for table in OLD_TABLES {
            tx.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
        }
    }
    tx.commit()?;
    Ok(manifest)
}

async fn of_postgres(
    client: &mut tokio_postgres::Client,
    csv: &Path,
    drop: bool,
    now: DateTime<Utc>,
) -> Result<Manifest, LegacyError> {
    let tx = client.transaction().await?;
    let known = "SELECT a.attname::text AS name, quote_ident(a.attname) AS quoted, t.typcategory NOT IN ('N', 'D', 'T', 'B') AS is_text
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let known = tx.query(known, &[&WEEKLY]).await?;
    let columns: Vec<String> = known.iter().map(|row| row.get("name")).collect();
    require_anonymous(&columns)?;
    let quoted: Vec<&str> = known.iter().map(|row| row.get("quoted")).collect();
    let is_text: Vec<bool> = known.iter().map(|row| row.get("is_text")).collect();
    if drop {
        tx.batch_execute(&format!("LOCK TABLE {WEEKLY} IN ACCESS EXCLUSIVE MODE")).await?;
    }
    let count: i64 = tx.query_one(&format!("SELECT count(*) AS rows FROM {WEEKLY}"), &[]).await?.get("rows");
    let mut archive = Archive::create(csv)?;
    archive.heading(&columns)?;
    let texts: Vec<String> = quoted.iter().map(|name| format!("w.{name}::text")).collect();
    let all = format!("SELECT {} FROM {WEEKLY} w ORDER BY w.{}", texts.join(", "), quoted[0]);
    let mut rows = std::pin::pin!(tx.query_raw(&all, Vec::<&str>::new()).await?);
    while let Some(row) = rows.try_next().await? {
        let cell = |(at, is_text): (usize, &bool)| match row.get::<_, Option<String>>(at) {
            None => Cell::Null,
            Some(text) if *is_text => Cell::Text(text),
            Some(text) => Cell::Number(text),
        };
        archive.row(&is_text.iter().enumerate().map(cell).collect::<Vec<_>>())?;
    }
    let manifest = archive.finish(columns, now)?;
    if i64::try_from(manifest.rows) != Ok(count) {
        return Err(LegacyError::Unverified);
    }
    if drop {
        for table in OLD_TABLES {
            tx.batch_execute(&format!("DROP TABLE IF EXISTS {table}")).await?;
        }
    }
    tx.commit().await?;
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEKS: &str = "CREATE TABLE weekly_submissions (id INTEGER PRIMARY KEY, week_start TEXT, hours REAL, note TEXT);
        INSERT INTO weekly_submissions VALUES (1, '2025-01-06', 43.7, 'two, \"quoted\"'), (2, '2025-01-13', -1.25, NULL),
            (3, '', -2, ' =1+1');
        CREATE TABLE reports (id INTEGER); CREATE TABLE kept (id INTEGER)";

    fn tables(path: &Path) -> Vec<String> {
        let database = rusqlite::Connection::open(path).expect("opens");
        let mut statement =
            database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").expect("prepared");
        statement.query_map([], |row| row.get(0)).expect("read").collect::<Result<_, _>>().expect("read")
    }

    #[tokio::test]
    async fn weeks_are_archived_whole_and_dropped_only_when_that_is_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, csv) = (folder.path().join("old.db"), folder.path().join("weeks.csv"));
        rusqlite::Connection::open(&old).expect("made").execute_batch(WEEKS).expect("filled");
        let archived = archive(Source::Sqlite(old.clone()), &csv, false, DateTime::UNIX_EPOCH).await.expect("archived");
        assert_eq!((archived.rows, archived.columns.len()), (3, 4));
        let text = std::fs::read_to_string(&csv).expect("read");
        let rows = "1,2025-01-06,43.7,\"two, \"\"quoted\"\"\"\n2,2025-01-13,-1.25,\n3,\"\",-2,' =1+1\n";
        assert_eq!(
            text,
            format!("id,week_start,hours,note\n{rows}"),
            "texts are no formulas, numbers stay as they are"
        );
        let manifest = std::fs::read(manifest_path(&csv)).expect("read");
        assert_eq!(serde_json::from_slice::<Manifest>(&manifest).expect("JSON"), archived);
        assert_eq!(tables(&old), ["kept", "reports", "weekly_submissions"]);
        let again = archive(Source::Sqlite(old.clone()), &csv, true, DateTime::UNIX_EPOCH).await;
        assert!(matches!(again, Err(LegacyError::Io(..))), "an archive is not overwritten");
        assert_eq!(tables(&old).len(), 3, "and what was not archived is not dropped");
        let other = folder.path().join("again.csv");
        archive(Source::Sqlite(old.clone()), &other, true, DateTime::UNIX_EPOCH).await.expect("archived");
        assert_eq!(tables(&old), ["kept"]);
        let gone = archive(Source::Sqlite(old), &folder.path().join("none.csv"), true, DateTime::UNIX_EPOCH).await;
        assert!(matches!(gone, Err(LegacyError::Missing)));
    }

    #[tokio::test]
    async fn rows_that_are_somebodys_are_not_archived_in_clear() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, csv) = (folder.path().join("old.db"), folder.path().join("weeks.csv"));
        let table = "CREATE TABLE weekly_submissions (id INTEGER PRIMARY KEY, Email TEXT)";
        rusqlite::Connection::open(&old).expect("made").execute_batch(table).expect("filled");
        let refused = archive(Source::Sqlite(old), &csv, true, DateTime::UNIX_EPOCH).await;
        assert!(matches!(refused, Err(LegacyError::Naming(column)) if column == "Email"));
        assert!(!csv.exists());
        let none = archive(Source::Sqlite(folder.path().join("none.db")), &csv, false, DateTime::UNIX_EPOCH).await;
        assert!(none.is_err() && !folder.path().join("none.db").exists());
    }
}
