//! Bringing a database back from an archive of the log and one of the keys: rows, read models, then the ledger of erasures.
//!
//! Promises: nothing is served from a database in which something that was erased lives again: from the moment in which rows are
//! in until the ledger is through, the database says that it is unfinished, and the same command goes on. What the two archives
//! do not both know is named and let go. Refuses: a database that holds something; keys older than the log, in which what was deleted
//! in between would live again; keys under a version that the ring no longer has.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::Client;
use vault::Vault;

use super::{
    archive::{ArchiveError, Content, Reader},
    create::{KEYS, LOG, archived_since, columns},
};
use crate::{
    app::restore::Replayed,
    crash::crash_point,
    server::{self, ServerError, Settings, Store},
};

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// How many events.
    pub events: u64,
    /// How many people have keys.
    pub people: u64,
    /// Records whose events the log does not have: they were made after it was archived.
    pub lost_records: u64,
    /// Accounts that the log does not have.
    pub lost_people: u64,
    /// The origin of the new tree over the log, where the old one could not be gone on with.
    pub opened: Option<String>,
    /// What the ledger had to take away again.
    pub replayed: Replayed,
}

/// Restores an empty database from a pair of archives.
pub async fn restore(
    settings: &Settings,
    store: &Store,
    password: Option<&str>,
    vault: Arc<Vault>,
    log: &Path,
    keys: &Path,
) -> Result<Restored, ServerError> {
    let ring = vault.ring();
    let (log, keys) = (Reader::open(log, Content::Log, ring)?, Reader::open(keys, Content::Keys, ring)?);
    check(settings, &log, &keys, &vault)?;
    let passwords = settings.folder.passwords()?;
    store.migrate(password, &vault, &passwords).await?;
    let client = db::admin(&store.database.address, &store.database.admin, password).await?;
    let unfinished = "SELECT EXISTS (SELECT FROM lethe.restoring)";
    let mut restored = if client.query_one(unfinished, &[]).await.map_err(db::DbError::from)?.get(0) {
        // The rows are in; what follows can be done again.
        Restored::default()
    } else {
        load(&client, log, keys).await?
    };
    crash_point("restore: loaded");
    let app = server::open(settings, &store.database, vault, &passwords).await?;
    if !settings.rehearsal {
        restored.opened = app.tree_reopen().await?.map(|checkpoint| checkpoint.origin);
    }
    crash_point("restore: reopened");
    app.models_rebuild().await?;
    crash_point("restore: rebuilt");
    restored.replayed = app.ledger_replay().await?;
    client.batch_execute("DELETE FROM lethe.restoring").await.map_err(db::DbError::from)?;
    Ok(restored)
}

/// What must be so before anything is written.
fn check(settings: &Settings, log: &Reader, keys: &Reader, vault: &Vault) -> Result<(), ServerError> {
    let refuse = |fact: String| Err(ServerError::Restore(fact));
    let newest = db::newest_migration();
    if log.manifest.schema.max(keys.manifest.schema) > newest {
        return refuse(format!("the archives are of a newer version (migration {} and later)", newest + 1));
    }
    if keys.manifest.taken_at < log.manifest.taken_at {
        return refuse(format!(
            "the keys ({}) are older than the log ({}): what was deleted in between would live again, and what was made in \
             between would open for nobody; name the newest archive of keys",
            keys.manifest.taken_at, log.manifest.taken_at
        ));
    }
    let entries = settings.ledger().read()?.len();
    if entries < keys.manifest.ledger_entries {
        return refuse(format!(
            "the ledger of erasures has {entries} entries, and had {} when the keys were archived: bring back its newest copy",
            keys.manifest.ledger_entries
        ));
    }
    let known: Vec<i32> = vault.ring().keks().into_iter().map(|kek| kek.version).collect();
    match keys.manifest.ring_versions.iter().find(|version| !known.contains(version)) {
        Some(version) => refuse(format!(
            "the keys are under version {version} of the key ring, which is destroyed: this archive opens for nobody any more"
        )),
        None => Ok(()),
    }
}

