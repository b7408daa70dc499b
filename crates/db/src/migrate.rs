//! Brings a database to this version: roles, numbered migrations, then all policies anew, each in a transaction of its
//! own.
//!
//! Needs a superuser's connection, which nothing else here uses. Refuses a database whose landed migrations differ from
//! ours. Secrets (pads, passwords) are written with statement logging switched off, passwords as SCRAM verifiers.

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::{Client, Config, NoTls};

use crate::{
    Address, DbError, TicketKey,
    login::{Login, Passwords},
};

mod embedded {
    refinery::embed_migrations!("../../sql");
}

// The files of `policies/`, as `build.rs` finds them.
include!(concat!(env!("OUT_DIR"), "/policies.rs"));

/// Why a database could not be brought to this version.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database refused or could not be reached.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A migration failed, or a landed one differs from ours.
    #[error("migration: {0}")]
    Migration(#[from] refinery::Error),
    #[error("the database belongs to another key ring: bring back the ring.json that it was made with")]
    ForeignRing,
    #[error("policies/{0}.sql: {1}")]
    Policy(&'static str, DbError),
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Db(error.into())
    }
}

/// Settings that the database has for all sessions must not stop the superuser, because migrating removes such
/// settings.
const ADMIN_OPTIONS: &str = "-c row_security=on -c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off \
                             -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0";

/// Connects as the superuser who migrates, without the settings that the database has for all sessions.
pub async fn admin(address: &Address, user: &str, password: Option<&str>) -> Result<Client, DbError> {
    open(address.config(user, password).options(ADMIN_OPTIONS)).await
}

/// Connects with the settings of role and database, as any client of PostgreSQL does.
pub async fn client(address: &Address, user: &str, password: Option<&str>) -> Result<Client, DbError> {
    open(&address.config(user, password)).await
}

async fn open(config: &Config) -> Result<Client, DbError> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The number of the newest migration that this build knows.
pub fn newest_migration() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(|migration| migration.version())
        .max()
        .unwrap_or_default()
}

/// Applies roles, migrations and policies. Safe to run again, and by several processes at once.
pub async fn migrate(client: &mut Client) -> Result<(), MigrateError> {
    client.batch_execute("SELECT pg_advisory_lock(7310868735420)").await?;
    apply_to_cluster(client, ROLES).await?;
    client.batch_execute("SET ROLE lethe_owner").await?;
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("lethe.schema_history");
    let outcome = runner.run_async(client).await;
    client.batch_execute("RESET ROLE").await?;
    outcome?;
    apply_policies(client).await?;
    client.batch_execute(FORGET_ESTIMATES).await?;
    apply_to_cluster(client, WATCH).await?;
    client.batch_execute("SELECT pg_advisory_unlock(7310868735420)").await?;
    Ok(())
}

/// Removes what the planner learnt about columns before `policies/frame/estimates.sql` kept it from learning. Only a
/// superuser may do that.
const FORGET_ESTIMATES: &str = "-- estimates_forget
    DELETE FROM pg_statistic s USING pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE s.starelid = a.attrelid AND s.staattnum = a.attnum AND a.attstattarget = 0
      AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('log', 'vault', 'auth', 'read', 'jobs'))";

/// Applies all policies anew, in one transaction.
async fn apply_policies(client: &mut Client) -> Result<(), MigrateError> {
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL ROLE lethe_owner").await?;
    for (name, sql) in POLICIES.iter().copied() {
        tx.batch_execute(sql).await.map_err(|error| MigrateError::Policy(name, error.into()))?;
    }
    tx.commit().await?;
    Ok(())
}

/// Applies SQL about roles, which belong to the cluster. Another process that migrates another database of the cluster
/// may change the same rows at the same moment, because our lock belongs to one database. Then the SQL is applied
/// again.
async fn apply_to_cluster(client: &mut Client, (name, sql): (&'static str, &str)) -> Result<(), MigrateError> {
    let mut attempts = 0;
    loop {
        let tx = client.transaction().await?;
        match tx.batch_execute(sql).await.map_err(DbError::from) {
            Ok(()) => return Ok(tx.commit().await?),
            Err(error) if was_overtaken(&error) && attempts < 20 => {
                tx.rollback().await?;
                attempts += 1;
                tokio::time::sleep(std::time::Duration::from_millis(50 * attempts)).await;
            }
            Err(error) => return Err(MigrateError::Policy(name, error)),
        }
    }
}

/// Whether another process changed or added the same row of the cluster's catalogue.
fn was_overtaken(error: &DbError) -> bool {
    match error {
        DbError::Fault { message, .. } => message.contains("concurrently"),
        other => matches!(other, DbError::Conflict(_)),
    }
}

const QUIET: &str = "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic'; \
                     SET log_duration = off; SET log_parameter_max_length = 0; SET log_parameter_max_length_on_error = 0";
const LOUD: &str = "RESET log_statement; RESET log_min_duration_statement; RESET log_min_error_statement; \
                    RESET log_duration; RESET log_parameter_max_length; RESET log_parameter_max_length_on_error";

/// Installs the pads of the ring's ticket key, with which the database checks tickets. Refuses any ring but the first,
/// because a database whose ring is lost must not look as if it were fresh.
pub async fn install_pads(client: &Client, key: &TicketKey) -> Result<(), MigrateError> {
    let (inner, outer) = key.pads();
    client.batch_execute(QUIET).await?;
    let insert = "-- pads_install
        INSERT INTO lethe.pads (inner_pad, outer_pad) VALUES ($1, $2)
        ON CONFLICT DO NOTHING";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&inner.as_slice(), &outer.as_slice()];
    let outcome = client.execute(insert, &values).await;
    let ours = client.query_one("SELECT inner_pad = $1 AND outer_pad = $2 FROM lethe.pads", &values).await;
    client.batch_execute(LOUD).await?;
    outcome?;
    if ours?.get(0) { Ok(()) } else { Err(MigrateError::ForeignRing) }
}

/// Sets the logins' passwords, sent as SCRAM verifiers.
pub async fn set_passwords(client: &Client, passwords: &Passwords) -> Result<(), DbError> {
    client.batch_execute(QUIET).await?;
    let statements: String = Login::ALL
        .iter()
        .filter_map(|login| passwords.get(login.as_str()).map(|password| (login, password)))
        .map(|(login, password)| {
            format!("ALTER ROLE {} PASSWORD '{}';", login.as_str(), scram_sha_256(password.as_bytes()))
        })
        .collect();
    // Roles belong to the cluster: a process that migrates another database of it may set the same passwords at the
    // same moment.
    let mut attempts = 0;
    let outcome = loop {
        match client.batch_execute(&statements).await.map_err(DbError::from) {
            Err(error) if was_overtaken(&error) && attempts < 20 => {
                attempts += 1;
                tokio::time::sleep(std::time::Duration::from_millis(50 * attempts)).await;
            }
            outcome => break outcome,
        }
    };
    client.batch_execute(LOUD).await?;
    outcome
}
