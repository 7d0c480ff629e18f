//! The PostgreSQL backend, for any number of nodes on one database.
//!
//! A group of submissions or results is one statement over `UNNEST` arrays, so it costs one round
//! trip and one sync. A crash of this process loses only what no caller was told of; a restart of
//! the database is an outage after which the pool connects again.

mod pool;
mod database;
mod columns;
mod events;
mod intake;
mod queue;
mod tracking;
mod reports;
mod error;

pub(in crate::store) use pool::client_tls;
pub use pool::{OpenError, Postgres, PostgresConfig, ReplicaConfig};