/// Copies all rows in, in one transaction, and lets go of what only one archive knows.
pub(super) async fn load(client: &Client, log: Reader, keys: Reader) -> Result<Restored, ServerError> {
    let fault = db::DbError::from;
    let sql = "SELECT EXISTS (SELECT FROM log.events) OR EXISTS (SELECT FROM vault.subjects)";
    if client.query_one(sql, &[]).await.map_err(fault)?.get(0) {
        return Err(ServerError::Restore("the database holds something; name an empty one".to_owned()));
    }
    client
        .batch_execute("BEGIN; DELETE FROM vault.ring_floor; INSERT INTO lethe.restoring (begun_at) VALUES (now())")
        .await
        .map_err(fault)?;
    copy_in(client, log, LOG).await?;
    copy_in(client, keys, KEYS).await?;
    let short = "SELECT EXISTS (SELECT FROM log.trees WHERE begins + size > (SELECT count(*) FROM log.events))";
    if client.query_one(short, &[]).await.map_err(fault)?.get(0) {
        return Err(ServerError::Restore(
            "the archive of the log holds fewer events than its tree has leaves".to_owned(),
        ));
    }
    // Where a tree stands in the log follows from how many events come before.
    let bundles =
        "WITH placed AS (SELECT txid, position, row_number() OVER (ORDER BY txid, position) - 1 AS at FROM log.events)
        INSERT INTO log.bundles (tree, bundle, txid, position)
        SELECT t.tree, (p.at - t.begins) / 256, p.txid, p.position FROM log.trees t
        JOIN placed p ON p.at >= t.begins AND p.at < t.begins + t.size AND (p.at - t.begins) % 256 = 0";
    client.execute(bundles, &[]).await.map_err(fault)?;
    let trees =
        "WITH placed AS (SELECT txid, position, row_number() OVER (ORDER BY txid, position) AS at FROM log.events)
        UPDATE log.trees t SET txid = p.txid, position = p.position FROM placed p WHERE p.at = t.begins + t.size";
    client.execute(trees, &[]).await.map_err(fault)?;
    let next = "SELECT setval(pg_get_serial_sequence('log.events', 'position'), coalesce(max(position), 0) + 1, false) FROM log.events";
    client.query_one(next, &[]).await.map_err(fault)?;
    let lost_people =
        "DELETE FROM vault.subjects s WHERE NOT EXISTS (SELECT FROM log.events e WHERE e.subject_id = s.subject_id
                       AND e.aggregate_type = 'account' AND e.event_type = 'account.registered')";
    let lost_people = client.execute(lost_people, &[]).await.map_err(fault)?;
    let lost_records =
        "DELETE FROM vault.records r WHERE NOT EXISTS (SELECT FROM log.events e WHERE e.subject_id = r.subject_id
                        AND e.aggregate_type = 'record' AND e.aggregate_id = r.record_id::text)";
    let lost_records = client.execute(lost_records, &[]).await.map_err(fault)?;
    let counts = "SELECT (SELECT count(*) FROM log.events), (SELECT count(*) FROM vault.subjects)";
    let row = client.query_one(counts, &[]).await.map_err(fault)?;
    client.batch_execute("COMMIT; ANALYZE log.events; ANALYZE vault.records").await.map_err(fault)?;
    let count = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
    Ok(Restored { events: count(0), people: count(1), lost_people, lost_records, ..Restored::default() })
}

/// Copies an archive's tables in; each must bring as many rows as the manifest says.
async fn copy_in(client: &Client, mut reader: Reader, tables: &[(&str, &str)]) -> Result<(), ServerError> {
    for (name, _) in tables {
        let Some(table) = reader.manifest.tables.get(*name) else {
            if reader.manifest.schema < archived_since(name) {
                continue;
            }
            return Err(ServerError::Restore(format!("an archive has no {name}")));
        };
        // Names come from the archive: nothing but columns of ours gets into a statement.
        let ours = columns(client, name).await?;
        if let Some(foreign) = table.columns.iter().find(|column| !ours.contains(column)) {
            return Err(ServerError::Restore(format!(
                "an archive has a column of {name} that is not known: {foreign:?}"
            )));
        }
        let (expected, sql) = (table.rows, format!("COPY {name} ({}) FROM STDIN", table.columns.join(", ")));
        let sink = client.copy_in::<_, Bytes>(&sql).await.map_err(db::DbError::from)?;
        let mut sink = std::pin::pin!(sink);
        let (sender, mut parts) = tokio::sync::mpsc::channel(4);
        let table = (*name).to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let outcome = reader.parts(&table, &sender);
            (reader, outcome)
        });
        while let Some(part) = parts.recv().await {
            sink.send(part.into()).await.map_err(db::DbError::from)?;
        }
        let (back, outcome): (Reader, Result<(), ArchiveError>) = reading.await.map_err(|_| ServerError::Lost)?;
        outcome?;
        if sink.finish().await.map_err(db::DbError::from)? != expected {
            return Err(ServerError::Restore(format!("an archive does not hold all rows of {name}")));
        }
        reader = back;
    }
    Ok(())
}
