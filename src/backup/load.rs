//! Loading a pair of archives into an empty database, a chunk of rows in each transaction.
//!
//! The row of `lethe.restoring` says how far the restore has come. It is committed before the first row of an archive,
//! each chunk moves it in the chunk's own transaction, and it is deleted when the restore is done. So a load that was
//! killed goes on behind its last chunk, and the database never holds restored rows without this mark.

use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use context::SubjectId;
use futures_util::SinkExt;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{
    backup::{
        archive::{ArchiveError, Reader},
        create::{KEYS, LOG, archived_since, columns},
        progress::{Progress, Watch},
    },
    server::ServerError,
};

/// How many rows one transaction loads; an event has about 700 bytes. Test builds load few, so that tests reach the
/// ends of chunks.
const CHUNK: u64 = if cfg!(debug_assertions) { 5 } else { 50_000 };

/// How often, and with which pause, the restore checks whether connections of a killed run have ended.
const LOOKS: usize = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// The steps of a restore, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Load,
    Rebuild,
    /// The ledger of erasures is carried out again.
    Replay,
}

/// How far a restore has come: the row of `lethe.restoring`.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// The step that is to be done next.
    pub step: Step,
    /// How many tables are loaded, or how many read models are rebuilt, in this step.
    pub place: usize,
    /// How many rows of the next table are loaded.
    pub rows_loaded: u64,
    /// The last person whose rows of the next read model are made.
    pub after: SubjectId,
    /// How many accounts only the archive of the keys had.
    pub lost_people: u64,
    /// How many records only the archive of the keys had.
    pub lost_records: u64,
}

fn fault(error: tokio_postgres::Error) -> ServerError {
    db::DbError::from(error).into()
}

fn refuse<T>(fact: impl Into<String>) -> Result<T, ServerError> {
    Err(ServerError::Restore(fact.into()))
}

/// A hash of both manifests, which tells one pair of archives from another.
fn identity(log: &Reader, keys: &Reader) -> String {
    let text = |reader: &Reader| serde_json::to_vec(&reader.manifest).expect("a manifest can be written as JSON");
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&text(log));
    hash.update(&text(keys));
    hex::encode(hash.finish())
}

