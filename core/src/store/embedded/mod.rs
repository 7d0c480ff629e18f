//! The embedded backend: one SQLite file, one writer thread, a few readers.
//!
//! All writes of the process go through one thread that puts whatever is waiting into one
//! transaction and syncs once. A crash loses only what no caller was told of.

mod open;
mod snapshot;
mod writer;
mod database;
mod intake;
mod queue;
mod tracking;
mod reports;
mod error;

pub use open::{Embedded, LOCK, OpenError, RESTORING};
pub use snapshot::{FILE, SnapshotError, copy, newest_schema, verify};
