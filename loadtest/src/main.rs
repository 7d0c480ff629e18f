//! Honest numbers: drives a running Postern over gRPC and measures, in the same run, what the
//! machine and the store can do at all. Links no server crate.
//!
//! Keeps nothing; a crash loses the figures of one run.

mod drive;
mod ceiling;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Measures a running Postern and the ceilings of its machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    plan: Plan,
}

#[derive(Debug, Subcommand)]
enum Plan {
    /// Sends over gRPC in a closed loop and prints one JSON line.
    Grpc {
        /// The core's address.
        #[arg(long, default_value = "http://127.0.0.1:50051")]
        core: String,
        /// The API key.
        #[arg(long)]
        key: String,
        /// How many callers wait for their answers at the same time.
        #[arg(long, default_value_t = 64)]
        callers: usize,
        /// Over how many connections.
        #[arg(long, default_value_t = 4)]
        connections: usize,
        /// For how many seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Octets of the body.
        #[arg(long, default_value_t = 4096)]
        bytes: usize,
        /// Also wait until all of it is delivered, and count that.
        #[arg(long)]
        delivered: bool,
        /// Schedule everything for tomorrow, so that acceptance is measured alone.
        #[arg(long, conflicts_with = "delivered")]
        scheduled: bool,
    },
    /// Measures syncs per second and multi-row inserts of the same rows into SQLite.
    Sqlite {
        /// The folder to write in.
        #[arg(long)]
        folder: PathBuf,
        /// For how many seconds each.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Octets of the body.
        #[arg(long, default_value_t = 4096)]
        bytes: usize,
    },
    /// Measures multi-row inserts of the same rows into PostgreSQL.
    Postgres {
        /// The database, with Postern's tables in it.
        #[arg(long)]
        url: String,
        /// For how many seconds.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Octets of the body.
        #[arg(long, default_value_t = 4096)]
        bytes: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().plan {
        Plan::Grpc { core, key, callers, connections, seconds, bytes, delivered, scheduled } => {
            let seconds = Duration::from_secs(seconds);
            let load = drive::Load { callers, seconds, bytes, delivered, scheduled };
            report::line(&drive::grpc(&core, &key, connections, &load).await?);
        }
        Plan::Sqlite { folder, seconds, bytes } => {
            let seconds = Duration::from_secs(seconds);
            report::line(&ceiling::fsync(&folder, seconds)?);
            report::line(&ceiling::sqlite(&folder, seconds, bytes)?);
        }
        Plan::Postgres { url, seconds, bytes } => {
            report::line(&ceiling::postgres(&url, Duration::from_secs(seconds), bytes).await?);
        }
    }
    Ok(())
}