/// Refuses a database that is not empty, and one that servers are connected to. Changes nothing.
pub(super) async fn check_target(client: &Client) -> Result<(), ServerError> {
    let migrated = "SELECT to_regclass('lethe.restoring') IS NOT NULL AS is_migrated";
    if !client.query_one(migrated, &[]).await.map_err(fault)?.get::<_, bool>("is_migrated") {
        return Ok(());
    }
    refuse_full(client).await?;
    let servers = "SELECT count(*) AS servers FROM pg_stat_activity WHERE datname = current_database() AND usename IN ('lethe_api', 'lethe_system')";
    let mut connected: i64 = 0;
    // Connections of a killed run end by themselves after a moment.
    for _ in 0..LOOKS {
        connected = client.query_one(servers, &[]).await.map_err(fault)?.get("servers");
        if connected == 0 {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    refuse(format!("servers hold {connected} connections to this database: stop them first"))
}

/// Refuses a database with events or keys, unless a restore brought them in.
async fn refuse_full(client: &Client) -> Result<(), ServerError> {
    let full = "SELECT NOT EXISTS (SELECT FROM lethe.restoring)
                   AND (EXISTS (SELECT FROM log.events) OR EXISTS (SELECT FROM vault.subjects)) AS is_full";
    if client.query_one(full, &[]).await.map_err(fault)?.get("is_full") {
        return refuse("the database holds something; name an empty one");
    }
    Ok(())
}

/// Finds the mark of an unfinished restore of these archives, or makes one in an empty database. Refuses if a restore
/// of other archives is unfinished.
pub(super) async fn begin(client: &Client, log: &Reader, keys: &Reader) -> Result<Mark, ServerError> {
    let archives = identity(log, keys);
    refuse_full(client).await?;
    let insert = "-- restore_begin
        WITH fresh AS (INSERT INTO lethe.restoring (begun_at, archives, step) VALUES (now(), $1, 'load') ON CONFLICT DO NOTHING
                       RETURNING true)
        DELETE FROM vault.ring_floor WHERE EXISTS (SELECT FROM fresh)";
    client.execute(insert, &[&archives]).await.map_err(fault)?;
    let (mark, begun_with) = found(client).await?.expect("the row is there by now");
    if begun_with.is_some_and(|other| other != archives) {
        return refuse("a restore of other archives is unfinished in this database: name those, or an empty database");
    }
    Ok(mark)
}

/// The mark, and the hash of the archives that the restore began with.
async fn found(client: &Client) -> Result<Option<(Mark, Option<String>)>, ServerError> {
    let sql = "SELECT archives, step, place, rows_loaded, after, lost_people, lost_records FROM lethe.restoring";
    let Some(row) = client.query_opt(sql, &[]).await.map_err(fault)? else { return Ok(None) };
    let count = |column: &str| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
    let mark = Mark {
        step: match row.get("step") {
            "load" => Step::Load,
            "replay" => Step::Replay,
            _ => Step::Rebuild,
        },
        place: usize::try_from(row.get::<_, i32>("place")).unwrap_or_default(),
        rows_loaded: count("rows_loaded"),
        after: SubjectId(row.get::<_, Uuid>("after")),
        lost_people: count("lost_people"),
        lost_records: count("lost_records"),
    };
    Ok(Some((mark, row.get("archives"))))
}

impl Mark {
    /// Writes the mark to the database, as part of an open transaction if there is one.
    pub(super) async fn keep(&self, client: &Client) -> Result<(), ServerError> {
        let step = match self.step {
            Step::Load => "load",
            Step::Rebuild => "rebuild",
            Step::Replay => "replay",
        };
        let number = |count: u64| i64::try_from(count).expect("counts stay below 2^63");
        let update = "-- restore_keep
            UPDATE lethe.restoring SET step = $1, place = $2, rows_loaded = $3, after = $4, lost_people = $5, lost_records = $6";
        let place = i32::try_from(self.place).expect("there are few tables");
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] = [
            &step,
            &place,
            &number(self.rows_loaded),
            &self.after.0,
            &number(self.lost_people),
            &number(self.lost_records),
        ];
        client.execute(update, &values).await.map(drop).map_err(fault)
    }

    /// Moves the mark to the next table or read model.
    pub(super) fn next_place(&mut self) {
        (self.place, self.rows_loaded, self.after) = (self.place + 1, 0, SubjectId::NIL);
    }
}

/// Copies in all rows that are missing, then deletes accounts and records that only one archive knows.
pub(super) async fn load(
    client: &Client,
    mark: &mut Mark,
    log: Reader,
    keys: Reader,
    watch: Watch<'_>,
) -> Result<(), ServerError> {
    let tables: Vec<&str> = LOG.iter().chain(KEYS).map(|(name, _)| *name).collect();
    for reader in [&log, &keys] {
        check_columns(client, reader).await?;
    }
    let rows = |reader: &Reader| reader.manifest.tables.values().map(|table| table.rows).sum::<u64>();
    let total = rows(&log) + rows(&keys);
    let expected =
        |name: &str| [&log, &keys].iter().find_map(|it| it.manifest.tables.get(name)).map_or(0, |it| it.rows);
    let mut done = tables.iter().take(mark.place).map(|name| expected(name)).sum::<u64>() + mark.rows_loaded;
    let (mut log, mut keys) = (Some(log), Some(keys));
    while let Some(name) = tables.get(mark.place) {
        let half = if mark.place < LOG.len() { &mut log } else { &mut keys };
        let reader = half.take().expect("a reader is given back after each table");
        let mut note = |rows: u64| {
            done += rows;
            watch(Progress { step: "rows loaded", done, total });
        };
        *half = Some(copy_in(client, mark, reader, name, &mut note).await?);
    }
    settle(client, mark).await
}

/// Refuses archives that lack a table, or have an unknown column, because column names of an archive become part of
/// statements.
async fn check_columns(client: &Client, reader: &Reader) -> Result<(), ServerError> {
    let tables = if reader.manifest.tables.contains_key("log.events") { LOG } else { KEYS };
    for (name, _) in tables {
        let Some(table) = reader.manifest.tables.get(*name) else {
            if reader.manifest.schema < archived_since(name) {
                continue;
            }
            return refuse(format!("an archive has no {name}"));
        };
        let ours = columns(client, name).await?;
        if let Some(foreign) = table.columns.iter().find(|column| !ours.contains(column)) {
            return refuse(format!("an archive has a column of {name} that is not known: {foreign:?}"));
        }
    }
    Ok(())
}

/// Copies in the rows of one table that are missing, a chunk in each transaction. Leaves the mark at the next table.
async fn copy_in(
    client: &Client,
    mark: &mut Mark,
    mut reader: Reader,
    name: &str,
    note: &mut (dyn FnMut(u64) + Send),
) -> Result<Reader, ServerError> {
    let Some(table) = reader.manifest.tables.get(name) else {
        // The archive is of an older version, which did not have the table.
        mark.next_place();
        mark.keep(client).await?;
        return Ok(reader);
    };
    let (expected, sql) = (table.rows, format!("COPY {name} ({}) FROM STDIN", table.columns.join(", ")));
    let (sender, mut parts) = tokio::sync::mpsc::channel(4);
    let table = name.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let outcome = reader.parts(&table, &sender);
        (reader, outcome)
    });
    let mut rows = Rows { parts: &mut parts, rest: Vec::new(), skip: mark.rows_loaded };
    loop {
        client.batch_execute("BEGIN").await.map_err(fault)?;
        let sink = client.copy_in::<_, Bytes>(&sql).await.map_err(fault)?;
        let mut sink = std::pin::pin!(sink);
        let mut sent = 0;
        while sent < CHUNK {
            let Some((text, count)) = rows.next(CHUNK - sent).await else { break };
            sink.send(text).await.map_err(fault)?;
            sent += count;
        }
        let stored = sink.finish().await.map_err(fault)?;
        if stored != sent {
            return refuse(format!("an archive's rows of {name} are not what they count as"));
        }
        mark.rows_loaded += sent;
        let ended = sent < CHUNK;
        if ended {
            if mark.rows_loaded != expected {
                return refuse(format!("an archive does not hold all rows of {name}"));
            }
            mark.next_place();
        }
        mark.keep(client).await?;
        client.batch_execute("COMMIT").await.map_err(fault)?;
        note(sent);
        context::crash_point("restore: a chunk is loaded");
        if ended {
            break;
        }
    }
    let (reader, outcome): (Reader, Result<(), ArchiveError>) = reading.await.map_err(|_| ServerError::Lost)?;
    outcome?;
    Ok(reader)
}

