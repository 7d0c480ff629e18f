//! Honest numbers: drives a running Postern over gRPC and measures, in the same run, what the
//! machine and the stores can do at all. Links no server crate. `loadtest/run` runs all of it.
//!
//! Keeps nothing but what it printed; a crash loses the measurement under way.

mod drive;
mod ceiling;
mod process;
mod text;
mod report;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::report::Figure;

/// Measures a running Postern and the ceilings of its machine; every measurement is a JSON line.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    plan: Plan,
}

/// How a ceiling is measured.
#[derive(Debug, clap::Args)]
struct Ceiling {
    /// For how many seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Octets of the text.
    #[arg(long, default_value_t = 4096)]
    bytes: usize,
    /// How many callers would share transactions.
    #[arg(long, default_value_t = 64)]
    callers: usize,
}

#[derive(Debug, Subcommand)]
enum Plan {
    /// Sends over gRPC in a closed loop.
    Grpc(drive::Load),
    /// Measures syncs per second.
    Fsync {
        /// The folder to write in.
        #[arg(long)]
        folder: PathBuf,
        /// For how many seconds.
        #[arg(long, default_value_t = 2)]
        seconds: u64,
    },
    /// Inserts the rows of messages into SQLite.
    Sqlite {
        /// A folder in which a Postern ran before; none may run there now.
        #[arg(long)]
        folder: PathBuf,
        #[command(flatten)]
        ceiling: Ceiling,
    },
    /// Inserts the rows of messages into PostgreSQL.
    Postgres {
        /// The database, with Postern's tables in it.
        #[arg(long)]
        url: String,
        /// The schema of the tables.
        #[arg(long, default_value = "")]
        schema: String,
        #[command(flatten)]
        ceiling: Ceiling,
    },
    /// Measures the resident memory of a process.
    Memory {
        /// The process.
        #[arg(long)]
        pid: u32,
        /// Which store it uses, for the report.
        #[arg(long)]
        store: String,
        /// What it was doing.
        #[arg(long)]
        what: String,
    },
    /// Sums JSON lines up: Markdown on stdout, JSON in a file.
    Report {
        /// The lines.
        lines: PathBuf,
        /// The file to write.
        json: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seconds = |ceiling: &Ceiling| Duration::from_secs(ceiling.seconds);
    let text = match Args::parse().plan {
        Plan::Grpc(load) => drive::grpc(&load).await?.line()?,
        Plan::Fsync { folder, seconds } => {
            ceiling::fsync(&folder, Duration::from_secs(seconds))?.line()?
        }
        Plan::Sqlite { folder, ceiling } => {
            let (bytes, callers) = (ceiling.bytes, ceiling.callers);
            ceiling::sqlite::run(&folder, seconds(&ceiling), bytes, callers)?.line()?
        }
        Plan::Postgres { url, schema, ceiling } => {
            let (bytes, callers) = (ceiling.bytes, ceiling.callers);
            let time = seconds(&ceiling);
            ceiling::postgres::run(&url, &schema, time, bytes, callers).await?.line()?
        }
        Plan::Memory { pid, store, what } => {
            let (now, peak) = process::memory_mib(pid)?;
            let figure = |what: &str, mib| {
                let nothing = Figure::new(&store, what, 0, 0, Duration::ZERO);
                Figure { mib: Some(mib), ..nothing }.line()
            };
            let resident = figure(&format!("resident, {what}"), now)?;
            format!("{resident}\n{}", figure(&format!("peak, {what}"), peak)?)
        }
        Plan::Report { lines, json } => report::report(&lines, &json)?,
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}
