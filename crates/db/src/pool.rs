//! One pool a login. A connection knows its backend's pid, which every ticket names.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, Metrics, RecycleResult, Timeouts},
};
use deadpool_postgres::{ClientWrapper, ManagerConfig, RecyclingMethod};
use tokio_postgres::{Config, NoTls};

use crate::{DbError, Login, TicketKey};

/// Where a database is, without a login.
#[derive(Clone, Debug)]
pub struct Address {
    /// A host name, or the folder of a Unix socket.
    pub host: String,
    /// The TCP port, or the number in the socket's name.
    pub port: u16,
    /// The database's name.
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

/// All connections of one login.
#[derive(Clone)]
pub struct Db {
    pub(crate) pool: managed::Pool<Connections>,
    pub(crate) key: Arc<TicketKey>,
}

impl Db {
    /// Opens a pool of at most `size` connections; none is made before it is needed.
    pub fn connect(address: &Address, login: Login, password: &str, size: usize, key: Arc<TicketKey>) -> Self {
        let config = address.config(login.as_str(), Some(password));
        let inner = deadpool_postgres::Manager::from_config(
            config,
            NoTls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let wait = Some(Duration::from_secs(5));
        let pool = managed::Pool::builder(Connections { inner })
            .max_size(size)
            .timeouts(Timeouts { wait, create: wait, recycle: wait })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime and a size can be built");
        Self { pool, key }
    }

    /// Closes the connections that nobody uses, so that the next transaction has a backend of its own making.
    pub fn close_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    pub(crate) async fn get(&self) -> Result<managed::Object<Connections>, DbError> {
        self.pool.get().await.map_err(|error| match error {
            managed::PoolError::Backend(error) => error,
            other => DbError::Unreachable(other.to_string()),
        })
    }
}

/// Makes connections with deadpool-postgres and asks each for its backend's pid.
pub(crate) struct Connections {
    inner: deadpool_postgres::Manager,
}

/// A connection and the backend behind it.
pub(crate) struct Connection {
    pub client: ClientWrapper,
    pub pid: i32,
}

impl managed::Manager for Connections {
    type Type = Connection;
    type Error = DbError;

    async fn create(&self) -> Result<Connection, DbError> {
        let client = self.inner.create().await?;
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        Ok(Connection { client, pid })
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<DbError> {
        use managed::RecycleError;
        self.inner.recycle(&mut connection.client, metrics).await.map_err(|error| match error {
            RecycleError::Backend(error) => RecycleError::Backend(error.into()),
            RecycleError::Message(message) => RecycleError::Message(message),
        })
    }
}
