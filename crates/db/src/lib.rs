//! The only way to PostgreSQL: one pool for each login, tickets, transactions in flights, migrations.
//!
//! Promises: every statement runs inside [`Db::run_tx`], [`Db::run_shared`] or [`Db::run_at_once`], under a ticket that names
//! one person, the persons of a group, or nobody, and ends with the transaction; a cancelled or failed transaction never
//! returns its connection to the pool. Refuses to hand out connections for free use.

mod catalogue;
mod clock;
mod error;
mod gate;
mod group;
mod login;
mod migrate;
mod pool;
mod query;
mod row;
mod run;
mod ticket;
mod tx;

pub use catalogue::{Drift, MATRIX, catalogue, catalogue_sql, drift, matrix};
pub use clock::Clocks;
pub use error::{DbError, Transient};
pub use gate::Gate;
pub use login::{Login, Passwords};
pub use migrate::{MigrateError, admin, client, install_pads, migrate, newest_migration, set_passwords};
pub use pool::{Address, Db, session};
pub use query::{Query, Rows};
pub use row::FromRow;
pub use run::AtOnce;
pub use ticket::{Lookup, Session, TicketKey};
pub use tx::Tx;

/// Joins constant texts into one, such as a statement around a list of columns.
pub use const_format::concatcp as sql;
pub use from_row::FromRow;
pub use tokio_postgres::{Row, types};
