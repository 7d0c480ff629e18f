//! AMS: tells the campaign manager over its JSON-RPC API what recipients did, and to stop a mailing
//! that was held.
//!
//! The event feed is the buffer ([`crate::store::ams`]): nothing is told that is not stored, and a
//! cursor moves only behind what AMS has taken. AMS away: nothing moves, for as long as it takes. AMS
//! refusing one campaign: its events are parked and tried again, and the others go on. A crash between
//! the call and the cursor tells the same again, and AMS counts an address once.

mod pin;
mod rpc;
mod tell;
mod stop;

use std::sync::Arc;
use std::time::Duration;

use postern_kit::clock::Clock;
use postern_proto::settings::AMS_INTERVAL;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::store::{self, Database};

pub use rpc::{Ams, AmsConfig, AmsError};

/// How long a node keeps its turn without a sign of life: longer than a few calls take.
const TURN_MS: i64 = 5 * 60_000;
/// While AMS is away it is asked less and less often, but at least this often.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Tells AMS.
pub struct Channel {
    /// The client.
    pub ams: Ams,
    /// The store.
    pub db: Arc<dyn Database>,
    /// The settings.
    pub directory: Arc<Directory>,
    /// This node.
    pub node: Uuid,
    /// The time.
    pub clock: Clock,
    /// Whether rounds get on.
    pub metrics: Arc<Metrics>,
    /// Why it could not be told the last time; none when it could.
    pub away: watch::Sender<Option<String>>,
}

/// Why a round ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// AMS.
    #[error(transparent)]
    Ams(#[from] AmsError),
}

impl Channel {
    /// Tells again and again until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0u32;
        loop {
            let interval = self.directory.now().settings().time(&AMS_INTERVAL);
            let longest = PAUSE_MAX.max(interval);
            let pause = interval.saturating_mul(1 << failures.min(16)).min(longest);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            // A call that is cut off is made again after the start.
            match stop.run_until_cancelled(self.metrics.ams.during(self.round())).await {
                None => return,
                Some(Ok(())) => {
                    if failures > 0 {
                        tracing::info!("AMS is told again");
                    }
                    failures = 0;
                    self.away.send_replace(None);
                }
                Some(Err(error)) => {
                    failures += 1;
                    if let RoundError::Ams(error) = &error {
                        self.away.send_replace(Some(error.to_string()));
                    }
                    tracing::warn!(%error, failures, "AMS not told; nothing is lost");
                }
            }
        }
    }

    async fn round(&self) -> Result<(), RoundError> {
        // First what is urgent. What AMS refuses of it must not keep the rest from being told.
        match self.stop_mailings().await {
            Err(RoundError::Ams(error @ AmsError::Refused { .. })) => {
                tracing::warn!(%error, "AMS does not say what it sends; asked again");
            }
            other => other?,
        }
        self.tell().await?;
        self.tell_parked().await
    }
}
