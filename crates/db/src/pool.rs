//! One pool for each login. A connection knows its session's number, which every ticket names, and the database's time, by
//! which tickets expire. It starts with the settings that the server needs. No setting of a role or of a database changes
//! them, so that a login that alters itself does the server no harm.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use deadpool::{
    Runtime,
    managed::{self, Metrics, QueueMode, RecycleResult, Timeouts},
};
use deadpool_postgres::{ClientWrapper, ManagerConfig, RecyclingMethod};
use tokio_postgres::{Client, Config, NoTls};

use crate::{DbError, Login, Session, TicketKey, group::Group};

/// Options for the start of a session. They outrank what `ALTER ROLE` and `ALTER DATABASE` set.
/// `policies/frame/roles.sql` gives the reasons for options that roles have too. `lock_timeout` is shorter than
/// `statement_timeout`, so that the error names the lock.
const PINNED: &[(&str, &str)] = &[
    ("search_path", "pg_catalog"),
    ("row_security", "on"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "30s"),
    ("idle_session_timeout", "0"),
    ("client_connection_check_interval", "1s"),
    ("plan_cache_mode", "force_generic_plan"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("synchronous_commit", "on"),
    ("timezone", "UTC"),
    ("local_preload_libraries", ""),
];
/// Every statement of a request looks rows up by key. A plan that was made while a table was small would go on reading all
/// of it when it has grown. The planner does not know how many rows a person has (`policies/frame/estimates.sql`), so that
/// it would rather collect and sort all of them in a bitmap than read a page of them in the order of an index.
const PINNED_FOR_API: &[(&str, &str)] = &[("enable_seqscan", "off"), ("enable_bitmapscan", "off")];
/// A release reads each person's rows once, so memoizing them would only cost.
const PINNED_FOR_STATS: &[(&str, &str)] = &[("enable_memoize", "off")];

/// Undoes every other setting that a role or a database has and a session may change. They are not listed, because
/// there are hundreds and new releases of PostgreSQL bring more. `transaction_timeout` (PostgreSQL 17) comes first,
/// because it could end this statement too.
const UNDO: &str = "-- session_undo
SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('server_version_num')::int >= 170000;
SELECT set_config(name, coalesce(boot_val, ''), false) FROM pg_settings
WHERE source IN ('database', 'user', 'database user') AND context = 'user'";

/// The options of [`PINNED`], in the form of a connection string.
fn options(login: Login) -> String {
    let more = match login {
        Login::Api => PINNED_FOR_API,
        Login::Stats => PINNED_FOR_STATS,
        _ => &[],
    };
    let option = |(name, value): &(&str, &str)| format!("-c {name}={}", value.replace(' ', "\\ "));
    PINNED.iter().chain(more).map(option).collect::<Vec<_>>().join(" ")
}

/// The address of a database, without a login.
#[derive(Clone, Debug)]
pub struct Address {
    /// A host name, or the folder of a Unix socket.
    pub host: String,
    /// The TCP port, or the number in the socket's name.
    pub port: u16,
    pub database: String,
}

impl Address {
    /// The settings by which `user` connects.
    pub fn config(&self, user: &str, password: Option<&str>) -> Config {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).dbname(&self.database).user(user);
        config.application_name("lethe").connect_timeout(Duration::from_secs(5));
        if let Some(password) = password {
            config.password(password);
        }
        config
    }
}

fn pinned(address: &Address, login: Login, password: Option<&str>) -> Config {
    let mut config = address.config(login.as_str(), password);
    config.options(options(login));
    config
}

/// Opens one connection of a login with the same settings as the connections of a pool, but without a ticket.
pub async fn session(address: &Address, login: Login, password: Option<&str>) -> Result<Client, DbError> {
    let (client, connection) = pinned(address, login, password).connect(NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(UNDO).await?;
    Ok(client)
}

/// The pool of one login.
#[derive(Clone)]
pub struct Db {
    pub(crate) pool: managed::Pool<Connections>,
    pub(crate) key: Arc<TicketKey>,
    /// The age of new connections. A connection of another age is made anew before its next use.
    pub(crate) age: Arc<AtomicU64>,
    pub(crate) group: Arc<Group>,
}

impl Db {
    /// Makes a pool of at most `size` connections. A connection is opened only when it is needed.
    pub fn connect(address: &Address, login: Login, password: &str, size: usize, key: Arc<TicketKey>) -> Self {
        let config = pinned(address, login, Some(password));
        let inner = deadpool_postgres::Manager::from_config(
            config,
            NoTls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let wait = Some(Duration::from_secs(5));
        let age = Arc::new(AtomicU64::new(0));
        let pool = managed::Pool::builder(Connections { inner, age: age.clone() })
            .max_size(size)
            // The connection that was used last has its plans and rows in the processor's caches.
            .queue_mode(QueueMode::Lifo)
            .timeouts(Timeouts { wait, create: wait, recycle: wait })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime and a size can be built");
        Self { pool, key, age, group: Arc::new(Group::new(size)) }
    }

    /// How many transactions that others may share run at once.
    pub fn slots(&self) -> usize {
        self.group.state().slots
    }

    /// Closes all idle connections, so that the next transaction gets a new backend.
    pub fn close_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    pub(crate) async fn get(&self) -> Result<managed::Object<Connections>, DbError> {
        self.pool.get().await.map_err(|error| match error {
            managed::PoolError::Backend(error) => error,
            // All connections are in use: the database can be reached, but it is busy.
            managed::PoolError::Timeout(managed::TimeoutType::Wait) => {
                DbError::Busy { code: "pool".to_owned(), message: "no connection became free in time".to_owned() }
            }
            other => DbError::Unreachable(other.to_string()),
        })
    }
}

/// Makes connections with deadpool-postgres, and begins the session of each.
pub(crate) struct Connections {
    inner: deadpool_postgres::Manager,
    age: Arc<AtomicU64>,
}

/// A connection and its session.
pub(crate) struct Connection {
    pub client: ClientWrapper,
    pub session: Session,
    /// What the database's clock showed, and when it was asked.
    time: (DateTime<Utc>, Instant),
    age: u64,
}

impl Connection {
    /// The database's time. It is right as long as nobody sets the database's clock.
    pub fn now(&self) -> DateTime<Utc> {
        let (then, at) = self.time;
        then + at.elapsed()
    }
}

impl managed::Manager for Connections {
    type Type = Connection;
    type Error = DbError;

    async fn create(&self) -> Result<Connection, DbError> {
        let age = self.age.load(Ordering::Relaxed);
        let client = self.inner.create().await?;
        client.batch_execute(UNDO).await?;
        let (session, then) = Session::begin(&client).await?;
        Ok(Connection { client, session, time: (then, Instant::now()), age })
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<DbError> {
        use managed::RecycleError;
        if connection.age != self.age.load(Ordering::Relaxed) {
            return Err(RecycleError::message("the database's time is to be asked again"));
        }
        self.inner.recycle(&mut connection.client, metrics).await.map_err(|error| match error {
            RecycleError::Backend(error) => RecycleError::Backend(error.into()),
            RecycleError::Message(message) => RecycleError::Message(message),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_in_a_value_does_not_end_the_option() {
        let text = options(Login::Stats);
        assert!(text.contains(r"-c default_transaction_isolation=read\ committed -c"), "{text}");
        assert!(text.ends_with("-c enable_memoize=off"), "{text}");
        assert!(!options(Login::Api).contains("enable_memoize"));
    }
}
