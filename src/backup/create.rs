//! Taking a backup: first the log, then the keys, each from one snapshot, so that the keys are never older than the
//! log.
//!
//! Needs the superuser who migrates, because no login of ours may read everybody's keys. Servers go on serving
//! meanwhile.

use std::path::Path;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use tokio_postgres::Client;
use vault::Vault;

use crate::{
    backup::archive::{Content, Manifest, Writer, put_in_place, refuse_pair},
    data::{ledger::Ledger, new_file::NewFile},
    server::{ServerError, Store},
};

/// The tables of an archive of the log, with their order. The columns `txid` and `position` are left out, because a
/// restore assigns them anew, in order.
pub(super) const LOG: &[(&str, &str)] = &[
    ("log.events", "ORDER BY txid, position"),
    ("log.trees", "ORDER BY tree"),
    ("log.tiles", ""),
    ("log.checkpoints", ""),
    ("stats.hospitals", ""),
    ("stats.releases", ""),
    ("stats.spending", ""),
    ("stats.ledger", ""),
    ("stats.stats_by_state_specialty", ""),
    ("stats.stats_by_hospital_role", ""),
    ("stats.stats_by_state_role", ""),
];
/// The migration since which archives of the log hold a table.
pub(super) fn archived_since(table: &str) -> i32 {
    match table {
        "log.trees" | "log.tiles" | "log.checkpoints" => 10,
        table if table.starts_with("stats.") => 9,
        _ => 0,
    }
}
/// The tables of an archive of keys, in an order in which foreign keys are satisfied.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("vault.ring_floor", ""),
    ("vault.erased", ""),
    ("vault.subjects", ""),
    ("vault.records", ""),
    ("auth.users", ""),
    ("auth.addresses", ""),
    ("auth.staff_roles", ""),
];

/// Writes an archive of the log and one of the keys, and notes in the ring that the keys are archived. Both get their
/// names only when both are whole, so that a backup that fails leaves nothing behind and can be tried again.
pub async fn create(
    store: &Store,
    password: Option<&str>,
    vault: &Vault,
    ledger: &Ledger,
    log: &Path,
    keys: &Path,
    now: DateTime<Utc>,
) -> Result<(Manifest, Manifest), ServerError> {
    refuse_pair(log, keys)?;
    let client = db::admin(&store.database.address, &store.database.admin, password).await?;
    // Read before the snapshots, so that a ledger with fewer entries is too old to restore them with.
    let entries = ledger.read().await?.len();
    let (log, log_file) = write(&client, vault, log, (Content::Log, LOG), entries).await?;
    let (keys, keys_file) = write(&client, vault, keys, (Content::Keys, KEYS), entries).await?;
    put_in_place(log_file)?;
    put_in_place(keys_file)?;
    vault.ring().note_archive(now).map_err(crate::data::home::HomeError::from)?;
    Ok((log, keys))
}

async fn write(
    client: &Client,
    vault: &Vault,
    path: &Path,
    (content, tables): (Content, &[(&str, &str)]),
    ledger_entries: usize,
) -> Result<(Manifest, NewFile), ServerError> {
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(db::DbError::from)?;
    let outcome = write_tables(client, vault, path, (content, tables), ledger_entries).await;
    client.batch_execute("ROLLBACK").await.map_err(db::DbError::from)?;
    outcome
}

async fn write_tables(
    client: &Client,
    vault: &Vault,
    path: &Path,
    (content, tables): (Content, &[(&str, &str)]),
    ledger_entries: usize,
) -> Result<(Manifest, NewFile), ServerError> {
    let sql = "SELECT max(version) AS version, clock_timestamp() AS now FROM lethe.schema_history";
    let row = client.query_one(sql, &[]).await.map_err(db::DbError::from)?;
    let mut writer = Writer::create(path, content, row.get("now"), row.get("version"))?;
    writer.note_ledger(ledger_entries);
    if content == Content::Keys {
        let sql = "SELECT DISTINCT ring_version FROM vault.subjects ORDER BY 1";
        let rows = client.query(sql, &[]).await.map_err(db::DbError::from)?;
        writer.note_ring_versions(rows.iter().map(|row| row.get("ring_version")).collect());
    }
    for (name, order) in tables {
        let columns = archived_columns(client, name).await?;
        let sql = format!("COPY (SELECT {} FROM {name} {order}) TO STDOUT", columns.join(", "));
        let mut table = writer.table(name, columns)?;
        let parts = client.copy_out(&sql).await.map_err(db::DbError::from)?;
        let mut parts = std::pin::pin!(parts);
        while let Some(part) = parts.try_next().await.map_err(db::DbError::from)? {
            table.write(&part)?;
        }
        table.finish();
    }
    Ok(writer.finish(vault.ring())?)
}

/// The columns of a table that are archived, quoted.
async fn archived_columns(client: &Client, table: &str) -> Result<Vec<String>, ServerError> {
    let mut columns = columns(client, table).await?;
    columns.retain(|column| !["txid", "\"position\"", "position"].contains(&column.as_str()));
    Ok(columns)
}

/// All columns of a table, quoted, in their order.
pub(super) async fn columns(client: &Client, table: &str) -> Result<Vec<String>, ServerError> {
    let sql = "SELECT quote_ident(attname) AS quoted FROM pg_attribute
               WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = client.query(sql, &[&table]).await.map_err(db::DbError::from)?;
    Ok(rows.iter().map(|row| row.get("quoted")).collect())
}
