//! The parts of a run. Each starts what it needs, takes its measurements in turns, and stops it again.
//!
//! What they keep is thrown away with the work folder.

mod accept;
mod bulk;
mod destinations;
mod ghz;
mod idle;
mod queue;
mod relay;
mod smtp;
mod tracking;
mod webhooks;

use clap::ValueEnum;

use crate::bench::{Bench, Size};

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// gRPC and REST over SQLite, beside the store driven directly.
    Sqlite,
    /// The same over PostgreSQL and Redis.
    Postgresql,
    /// The plans of ghz.
    Ghz,
    /// SMTP accepted, beside Postfix, smtp-sink and Haraka.
    Smtp,
    /// SMTP in and SMTP out, beside Postfix.
    Relay,
    /// The tracking pixel, beside nginx.
    Tracking,
    /// Webhooks out.
    Webhooks,
    /// Memory of an idle system, and of idle connections.
    Idle,
    /// Delivery with a full queue, and a start with it.
    Queue,
    /// A hundred destinations of which ten are dead and ten are slow.
    Destinations,
    /// A bulk campaign beside transactional messages.
    Bulk,
}

impl Stage {
    /// About how many seconds it takes.
    pub(crate) fn planned(self, size: &Size) -> f64 {
        let all = size.seconds * size.runs as f64;
        match self {
            Self::Sqlite | Self::Postgresql => 5.0 + 10.0 * all + size.runs as f64 * 3.0,
            Self::Ghz => 4.0 + 10.0 * size.seconds,
            Self::Smtp => 8.0 + 8.0 * all,
            Self::Relay => 8.0 + 5.0 * all,
            Self::Tracking => 4.0 + 2.0 * all,
            Self::Webhooks => 4.0 + 4.0 * all,
            Self::Idle => 6.0 + size.idle as f64 / 1000.0,
            Self::Queue => 20.0 + size.queued as f64 / 6_000.0 + 10.0 * size.seconds,
            Self::Destinations => 40.0 + 6.0 * size.seconds,
            Self::Bulk => 10.0 + size.bulk as f64 / 6_000.0 + 8.0 * size.seconds,
        }
    }

    /// Runs it.
    pub(crate) async fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        match self {
            Self::Sqlite => accept::sqlite(bench).await,
            Self::Postgresql => accept::postgresql(bench).await,
            Self::Ghz => ghz::run(bench).await,
            Self::Smtp => smtp::run(bench).await,
            Self::Relay => relay::run(bench).await,
            Self::Tracking => tracking::run(bench).await,
            Self::Webhooks => webhooks::run(bench).await,
            Self::Idle => idle::run(bench).await,
            Self::Queue => queue::run(bench).await,
            Self::Destinations => destinations::run(bench).await,
            Self::Bulk => bulk::run(bench).await,
        }
    }
}