/// A table's text, cut at the ends of rows. In this format a line break inside a value is written as two other
/// characters.
struct Rows<'p> {
    parts: &'p mut tokio::sync::mpsc::Receiver<Vec<u8>>,
    rest: Vec<u8>,
    /// How many rows are still to be skipped, because an earlier run has stored them.
    skip: u64,
}

impl Rows<'_> {
    /// Whole rows, at most `limit`, with their number; `None` at the end.
    async fn next(&mut self, limit: u64) -> Option<(Bytes, u64)> {
        loop {
            let wanted = if self.skip > 0 { self.skip } else { limit };
            let (length, count) = whole_rows(&self.rest, wanted);
            if count == 0 {
                self.rest.extend(self.parts.recv().await?);
                continue;
            }
            let later = self.rest.split_off(length);
            let text = std::mem::replace(&mut self.rest, later);
            if self.skip == 0 {
                return Some((text.into(), count));
            }
            self.skip -= count;
        }
    }
}

/// The length in bytes and the number of the first whole rows, at most `limit`.
fn whole_rows(text: &[u8], limit: u64) -> (usize, u64) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let ends = memchr::memchr_iter(b'\n', text).take(limit);
    ends.fold((0, 0), |(_, count), at| (at + 1, count + 1))
}

/// Ends the load in one transaction: computes the tree's positions in the log, and deletes accounts and records that
/// only the archive of the keys knows.
async fn settle(client: &Client, mark: &mut Mark) -> Result<(), ServerError> {
    // Fresh tables have no statistics, and the statements below join them.
    client.batch_execute("ANALYZE log.events, vault.subjects, vault.records; BEGIN").await.map_err(fault)?;
    let short =
        "SELECT EXISTS (SELECT FROM log.trees WHERE begins + size > (SELECT count(*) FROM log.events)) AS is_short";
    if client.query_one(short, &[]).await.map_err(fault)?.get("is_short") {
        return refuse(
            "the archive of the log holds fewer events than its tree has leaves; nothing can be restored from it",
        );
    }
    // A tree's position in the log follows from the number of events before it.
    let bundles = "-- restore_bundles
        WITH placed AS (SELECT txid, position, row_number() OVER (ORDER BY txid, position) - 1 AS at FROM log.events)
        INSERT INTO log.bundles (tree, bundle, txid, position)
        SELECT t.tree, (p.at - t.begins) / 256, p.txid, p.position FROM log.trees t
        JOIN placed p ON p.at >= t.begins AND p.at < t.begins + t.size AND (p.at - t.begins) % 256 = 0";
    client.execute(bundles, &[]).await.map_err(fault)?;
    let trees = "-- restore_trees
        WITH placed AS (SELECT txid, position, row_number() OVER (ORDER BY txid, position) AS at FROM log.events)
        UPDATE log.trees t SET txid = p.txid, position = p.position FROM placed p WHERE p.at = t.begins + t.size";
    client.execute(trees, &[]).await.map_err(fault)?;
    let next = "SELECT setval(pg_get_serial_sequence('log.events', 'position'), coalesce(max(position), 0) + 1, false) FROM log.events";
    client.query_one(next, &[]).await.map_err(fault)?;
    let people = "-- restore_lost_people
        DELETE FROM vault.subjects s WHERE NOT EXISTS (SELECT FROM log.events e WHERE e.subject_id = s.subject_id
                       AND e.aggregate_type = 'account' AND e.event_type = 'account.registered')";
    mark.lost_people = client.execute(people, &[]).await.map_err(fault)?;
    let records = "-- restore_lost_records
        DELETE FROM vault.records r WHERE NOT EXISTS (SELECT FROM log.events e WHERE e.subject_id = r.subject_id
                        AND e.aggregate_type = 'record' AND e.aggregate_id = r.record_id::text)";
    mark.lost_records = client.execute(records, &[]).await.map_err(fault)?;
    (mark.step, mark.place) = (Step::Rebuild, 0);
    mark.keep(client).await?;
    client.batch_execute("COMMIT").await.map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn chunks(parts: &[&str], skip: u64, limit: u64) -> Vec<(String, u64)> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(parts.len());
        for part in parts {
            sender.send(part.as_bytes().to_vec()).await.expect("there is room");
        }
        drop(sender);
        let mut rows = Rows { parts: &mut receiver, rest: Vec::new(), skip };
        let mut found = Vec::new();
        while let Some((text, count)) = rows.next(limit).await {
            found.push((String::from_utf8(text.to_vec()).expect("text"), count));
        }
        found
    }

    #[tokio::test]
    async fn rows_are_cut_at_their_ends_and_those_that_are_stored_are_passed_over() {
        let parts = ["1\n2", "2\n3\n4\n", "5", "5\n6\n"];
        let all: String = chunks(&parts, 0, 100).await.into_iter().map(|(text, _)| text).collect();
        assert_eq!(all, parts.concat());
        for (skip, limit) in [(0, 1), (0, 2), (1, 1), (3, 2), (5, 9), (6, 1)] {
            let found = chunks(&parts, skip, limit).await;
            let whole = ["1\n", "22\n", "3\n", "4\n", "55\n", "6\n"];
            let text: String = found.iter().map(|(text, _)| text.as_str()).collect();
            assert_eq!(text, whole[usize::try_from(skip).expect("few")..].concat(), "behind {skip} rows");
            assert!(found.iter().all(|(text, count)| *count <= limit && text.lines().count() as u64 == *count));
        }
    }
}
